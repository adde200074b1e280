/* index.c: choosing elements by integer tensors. Reading and adding are each other's
 * gradient. */
#include <inttypes.h>

#include "base/counts.h"
#include "base/error.h"
#include "ops/onnx.h"
#include "ops/records.h"

#define G gy[0]
#define DIM(c) ((int)ATTRS(c, reel__index_attrs)->dim)

/* Input i is an index; if it is the second, it indexes dimension attrs.dim of the first. */
static reel_status check_index(const reel__call *c, int i)
{
    reel_dtype dt = IN_META(c, i)->dtype;
    REQUIRE(c, dt == REEL_I64 || dt == REEL_I32, REEL_ERR_DTYPE,
            "index %s must be i64 or i32", SHOW(IN_META(c, i)));
    return i == 1 ? reel__check_dim(c, 0, ATTRS(c, reel__index_attrs)->dim) : REEL_OK;
}

/* ---- index_select: x [.., m, ..]  index [n]  ->  [.., n, ..] ---------------------------------- */

static reel_status index_select_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0), *index = IN_META(c, 1);
    reel_status st = check_index(c, 1);
    if (st) return st;
    REQUIRE(c, index->rank == 1, REEL_ERR_SHAPE, "index %s must be [n]", SHOW(index));
    *out = *x;
    out->offset = 0;
    out->dim[DIM(c)] = index->dim[0];
    reel__set_contiguous(out);
    return REEL_OK;
}

/* index_add: g [.., n, ..]  index [n]  ->  [.., size, ..], rows added where the index says */
static reel_status index_add_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *g = IN_META(c, 0), *index = IN_META(c, 1);
    reel_status st = check_index(c, 1);
    if (st) return st;
    REQUIRE(c, index->rank == 1 && index->dim[0] == g->dim[DIM(c)], REEL_ERR_SHAPE,
            "index %s must have the size of dimension %d of %s", SHOW(index), DIM(c),
            SHOW(g));
    *out = *g;
    out->offset = 0;
    out->dim[DIM(c)] = ATTRS(c, reel__index_attrs)->size;
    reel__set_contiguous(out);
    return REEL_OK;
}

static void index_select_vjp(const reel__call *c, reel_tensor *const gy[],
                             reel_tensor *gx[])
{
    const reel__index_attrs a = {DIM(c), IN_META(c, 0)->dim[DIM(c)]};
    gx[0] = APPLY(&reel__index_add, &a, G, c->in[1]);
}

static void index_add_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = reel_index_select(G, DIM(c), c->in[1]);
}

#define ALONG(v) WITH_INT(v, "axis", DIM(c))
ONNX_RULE(index_select, ALONG(ONNX_NODE("Gather", o->out[0], x, y)))

/* x with `src` added where `index` says: both of one shape, x's but along the dimension */
static reel__ref add_at(reel_onnx *o, reel__ref x, reel__ref index, reel__ref src,
                        int dim)
{
    if (reel_failed()) return NULL;
    reel__ref v = ONNX_NODE("ScatterElements", o->out[0], x, index, src);
    reel__onnx_int(o, "axis", dim);
    reel__onnx_str(o, "reduction", "add");
    return v;
}

/* The index is spread over the shape of g. */
static reel_status index_add_onnx(const reel__call *c, reel_onnx *o)
{
    const reel__ref g = o->in[0], index = o->in[1];
    reel_onnx_ref column = *g, full = *g;
    column.dtype = full.dtype = index->dtype;
    for (int i = 0; i < g->rank; i++) {
        column.dim[i] = i == DIM(c) ? index->dim[0] : 1;
        column.grow[i] = i == DIM(c) ? index->grow[0] : 0;
    }
    reel__ref at = ONNX_NODE("Expand", full, reel__onnx_reshape(o, index, column),
                             reel__onnx_sizes(o, g->rank, g->dim, g->grow));
    reel__ref zero = reel__onnx_full(o, reel__whole(0), o->out[0]);
    return reel__onnx_give(o, 0, add_at(o, zero, at, g, DIM(c)));
}

const reel__op reel__index_select = {
    .name = "index_select",
    .kernel = K_INDEX_SELECT,
    .traits = REEL_OP_FOLDS,
    .n_in = 2,
    .n_out = 1,
    .saves = SAVE_IN(1),
    .attrs = &reel__index_schema,
    .infer = index_select_infer,
    .vjp = index_select_vjp,
    .onnx = index_select_onnx,
    .sample = "f[5,3]; i64[4] in 0..5 | dim=0\nf[2,4,3]; i64[6] in 0..4 | dim=1\n"
              "f[3]; i64[0] | dim=0",
};

