/* common.c: shape rules and small helpers that many records share. */
#include "base/debug.h"
#include "ops/op.h"
#include "ops/records.h"
#include "ops/recorder.h"
#include "tensor/tensor.h"

bool reel__have(const char *name, const reel_tensor *x, const char *arg)
{
    if (!x) reel_fail(REEL_ERR_ARG, "%s: %s is NULL", name, arg);
    return x && reel__alive(name, x);
}

int reel__dim(const char *name, const reel__meta *m, int dim)
{
    int d = reel__wrap_dim(dim, m->rank);
    if (d < 0)
        reel_fail(REEL_ERR_ARG, "%s: dimension %d is out of range for %s (rank %d)", name,
                  dim, SHOW(m), m->rank);
    return d;
}

bool reel__dims_mask(const char *name, const reel__meta *m, reel_shape dims,
                     int64_t *mask)
{
    *mask = dims.rank == 0 ? (INT64_C(1) << m->rank) - 1 : 0;
    if (dims.rank < 0 || dims.rank > REEL_MAX_RANK) {
        reel_fail(REEL_ERR_ARG, "%s: %d dimensions; 0 to %d are possible", name,
                  dims.rank, REEL_MAX_RANK);
        return false;
    }
    for (int i = 0; i < dims.rank; i++) {
        int64_t given = dims.dim[i];
        int d = given < -REEL_MAX_RANK || given > REEL_MAX_RANK
                    ? -1
                    : reel__wrap_dim((int)given, m->rank);
        if (d < 0 || (*mask >> d & 1)) {
            reel_fail(REEL_ERR_ARG, "%s: dimension %lld %s for %s", name,
                      (long long)given, d < 0 ? "is out of range" : "stands twice",
                      SHOW(m));
            return false;
        }
        *mask |= INT64_C(1) << d;
    }
    return true;
}

reel_status reel__check_dim(const reel__call *c, int i, int64_t dim)
{
    REQUIRE(c, dim >= 0 && dim < IN_META(c, i)->rank, REEL_ERR_ARG,
            "dimension %lld is out of range for %s", (long long)dim, SHOW(IN_META(c, i)));
    return REEL_OK;
}

reel_status reel__check_mask(const reel__call *c, int i, int64_t mask)
{
    REQUIRE(c, mask >= 0 && mask >> IN_META(c, i)->rank == 0, REEL_ERR_ARG,
            "dimensions %#llx (bits) are out of range for %s", (unsigned long long)mask,
            SHOW(IN_META(c, i)));
    return REEL_OK;
}

reel_status reel__check_alike(const reel__call *c, int i, int k)
{
    const reel__meta *a = IN_META(c, i), *b = IN_META(c, k);
    REQUIRE(c, reel__same_shape(a, b), REEL_ERR_SHAPE,
            "inputs %d %s and %d %s must have one shape", i, SHOW(a), k, SHOW(b));
    REQUIRE(c, a->dtype == b->dtype, REEL_ERR_DTYPE,
            "inputs %d %s and %d %s must have one dtype", i, SHOW(a), k, SHOW(b));
    return REEL_OK;
}

reel_status reel__infer_same(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    *out = *x;
    out->offset = 0;
    if (!reel__is_contiguous(x)) reel__set_strides_like(out, x);
    return REEL_OK;
}

/* Memory order of the first input that has the result's shape, so that a channels-last net
 * stays channels-last. */
static void stride_result(const reel__call *c, reel__meta *out)
{
    for (int i = 0; i < c->n_in; i++)
        if (reel__same_shape(IN_META(c, i), out)) {
            reel__set_strides_like(out, IN_META(c, i));
            return;
        }
    reel__set_contiguous(out);
}

reel_status reel__infer_broadcast(const reel__call *c, reel__meta *out)
{
    *out = *IN_META(c, 0);
    for (int i = 1; i < c->n_in; i++) {
        reel__meta sum = *out;
        REQUIRE(c, reel__broadcast(out, IN_META(c, i), &sum), REEL_ERR_SHAPE,
                "shapes of %s and %s do not broadcast: sizes must be equal or 1",
                SHOW(IN_META(c, 0)), SHOW(IN_META(c, i)));
        *out = sum;
    }
    out->offset = 0;
    stride_result(c, out);
    return REEL_OK;
}

