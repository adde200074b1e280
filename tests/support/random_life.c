/* random_life.c: see the header. */
#include "random_life.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "own_ops.h"
#include "trace/execute/executor.h"

enum { BATCH = 5, SIDE = 6, CLASSES = 3 };

/* A number below n that belongs to this seed, step and purpose. SplitMix64. */
static int draw(const life_plan *p, int step, int purpose, int n)
{
    uint64_t z = p->seed * UINT64_C(0x9e3779b97f4a7c15) + (uint64_t)step * 1000003u +
                 (uint64_t)purpose * 7919u + 1;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return (int)((z ^ (z >> 31)) % (uint64_t)n);
}

/* Without exact passes rounding differs, and training makes more of it: f64 keeps it small. */
life_plan life_plan_of(uint64_t seed)
{
    life_plan p = {.seed = seed};
    p.exact = draw(&p, 0, 1, 5) < 2;
    p.dtype = p.exact && draw(&p, 0, 2, 3) ? REEL_F32 : REEL_F64;
    p.net = draw(&p, 0, 3, 5);
    p.optim = draw(&p, 0, 4, 4);
    p.average = draw(&p, 0, 5, 3);
    p.schedule = draw(&p, 0, 6, 4);
    p.clearing = draw(&p, 0, 7, 3);
    p.clips = draw(&p, 0, 8, 2);
    p.checkpoints = draw(&p, 0, 9, 4) == 0;
    p.average_inside = draw(&p, 0, 10, 2);
    p.held = draw(&p, 0, 11, 3) == 0 ? 2 : 0;
    p.looks = draw(&p, 0, 12, 3);
    p.calm = draw(&p, 0, 13, 3) > 0;
    p.own = draw(&p, 0, 14, 6);
    return p;
}

/* ---- the network ------------------------------------------------------------------------- */

typedef struct again {
    reel_module m;
    reel_module *child;
} again;

static reel_tensor *run_child(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_forward(user, x[0]);
}

static reel_tensor *again_forward(reel_module *self, reel_tensor *x)
{
    return reel_checkpoint(run_child, ((again *)self)->child, &x, 1);
}

/* A module whose results are computed again in backward. */
static reel_module *checkpointed(reel_module *child)
{
    again *a = reel_module_new(sizeof *a, "checkpointed", again_forward);
    if (a) a->child = reel_module_add(&a->m, "child", child);
    return a ? reel_module_done(&a->m) : NULL;
}

static reel_tensor *around_forward(reel_module *self, reel_tensor *x)
{
    return reel_forward(((again *)self)->child, x);
}

/* A module around one that a network has, such as an adapter is. */
static reel_module *around(reel_module *child)
{
    again *a = reel_module_new(sizeof *a, "around", around_forward);
    if (a)
        a->child = reel_module_add(&a->m, "child", child);
    else
        reel_module_free(child);
    return a ? reel_module_done(&a->m) : NULL;
}

typedef struct own {
    reel_module m;
    reel_module *child;
    reel_custom_op *op;
} own;

static reel_tensor *own_forward(reel_module *self, reel_tensor *x)
{
    const own *o = (const own *)self;
    reel_tensor *h = reel_tanh(reel_forward(o->child, x));
    return reel_custom(o->op, &h, 1, NULL);
}

/* An operator of the program's own behind a module. */
static reel_module *before_own(reel_module *child, reel_custom_op *op)
{
    own *o = reel_module_new(sizeof *o, "own", own_forward);
    if (o) o->child = reel_module_add(&o->m, "child", child);
    if (o) o->op = op;
    return o ? reel_module_done(&o->m) : NULL;
}

/* Nothing, loops with and without a shape rule, and operators. */
static reel_custom_op *op_of(const life_plan *p)
{
    switch (p->own) {
    case 1: return own_cube("life_cube", &(own_opts){.onnx = own_cube_onnx});
    case 2:
        return own_cube("life_cube", &(own_opts){.no_rule = true, .onnx = own_cube_onnx});
    case 3: return own_swish("life_swish", NULL);
    default: return NULL;
    }
}

static reel_module *conv(int in, int out)
{
    return reel_nn_conv2d(in, out, 3, &(reel_nn_conv2d_opts){.conv = {.padding = 1}});
}

