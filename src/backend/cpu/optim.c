/* optim.c: SGD_STEP and ADAM_STEP: parameter and state are updated in place, in one pass
 * over memory. Where an operand lies scattered, a piece at a time is brought together
 * first. */
#include <math.h>

#include "backend/cpu/isa/optim.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/walk.h"
#include "base/parallel.h"

enum {
    OPERANDS = 4,  /* param, grad, and up to two of state */
    GRAIN = 65536, /* elements of a task                  */
    PIECE = 512    /* elements gathered at a time         */
};

typedef struct stepping {
    bool is_adam;
    reel__sgd_pass sgd;
    reel__adam_pass adam;
    int n_operands; /* 2: no state */
    char *data[OPERANDS];
    reel_dtype dtype;
    int64_t size;                             /* bytes of an element               */
    reel__axis axis[OPERANDS][REEL_MAX_RANK]; /* a and b the same, logical order   */
    int n_axes[OPERANDS];
} stepping;

static void step_dense(const stepping *s, int64_t n, char *const at[OPERANDS])
{
    const reel__optim_table *loops = REEL_ISA_PICK(optim);
    void *param = at[0], *grad = at[1], *m = at[2], *v = at[3];
    if (s->is_adam && s->dtype == REEL_F32)
        loops->adam_f32(&s->adam, n, param, grad, m, v);
    else if (s->is_adam)
        loops->adam_f64(&s->adam, n, param, grad, m, v);
    else if (s->dtype == REEL_F32)
        loops->sgd_f32(&s->sgd, n, param, grad, m);
    else
        loops->sgd_f64(&s->sgd, n, param, grad, m);
}

static void dense_range(void *ctx, int64_t begin, int64_t end)
{
    const stepping *s = ctx;
    char *at[OPERANDS] = {NULL};
    for (int k = 0; k < s->n_operands; k++) at[k] = s->data[k] + begin * s->size;
    step_dense(s, end - begin, at);
}

static void strided_range(void *ctx, int64_t begin, int64_t end)
{
    const stepping *s = ctx;
    reel__walk from[OPERANDS];
    for (int k = 0; k < s->n_operands; k++)
        from[k] = reel__match_walk(s->axis[k], s->n_axes[k], begin);
    for (int64_t i = begin, n; i < end; i += n) {
        double room[OPERANDS][PIECE];
        char *at[OPERANDS] = {NULL};
        n = end - i < PIECE ? end - i : PIECE;
        reel__walk to[OPERANDS];
        for (int k = 0; k < s->n_operands; k++) {
            to[k] = from[k];
            at[k] = (char *)room[k];
            reel__walk_gather(room[k], s->data[k], &from[k], n, (size_t)s->size);
        }
        step_dense(s, n, at);
        for (int k = 0; k < s->n_operands; k++)
            if (k != 1) /* the gradient stays */
                reel__walk_scatter(s->data[k], room[k], &to[k], n, (size_t)s->size);
    }
}

/* Steps where both have more than one element: those decide where elements lie. */
static bool same_layout(const reel__meta *a, const reel__meta *b)
{
    for (int d = 0; d < a->rank; d++)
        if (a->dim[d] > 1 && a->stride[d] != b->stride[d]) return false;
    return true;
}

static reel_status run(stepping *s, const reel__kcall *c, const char *who)
{
    const reel__meta *param = c->in[0].meta;
    bool dense = reel__is_dense(param);
    s->dtype = param->dtype;
    s->size = (int64_t)reel_dtype_size(s->dtype);
    for (int k = 0; k < s->n_operands; k++) {
        const reel__meta *x = c->in[k].meta;
        if (x->dtype != s->dtype || (x->dtype != REEL_F32 && x->dtype != REEL_F64))
            return reel_fail(
                REEL_ERR_DTYPE,
                "%s: input %d is %s and the parameter %s, both must be f32 or f64", who,
                k, reel_dtype_name(x->dtype), reel_dtype_name(s->dtype));
        s->data[k] = c->in[k].data;
        s->n_axes[k] = reel__axes(x, x, s->axis[k]);
        dense = dense && same_layout(param, x);
    }
    reel__parallel_range(reel__numel(param), GRAIN, dense ? dense_range : strided_range,
                         s);
    return REEL_OK;
}

/* A number that is a one-element f64 tensor, so that a graph can change it. */
static reel_status read_number(const reel__karg *arg, const char *who, const char *what,
                               double *out)
{
    if (arg->meta->dtype != REEL_F64)
        return reel_fail(REEL_ERR_DTYPE, "%s: %s is %s, must be f64", who, what,
                         reel_dtype_name(arg->meta->dtype));
    *out = *(const double *)arg->data;
    return REEL_OK;
}

reel_status reel__ref_sgd_step(const reel__kcall *c)
{
    const reel__sgd_attrs *a = c->attrs;
    stepping s = {.n_operands = c->in[2].data ? 3 : 2};
    s.sgd = (reel__sgd_pass){
        .sign = a->maximize ? -1 : 1,
        .weight_decay = a->weight_decay,
        .momentum = a->momentum,
        .damped = 1 - a->dampening,
        .nesterov = a->nesterov != 0,
        .first = a->first != 0,
    };
    reel_status status = read_number(&c->in[3], "sgd_step", "lr", &s.sgd.lr);
    return status == REEL_OK ? run(&s, c, "sgd_step") : status;
}

reel_status reel__ref_adam_step(const reel__kcall *c)
{
    const reel__adam_attrs *a = c->attrs;
    stepping s = {.is_adam = true, .n_operands = 4};
    double lr = 0, t = 0;
    reel_status status = read_number(&c->in[4], "adam_step", "lr", &lr);
    if (status == REEL_OK) status = read_number(&c->in[5], "adam_step", "step", &t);
    if (status != REEL_OK) return status;
    s.adam = (reel__adam_pass){
        .sign = a->maximize ? -1 : 1,
        .shrink = a->decoupled ? 1 - lr * a->weight_decay : 1,
        .weight_decay = a->decoupled ? 0 : a->weight_decay,
        .blend = 1 - a->beta1,
        .beta2 = a->beta2,
        .rest2 = 1 - a->beta2,
        .step_size = lr / (1 - pow(a->beta1, t)),
        .correction = sqrt(1 - pow(a->beta2, t)),
        .eps = a->eps,
    };
    return run(&s, c, "adam_step");
}
