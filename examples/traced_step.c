/* traced_step: a training loop whose step is a graph.
 *
 * The first call of the step runs as it is, the second is captured while it runs, and from the
 * third on the graph runs: forward, backward and optimizer without a tape, fused, in planned
 * memory. The loop is the same as without. */
#include <reel/reel.h>

#include <stdio.h>

enum { STEPS = 200, BATCH = 64 };

/* ---- the step ---------------------------------------------------------------------------- */

typedef struct trainer {
    reel_module *net;
    reel_optim *optim;
} trainer;

/* x[0] images, x[1] labels; y[0] the loss, y[1] the logits. */
static reel_status step(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                        int n_y)
{
    trainer *t = user;
    (void)n_x;
    (void)n_y;
    y[1] = reel_forward(t->net, x[0]);
    y[0] = reel_cross_entropy(y[1], x[1], NULL);
    reel_backward(y[0], NULL);
    (void)reel_clip_grad_norm_tensor(reel_parameters(t->net), 5);
    reel_optim_step(t->optim);
    reel_optim_zero_grad(t->optim);
    return reel_error_status();
}

/* ---- training ---------------------------------------------------------------------------- */

int main(void)
{
    reel_seed(1);
    trainer t = {.net = reel_resnet20(&(reel_resnet_opts){.classes = 10})};
    t.optim = reel_sgd(reel_parameters(t.net),
                       &(reel_sgd_opts){.lr = 0.05, .momentum = 0.9, .nesterov = true});
    /* ---- the loop -------------------------------------------------------------------- */

    reel_compiled *s = reel_compile(step, &t, &(reel_compile_opts){.module = t.net});
    reel_dataset *images = reel_drawn_images(STEPS * BATCH, 1, REEL_TRAIN);
    reel_loader *loader = reel_loader_new(
        images, &(reel_loader_opts){.batch = BATCH, .shuffle = true, .drop_last = true});
    reel_progress *bar = reel_progress_new(stderr, STEPS, NULL);
    for (reel_batch b = reel_loader_begin(loader); reel_loader_next(loader, &b);) {
        reel_scope scope = reel_scope_begin();
        reel_tensor *y[2];
        (void)reel_compiled_run(s, (reel_tensor *[]){b.x, b.y}, 2, y, 2);
        reel_progress_update(bar, 1, "loss %.4f", reel_item(y[0]));
        reel_scope_end(scope);
    }
    reel_progress_free(bar);

    /* ---- what it took ---------------------------------------------------------------- */

    reel_plan_memory m;
    if (reel_compiled_executor(s) && !reel_executor_memory(reel_compiled_executor(s), &m))
        printf("the step is a graph of %d nodes; its values take %.1f MiB in a plan, "
               "%.1f MiB without one\n",
               reel_graph_nodes(reel_compiled_graph(s)), (double)m.arena / 1048576,
               (double)m.values / 1048576);
    reel_loader_free(loader);
    reel_dataset_free(images);
    reel_compiled_free(s);
    reel_optim_free(t.optim);
    reel_module_free(t.net);
    reel_scope_end(0);
    if (reel_failed()) fprintf(stderr, "traced_step: %s\n", reel_error_message());
    return reel_failed() ? 1 : 0;
}
