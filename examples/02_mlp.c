/* 02_mlp.c: a model, an optimizer, a loader. Learns which of two spirals a point is on. */
#include <math.h>
#include <reel/reel.h>
#include <stdio.h>

enum { POINTS = 400 };

static reel_dataset *spirals(void)
{
    static float xy[POINTS][2];
    static int64_t arm[POINTS];
    for (int i = 0; i < POINTS; i++) {
        float r = 0.1f + 0.9f * (float)(i / 2) / (POINTS / 2), angle = 7 * r;
        arm[i] = i % 2;
        xy[i][0] = r * cosf(angle + 3.14159f * (float)arm[i]);
        xy[i][1] = r * sinf(angle + 3.14159f * (float)arm[i]);
    }
    return reel_arrays(reel_from(xy, REEL_SHAPE(POINTS, 2), REEL_F32),
                       reel_from(arm, REEL_SHAPE(POINTS), REEL_I64));
}

int main(void)
{
    reel_seed(1);
    reel_module *net = reel_mlp(2, 2, &(reel_mlp_opts){.hidden = {64, 64}});
    reel_optim *opt = reel_adam(reel_parameters(net), &(reel_adam_opts){.lr = 0.01});
    reel_dataset *data = spirals();
    reel_loader *loader =
        reel_loader_new(data, &(reel_loader_opts){.batch = 100, .shuffle = true});

    for (int epoch = 1; epoch <= 100 && !reel_failed(); epoch++) {
        double right = 0;
        for (reel_batch b = reel_loader_begin(loader); reel_loader_next(loader, &b);) {
            reel_scope step = reel_scope_begin();
            reel_tensor *logits = reel_forward(net, b.x);
            reel_backward(reel_cross_entropy(logits, b.y, NULL), NULL);
            reel_optim_step(opt);
            reel_optim_zero_grad(opt);
            reel_tensor *hit = reel_eq(reel_argmax(logits, 1, false), b.y);
            right += reel_item(reel_sum(hit, REEL_ALL, false));
            reel_scope_end(step);
        }
        if (epoch % 10 == 0)
            printf("epoch %3d  right %.1f %%\n", epoch, right / POINTS * 100);
    }
    reel_loader_free(loader);
    reel_dataset_free(data);
    reel_optim_free(opt);
    reel_module_free(net);
    reel_scope_end(0);
    if (reel_failed()) fprintf(stderr, "02_mlp: %s\n", reel_error_message());
    return reel_failed();
}
