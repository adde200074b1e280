/* own_ops.c: loops and formulas of own_ops.h. */
#include "own_ops.h"

#include <math.h>
#include <stdatomic.h>
#include <stddef.h>

static atomic_int calls;

int own_calls(void)
{
    return atomic_load(&calls);
}

static double get(const void *data, reel_dtype dtype, int64_t i)
{
    return dtype == REEL_F64 ? ((const double *)data)[i]
                             : (double)((const float *)data)[i];
}

static void put(void *data, reel_dtype dtype, int64_t i, double v)
{
    if (dtype == REEL_F64)
        ((double *)data)[i] = v;
    else
        ((float *)data)[i] = (float)v;
}

static void count_free(void *user)
{
    ++*(int *)user;
}

/* What all have in common. */
static reel_custom_op *make(const char *name, const own_opts *o, reel_custom_op_opts p)
{
    static const own_opts none = {.freed = NULL};
    if (!o) o = &none;
    p.pure = !o->effect;
    if (o->no_rule) p.shape = NULL;
    p.user = o->freed;
    p.free_user = o->freed ? count_free : NULL;
    p.onnx = o->onnx;
    return reel_custom_op_new(name, &p);
}

/* ---- cube ------------------------------------------------------------------------------- */

static reel_status cube_into(const reel_custom_call *c, reel_tensor *x, reel_tensor *y)
{
    atomic_fetch_add(&calls, 1);
    const double scale = reel_custom_real(c, "scale");
    const double shift = (double)reel_custom_int(c, "shift");
    reel_dtype dtype = reel_dtype_of(x);
    const void *from = reel_data(x);
    void *to = y ? reel_data(y) : NULL;
    for (int64_t i = 0; to && from && i < reel_numel(x); i++) {
        double v = get(from, dtype, i);
        put(to, dtype, i, scale * v * v * v + shift);
    }
    return reel_error_status();
}

static reel_status cube_forward(void *user, reel_custom_call *c, reel_tensor *const x[],
                                reel_tensor *y[])
{
    (void)user;
    return cube_into(c, x[0], y[0] = reel_custom_result(c, 0));
}

/* Where no rule says beforehand what the result looks like. */
static reel_status cube_forward_made(void *user, reel_custom_call *c,
                                     reel_tensor *const x[], reel_tensor *y[])
{
    (void)user;
    y[0] = reel_empty(reel_shape_of(x[0]), reel_dtype_of(x[0]));
    return cube_into(c, x[0], y[0]);
}

static reel_status cube_backward(void *user, reel_custom_call *c, reel_tensor *const x[],
                                 reel_tensor *const y[], reel_tensor *const gy[],
                                 reel_tensor *gx[])
{
    (void)user, (void)y;
    const double scale = reel_custom_real(c, "scale");
    reel_dtype dtype = reel_dtype_of(x[0]);
    gx[0] = reel_custom_result(c, 0);
    const void *from = reel_data(x[0]), *g = reel_data(gy[0]);
    void *to = gx[0] ? reel_data(gx[0]) : NULL;
    for (int64_t i = 0; to && from && g && i < reel_numel(x[0]); i++) {
        double v = get(from, dtype, i);
        put(to, dtype, i, 3 * scale * v * v * get(g, dtype, i));
    }
    return reel_error_status();
}

reel_custom_op *own_cube(const char *name, const own_opts *o)
{
    const reel_custom_attr attrs[] = {REEL_CUSTOM_REAL("scale", 1),
                                      REEL_CUSTOM_INT("shift", 0)};
    return make(name, o,
                (reel_custom_op_opts){.n_in = 1,
                                      .n_out = 1,
                                      .saves = REEL_CUSTOM_IN(0),
                                      .forward = o && o->no_rule ? cube_forward_made
                                                                 : cube_forward,
                                      .shape = reel_custom_same,
                                      .backward = cube_backward,
                                      .attrs = attrs,
                                      .n_attrs = 2});
}

/* x x x scale, for a shift of 0 */
reel_status own_cube_onnx(void *user, const reel_custom_call *c, reel_onnx *o)
{
    (void)user;
    const reel_onnx_ref *x = reel_onnx_in(o, 0);
    const reel_onnx_ref *scale = reel_onnx_number(o, reel_custom_real(c, "scale"), x);
    const reel_onnx_ref *p =
        reel_onnx_emit(o, "Mul", NULL, 2, (const reel_onnx_ref *const[]){x, x});
    p = reel_onnx_emit(o, "Mul", NULL, 2, (const reel_onnx_ref *const[]){p, x});
    p = reel_onnx_emit(o, "Mul", reel_onnx_out(o, 0), 2,
                       (const reel_onnx_ref *const[]){p, scale});
    return reel_onnx_give(o, 0, p);
}

/* ---- swish -------------------------------------------------------------------------------- */

static reel_tensor *gate(const reel_custom_call *c, reel_tensor *x)
{
    return reel_sigmoid(reel_mul_scalar(x, reel_custom_real(c, "scale")));
}

static reel_status swish_forward(void *user, reel_custom_call *c, reel_tensor *const x[],
                                 reel_tensor *y[])
{
    (void)user;
    y[0] = reel_mul(x[0], gate(c, x[0]));
    return reel_error_status();
}

