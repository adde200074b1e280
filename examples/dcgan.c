/* dcgan: a generator and a discriminator of convolutions (Radford et al. 2015, arXiv:1511.06434)
 * learn from each other to draw images and to tell them from real ones, with a penalty on the
 * discriminator's slope (R1: Mescheder et al. 2018, arXiv:1801.04406).
 *
 *     dcgan STEPS FILE      goes on where FILE stands */
#include <reel/reel.h>

#include <stdio.h>
#include <stdlib.h>

enum { BATCH = 32, NOISE = 32 };

/* Each pixel four times: [n, c, h, w] -> [n, c, 2h, 2w]. */
static reel_tensor *doubled(reel_module *self, reel_tensor *x)
{
    (void)self;
    int64_t n = reel_size(x, 0), c = reel_size(x, 1), h = reel_size(x, 2);
    x = reel_expand(reel_reshape(x, REEL_SHAPE(n, c, h, 1, h, 1)),
                    REEL_SHAPE(n, c, h, 2, h, 2));
    return reel_reshape(x, REEL_SHAPE(n, c, 2 * h, 2 * h));
}

static reel_module *conv(int64_t in, int64_t out, int stride)
{
    const reel_nn_conv2d_opts opts = {.conv = {.stride = stride, .padding = 1}};
    return reel_nn_conv2d(in, out, 3, &opts);
}

static reel_module *up(int64_t in, int64_t out)
{
    reel_module *m = reel_module_new(sizeof(reel_module), "doubled", doubled);
    return reel_nn_sequential(m, conv(in, out, 1));
}

/* log(1 + exp(sign score)), the mean: small if scores have the other sign. */
static reel_tensor *loss(reel_tensor *score, double sign)
{
    return reel_mean(reel_softplus(reel_mul_scalar(score, sign)), REEL_ALL, false);
}

/* |d score / d x|^2, the mean of the images. */
static reel_tensor *slope(reel_tensor *score, reel_tensor *x)
{
    reel_tensor *all = reel_sum(score, REEL_ALL, false), *g = NULL;
    reel_grad(&all, 1, NULL, &x, 1, &g, &(reel_backward_opts){.create_graph = true});
    return reel_mul_scalar(reel_sum(reel_square(g), REEL_ALL, false), 1.0 / BATCH);
}

int main(int argc, char **argv)
{
    if (argc < 3) return fprintf(stderr, "dcgan STEPS FILE\n"), 2;
    reel_seed(1);
    reel_module *g =
        reel_nn_sequential(/* [n, NOISE, 1, 1] -> [n, 3, 16, 16] */
                           up(NOISE, 64), reel_nn_batch_norm2d(64, NULL), reel_nn_relu(),
                           up(64, 64), reel_nn_batch_norm2d(64, NULL), reel_nn_relu(),
                           up(64, 32), reel_nn_batch_norm2d(32, NULL), reel_nn_relu(),
                           up(32, 3), reel_nn_activation(REEL_ACT_TANH));
    reel_module *d = reel_nn_sequential(
        conv(3, 32, 2), reel_nn_leaky_relu(0.2), conv(32, 64, 2), reel_nn_leaky_relu(0.2),
        reel_nn_flatten(1, -1), reel_nn_linear(64 * 4 * 4, 1, NULL));
    reel_adam_opts adam = {.lr = 1e-3, .beta1 = REEL_ZERO, .beta2 = 0.99};
    reel_optim *opt_g = reel_adam(reel_parameters(g), &adam);
    reel_optim *opt_d = reel_adam(reel_parameters(d), &adam);
    reel_dataset *images = reel_drawn_images(1024, 1, REEL_TRAIN);
    const float half[] = {0.5F, 0.5F, 0.5F}; /* [0, 1] becomes [-1, 1] */
    reel_transform *to_16 = reel_transform_compose(
        reel_transform_resize(16, 16), reel_transform_normalize(half, half, 3));
    reel_loader *loader = reel_loader_new(
        images, &(reel_loader_opts){.batch = BATCH, .shuffle = true, .transform = to_16});
    reel_training_part parts[] = {
        reel_module_part("g", g), reel_optim_part("opt_g", opt_g),
        reel_module_part("d", d), reel_optim_part("opt_d", opt_d)};
    reel_training run = {.loader = loader, .parts = parts, .n_parts = 4};
    FILE *there = fopen(argv[2], "rb");
    if (there) fclose(there), reel_training_load(&run, argv[2]);
    while (run.batch < atoi(argv[1]) && !reel_failed())
        for (reel_batch b; run.batch < atoi(argv[1]) && reel_loader_next(loader, &b);) {
            reel_scope s = reel_scope_begin();
            reel_tensor *real = reel_requires_grad(reel_detach(b.x), true);
            reel_tensor *z = reel_randn(REEL_SHAPE(BATCH, NOISE, 1, 1), REEL_F32);
            reel_tensor *fake = reel_forward(g, z), *score = reel_forward(d, real);
            reel_tensor *wrong =
                reel_add(loss(score, -1), loss(reel_forward(d, reel_detach(fake)), 1));
            reel_tensor *r1 = slope(score, real);
            reel_backward(reel_add_scaled(wrong, r1, 0.5), NULL);
            reel_optim_step(opt_d);
            reel_tensor *fooled = loss(reel_forward(d, fake), -1);
            reel_backward(fooled, NULL);
            reel_optim_step(opt_g);
            reel_optim_zero_grad(opt_d);
            reel_optim_zero_grad(opt_g);
            if (++run.batch % 20 == 0)
                printf("step %d  d %.3f  g %.3f  r1 %.3f  contrast %.3f of %.3f\n",
                       (int)run.batch, reel_item(wrong), reel_item(fooled), reel_item(r1),
                       reel_item(reel_var(fake, REEL_ALL, 0, false)),
                       reel_item(reel_var(b.x, REEL_ALL, 0, false)));
            reel_scope_end(s);
        }
    reel_training_save(&run, argv[2]);

    reel_loader_free(loader);
    reel_dataset_free(images);
    reel_optim_free(opt_g);
    reel_optim_free(opt_d);
    reel_module_free(g);
    reel_module_free(d);
    reel_scope_end(0);
    if (reel_failed()) fprintf(stderr, "dcgan: %s\n", reel_error_message());
    return reel_failed() || reel_live_objects() > 0;
}
