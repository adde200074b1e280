/* models.c: whole models: a training step (forward, loss, backward, optimizer), inference. */
#include <stdlib.h>
#include <string.h>

#include "cases.h"

bool bench_traced;
const char *bench_skip;

typedef struct model {
    reel_compiled *step;
    reel_module *net;
    reel_optim *optim; /* NULL: inference */
    reel_tensor *x, *y;
    bool tokens; /* y is [n, t]: logits are flattened */
} model;

/* What the plan of a traced model takes, in MiB. */
static void show_memory(const reel_compiled *s)
{
    const double mib = 1 << 20;
    reel_plan_memory k;
    if (!reel_compiled_executor(s) || reel_executor_memory(reel_compiled_executor(s), &k))
        return;
    printf(
        "%-22s arena %.1f (at least %.1f), kernels %.1f, prepared %.1f, state %.1f MiB; "
        "%d nodes\n",
        "", (double)k.arena / mib, (double)k.lower_bound / mib, (double)k.scratch / mib,
        (double)k.prepared / mib, (double)k.state / mib,
        reel_graph_nodes(reel_compiled_graph(s)));
}

static void model_close(void *state)
{
    model *m = state;
    show_memory(m->step);
    reel_compiled_free(m->step);
    reel_optim_free(m->optim);
    reel_module_free(m->net);
    reel_release(m->x);
    reel_release(m->y);
    free(m);
}

/* x[0] inputs, x[1] labels -> y[0] the loss */
static reel_status train(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                         int n_y)
{
    model *m = user;
    (void)n_x;
    (void)n_y;
    reel_tensor *logits = reel_forward(m->net, x[0]), *labels = x[1];
    if (m->tokens) {
        logits = reel_flatten(logits, 0, 1);
        labels = reel_flatten(labels, 0, 1);
    }
    y[0] = reel_cross_entropy(logits, labels, NULL);
    reel_backward(y[0], NULL);
    reel_optim_step(m->optim);
    reel_optim_zero_grad(m->optim);
    return reel_error_status();
}

/* x[0] inputs -> y[0] logits */
static reel_status infer(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                         int n_y)
{
    model *m = user;
    (void)n_x;
    (void)n_y;
    y[0] = reel_forward(m->net, x[0]);
    return y[0] ? REEL_OK : reel_error_status();
}

static reel_status model_step(void *state)
{
    model *m = state;
    reel_tensor *const x[] = {m->x, m->y};
    reel_tensor *y = NULL;
    reel_function_n fn = m->optim ? train : infer;
    int n = m->optim ? 2 : 1;
    if (bench_traced && !m->step)
        m->step = reel_compile(
            fn, m, &(reel_compile_opts){.module = m->net, .skip = bench_skip});
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(m->optim != NULL);
    reel_status st =
        bench_traced ? reel_compiled_run(m->step, x, n, &y, 1) : fn(m, x, n, &y, 1);
    (void)reel_set_grad_enabled(was);
    reel_scope_end(s);
    return st;
}

static reel_tensor *images(int64_t n, int64_t side)
{
    reel_tensor *x = reel_randn(REEL_SHAPE(n, 3, side, side), REEL_F32);
    return reel_keep(reel_to_format(x, REEL_CHANNELS_LAST));
}

/* Takes `net` over, to be trained or run on `n` images. */
static void *net_open(reel_module *net, int64_t n, int64_t side, bool training)
{
    model *m = calloc(1, sizeof *m);
    reel_scope s = reel_scope_begin();
    m->net = net;
    m->x = images(n, side);
    m->y = reel_keep(reel_randint(0, 10, REEL_SHAPE(n), REEL_I64));
    reel_train(m->net, training);
    if (training)
        m->optim = reel_sgd(
            reel_parameters(m->net),
            &(reel_sgd_opts){
                .lr = 0.01, .momentum = 0.9, .weight_decay = 5e-4, .nesterov = true});
    reel_scope_end(s);
    return m;
}

/* size: depth of the ResNet, batch, 1 for training */
static void *resnet_open(const bench_case *c)
{
    const reel_resnet_opts o = {.classes = 10, .cifar_stem = true};
    return net_open(c->size[0] == 20 ? reel_resnet20(&o) : reel_resnet18(&o), c->size[1],
                    32, c->size[2]);
}

/* size: side of the images, batch, 1 for training */
static void *mobilenet_open(const bench_case *c)
{
    const reel_mobilenet_opts o = {.classes = 10, .cifar_stem = c->size[0] == 32};
    return net_open(reel_mobilenet_v2(&o), c->size[1], c->size[0], c->size[2]);
}

/* size: batch */
static void *mlp_open(const bench_case *c)
{
    model *m = calloc(1, sizeof *m);
    reel_scope s = reel_scope_begin();
    m->net = reel_mlp(3072, 10, &(reel_mlp_opts){.hidden = {512, 256}});
    m->x = reel_keep(reel_randn(REEL_SHAPE(c->size[0], 3072), REEL_F32));
    m->y = reel_keep(reel_randint(0, 10, REEL_SHAPE(c->size[0]), REEL_I64));
    m->optim = reel_adamw(reel_parameters(m->net),
                          &(reel_adam_opts){.lr = 1e-3, .weight_decay = 0.01});
    reel_scope_end(s);
    return m;
}

