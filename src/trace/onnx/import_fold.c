/* import_fold.c: small constants are computed as their nodes are emitted, by the kernels that
 * would compute them later. So `Shape -> Gather -> Mul -> Concat -> Reshape` is known when the
 * reshape is emitted, and no operator has a second implementation. What may be computed is
 * bounded in every way: by operator (work in proportion to the result), size and total. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/call.h"
#include "trace/onnx/import.h"

/* Elements of an operand or a result; lists of sizes have a few, tables of positions more. */
#define FOLD_ELEMENTS 4096
/* Bytes of all results of one file; beyond it nothing is computed while loading. */
#define FOLD_BYTES (INT64_C(64) << 20)

/* What a file holds quantized stays so, or a small layer would run on floats. */
static bool foldable(const reel__op *op)
{
    const bool views = op->traits & REEL_OP_VIEW;
    if ((op->traits & REEL_OP_UNPACKS) && !views) return false;
    if (op->traits & (REEL_OP_INPLACE | REEL_OP_RANDOM)) return false;
    return op->traits & (REEL_OP_POINTWISE | REEL_OP_VIEW | REEL_OP_FOLDS);
}

reel_tensor *reel__im_known(const reel__import *im, int v)
{
    if (v < 0) return NULL;
    const reel__value *value = &im->g->value[v];
    reel_tensor *t = value->kind == REEL_VALUE_CONST ? value->tensor
                     : v < im->cap_known             ? im->known[v]
                                                     : NULL;
    return t && reel__numel(&t->meta) <= FOLD_ELEMENTS ? t : NULL;
}

/* Takes over the caller's reference. */
static void remember(reel__import *im, int v, reel_tensor *t)
{
    if (v >= im->cap_known) {
        int more = 2 * v + 64;
        void *p = reel__realloc(im->known, (size_t)more * sizeof(*im->known));
        if (!p) {
            reel__tensor_release(t);
            return;
        }
        im->known = p;
        memset(im->known + im->cap_known, 0,
               (size_t)(more - im->cap_known) * sizeof(*im->known));
        im->cap_known = more;
    }
    im->known[v] = t;
}

static reel_tensor *compute(const reel__op *op, const void *attrs, int n,
                            reel_tensor *const x[], const reel__meta *meta)
{
    if (op->traits & REEL_OP_VIEW) return reel__tensor_new(meta, x[0]->storage);
    reel_tensor *y = reel__tensor_new(meta, NULL);
    const reel__call call = {op, n, 1, x, &y, attrs, 0, false};
    if (y && !reel__call_launch(&call, meta->device)) return y;
    reel__tensor_release(y);
    return NULL;
}

void reel__im_fold(reel__import *im, const reel__op *op, const void *attrs, int n,
                   const int in[], const int out[])
{
    reel_tensor *x[REEL_OP_MAX_IN];
    const reel__meta *meta = reel__im_meta(im, out[0]);
    int64_t elements = reel__numel(meta);
    int64_t bytes = elements * (int64_t)reel_dtype_size(meta->dtype);
    if (!foldable(op) || elements > FOLD_ELEMENTS || im->folded + bytes > FOLD_BYTES)
        return;
    for (int k = 0; k < n; k++) {
        x[k] = reel__im_known(im, in[k]);
        if (!x[k] && in[k] >= 0) return;
    }
    im->folded += bytes;
    reel_tensor *y = compute(op, attrs, n, x, meta);
    if (y) remember(im, out[0], y);
}

reel_status reel__im_read(const reel_tensor *t, void *to, reel_dtype dtype)
{
    reel__meta m = reel__meta_of(reel__shape(&t->meta), dtype, t->meta.device);
    if (reel__numel(&m) == 0) return REEL_OK;
    const reel__karg in = {reel__ptr(t), &t->meta}, out = {to, &m};
    const reel__kcall call = {K_COPY, 1, 1, &in, &out, NULL, NULL, 0};
    return reel__launch(m.device, &call);
}

bool reel__im_same(const reel_tensor *x, const reel_tensor *y)
{
    if (x == y) return true;
    if (x->meta.dtype != y->meta.dtype || !reel__same_shape(&x->meta, &y->meta))
        return false;
    size_t bytes = (size_t)reel__numel(&x->meta) * reel_dtype_size(x->meta.dtype);
    char *room = reel__malloc(2 * bytes + 1);
    bool same = room && !reel__im_read(x, room, x->meta.dtype) &&
                !reel__im_read(y, room + bytes, x->meta.dtype) &&
                memcmp(room, room + bytes, bytes) == 0;
    reel__free(room);
    return same;
}

/* The same tensor for both builds: what they share is equal, and costs no comparison later. */
static void make_constant(reel__import *im, int64_t number, reel_tensor *t)
{
    int v = reel__graph_add_value(im->g, REEL_VALUE_CONST, &t->meta, NULL, t);
    if (v >= 0) im->value[number] = v;
}

void reel__im_settle(reel__import *a, reel__import *b)
{
    for (size_t k = 0; k < a->node->output.n && !reel_failed(); k++) {
        int64_t number = reel__im_name(a, a->node->output.at[k]);
        int v = number < 0 ? REEL_NO_VALUE : a->value[number];
        reel_tensor *x =
            v < 0 || a->g->value[v].kind != REEL_VALUE_NODE ? NULL : reel__im_known(a, v);
        reel_tensor *y = x && b ? reel__im_known(b, b->value[number]) : x;
        if (!x || !y || !reel__im_same(x, y)) continue;
        make_constant(a, number, x);
        if (b) make_constant(b, number, x);
    }
}
