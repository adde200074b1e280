/* own_optimizer: an optimizer and a schedule of your own: Lion (Chen et al. 2023,
 * arXiv:2302.06675) and a rate that falls as 1 / sqrt(t). They are saved, resumed and captured
 * in a step as reel's own are. It learns to multiply.
 *
 *     own_optimizer STEPS FILE [eager]      goes on where FILE stands */
#include <reel/reel.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct lion_opts {
    double beta1, beta2, weight_decay;
} lion_opts;

/* w -= lr (sign(beta1 m + (1 - beta1) g) + decay w);  m = beta2 m + (1 - beta2) g */
static reel_status lion_update(const void *opts, const reel_optim_slot *s)
{
    const lion_opts *o = opts;
    reel_tensor *w = s->param, *g = s->grad, *m = s->state[0];
    reel_tensor *way = reel_sign(reel_lerp(m, g, 1 - o->beta1));
    reel_sub_(w, reel_scale(reel_add_scaled(way, w, o->weight_decay), s->lr));
    reel_lerp_(m, g, 1 - o->beta2);
    return reel_error_status();
}
static const reel_optim_kind lion = {.name = "lion",
                                     .opts_size = sizeof(lion_opts),
                                     .n_state = 1,
                                     .state = {{.name = "exp_avg"}},
                                     .update = lion_update};

static double inverse_sqrt(void *warmup, double base, int64_t t)
{
    double w = *(double *)warmup, at = (double)t + 1;
    return base * fmin(at / w, sqrt(w / at));
}
static const reel_schedule_kind falling = {.name = "inverse_sqrt", .rate = inverse_sqrt};

static reel_status step(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                        int n_y)
{
    const reel_training *run = user;
    (void)n_x, (void)n_y;
    y[0] = reel_mse_loss(reel_forward(run->module, x[0]), x[1], REEL_MEAN);
    reel_backward(y[0], NULL);
    reel_optim_step(run->optim);
    reel_optim_zero_grad(run->optim);
    return reel_error_status();
}

int main(int argc, char **argv)
{
    if (argc < 3) return fprintf(stderr, "own_optimizer STEPS FILE [eager]\n"), 2;
    reel_seed(1);
    double warmup = 20, loss = NAN;
    reel_module *net = reel_mlp(2, 1, &(reel_mlp_opts){.hidden = {64, 64}});
    reel_optim *opt = reel_optim_new(&lion, reel_parameters(net),
                                     &(lion_opts){0.9, 0.99, .weight_decay = 0.01});
    reel_schedule *rate = reel_schedule_new(opt, &falling, &warmup);
    reel_training run = {.module = net, .optim = opt, .schedule = rate};
    FILE *there = fopen(argv[2], "rb");
    if (there) fclose(there), reel_training_load(&run, argv[2]);

    reel_compiled *s = reel_compile(step, &run, &(reel_compile_opts){net, .exact = true});
    for (; run.batch < atoi(argv[1]) && !reel_failed(); run.batch++) {
        reel_scope scope = reel_scope_begin();
        reel_tensor *x = reel_rand(REEL_SHAPE(64, 2), REEL_F32), *y;
        y = reel_mul(reel_narrow(x, 1, 0, 1), reel_narrow(x, 1, 1, 1));
        reel_tensor *in[] = {x, y};
        if (argc > 3)
            step(&run, in, 2, &y, 1);
        else
            reel_compiled_run(s, in, 2, &y, 1);
        loss = reel_item(y);
        reel_schedule_step(rate);
        reel_scope_end(scope);
    }
    reel_training_save(&run, argv[2]);
    printf("step %d  rate %.2e  loss %.5f%s\n", (int)run.batch, reel_optim_lr(opt, 0),
           loss, reel_compiled_graph(s) ? "  as a graph" : "");

    reel_compiled_free(s);
    reel_schedule_free(rate);
    reel_optim_free(opt);
    reel_module_free(net);
    reel_scope_end(0);
    if (reel_failed()) fprintf(stderr, "own_optimizer: %s\n", reel_error_message());
    return reel_failed() || reel_live_objects() > 0;
}