static reel_module *head(int in)
{
    return reel_nn_linear(in, CLASSES, NULL);
}

static reel_module *net_of(const life_plan *p, reel_custom_op *op)
{
    enum { ALL = SIDE * SIDE };
    reel_module *first = conv(2, 4);
    if (p->checkpoints) first = checkpointed(first);
    if (op) first = before_own(first, op);
    switch (p->net) {
    case 0:
        return reel_nn_sequential(first, reel_nn_batch_norm2d(4, NULL), reel_nn_relu(),
                                  reel_nn_dropout(0.25), reel_nn_flatten(1, -1),
                                  head(4 * ALL));
    case 1:
        return reel_nn_sequential(first, reel_nn_batch_norm2d(4, NULL), reel_nn_gelu(),
                                  conv(4, 4), reel_nn_batch_norm2d(4, NULL),
                                  reel_nn_activation(REEL_ACT_SILU),
                                  reel_nn_max_pool2d(2, &(reel_pool2d_opts){.stride = 2}),
                                  reel_nn_flatten(1, -1), head(ALL));
    case 2:
        return reel_nn_sequential(first, reel_nn_flatten(1, -1),
                                  reel_nn_linear(4 * ALL, 12, NULL), reel_nn_gelu(),
                                  reel_nn_layer_norm(REEL_SHAPE(12), NULL),
                                  reel_nn_dropout(0.5), head(12));
    case 3:
        return reel_nn_sequential(first, reel_nn_batch_norm2d(4, NULL), reel_nn_relu(),
                                  conv(4, 2), reel_nn_batch_norm2d(2, NULL),
                                  reel_nn_flatten(1, -1), head(2 * ALL));
    default:
        return reel_nn_sequential(first, reel_nn_relu(), reel_nn_batch_norm2d(4, NULL),
                                  reel_nn_adaptive_avg_pool2d(2, 2), reel_nn_dropout(0.1),
                                  reel_nn_flatten(1, -1), head(16));
    }
}

/* ---- its objects --------------------------------------------------------------------------- */

static reel_status add_group(life *l, reel_params p)
{
    return l->plan.optim < 2
               ? reel_sgd_add(l->optim, p, &(reel_sgd_opts){.lr = 0.02, .momentum = 0.5})
               : reel_adam_add(l->optim, p, &(reel_adam_opts){.lr = 2e-3});
}

static reel_optim *optim_of(const life_plan *p, reel_params params)
{
    switch (p->optim) {
    case 0: return reel_sgd(params, &(reel_sgd_opts){.lr = 0.05});
    case 1:
        return reel_sgd(params, &(reel_sgd_opts){.lr = 0.05,
                                                 .momentum = 0.9,
                                                 .weight_decay = 1e-3,
                                                 .nesterov = true});
    case 2: return reel_adam(params, &(reel_adam_opts){.lr = 5e-3});
    default:
        return reel_adamw(params, &(reel_adam_opts){.lr = 5e-3, .weight_decay = 0.01});
    }
}

static reel_params held_back(const life *l, bool rest)
{
    reel_params p = reel_parameters(l->net);
    int first = p.n - l->plan.held;
    return rest ? (reel_params){p.tensor + first, p.name + first, l->plan.held}
                : (reel_params){p.tensor, p.name, first};
}

/* The schedule looks after the groups that are there when it is made. */
static void make_schedule(life *l)
{
    switch (l->plan.schedule) {
    case 1: l->schedule = reel_schedule_cosine(l->optim, LIFE_STEPS, 0); break;
    case 2: l->schedule = reel_schedule_linear(l->optim, LIFE_STEPS, 1, 0.1); break;
    case 3: l->schedule = reel_schedule_step_decay(l->optim, 3, 0.5); break;
    default: break;
    }
}

/* Another function in the place of the first one: the modules before and after stay. */
static void put_activation(life *l)
{
    static const reel_activation kinds[] = {REEL_ACT_TANH, REEL_ACT_SILU,
                                            REEL_ACT_LEAKY_RELU};
    for (int i = 0; i < reel_module_count(l->net) && l->activation; i++) {
        reel_module *old = reel_module_child(l->net, i);
        for (int kind = 0; kind <= REEL_ACT_IDENTITY; kind++) {
            if (strcmp(old->type, reel_activation_name((reel_activation)kind)) != 0)
                continue;
            bool training = old->training;
            old = reel_module_replace(l->net, reel_module_name(old),
                                      reel_nn_activation(kinds[l->activation - 1]));
            if (old) reel_train(old, training);
            return;
        }
    }
}

