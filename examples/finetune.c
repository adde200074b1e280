/* finetune.c: a trained network learns another task.
 *
 *     finetune [WEIGHTS.safetensors [STEPS]]
 *
 * The file holds a ResNet-20 that tells 8 directions of stripes apart; it is trained for a
 * moment if it is not there. All of it but the head is loaded and frozen; a new head learns
 * whether stripes lie or stand. */
#include <reel/reel.h>
#include <stdio.h>
#include <stdlib.h>

/* Stripes with noise [n, 1, 16, 16], and their directions, of 8 [n]. */
static reel_tensor *stripes(int64_t n, reel_tensor **direction)
{
    *direction = reel_randint(0, 8, REEL_SHAPE(n), REEL_I64);
    reel_tensor *angle = reel_mul_scalar(reel_cast(*direction, REEL_F32), 3.14159265 / 8);
    angle = reel_reshape(angle, REEL_SHAPE(n, 1, 1, 1));
    reel_tensor *x = reel_arange(0, 16, 1, REEL_F32); /* [16] */
    reel_tensor *y = reel_reshape(x, REEL_SHAPE(16, 1));
    reel_tensor *at =
        reel_add(reel_mul(reel_cos(angle), x), reel_mul(reel_sin(angle), y));
    at = reel_add(at, reel_mul_scalar(reel_rand(REEL_SHAPE(n, 1, 1, 1), REEL_F32), 6.28));
    reel_tensor *noise = reel_randn(REEL_SHAPE(n, 1, 16, 16), REEL_F32);
    return reel_add(reel_sin(at), reel_mul_scalar(noise, 0.3));
}

/* The other task: of directions 2 to 5 the stripes lie. */
static reel_tensor *lie(reel_tensor *direction)
{
    reel_tensor *off =
        reel_sub(reel_cast(direction, REEL_F32), reel_scalar(3.5, REEL_F32));
    return reel_cast(reel_lt(reel_abs(off), reel_scalar(2, REEL_F32)), REEL_I64);
}

static void train(reel_module *net, reel_params params, bool other_task, int64_t steps)
{
    reel_optim *opt = reel_adamw(params, &(reel_adam_opts){.lr = 0.01});
    for (int64_t i = 0; i < steps && !reel_failed(); i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *y, *x = stripes(16, &y);
        if (other_task) y = lie(y);
        reel_tensor *loss = reel_cross_entropy(reel_forward(net, x), y, NULL);
        reel_backward(loss, NULL);
        reel_optim_step(opt);
        reel_optim_zero_grad(opt);
        if (i == 0 || i == steps - 1) printf("loss %.3f\n", reel_item(loss));
        reel_scope_end(s);
    }
    reel_optim_free(opt);
}

/* Before the head: its input are the features. */
static void take(void *features, reel_module *head, reel_tensor *x)
{
    (void)head;
    *(reel_tensor **)features = reel_keep(x);
}

static void test(reel_module *net, reel_module *head)
{
    reel_tensor *y, *x = stripes(256, &y), *features = NULL;
    reel_module_add_hook(head, &(reel_module_hook){.before = take, .user = &features});
    reel_tensor *right = reel_eq(reel_argmax(reel_forward(net, x), 1, false), lie(y));
    printf("right %.3f\n",
           reel_item(reel_mean(reel_cast(right, REEL_F32), REEL_ALL, false)));
    reel_npy_save(features, "features.npy"); /* [256, 64], for a picture */
    reel_release(features);
}

int main(int argc, char **argv)
{
    const char *file = argc > 1 ? argv[1] : "resnet20.safetensors";
    int64_t steps = argc > 2 ? atoi(argv[2]) : 60;
    reel_seed(1);
    reel_module *net = reel_resnet20(&(reel_resnet_opts){.classes = 8, .channels = 1});
    FILE *there = fopen(file, "rb");
    if (there) {
        fclose(there);
    } else {
        train(net, reel_parameters(net), false, steps);
        reel_module_save(net, file);
    }

    reel_module *head = reel_module_replace(net, "fc", reel_nn_linear(64, 2, NULL));
    reel_load_report *report = reel_load_report_new();
    reel_module_load(net, file,
                     &(reel_load_opts){.skip_other_shape = true, .report = report});
    for (int i = 0; i < reel_load_report_count(report, REEL_LOAD_OTHER_SHAPE); i++)
        printf("new: %s\n", reel_load_report_name(report, REEL_LOAD_OTHER_SHAPE, i));
    reel_load_report_free(report);

    reel_freeze(net, true);
    reel_freeze(head, false);
    reel_train(net, false); /* running statistics stay as they are */
    train(net, reel_parameters(head), true, steps);
    test(net, head);

    reel_module_free(net);
    reel_scope_end(0);
    if (reel_failed()) fprintf(stderr, "finetune: %s\n", reel_error_message());
    return reel_failed() || reel_live_objects() > 0;
}
