/* trace_export: from a network in C to a file that others run.
 *
 *     trace_export [FOLDER [WEIGHTS.safetensors]]
 *
 * Trains a ResNet-20 on drawn images for a moment, or loads its weights; traces it; optimizes
 * the graph; writes FOLDER/resnet20.onnx and its page resnet20.html; reads the file again, and
 * prints how far its results are from the network's. */
#include <reel/reel.h>

#include <stdio.h>

enum { CLASSES = 10, STEPS = 20, BATCH = 32 };

static void train(reel_module *net)
{
    reel_optim *optim =
        reel_sgd(reel_parameters(net), &(reel_sgd_opts){.lr = 0.05, .momentum = 0.9});
    reel_dataset *images = reel_drawn_images(STEPS * BATCH, 1, REEL_TRAIN);
    reel_loader *loader =
        reel_loader_new(images, &(reel_loader_opts){.batch = BATCH, .shuffle = true});
    double last = 0;
    for (reel_batch b = reel_loader_begin(loader); reel_loader_next(loader, &b);) {
        reel_scope step = reel_scope_begin();
        reel_tensor *loss = reel_cross_entropy(reel_forward(net, b.x), b.y, NULL);
        reel_backward(loss, NULL);
        reel_optim_step(optim);
        reel_optim_zero_grad(optim);
        last = reel_item(loss);
        reel_scope_end(step);
    }
    printf("trained for %d steps, loss %.3f\n", STEPS, last);
    reel_loader_free(loader);
    reel_dataset_free(images);
    reel_optim_free(optim);
}

/* The largest difference between what the network and the file make of the same images. */
static double difference(reel_module *net, reel_executor *file, int64_t batch)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *x = reel_randn(REEL_SHAPE(batch, 3, 32, 32), REEL_F32), *y = NULL;
    (void)reel_executor_run(file, &x, 1, &y, 1);
    reel_tensor *off = reel_abs(reel_sub(reel_forward(net, x), y));
    double most = reel_item(reel_max(off, REEL_ALL, false));
    reel_scope_end(s);
    return most;
}

static void trace_and_export(reel_module *net, const char *onnx, const char *html)
{
    reel_train(net, false); /* running statistics, no dropout */
    reel_set_grad_enabled(false);
    reel_tensor *like = reel_zeros(REEL_SHAPE(2, 3, 32, 32), REEL_F32);
    reel_graph *graph = reel_trace(net, like, NULL); /* of any batch size */
    printf("traced: %d nodes\n", reel_graph_nodes_each_run(graph));
    (void)reel_graph_optimize(graph,
                              NULL); /* batch norm folded, convolutions fused, ... */
    printf("optimized: %d nodes\n", reel_graph_nodes_each_run(graph));
    (void)reel_onnx_export(/* compared with the network itself before it counts */
                           graph, onnx,
                           &(reel_onnx_opts){.fn = reel_module_function, .user = net});
    (void)reel_graph_save_html(graph, html, NULL);
    reel_graph_free(graph);
}

int main(int argc, char **argv)
{
    char onnx[4096], html[4096];
    if (argc > 3 || (argc > 1 && argv[1][0] == '-')) {
        fprintf(stderr, "usage: trace_export [FOLDER [WEIGHTS.safetensors]]\n");
        return 2;
    }
    snprintf(onnx, sizeof onnx, "%s/resnet20.onnx", argc > 1 ? argv[1] : ".");
    snprintf(html, sizeof html, "%s/resnet20.html", argc > 1 ? argv[1] : ".");

    reel_seed(1);
    reel_module *net =
        reel_resnet20(&(reel_resnet_opts){.classes = CLASSES, .cifar_stem = true});
    if (argc > 2)
        (void)reel_module_load(net, argv[2], NULL);
    else
        train(net);
    trace_and_export(net, onnx, html);

    reel_graph *graph = reel_onnx_load(onnx, NULL);
    reel_executor *file = reel_executor_new(graph, NULL);
    for (int64_t batch = 1; batch <= 64 && !reel_failed(); batch *= 8)
        printf("batch %2lld: off by %.2g\n", (long long)batch,
               difference(net, file, batch));
    if (!reel_failed()) printf("%s and %s are written\n", onnx, html);
    reel_executor_free(file);
    reel_graph_free(graph);
    reel_module_free(net);
    reel_scope_end(0);
    if (reel_failed()) fprintf(stderr, "trace_export: %s\n", reel_error_message());
    return reel_failed();
}