/* y' = s + scale y (1 - s) */
static reel_status swish_backward(void *user, reel_custom_call *c, reel_tensor *const x[],
                                  reel_tensor *const y[], reel_tensor *const gy[],
                                  reel_tensor *gx[])
{
    (void)user, (void)y;
    reel_tensor *s = gate(c, x[0]), *value = reel_mul(x[0], s);
    reel_tensor *rest = reel_mul(value, reel_add_scalar(reel_neg(s), 1));
    gx[0] =
        reel_mul(gy[0], reel_add(s, reel_mul_scalar(rest, reel_custom_real(c, "scale"))));
    return reel_error_status();
}

reel_custom_op *own_swish(const char *name, const own_opts *o)
{
    return make(name, o,
                (reel_custom_op_opts){
                    .n_in = 1,
                    .n_out = 1,
                    .forward = swish_forward,
                    .shape = reel_custom_same,
                    .backward = swish_backward,
                    .backward_in_operators = true,
                    .attrs = (const reel_custom_attr[]){REEL_CUSTOM_REAL("scale", 1)},
                    .n_attrs = 1});
}

/* ---- unit ----------------------------------------------------------------------------------- */

static reel_status unit_shape(void *user, const reel_custom_call *c,
                              const reel_custom_type x[], reel_custom_type y[])
{
    (void)user, (void)c;
    int last = x[0].shape.rank - 1;
    if (last < 0 || (x[1].shape.rank >= 0 &&
                     (x[1].shape.rank != 1 || x[1].shape.dim[0] != x[0].shape.dim[last])))
        return reel_fail(REEL_ERR_SHAPE, "unit: x [..., d] and bias [d] are needed");
    y[1].shape.rank = y[2].shape.rank = last;
    return REEL_OK;
}

static reel_status unit_forward(void *user, reel_custom_call *c, reel_tensor *const x[],
                                reel_tensor *y[])
{
    (void)user;
    reel_dtype dtype = reel_dtype_of(x[0]);
    const void *from = reel_data(x[0]), *bias = x[1] ? reel_data(x[1]) : NULL;
    void *to[3];
    for (int k = 0; k < 3; k++) {
        y[k] = reel_custom_result(c, k);
        if (!y[k] || !(to[k] = reel_data(y[k]))) return reel_error_status();
    }
    int64_t n = reel_numel(y[1]), d = reel_size(x[0], -1);
    for (int64_t r = 0; r < n; r++) {
        double squares = 1e-3;
        for (int64_t i = 0; i < d; i++) {
            double v = get(from, dtype, r * d + i) + (bias ? get(bias, dtype, i) : 0);
            squares += v * v;
        }
        for (int64_t i = 0; i < d; i++) {
            double v = get(from, dtype, r * d + i) + (bias ? get(bias, dtype, i) : 0);
            put(to[0], dtype, r * d + i, v / sqrt(squares));
        }
        put(to[1], dtype, r, sqrt(squares));
        put(to[2], dtype, r, 1 / sqrt(squares));
    }
    return reel_error_status();
}

/* gx = (g0 - u (u . g0)) / length + g1 u; the same summed over rows for the bias. */
static reel_status unit_backward(void *user, reel_custom_call *c, reel_tensor *const x[],
                                 reel_tensor *const y[], reel_tensor *const gy[],
                                 reel_tensor *gx[])
{
    (void)user, (void)x;
    reel_dtype dtype = reel_dtype_of(y[0]);
    const void *u = reel_data(y[0]), *inverse = reel_data(y[2]);
    const void *g0 = reel_data(gy[0]), *g1 = reel_data(gy[1]);
    void *to = NULL, *to_bias = NULL;
    int64_t n = reel_numel(y[2]), d = reel_size(y[0], -1);
    if (reel_custom_needs(c, 0) && (gx[0] = reel_custom_result(c, 0)))
        to = reel_data(gx[0]);
    if (reel_custom_needs(c, 1) && (gx[1] = reel_zeros(REEL_SHAPE(d), dtype)))
        to_bias = reel_data(gx[1]);
    for (int64_t r = 0; r < n && !reel_failed(); r++) {
        double along = 0;
        for (int64_t i = 0; i < d; i++)
            along += get(u, dtype, r * d + i) * get(g0, dtype, r * d + i);
        for (int64_t i = 0; i < d; i++) {
            double v = get(u, dtype, r * d + i);
            double g = (get(g0, dtype, r * d + i) - v * along) * get(inverse, dtype, r) +
                       get(g1, dtype, r) * v;
            if (to) put(to, dtype, r * d + i, g);
            if (to_bias) put(to_bias, dtype, i, get(to_bias, dtype, i) + g);
        }
    }
    return reel_error_status();
}

reel_custom_op *own_unit(const char *name, const own_opts *o)
{
    return make(name, o,
                (reel_custom_op_opts){.n_in = 2,
                                      .n_out = 2,
                                      .n_saved = 1,
                                      .optional = 1 << 1,
                                      .saves = REEL_CUSTOM_OUT(0) | REEL_CUSTOM_OUT(2),
                                      .forward = unit_forward,
                                      .shape = unit_shape,
                                      .backward = unit_backward});
}