/* ---- a small GPT: token and position embeddings, causal pre-norm blocks, output head -------- */

typedef struct gpt {
    reel_module m;
    reel_module *tokens, *norm, *head, *block[16];
    reel_tensor *positions;
    int depth;
} gpt;

static reel_tensor *gpt_forward(reel_module *self, reel_tensor *x)
{
    gpt *g = (gpt *)self;
    reel_tensor *h = reel_add(reel_forward(g->tokens, x), g->positions);
    for (int i = 0; i < g->depth; i++) h = reel_forward(g->block[i], h);
    return reel_forward(g->head, reel_forward(g->norm, h));
}

/* size: batch, length, dim, depth, heads, vocabulary */
static void *gpt_open(const bench_case *c)
{
    int64_t n = c->size[0], t = c->size[1], dim = c->size[2], vocab = c->size[5];
    model *m = calloc(1, sizeof *m);
    reel_scope s = reel_scope_begin();
    gpt *g = reel_module_new(sizeof *g, "gpt", gpt_forward);
    g->depth = (int)c->size[3];
    g->tokens = reel_module_add(&g->m, "tokens", reel_nn_embedding(vocab, dim));
    g->positions = reel_module_param(
        &g->m, "positions",
        reel_mul_scalar(reel_randn(REEL_SHAPE(t, dim), REEL_F32), 0.02));
    for (int i = 0; i < g->depth; i++) {
        const char *const names[] = {"b0", "b1", "b2", "b3", "b4", "b5", "b6", "b7"};
        g->block[i] =
            reel_module_add(&g->m, names[i],
                            reel_nn_encoder_layer(
                                dim, (int)c->size[4],
                                &(reel_nn_encoder_layer_opts){.hidden = 4 * dim,
                                                              .activation = REEL_ACT_GELU,
                                                              .norm_first = true,
                                                              .causal = true}));
    }
    g->norm = reel_module_add(&g->m, "norm", reel_nn_layer_norm(REEL_SHAPE(dim), NULL));
    g->head = reel_module_add(
        &g->m, "head",
        reel_nn_linear(dim, vocab, &(reel_nn_linear_opts){.no_bias = true}));
    m->net = &g->m;
    m->tokens = true;
    m->x = reel_keep(reel_randint(0, vocab, REEL_SHAPE(n, t), REEL_I64));
    m->y = reel_keep(reel_randint(0, vocab, REEL_SHAPE(n, t), REEL_I64));
    m->optim = reel_adamw(reel_parameters(m->net),
                          &(reel_adam_opts){.lr = 1e-3, .weight_decay = 0.01});
    reel_scope_end(s);
    return m;
}

#define MODEL(name, what, open, ...)                                                     \
    {                                                                                    \
        name, what, open, model_step, model_close, {__VA_ARGS__}, 0                      \
    }
const bench_case bench_models[] = {
    MODEL("train_resnet20_b128", "ResNet-20 training step, batch 128", resnet_open, 20,
          128, 1),
    MODEL("train_resnet18_b32", "ResNet-18 training step, batch 32", resnet_open, 18, 32,
          1),
    MODEL("train_resnet18_b128", "ResNet-18 training step, batch 128", resnet_open, 18,
          128, 1),
    MODEL("train_mobilenet_b32", "MobileNetV2 training step, batch 32", mobilenet_open,
          32, 32, 1),
    MODEL("train_mobilenet_224_b8", "MobileNetV2 training step, 224 x 224, batch 8",
          mobilenet_open, 224, 8, 1),
    MODEL("train_mlp_b128", "MLP 3072-512-256-10 training step, batch 128", mlp_open,
          128),
    MODEL("train_gpt_b12", "GPT 4 layers, 128 wide, 12 x 64 tokens, training step",
          gpt_open, 12, 64, 128, 4, 4, 65),
    MODEL("infer_resnet20_b1", "ResNet-20 inference, batch 1", resnet_open, 20, 1, 0),
    MODEL("infer_resnet20_b64", "ResNet-20 inference, batch 64", resnet_open, 20, 64, 0),
    MODEL("infer_resnet18_b1", "ResNet-18 inference, batch 1", resnet_open, 18, 1, 0),
    MODEL("infer_resnet18_b64", "ResNet-18 inference, batch 64", resnet_open, 18, 64, 0),
    MODEL("infer_mobilenet_b1", "MobileNetV2 inference, batch 1", mobilenet_open, 32, 1,
          0),
    MODEL("infer_mobilenet_b64", "MobileNetV2 inference, batch 64", mobilenet_open, 32,
          64, 0),
};
const int bench_n_models = (int)(sizeof bench_models / sizeof *bench_models);
