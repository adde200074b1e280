/* gradcheck.c: gradients against central differences, in f64.
 *
 * The output y of fn is multiplied with a random direction gy, so that one backward pass
 * gives d(gy . y)/dx for every element of every input, and two forward passes an element
 * give the same number by differences. The elements of an input are changed in its own
 * memory, so that strided inputs are checked as they lie. If it shall be fast, all elements of
 * an input move at once along a random direction: two forward passes an input. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "autograd/tape.h"
#include "base/alloc.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/option.h"
#include "base/rng.h"

typedef struct check {
    const char *who;
    reel_function fn;
    void *user;
    reel_tensor *const *x;
    int n;
    double eps, atol, rtol;
    bool fast;
    uint64_t seed;
    reel_tensor *gy;       /* f64, of y's shape: the direction */
    double *direction, *y; /* its elements, and room for as many of y */
    int64_t n_y;
} check;

static bool checked(const reel_tensor *x)
{
    return x->node != NULL;
}

static reel_status bad_input(const char *who, int i, const reel_tensor *x,
                             const char *what)
{
    return reel_fail(REEL_ERR_ARG, "%s: input %d %s %s", who, i, SHOW(&x->meta), what);
}

static reel_status check_arguments(const char *who, reel_function fn,
                                   reel_tensor *const x[], int n)
{
    if (reel_failed()) return reel_error_status();
    if (!fn || !x || n < 1)
        return reel_fail(REEL_ERR_ARG, "%s: needs a function and one input or more", who);
    if (!reel__all_alive(who, "input", x, n)) return reel_error_status();
    bool any = false;
    for (int i = 0; i < n; i++) {
        if (!x[i]) return reel_fail(REEL_ERR_ARG, "%s: input %d is NULL", who, i);
        if (!checked(x[i])) continue;
        any = true;
        if (x[i]->meta.dtype != REEL_F64)
            return bad_input(who, i, x[i], "requires a gradient and must be f64");
        if (x[i]->meta.device.type != REEL_CPU)
            return bad_input(who, i, x[i], "must be on the CPU");
        for (int d = 0; d < x[i]->meta.rank; d++)
            if (x[i]->meta.stride[d] == 0 && x[i]->meta.dim[d] > 1)
                return bad_input(who, i, x[i], "has elements that share memory");
    }
    if (!any) return reel_fail(REEL_ERR_ARG, "%s: no input requires a gradient", who);
    return REEL_OK;
}

/* Element `index`, in row-major order, of x where it lies. */
static double *element(const reel_tensor *x, int64_t index)
{
    double *p = reel__ptr(x);
    for (int d = x->meta.rank - 1; d >= 0; d--) {
        p += index % x->meta.dim[d] * x->meta.stride[d];
        index /= x->meta.dim[d];
    }
    return p;
}

/* Numbers in [-1, -0.5) and [0.5, 1): none so small that it hides an error. */
static double direction_at(uint64_t seed, int64_t i)
{
    uint32_t w[4];
    reel__philox(seed, (uint64_t)i, w);
    double u = 0.5 + 0.5 * reel__u01(w[0], w[1]);
    return w[2] & 1 ? u : -u;
}

static reel_status make_direction(check *c, const reel_tensor *y, uint64_t seed)
{
    c->n_y = reel__numel(&y->meta);
    c->direction = reel__malloc((size_t)(2 * c->n_y + 1) * sizeof *c->direction);
    if (!c->direction) return reel_error_status();
    c->y = c->direction + c->n_y;
    for (int64_t i = 0; i < c->n_y; i++) c->direction[i] = direction_at(seed, i);
    c->gy = reel_from(c->n_y ? c->direction : NULL, reel__shape(&y->meta), REEL_F64);
    return c->gy ? REEL_OK : reel_error_status();
}

/* y = fn(x), which must be f64. */
static reel_tensor *call(const check *c)
{
    REEL__CALLS_BACK;
    reel_tensor *y = c->fn(c->user, c->x, c->n);
    if (!y && !reel_failed())
        reel_fail(REEL_ERR_ARG, "%s: the function returned NULL", c->who);
    if (!y || reel_failed()) return NULL;
    if (y->meta.dtype == REEL_F64) return y;
    reel_fail(REEL_ERR_DTYPE, "%s: the function's result %s must be f64", c->who,
              SHOW(&y->meta));
    return NULL;
}

/* gy . fn(x), without history */
static reel_status value(const check *c, double *out)
{
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_tensor *y = call(c);
    reel_status st = y ? REEL_OK : reel_error_status();
    if (!st && reel__numel(&y->meta) != c->n_y)
        st = reel_fail(REEL_ERR_SHAPE, "%s: the function's result changed to %s", c->who,
                       SHOW(&y->meta));
    if (!st) st = reel_read(y, c->y, REEL_F64);
    *out = 0;
    for (int64_t i = 0; i < c->n_y && !st; i++) *out += c->direction[i] * c->y[i];
    (void)reel_set_grad_enabled(was);
    reel_scope_end(s);
    return st;
}

