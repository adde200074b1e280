/* plain.c: layers without parameters: pooling, dropout, flatten. */
#include "base/error.h"
#include "base/option.h"
#include "nn/module.h"

/* ---- pooling ------------------------------------------------------------------------- */

typedef struct pool {
    reel_module m;
    int kernel;
    reel_pool2d_opts opts;
} pool;

static reel_tensor *max_pool_forward(reel_module *self, reel_tensor *x)
{
    const pool *p = (const pool *)self;
    return reel_max_pool2d(x, p->kernel, &p->opts);
}

static reel_tensor *avg_pool_forward(reel_module *self, reel_tensor *x)
{
    const pool *p = (const pool *)self;
    return reel_avg_pool2d(x, p->kernel, &p->opts);
}

static reel_module *pool_new(const char *who, const char *type,
                             reel_tensor *(*forward)(reel_module *, reel_tensor *),
                             int kernel, const reel_pool2d_opts *opts)
{
    const reel_pool2d_opts *o = REEL__OPTS(who, reel_pool2d_opts, opts);
    if (!o) return NULL;
    const int *hw = o->kernel_hw;
    if (hw[0] || hw[1] ? hw[0] < 1 || hw[1] < 1 : kernel < 1) {
        reel_fail(REEL_ERR_ARG, "%s: kernel %d, expected 1 or more", who, kernel);
        return NULL;
    }
    pool *p = reel_module_new(sizeof *p, type, forward);
    if (!p) return NULL;
    p->kernel = kernel;
    p->opts = *o;
    return &p->m;
}

reel_module *reel_nn_max_pool2d(int kernel, const reel_pool2d_opts *opts)
{
    REEL__CALLED;
    return pool_new("nn_max_pool2d", "max_pool2d", max_pool_forward, kernel, opts);
}

reel_module *reel_nn_avg_pool2d(int kernel, const reel_pool2d_opts *opts)
{
    REEL__CALLED;
    return pool_new("nn_avg_pool2d", "avg_pool2d", avg_pool_forward, kernel, opts);
}

/* ---- layers with two integers ---------------------------------------------------------- */

typedef struct two_ints {
    reel_module m;
    int a, b;
} two_ints;

static reel_module *two_ints_new(const char *type,
                                 reel_tensor *(*forward)(reel_module *, reel_tensor *),
                                 int a, int b)
{
    two_ints *t = reel_module_new(sizeof *t, type, forward);
    if (!t) return NULL;
    t->a = a;
    t->b = b;
    return &t->m;
}

static reel_tensor *adaptive_forward(reel_module *self, reel_tensor *x)
{
    const two_ints *t = (const two_ints *)self;
    return reel_adaptive_avg_pool2d(x, t->a, t->b);
}

reel_module *reel_nn_adaptive_avg_pool2d(int h, int w)
{
    REEL__CALLED;
    if (h >= 1 && w >= 1)
        return two_ints_new("adaptive_avg_pool2d", adaptive_forward, h, w);
    reel_fail(REEL_ERR_ARG, "nn_adaptive_avg_pool2d: %d x %d, expected 1 or more each", h,
              w);
    return NULL;
}

static reel_tensor *flatten_forward(reel_module *self, reel_tensor *x)
{
    const two_ints *t = (const two_ints *)self;
    return reel_flatten(x, t->a, t->b);
}

reel_module *reel_nn_flatten(int start, int end)
{
    REEL__CALLED;
    return two_ints_new("flatten", flatten_forward, start, end);
}

/* ---- dropout ------------------------------------------------------------------------- */

typedef struct dropout {
    reel_module m;
    double p;
} dropout;

static reel_tensor *dropout_forward(reel_module *self, reel_tensor *x)
{
    return reel_dropout(x, ((const dropout *)self)->p, self->training);
}

reel_module *reel_nn_dropout(double p)
{
    REEL__CALLED;
    if (!(p >= 0 && p < 1)) {
        reel_fail(REEL_ERR_ARG, "nn_dropout: p is %g, expected 0 <= p < 1", p);
        return NULL;
    }
    dropout *d = reel_module_new(sizeof *d, "dropout", dropout_forward);
    if (d) d->p = p;
    return d ? &d->m : NULL;
}
