/* 04_graph.c: a network becomes a graph, which is looked at, optimized, run to a plan, saved,
 * trained further, and exported as ONNX. docs/graphs.md walks through it. */
#include <reel/reel.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- capture ----------------------------------------------------------------------------- */

static reel_graph *capture(reel_module *net)
{
    reel_train(net, false); /* running statistics, no dropout */
    reel_tensor *x = reel_randn(REEL_SHAPE(8, 3, 32, 32), REEL_F32);
    return reel_trace(net, x,
                      &(reel_trace_opts){.input_names = (const char *[]){"images"},
                                         .output_names = (const char *[]){"logits"}});
}

/* ---- look -------------------------------------------------------------------------------- */

static void look(const reel_graph *g)
{
    char *text = reel_graph_to_string(g);
    printf("%.300s...\n\n", text ? text : "");
    free(text);
    reel_graph_report(g, stdout, &(reel_roofline){.gflops = 200, .gbytes = 40});
    reel_graph_save_html(g, "resnet20.html", &(reel_view_opts){.title = "ResNet-20"});
}

/* ---- optimize ---------------------------------------------------------------------------- */

static reel_graph *optimized(const reel_graph *g)
{
    reel_graph *fast = reel_graph_copy(g);
    reel_graph_optimize(fast, &(reel_optimize_opts){.log = stdout});
    return fast;
}

/* ---- run --------------------------------------------------------------------------------- */

static void run(const reel_graph *g)
{
    reel_executor *e = reel_executor_new(g, NULL);
    for (int64_t batch = 1; batch <= 64; batch *= 8) { /* a plan for each size */
        reel_scope s = reel_scope_begin();
        reel_tensor *x = reel_randn(REEL_SHAPE(batch, 3, 32, 32), REEL_F32), *y = NULL;
        reel_executor_run(e, &x, 1, &y, 1);      /* y: a new tensor */
        reel_executor_run_into(e, &x, 1, &y, 1); /* y again: allocates nothing */
        reel_plan_memory m = {0};
        reel_executor_memory(e, &m);
        printf("batch %lld: %lld values in %.2f MiB; side by side %.2f MiB, least %.2f\n",
               (long long)m.batch, (long long)m.n_values, (double)m.arena / 1048576,
               (double)m.values / 1048576, (double)m.lower_bound / 1048576);
        reel_scope_end(s);
    }
    reel_executor_free(e);
}

/* ---- train on ---------------------------------------------------------------------------- */

static void train_on(const char *path)
{
    reel_graph *g = reel_graph_load(path);
    reel_module *net = reel_graph_module(g); /* the graph's parameters, by their names */
    reel_optim *opt = reel_sgd(reel_parameters(net), &(reel_sgd_opts){.lr = 0.01});
    reel_dataset *images = reel_drawn_images(320, 1, REEL_TRAIN);
    reel_loader *loader = reel_loader_new(images, &(reel_loader_opts){.batch = 32});
    for (reel_batch b = reel_loader_begin(loader); reel_loader_next(loader, &b);) {
        reel_scope step = reel_scope_begin();
        reel_tensor *loss = reel_cross_entropy(reel_forward(net, b.x), b.y, NULL);
        reel_backward(loss, NULL);
        reel_optim_step(opt);
        reel_optim_zero_grad(opt);
        printf("loss %.4f\n", reel_item(loss));
        reel_scope_end(step);
    }
    reel_loader_free(loader);
    reel_dataset_free(images);
    reel_optim_free(opt);
    reel_module_free(net);
    reel_graph_free(g);
}

/* ---- export ------------------------------------------------------------------------------ */

static void export(reel_graph *g, const char *path)
{
    char *missing = reel_onnx_missing(g, 17);
    if (missing && *missing) fprintf(stderr, "no ONNX at opset 17:\n%s", missing);
    free(missing);
    reel_onnx_export(g, path, &(reel_onnx_opts){.opset = 17, .doc = "by 04_graph.c"});
}

/* ---- all of it --------------------------------------------------------------------------- */

int main(void)
{
    reel_seed(1);
    reel_module *net = reel_resnet20(&(reel_resnet_opts){.classes = 10});
    reel_graph *g = capture(net);
    look(g);
    reel_graph *fast = optimized(g);
    run(fast);
    reel_graph_save(fast, "resnet20.reel");
    train_on("resnet20.reel");
    export(fast, "resnet20.onnx");
    reel_graph_free(fast);
    reel_graph_free(g);
    reel_module_free(net);
    reel_scope_end(0);
    if (reel_failed()) fprintf(stderr, "04_graph: %s\n", reel_error_message());
    return reel_failed();
}
