/* unet.c: a small U-Net (Ronneberger et al. 2015, arXiv:1505.04597) takes the noise off drawn
 * images: the target is an image, which a transform of its own puts beside the input.
 *
 *     unet [EPOCHS [IMAGES]]      # writes unet.png (noisy, cleaned, as drawn) and unet.onnx */
#include <math.h>
#include <reel/reel.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct unet {
    reel_module m; /* first */
    reel_module *down[2], *bottom, *up[2], *out;
} unet;

static reel_module *block(int64_t in, int64_t out)
{
    return reel_nn_sequential(
        reel_nn_conv2d(in, out, 3,
                       &(reel_nn_conv2d_opts){.conv = {.padding = 1}, .no_bias = true}),
        reel_nn_batch_norm2d(out, NULL), reel_nn_relu());
}

static reel_tensor *halve(reel_tensor *x)
{
    return reel_max_pool2d(x, 2, NULL);
}

/* Each pixel four times, and beside it what came down at this height. */
static reel_tensor *join(reel_tensor *x, reel_tensor *beside)
{
    int64_t n = reel_size(x, 0), c = reel_size(x, 1), h = reel_size(x, 2),
            w = reel_size(x, 3);
    x = reel_reshape(x, REEL_SHAPE(n, c, h, 1, w, 1));
    x = reel_expand(x, REEL_SHAPE(n, c, h, 2, w, 2));
    x = reel_reshape(x, REEL_SHAPE(n, c, 2 * h, 2 * w));
    return reel_cat((reel_tensor *[]){x, beside}, 2, 1);
}

static reel_tensor *unet_forward(reel_module *self, reel_tensor *x)
{
    unet *u = (unet *)self;
    reel_tensor *a = reel_forward(u->down[0], x);        /* [n, 16, h,   w  ] */
    reel_tensor *b = reel_forward(u->down[1], halve(a)); /* [n, 32, h/2, w/2] */
    reel_tensor *y = reel_forward(u->bottom, halve(b));  /* [n, 32, h/4, w/4] */
    y = reel_forward(u->up[1], join(y, b));              /* [n, 16, h/2, w/2] */
    y = reel_forward(u->up[0], join(y, a));              /* [n, 16, h,   w  ] */
    return reel_add(x, reel_forward(u->out, y));         /* less the noise    */
}

static reel_module *unet_new(void)
{
    unet *u = reel_module_new(sizeof *u, "unet", unet_forward);
    if (!u) return NULL;
    u->down[0] = reel_module_add(&u->m, "down0", block(3, 16));
    u->down[1] = reel_module_add(&u->m, "down1", block(16, 32));
    u->bottom = reel_module_add(&u->m, "bottom", block(32, 32));
    u->up[1] = reel_module_add(&u->m, "up1", block(64, 16));
    u->up[0] = reel_module_add(&u->m, "up0", block(32, 16));
    u->out = reel_module_add(&u->m, "out", reel_nn_conv2d(16, 3, 1, NULL));
    return reel_module_done(&u->m);
}

/* The image as it was becomes the field "clean"; x is it with normal noise. */
static reel_status add_noise(void *user, reel_sample *s, reel_draw *d)
{
    (void)user;
    reel_field *x = reel_sample_field(s, "x");
    if (!x) return reel_error_status();
    const uint8_t *pixel = x->data;
    float *clean = reel_sample_add(s, "clean", REEL_IMAGE, x->shape, REEL_F32);
    float *noisy = reel_field_out(x, x->shape, REEL_F32);
    int64_t n = x->shape.dim[0] * x->shape.dim[1] * x->shape.dim[2];
    for (int64_t i = 0; clean && noisy && i < n; i++) {
        float r = sqrtf(-2 * logf(1 - reel_draw_f32(d)));
        clean[i] = (float)pixel[i] / 255;
        noisy[i] = clean[i] + 0.2f * r * cosf(6.2831853f * reel_draw_f32(d));
    }
    return reel_error_status();
}

/* Noisy, cleaned and clean images of one batch under each other; the file for others. */
static void show(reel_module *net, reel_loader *loader)
{
    reel_batch b = reel_loader_begin(loader);
    reel_train(net, false);
    if (!reel_loader_next(loader, &b)) return;
    bool before = reel_set_grad_enabled(false);
    reel_tensor *rows[] = {b.x, reel_forward(net, b.x), reel_batch_get(&b, "clean")};
    for (int i = 0; i < 3; i++)
        rows[i] = reel_narrow(rows[i], 0, 0, b.size < 8 ? b.size : 8);
    reel_image_grid_save(reel_cat(rows, 3, 0), "unet.png",
                         &(reel_image_grid_opts){.columns = (int)reel_size(rows[0], 0)});
    reel_module_export(net, b.x, "unet.onnx", NULL);
    reel_set_grad_enabled(before);
}

int main(int argc, char **argv)
{
    int epochs = argc > 1 ? atoi(argv[1]) : 5;
    reel_seed(1);
    reel_dataset *images =
        reel_drawn_images(argc > 2 ? atoi(argv[2]) : 1000, 1, REEL_TRAIN);
    reel_loader *loader = reel_loader_new(
        images,
        &(reel_loader_opts){.batch = 16,
                            .shuffle = true,
                            .transform = reel_transform_new(add_noise, NULL, NULL)});
    reel_module *net = unet_new();
    reel_optim *opt = reel_adam(reel_parameters(net), &(reel_adam_opts){.lr = 0.002});

    for (int epoch = 1; epoch <= epochs && !reel_failed(); epoch++) {
        double sum = 0;
        for (reel_batch b = reel_loader_begin(loader); reel_loader_next(loader, &b);) {
            reel_scope step = reel_scope_begin();
            reel_tensor *y = reel_forward(net, b.x), *clean = reel_batch_get(&b, "clean");
            reel_tensor *loss = reel_mse_loss(y, clean, REEL_MEAN);
            reel_backward(loss, NULL);
            reel_optim_step(opt);
            reel_optim_zero_grad(opt);
            sum += reel_item(loss);
            reel_scope_end(step);
        }
        printf("epoch %d  signal to noise %.2f dB\n", epoch,
               -10 * log10(sum / (double)reel_loader_batches(loader)));
    }
    show(net, loader);

    reel_optim_free(opt);
    reel_module_free(net);
    reel_loader_free(loader);
    reel_dataset_free(images);
    reel_scope_end(0);
    if (reel_failed()) fprintf(stderr, "unet: %s\n", reel_error_message());
    return reel_failed();
}