/* Children are taken out to be put into another module, or out of that again. */
static void put_around(life *l)
{
    for (int i = 0; i < reel_module_count(l->net) && i < LIFE_MODULES; i++) {
        char name[16];
        reel_module *child = reel_module_child(l->net, i);
        bool is = strcmp(child->type, "around") == 0;
        if (is == l->around[i]) continue;
        (void)snprintf(name, sizeof name, "%s", reel_module_name(child));
        reel_module *taken = reel_module_take(l->net, name);
        reel_module *next = is ? reel_module_take(taken, "child") : around(taken);
        if (is) reel_module_free(taken);
        (void)reel_module_replace(l->net, name, next);
    }
}

/* Modes and what is frozen, of a new network as of the old one. */
static void set_again(life *l)
{
    put_activation(l);
    put_around(l);
    reel_params p = reel_parameters(l->net);
    reel_train(l->net, true);
    for (int i = 0; i < reel_module_count(l->net) && i < LIFE_MODULES; i++)
        if (l->still[i]) reel_train(reel_module_child(l->net, i), false);
    for (int i = 0; i < p.n && i < LIFE_PARAMS; i++)
        reel_requires_grad(p.tensor[i], !l->frozen[i]);
}

static reel_status train_step(void *user, reel_tensor *const x[], int n_x,
                              reel_tensor *y[], int n_y);
static reel_status look(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                        int n_y);

static void make_objects(life *l)
{
    reel_seed(l->plan.seed);
    l->net = net_of(&l->plan, l->op);
    if (l->plan.dtype == REEL_F64) reel_module_cast(l->net, REEL_F64);
    l->optim = optim_of(&l->plan, held_back(l, false));
    make_schedule(l);
    if (l->joined) add_group(l, held_back(l, true));
    if (l->plan.average)
        l->ema =
            reel_ema_new(l->net, 0.9, &(reel_ema_opts){.warmup = l->plan.average == 2});
    set_again(l);
    const reel_compile_opts o = {.module = l->net, .exact = l->plan.exact};
    if (!l->graphs) return;
    l->train = reel_compile(train_step, l, &o);
    l->eval = reel_compile(look, l, &o);
}

static void free_objects(life *l)
{
    reel_compiled_free(l->train);
    reel_compiled_free(l->eval);
    reel_schedule_free(l->schedule);
    reel_ema_free(l->ema);
    reel_optim_free(l->optim);
    reel_module_free(l->net);
    l->train = l->eval = NULL;
    l->schedule = NULL;
    l->ema = NULL;
}

/* ---- a step ---------------------------------------------------------------------------------- */

static reel_status train_step(void *user, reel_tensor *const x[], int n_x,
                              reel_tensor *y[], int n_y)
{
    life *l = user;
    (void)n_x;
    (void)n_y;
    if (l->plan.clearing == 1) reel_zero_grad(l->net);
    reel_tensor *logits = reel_forward(l->net, x[0]);
    if (l->secret) logits = reel_mul_scalar(logits, (double)*l->secret);
    y[0] = reel_cross_entropy(logits, x[1], NULL);
    reel_backward(y[0], NULL);
    y[1] =
        l->plan.clips ? reel_clip_grad_norm_tensor(reel_parameters(l->net), 0.5) : y[0];
    reel_optim_step(l->optim);
    if (l->plan.clearing == 0) reel_optim_zero_grad(l->optim);
    if (l->ema && l->plan.average_inside) reel_ema_update(l->ema);
    return reel_error_status();
}

static reel_status look(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                        int n_y)
{
    (void)n_x;
    (void)n_y;
    y[0] = reel_forward(((life *)user)->net, x[0]);
    return reel_error_status();
}

/* What is frozen asks for no gradient; if nothing does, there is no step. */
static bool can_train(const life *l)
{
    reel_params p = reel_parameters(l->net);
    bool any = false;
    for (int i = 0; i < p.n && !any; i++) any = reel_needs_grad(p.tensor[i]);
    return any;
}