reel_status reel__infer_pointwise(const reel__call *c, reel__meta *out)
{
    const reel__meta *last = IN_META(c, c->n_in - 1);
    /* `where` has a bool condition before two values; all others have one dtype. */
    for (int i = c->n_in == 3 ? 1 : 0; i < c->n_in; i++)
        REQUIRE(c, IN_META(c, i)->dtype == last->dtype, REEL_ERR_DTYPE,
                "inputs %s and %s differ in dtype; use reel_cast()", SHOW(IN_META(c, i)),
                SHOW(last));
    reel_status st = reel__infer_broadcast(c, out);
    if (st) return st;
    REQUIRE(c, !(c->op->traits & REEL_OP_INPLACE) || reel__same_shape(out, IN_META(c, 0)),
            REEL_ERR_SHAPE, "%s does not broadcast to %s, which is changed in place",
            SHOW(last), SHOW(IN_META(c, 0)));
    out->dtype = last->dtype;
    return REEL_OK;
}

reel_tensor *reel__sum_to(reel_tensor *g, const reel__meta *target)
{
    if (!g || reel__same_shape(&g->meta, target)) return g;
    int lead = g->meta.rank - target->rank;
    reel_shape dims = {.rank = 0};
    for (int i = 0; i < g->meta.rank; i++)
        if (i < lead || (target->dim[i - lead] == 1 && g->meta.dim[i] != 1))
            dims.dim[dims.rank++] = i;
    if (dims.rank) g = reel_sum(g, dims, true);
    return reel_reshape(g, reel__shape(target));
}

uint32_t reel__saves_product(const reel__call *c)
{
    uint32_t saves = c->op->saves & ~(SAVE_IN(0) | SAVE_IN(1));
    if (c->in[1] && c->in[1]->node) saves |= SAVE_IN(0);
    if (c->in[0] && c->in[0]->node) saves |= SAVE_IN(1);
    return saves;
}

/* Inputs for composing: each that needs a gradient as a view of its own, so that
 * attention(x, x, x) has three partial gradients and not three times the total; the others
 * without their history, which is nobody's here (going back through it would free it). */
static bool inputs_to_compose(const reel__call *c, reel_tensor *in[])
{
    for (int i = 0; i < c->n_in; i++) {
        in[i] = c->in[i];
        if (!in[i]) continue;
        if (NEEDS(c, i))
            in[i] = reel_reshape(in[i], reel__shape(IN_META(c, i)));
        else if (!c->create_graph)
            in[i] = reel__constant(in[i]);
        if (!in[i]) return false;
    }
    return true;
}

void reel__vjp_composed(const reel__call *c, reel_tensor *(*composed)(const reel__call *),
                        reel_tensor *g, reel_tensor *gx[])
{
    reel_tensor *in[REEL_OP_MAX_IN], *x[REEL_OP_MAX_IN], *grad[REEL_OP_MAX_IN];
    int place[REEL_OP_MAX_IN], n = 0;
    reel__call inner = *c;
    inner.in = in;
    bool was = reel__tape_enable(true); /* off, unless create_graph */
    reel_tensor *y = inputs_to_compose(c, in) ? composed(&inner) : NULL;
    for (int i = 0; y && i < c->n_in; i++) {
        if (!NEEDS(c, i)) continue;
        x[n] = in[i];
        place[n++] = i;
    }
    if (y && !reel__tape_now()->grad_composed(y, g, x, n, grad, c->create_graph))
        for (int k = 0; k < n; k++) gx[place[k]] = grad[k];
    (void)reel__tape_enable(was);
}

reel_tensor *reel__constant(reel_tensor *x)
{
    return reel__autorelease(reel__tensor_new(&x->meta, x->storage));
}

reel_tensor *reel__channels_last(reel_tensor *x)
{
    return x && x->meta.rank == 4 ? reel_to_format(x, REEL_CHANNELS_LAST) : x;
}

reel_tensor *reel__zeros(const reel__meta *m)
{
    reel_device was = reel_default_device();
    if (reel_set_default_device(m->device)) return NULL;
    reel_tensor *z = reel_zeros(reel__shape(m), m->dtype);
    (void)reel_set_default_device(was);
    return z;
}

#define OP(name) &reel__##name,
const reel__op *const reel__ops[] = {
#include "ops/ops.def"
};
#undef OP
const int reel__n_ops = (int)(sizeof reel__ops / sizeof *reel__ops);

const reel__op *reel__op_by_name(const char *name)
{
    for (int i = 0; name && i < reel__n_ops; i++) {
        const char *a = reel__ops[i]->name, *b = name;
        while (*a && *a == *b) a++, b++;
        if (*a == *b) return reel__ops[i];
    }
    return NULL;
}