const reel__op reel__index_add = {
    .name = "index_add",
    .kernel = K_INDEX_ADD,
    .n_in = 2,
    .n_out = 1,
    .saves = SAVE_IN(1),
    .dtypes = DTYPES_FLOAT,
    .attrs = &reel__index_schema,
    .infer = index_add_infer,
    .vjp = index_add_vjp,
    .onnx = index_add_onnx,
    .onnx_grows = true,
    .onnx_since = 16,
    .sample =
        "f[4,3]; i64[4] in 0..5 | dim=0 size=5\nf[2,6]; i64[6] in 0..3 | dim=1 size=3",
};

reel_tensor *reel_index_select(reel_tensor *x, int dim, reel_tensor *index)
{
    if (!reel__have("index_select", x, "x")) return NULL;
    const reel__index_attrs a = {reel__dim("index_select", &x->meta, dim), 0};
    return a.dim < 0 ? NULL : APPLY(&reel__index_select, &a, x, index);
}

reel_tensor *reel_embedding(reel_tensor *weight, reel_tensor *index)
{
    REEL__CALLED;
    if (!reel__have("embedding", weight, "weight") ||
        !reel__have("embedding", index, "index"))
        return NULL;
    if (weight->meta.rank != 2 || index->meta.rank + 1 > REEL_MAX_RANK) {
        reel_fail(REEL_ERR_SHAPE,
                  "embedding: weight %s must be [v, d], index %s of rank 7 or "
                  "less",
                  SHOW(&weight->meta), SHOW(&index->meta));
        return NULL;
    }
    reel_shape s = reel__shape(&index->meta);
    int64_t n = reel__numel(&index->meta);
    s.dim[s.rank++] = weight->meta.dim[1];
    reel_scope scope = reel_scope_begin();
    reel_tensor *rows = reel_index_select(weight, 0, reel_reshape(index, REEL_SHAPE(n)));
    return reel_scope_return(scope, reel_reshape(rows, s));
}

/* ---- gather: out[i][j] = x[index[i][j]][j] for dim 0; scatter_add: its transpose -------------- */

static bool index_fits(const reel__meta *index, const reel__meta *x, int dim)
{
    bool fits = index->rank == x->rank;
    for (int i = 0; fits && i < x->rank; i++)
        fits = i == dim || index->dim[i] <= x->dim[i];
    return fits;
}

static reel_status gather_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0), *index = IN_META(c, 1);
    reel_status st = check_index(c, 1);
    if (st) return st;
    REQUIRE(c, index_fits(index, x, DIM(c)), REEL_ERR_SHAPE,
            "index %s must have the rank of %s and not be larger but in dimension %d",
            SHOW(index), SHOW(x), DIM(c));
    *out = *index;
    out->offset = 0;
    out->dtype = x->dtype;
    reel__set_contiguous(out);
    return REEL_OK;
}

static void gather_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = reel_scatter_add(reel__zeros(IN_META(c, 0)), DIM(c), c->in[1], G);
}

ONNX_RULE(gather, ALONG(ONNX_NODE("GatherElements", o->out[0], x, y)))

const reel__op reel__gather = {
    .name = "gather",
    .kernel = K_GATHER,
    .traits = REEL_OP_FOLDS,
    .n_in = 2,
    .n_out = 1,
    .saves = SAVE_IN(1),
    .attrs = &reel__index_schema,
    .infer = gather_infer,
    .vjp = gather_vjp,
    .onnx = gather_onnx,
    .sample = "f[4,3]; i64[2,3] in 0..4 | dim=0\nf[2,5]; i64[2,6] in 0..5 | dim=1",
};

static reel_status scatter_add_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0), *index = IN_META(c, 1), *src = IN_META(c, 2);
    reel_status st = check_index(c, 1);
    if (st) return st;
    REQUIRE(c, x->dtype == src->dtype, REEL_ERR_DTYPE, "%s and %s differ in dtype",
            SHOW(x), SHOW(src));
    REQUIRE(c, index_fits(index, x, DIM(c)) && reel__same_shape(index, src),
            REEL_ERR_SHAPE,
            "index %s and source %s must have one shape, not larger than %s but in "
            "dimension %d",
            SHOW(index), SHOW(src), SHOW(x), DIM(c));
    *out = *x;
    out->offset = 0;
    reel__set_contiguous(out);
    return REEL_OK;
}