/* ---- planted mistakes ---------------------------------------------------------------------- */

static void plant_freeze(life *l)
{
    for (int i = 0; i < 2; i++) {
        const reel_graph *g = reel_compiled_graph(i ? l->eval : l->train);
        for (int k = 0; g && k < g->decided->n_state; k++)
            g->decided->state[k].needs_grad =
                reel_needs_grad(g->decided->state[k].tensor);
    }
}

static void plant_fold(life *l)
{
    const reel_executor *e = reel_compiled_executor(l->eval);
    reel__program *p = e ? e->program : NULL;
    for (int i = 0; p && i < p->n_stamp; i++) {
        p->stamp[i].version = p->stamp[i].storage->version;
        p->stamp[i].lent = p->stamp[i].storage->lent;
    }
}

/* ---- between steps ------------------------------------------------------------------------- */

static void change_frozen(life *l, int step)
{
    reel_params p = reel_parameters(l->net);
    int i = draw(&l->plan, step, 21, p.n < LIFE_PARAMS ? p.n : LIFE_PARAMS);
    l->frozen[i] = !l->frozen[i];
    reel_requires_grad(p.tensor[i], !l->frozen[i]);
    if (l->frozen[i]) reel_set_grad(p.tensor[i], NULL);
    if (l->plant == LIFE_MISSED_FREEZE && l->graphs) plant_freeze(l);
}

static void change_mode(life *l, int step)
{
    int i = draw(&l->plan, step, 22, reel_module_count(l->net));
    l->still[i] = !l->still[i];
    reel_train(reel_module_child(l->net, i), !l->still[i]);
}

static void change_activation(life *l, int step)
{
    l->activation = 1 + draw(&l->plan, step, 24, 3);
    put_activation(l);
}

/* What has parameters, but for the head: an optimizer may get that later, under its name. */
static void change_around(life *l, int step)
{
    int n = reel_module_count(l->net) - 1;
    int i = draw(&l->plan, step, 25, n < LIFE_MODULES ? n : LIFE_MODULES);
    if (reel_param_count(reel_module_child(l->net, i)) == 0) return;
    l->around[i] = !l->around[i];
    put_around(l);
}

static void join(life *l)
{
    if (l->joined || !l->plan.held) return;
    l->joined = true;
    add_group(l, held_back(l, true));
}

static void swap_average(life *l)
{
    if (!l->ema) return;
    reel_ema_swap(l->ema);
    reel_ema_swap(l->ema);
}

/* A process that ends, and another one that goes on. Gradients are of no file: a run that is
 * saved has none. */
static void resume(life *l)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/run.safetensors", l->folder);
    reel_zero_grad(l->net);
    if (!l->graphs) return;
    reel_training run = {
        .module = l->net, .optim = l->optim, .schedule = l->schedule, .ema = l->ema};
    if (reel_training_save(&run, path)) return;
    free_objects(l);
    make_objects(l);
    run = (reel_training){
        .module = l->net, .optim = l->optim, .schedule = l->schedule, .ema = l->ema};
    reel_training_load(&run, path);
}

static void export_net(life *l, reel_tensor *x)
{
    char path[256];
    if (!l->graphs || l->plan.checkpoints || l->plan.own == 3) return;
    (void)snprintf(path, sizeof path, "%s/net.onnx", l->folder);
    bool was = reel_set_grad_enabled(false);
    reel_train(l->net, false);
    reel_module_export(l->net, x, path, NULL);
    (void)reel_set_grad_enabled(was);
    set_again(l);
}

static void happen(life *l, int step, reel_tensor *x)
{
    if (l->plan.calm && draw(&l->plan, step, 23, 3)) return;
    switch (draw(&l->plan, step, 20, 13)) {
    case 0:
    case 1: change_frozen(l, step); break;
    case 2:
    case 3: change_mode(l, step); break;
    case 4: join(l); break;
    case 5: swap_average(l); break;
    case 6: resume(l); break;
    case 7: export_net(l, x); break;
    case 8: reel_zero_grad(l->net); break;
    case 9:
        if (!l->schedule) reel_optim_set_lr(l->optim, -1, 0.01 + 0.001 * step);
        break;
    case 10: change_activation(l, step); break;
    case 11: change_around(l, step); break;
    default: break;
    }
}