static bool is_near(const check *c, double analytic, double numeric)
{
    return fabs(analytic - numeric) <= c->atol + c->rtol * fabs(numeric);
}

static reel_status compare_element(const check *c, int input, int64_t index,
                                   double analytic)
{
    double *p = element(c->x[input], index), at = *p, high, low;
    *p = at + c->eps;
    double up = *p;
    reel_status st = value(c, &high);
    *p = at - c->eps;
    double down = *p;
    if (!st) st = value(c, &low);
    *p = at;
    if (st) return st;
    double numeric = (high - low) / (up - down);
    if (is_near(c, analytic, numeric)) return REEL_OK;
    return reel_fail(REEL_ERR_NUMERIC,
                     "%s: input %d %s, element %" PRId64 ", value %g: the gradient says "
                     "%.9g, differences say %.9g",
                     c->who, input, SHOW(&c->x[input]->meta), index, at, analytic,
                     numeric);
}

/* gy . fn(x) where input is `step` along its direction from `from`. */
static reel_status value_along(const check *c, int input, const double *from,
                               uint64_t seed, double step, double *out)
{
    const int64_t n = reel__numel(&c->x[input]->meta);
    for (int64_t i = 0; i < n; i++)
        *element(c->x[input], i) = from[i] + step * direction_at(seed, i);
    return value(c, out);
}

static reel_status compare_along(const check *c, int input, const double *g, int64_t n)
{
    const uint64_t seed = ~c->seed + (uint64_t)input;
    double high = 0, low = 0, analytic = 0;
    double *from = reel__malloc((size_t)n * sizeof *from + 1);
    if (!from) return reel_error_status();
    for (int64_t i = 0; i < n; i++) {
        from[i] = *element(c->x[input], i);
        analytic += g[i] * direction_at(seed, i);
    }
    reel_status st = value_along(c, input, from, seed, c->eps, &high);
    if (!st) st = value_along(c, input, from, seed, -c->eps, &low);
    for (int64_t i = 0; i < n; i++) *element(c->x[input], i) = from[i];
    reel__free(from);
    const double numeric = (high - low) / (2 * c->eps);
    if (st || is_near(c, analytic, numeric)) return st;
    return reel_fail(REEL_ERR_NUMERIC,
                     "%s: input %d %s: along a random direction the gradient says %.9g, "
                     "differences say %.9g",
                     c->who, input, SHOW(&c->x[input]->meta), analytic, numeric);
}

/* gradient: of c->x[input], or NULL where there is no path, which means zeros */
static reel_status compare_input(const check *c, int input, reel_tensor *gradient)
{
    int64_t n = reel__numel(&c->x[input]->meta);
    double *g = reel__calloc((size_t)n + 1, sizeof *g);
    if (!g) return reel_error_status();
    reel_status st = gradient ? reel_read(gradient, g, REEL_F64) : REEL_OK;
    if (c->fast && !st) st = compare_along(c, input, g, n);
    for (int64_t i = 0; i < n && !st && !c->fast; i++)
        st = compare_element(c, input, i, g[i]);
    reel__free(g);
    return st;
}

/* The inputs that are checked, into x; returns how many. */
static int differentiable(reel_tensor *const all[], int n, reel_tensor *x[])
{
    int n_x = 0;
    for (int i = 0; i < n; i++)
        if (checked(all[i])) x[n_x++] = all[i];
    return n_x;
}

/* x and gx have room for c->n tensors each */
static reel_status run(check *c, uint64_t seed, reel_tensor **x, reel_tensor **gx)
{
    static const reel_backward_opts unused = {.allow_unused = true};
    bool was = reel_set_grad_enabled(true);
    reel_tensor *y = call(c);
    (void)reel_set_grad_enabled(was);
    if (!y) return reel_error_status();
    reel_status st = make_direction(c, y, seed);
    int n_x = differentiable(c->x, c->n, x);
    memset(gx, 0, (size_t)n_x * sizeof(reel_tensor *));
    /* A result without history says that all gradients are zero. */
    if (!st && y->node) st = reel_grad(&y, 1, &c->gy, x, n_x, gx, &unused);
    for (int i = 0, k = 0; i < c->n && !st; i++)
        if (checked(c->x[i])) st = compare_input(c, i, gx[k++]);
    return st;
}

