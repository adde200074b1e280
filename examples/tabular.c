/* tabular.c: regression from a CSV file, the last column from the others; stops when the
 * validation error no longer falls, and ends with the best weights.
 *
 *     tabular [FILE.csv [EPOCHS]] */
#include <math.h>
#include <reel/reel.h>
#include <stdio.h>
#include <stdlib.h>

enum { PATIENCE = 20 };

/* A table to begin with: the range of a throw in air. */
static const char *write_table(void)
{
    FILE *f = fopen("tabular.csv", "w");
    if (!f) return "tabular.csv"; /* reading it says why */
    reel_draw d = reel_draw_at(1, 0, 0);
    fprintf(f, "speed,angle,drag,range\n");
    for (int i = 0; i < 1000; i++) {
        double v = 5 + 20 * (double)reel_draw_f32(&d),
               a = 1.4 * (double)reel_draw_f32(&d);
        double k = 0.1 * (double)reel_draw_f32(&d), r = v * v * sin(2 * a) / 9.81;
        fprintf(f, "%.4f,%.4f,%.4f,%.4f\n", v, a, k, r / (1 + k * r));
    }
    fclose(f);
    return "tabular.csv";
}

/* Root of the mean squared error over one epoch; trains with an optimizer. */
static double run(reel_module *net, reel_loader *loader, reel_optim *opt)
{
    double sum = 0, n = 0;
    reel_train(net, opt != NULL);
    bool before = reel_set_grad_enabled(opt != NULL);
    for (reel_batch b = reel_loader_begin(loader); reel_loader_next(loader, &b);) {
        reel_scope step = reel_scope_begin();
        reel_tensor *loss = reel_mse_loss(reel_forward(net, b.x), b.y, REEL_MEAN);
        if (opt) {
            reel_backward(loss, NULL);
            reel_optim_step(opt);
            reel_optim_zero_grad(opt);
        }
        sum += reel_item(loss) * (double)b.size, n += (double)b.size;
        reel_scope_end(step);
    }
    reel_set_grad_enabled(before);
    return sqrt(sum / n);
}

int main(int argc, char **argv)
{
    reel_seed(1);
    reel_dataset *all = reel_csv(argc > 1 ? argv[1] : write_table(), NULL), *part[2];
    reel_dataset_random_split(all, (double[]){0.8, 0.2}, 2, 1, part);
    reel_transform *scale = reel_transform_standardize(part[0]);
    reel_loader *train = reel_loader_new(
        part[0], &(reel_loader_opts){.batch = 32,
                                     .shuffle = true,
                                     .transform = reel_transform_keep(scale)});
    reel_loader *valid =
        reel_loader_new(part[1], &(reel_loader_opts){.batch = 256, .transform = scale});
    reel_module *net =
        reel_mlp(reel_dataset_shape(all).dim[0], 1, &(reel_mlp_opts){.hidden = {64, 64}});
    reel_optim *opt = reel_adamw(reel_parameters(net), &(reel_adam_opts){.lr = 0.003});

    double best = INFINITY;
    int epochs = argc > 2 ? atoi(argv[2]) : 300, waited = 0;
    for (int epoch = 1; epoch <= epochs && waited < PATIENCE && !reel_failed(); epoch++) {
        double error = run(net, train, opt), held_out = run(net, valid, NULL);
        waited++;
        if (held_out < best) {
            best = held_out, waited = 0;
            reel_module_save(net, "tabular.safetensors");
        }
        if (epoch % 10 == 0)
            printf("epoch %d  training %.3f  validation %.3f\n", epoch, error, held_out);
    }
    reel_module_load(net, "tabular.safetensors", NULL);
    if (!reel_failed()) printf("best validation error %.3f\n", run(net, valid, NULL));

    reel_optim_free(opt);
    reel_module_free(net);
    reel_loader_free(train);
    reel_loader_free(valid);
    for (int i = 0; i < 2; i++) reel_dataset_free(part[i]);
    reel_dataset_free(all);
    reel_scope_end(0);
    if (reel_failed()) fprintf(stderr, "tabular: %s\n", reel_error_message());
    return reel_failed();
}