static void scatter_add_vjp(const reel__call *c, reel_tensor *const gy[],
                            reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = G;
    if (NEEDS(c, 2)) gx[2] = reel_gather(G, DIM(c), c->in[1]);
}

ONNX_RULE(scatter_add, add_at(o, x, y, z, DIM(c)))

const reel__op reel__scatter_add = {
    .name = "scatter_add",
    .kernel = K_SCATTER_ADD,
    .n_in = 3,
    .n_out = 1,
    .saves = SAVE_IN(1),
    .dtypes = DTYPES_FLOAT | DTYPE(REEL_I64),
    .attrs = &reel__index_schema,
    .infer = scatter_add_infer,
    .vjp = scatter_add_vjp,
    .onnx = scatter_add_onnx,
    .onnx_since = 16,
    .sample = "f[4,3]; i64[5,3] in 0..4; f[5,3] | dim=0\n"
              "f[2,3]; i64[2,2] in 0..3; f[2,2] | dim=1",
};

static reel_tensor *indexed(const reel__op *op, reel_tensor *x, int dim, int n,
                            reel_tensor *index, reel_tensor *src)
{
    if (!reel__have(op->name, x, "x")) return NULL;
    const reel__index_attrs a = {reel__dim(op->name, &x->meta, dim), 0};
    reel_tensor *in[] = {x, index, src};
    return a.dim < 0 ? NULL : reel__apply1(op, &a, n, in);
}

reel_tensor *reel_gather(reel_tensor *x, int dim, reel_tensor *index)
{
    return indexed(&reel__gather, x, dim, 2, index, NULL);
}

reel_tensor *reel_scatter_add(reel_tensor *x, int dim, reel_tensor *index,
                              reel_tensor *src)
{
    return indexed(&reel__scatter_add, x, dim, 3, index, src);
}

/* ---- one_hot: index [...]  ->  [..., classes] ---------------------------------------------------- */

typedef struct one_hot_attrs {
    reel__index_attrs kernel; /* what the kernel reads comes first */
    int64_t dtype;
} one_hot_attrs;
REEL_SCHEMA(one_hot_schema, one_hot_attrs,
            {"size", REEL_ATTR_INT, offsetof(one_hot_attrs, kernel.size), 1, 0, 0, 0},
            ATTR_INT(one_hot_attrs, dtype));

static reel_status one_hot_infer(const reel__call *c, reel__meta *out)
{
    const one_hot_attrs *a = ATTRS(c, one_hot_attrs);
    reel_status st = check_index(c, 0);
    if (st) return st;
    *out = *IN_META(c, 0);
    out->offset = 0;
    REQUIRE(c, a->dtype >= 0 && a->dtype < REEL__DTYPE_COUNT, REEL_ERR_DTYPE,
            "%" PRId64 " is not a dtype", a->dtype);
    REQUIRE(c, out->rank < REEL_MAX_RANK && a->kernel.size > 0, REEL_ERR_SHAPE,
            "index %s must be of rank 7 or less, classes %" PRId64 " positive",
            SHOW(IN_META(c, 0)), a->kernel.size);
    out->dim[out->rank++] = a->kernel.size;
    out->dtype = (reel_dtype)a->dtype;
    reel__set_contiguous(out);
    return REEL_OK;
}

/* [0, 1] of the result's dtype */
static reel__ref off_on(reel_onnx *o, reel_dtype dtype)
{
    const reel__arange_attrs range = {.step = {.whole = 1}};
    return reel__onnx_range(o, &range, dtype, 2, 0);
}
ONNX_RULE(one_hot,
          WITH_INT(ONNX_NODE("OneHot", o->out[0], x,
                             reel__onnx_list(o, 1, &ATTRS(c, one_hot_attrs)->kernel.size),
                             off_on(o, o->out[0].dtype)),
                   "axis", -1))

const reel__op reel__one_hot = {
    .name = "one_hot",
    .kernel = K_ONE_HOT,
    .traits = REEL_OP_NO_GRAD,
    .n_in = 1,
    .n_out = 1,
    .attrs = &one_hot_schema,
    .infer = one_hot_infer,
    .onnx = one_hot_onnx,
    .sample = "i64[4] in 0..5 | size=5\ni64[2,3] in 0..4 | size=4",
};

reel_tensor *reel_one_hot(reel_tensor *index, int64_t classes, reel_dtype dtype)
{
    const one_hot_attrs a = {{0, classes}, dtype};
    return APPLY(&reel__one_hot, &a, index);
}