static reel_status gradcheck(const char *who, reel_function fn, void *user,
                             reel_tensor *const x[], int n,
                             const reel_gradcheck_opts *opts)
{
    const reel_gradcheck_opts *o = REEL__OPTS(who, reel_gradcheck_opts, opts);
    if (!o) return reel_error_status();
    check c = {.who = who,
               .fn = fn,
               .user = user,
               .x = x,
               .n = n,
               .eps = reel__option(o->eps, 1e-6),
               .atol = reel__option(o->atol, 1e-5),
               .rtol = reel__option(o->rtol, 1e-3),
               .fast = o->fast,
               .seed = o->seed};
    if (!(c.eps > 0 && c.atol >= 0 && c.rtol >= 0))
        return reel_fail(REEL_ERR_ARG,
                         "%s: eps %g, atol %g, rtol %g: expected a step above 0, and "
                         "tolerances of 0 or more",
                         who, c.eps, c.atol, c.rtol);
    reel_tensor **list = reel__malloc(2 * (size_t)n * sizeof(reel_tensor *));
    if (!list) return reel_error_status();
    reel_scope s = reel_scope_begin();
    reel_status st = run(&c, o->seed, list, list + n);
    reel_scope_end(s);
    reel__free(c.direction);
    reel__free(list);
    return st;
}

reel_status reel_gradcheck(reel_function fn, void *user, reel_tensor *const x[], int n,
                           const reel_gradcheck_opts *opts)
{
    REEL__CALLED;
    reel_status st = check_arguments("gradcheck", fn, x, n);
    return st ? st : gradcheck("gradcheck", fn, user, x, n, opts);
}

/* ---- second order: gradcheck of (x, gy) -> the gradients of gy . fn(x) ------------------- */

typedef struct gradient_of {
    reel_function fn;
    void *user;
    int n;
    reel_tensor **x, **gx; /* room for the inputs that are checked and their gradients */
} gradient_of;

/* All gradients as one flat tensor. The values by differences come from the first-order
 * pass (no create_graph), their gradients from the recorded one: both are compared. */
static reel_tensor *flat_gradients(const gradient_of *g, int n_x)
{
    for (int i = 0; i < n_x; i++) {
        reel_tensor *x = g->x[i];
        if (!g->gx[i]) g->gx[i] = reel__zeros(&x->meta);
        g->gx[i] = reel_reshape(g->gx[i], REEL_SHAPE(reel__numel(&x->meta)));
        if (!g->gx[i]) return NULL;
    }
    return reel_cat(g->gx, n_x, 0);
}

static reel_tensor *gradient_function(void *user, reel_tensor *const x[], int n)
{
    REEL__CALLS_BACK;
    gradient_of *g = user;
    reel_tensor *gy = x[n - 1];
    bool record = reel_set_grad_enabled(true);
    const reel_backward_opts opts = {.create_graph = record, .allow_unused = true};
    int n_x = differentiable(x, g->n, g->x);
    memset(g->gx, 0, (size_t)n_x * sizeof(reel_tensor *));
    reel_tensor *y = g->fn(g->user, x, g->n);
    bool ok = y && (!y->node || !reel_grad(&y, 1, &gy, g->x, n_x, g->gx, &opts));
    (void)reel_set_grad_enabled(record);
    return ok ? flat_gradients(g, n_x) : NULL;
}

/* A leaf of y's shape, away from zero. */
static reel_tensor *make_gy(const gradient_of *g, reel_tensor *const x[], uint64_t seed)
{
    bool was = reel_set_grad_enabled(false);
    check c = {.who = "gradgradcheck", .fn = g->fn, .user = g->user, .x = x, .n = g->n};
    reel_tensor *y = call(&c);
    if (y && !make_direction(&c, y, seed)) c.gy = reel_requires_grad(c.gy, true);
    reel__free(c.direction);
    (void)reel_set_grad_enabled(was);
    return c.gy;
}

reel_status reel_gradgradcheck(reel_function fn, void *user, reel_tensor *const x[],
                               int n, const reel_gradcheck_opts *opts)
{
    REEL__CALLED;
    reel_status st = check_arguments("gradgradcheck", fn, x, n);
    if (st) return st;
    reel_tensor **list = reel__malloc((3 * (size_t)n + 1) * sizeof(reel_tensor *));
    if (!list) return reel_error_status();
    gradient_of g = {fn, user, n, list + n + 1, list + 2 * n + 1};
    reel_scope s = reel_scope_begin();
    memcpy(list, x, (size_t)n * sizeof(reel_tensor *));
    /* another direction than the one that the check itself takes */
    list[n] = make_gy(&g, x, ~(opts ? opts->seed : 0));
    st = list[n] ? gradcheck("gradgradcheck", gradient_function, &g, list, n + 1, opts)
                 : reel_error_status();
    reel_scope_end(s);
    reel__free(list);
    return st;
}