/* ---- what is seen -------------------------------------------------------------------------- */

static double weigh(reel_tensor *t)
{
    double sum = 0;
    int64_t n = reel_numel(t);
    double *v = calloc((size_t)n + 1, sizeof *v);
    if (v && !reel_read(t, v, REEL_F64))
        for (int64_t i = 0; i < n; i++) sum += v[i] * (double)(i % 7 + 1);
    free(v);
    return sum;
}

static reel_status add_weight(void *user, const char *path, reel_tensor *t, bool is_param)
{
    double *sum = user;
    reel_tensor *g = is_param ? reel_grad_of(t) : NULL;
    (void)path;
    *sum = *sum * 0.75 + weigh(t) + (g ? 1 + weigh(g) : 0);
    return reel_error_status();
}

static double state_of(const life *l)
{
    double sum = 0;
    (void)reel_tensor_each(l->net, add_weight, &sum);
    if (!l->ema) return sum;
    reel_tensor_map *map = reel_tensor_map_new();
    (void)reel_ema_state(l->ema, map);
    for (int64_t i = 0; i < reel_tensor_map_count(map); i++)
        sum = sum * 0.75 + weigh(reel_tensor_map_get(map, reel_tensor_map_name(map, i)));
    reel_tensor_map_free(map);
    return sum;
}

static double evaluate(life *l, reel_tensor *x)
{
    reel_tensor *y = NULL;
    bool was = reel_set_grad_enabled(false);
    reel_train(l->net, false);
    if (l->plant == LIFE_STALE_FOLD && l->graphs) plant_fold(l);
    if (l->graphs)
        (void)reel_compiled_run(l->eval, &x, 1, &y, 1);
    else
        (void)look(l, &x, 1, &y, 1);
    l->as_graph += l->graphs && reel_compiled_graph(l->eval);
    (void)reel_set_grad_enabled(was);
    set_again(l);
    return y ? weigh(y) : NAN;
}

static bool looks_now(const life_plan *p, int step)
{
    switch (p->looks) {
    case 0: return draw(p, step, 31, 2);
    case 1: return true;
    default: return step / 3 % 2;
    }
}

static life_day one_day(life *l, int step)
{
    life_day d = {0};
    int n = draw(&l->plan, step, 30, 6) ? BATCH : BATCH - 2;
    reel_seed(l->plan.seed * 131 + (uint64_t)step);
    reel_tensor *x[] = {reel_cast(reel_randn(REEL_SHAPE(n, 2, SIDE, SIDE), REEL_F32),
                                  l->plan.dtype),
                        reel_randint(0, CLASSES, REEL_SHAPE(n), REEL_I64)},
                *y[2] = {NULL, NULL};
    happen(l, step, x[0]);
    reel_seed(l->plan.seed * 137 + (uint64_t)step);
    if (can_train(l)) {
        (void)(l->graphs ? reel_compiled_run(l->train, x, 2, y, 2)
                         : train_step(l, x, 2, y, 2));
        l->as_graph += l->graphs && reel_compiled_graph(l->train);
        d.loss = y[0] ? reel_item(y[0]) : NAN;
        d.norm = y[1] ? reel_item(y[1]) : NAN;
        if (l->plan.clearing == 2) reel_zero_grad(l->net);
    }
    if (l->ema && !l->plan.average_inside) reel_ema_update(l->ema);
    if (l->schedule) reel_schedule_step(l->schedule);
    d.state = state_of(l);
    if (looks_now(&l->plan, step)) d.seen = evaluate(l, x[0]);
    return d;
}

bool life_live(life *l, life_day day[LIFE_STEPS])
{
    float secret = 1;
    l->op = op_of(&l->plan);
    make_objects(l);
    if (l->plant == LIFE_UNSEEN_READ) l->secret = &secret;
    for (int i = 0; i < LIFE_STEPS && !reel_failed(); i++) {
        reel_scope s = reel_scope_begin();
        secret = 1 + 0.125f * (float)(i / 4);
        day[i] = one_day(l, i);
        reel_scope_end(s);
    }
    free_objects(l);
    reel_custom_op_free(l->op);
    return !reel_failed();
}
