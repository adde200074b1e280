/* matmul.c: MATMUL and LINEAR on the matrix product. */
#include "backend/cpu/gemm/gemm.h"
#include "backend/cpu/kernels.h"

#include <string.h>

/* Step of dimension d, counted so that rank is the one of the output; 0 if broadcast. */
static int64_t step(const reel__meta *m, int rank, int d)
{
    d -= rank - m->rank;
    return d < 0 || m->dim[d] == 1 ? 0 : m->stride[d];
}

/* Batch dimensions of the output, neighbours merged where all operands allow it. */
static reel__batch batch_of(const reel__meta *a, const reel__meta *b, const reel__meta *c)
{
    reel__batch t = {.rank = 0};
    for (int d = 0; d < c->rank - 2; d++) {
        int64_t size = c->dim[d];
        int64_t sa = step(a, c->rank, d), sb = step(b, c->rank, d),
                sc = step(c, c->rank, d);
        if (size == 1) continue;
        int last = t.rank - 1;
        if (last >= 0 && t.a[last] == sa * size && t.b[last] == sb * size &&
            t.c[last] == sc * size)
            t.dim[last] *= size;
        else
            t.dim[last = t.rank++] = size;
        t.a[last] = sa;
        t.b[last] = sb;
        t.c[last] = sc;
    }
    return t;
}

/* A batch that shares B and stacks the rows of A and C is one taller product. */
static void stack_rows(reel__batch *t, int64_t *m, int64_t a_row, int64_t c_row)
{
    int last = t->rank - 1;
    if (last < 0 || t->b[last] != 0) return;
    if (t->a[last] != *m * a_row || t->c[last] != *m * c_row) return;
    *m *= t->dim[last];
    t->rank--;
}

static bool same_float(const reel__meta *a, const reel__meta *b, const reel__meta *c)
{
    return a->dtype == b->dtype && b->dtype == c->dtype &&
           (c->dtype == REEL_F32 || c->dtype == REEL_F64);
}

/* a [..., m, k]  b [..., k, n]  ->  c [..., m, n]; sizes and strides alone. */
static bool matmul_of(const reel__kcall *call, reel__gemm *g, reel__batch *batch)
{
    const reel__meta *a = call->in[0].meta, *b = call->in[1].meta, *c = call->out[0].meta;
    if (!same_float(a, b, c) || a->rank < 2 || b->rank < 2 || c->rank < 2) return false;
    const int64_t *sa = a->stride + a->rank - 2, *sb = b->stride + b->rank - 2;
    const int64_t *sc = c->stride + c->rank - 2, *dc = c->dim + c->rank - 2;
    if (sc[1] != 1 && dc[1] != 1) return false;
    *g = (reel__gemm){.dtype = c->dtype,
                      .m = dc[0],
                      .n = dc[1],
                      .k = a->dim[a->rank - 1],
                      .a_row = sa[0],
                      .a_col = sa[1],
                      .b_row = sb[0],
                      .b_col = sb[1],
                      .c_row = sc[0]};
    *batch = batch_of(a, b, c);
    stack_rows(batch, &g->m, g->a_row, g->c_row);
    return true;
}

bool reel__fast_matmul(const reel__kcall *call, reel_status *status)
{
    reel__gemm g;
    reel__batch batch;
    if (!matmul_of(call, &g, &batch)) return false;
    g.a = call->in[0].data;
    g.b = call->in[1].data;
    g.c = call->out[0].data;
    *status = REEL_OK;
    if (call->prepared)
        reel__gemm_ready(&g, call->prepared, NULL);
    else
        *status = reel__gemm_batch(&g, &batch);
    return true;
}

/* [..., width] as rows: their number and distance; false if the distance varies. */
static bool as_rows(const reel__meta *m, int64_t *rows, int64_t *row)
{
    *rows = 1;
    *row = m->dim[m->rank - 1];
    for (int d = m->rank - 2; d >= 0; d--) {
        if (m->dim[d] == 1) continue;
        if (*rows == 1)
            *row = m->stride[d];
        else if (m->stride[d] != *rows * *row)
            return false;
        *rows *= m->dim[d];
    }
    return true;
}

/* x [..., in]  w [out, in]  b [out]?  ->  y [..., out]; sizes and strides alone. */
static bool linear_of(const reel__kcall *call, reel__gemm *g)
{
    const reel__meta *x = call->in[0].meta, *w = call->in[1].meta, *y = call->out[0].meta;
    const reel__meta *b = call->n_in > 2 ? call->in[2].meta : NULL;
    if (!same_float(x, w, y) || x->rank < 1 || w->rank != 2) return false;
    if (b && (b->dtype != y->dtype || (b->stride[0] != 1 && b->dim[0] != 1)))
        return false;
    if (y->stride[y->rank - 1] != 1 && y->dim[y->rank - 1] != 1) return false;
    *g = (reel__gemm){.dtype = y->dtype,
                      .n = w->dim[0],
                      .k = w->dim[1],
                      .a_col = x->stride[x->rank - 1],
                      .b_row = w->stride[1],
                      .b_col = w->stride[0]};
    return as_rows(x, &g->m, &g->a_row) && as_rows(y, &g->m, &g->c_row);
}

static void *data_of(const reel__kcall *call, int i)
{
    return call->n_in > i ? call->in[i].data : NULL;
}

/* As linear_of(), with the operands' memory. */
static bool linear_call(const reel__kcall *call, reel__gemm *g)
{
    if (!linear_of(call, g)) return false;
    g->a = call->in[0].data;
    g->b = call->in[1].data;
    g->c = call->out[0].data;
    g->bias = data_of(call, 2);
    return true;
}

bool reel__fast_linear(const reel__kcall *call, reel_status *status)
{
    reel__gemm g;
    if (!linear_call(call, &g)) return false;
    *status = REEL_OK;
    if (call->prepared)
        reel__gemm_ready(&g, call->prepared, NULL);
    else
        *status = reel__run_gemm(&g);
    return true;
}

/* The residual is read through the distance from the result, so it must lie like that. */
bool reel__fast_linear_fused(const reel__kcall *call, reel_status *status)
{
    const reel__linear_fused_attrs *a = call->attrs;
    const reel__karg *residual = &call->in[3], *y = &call->out[0];
    reel__gemm g;
    if (call->out[0].meta->dtype != REEL_F32 || !linear_call(call, &g)) return false;
    if (residual->data &&
        memcmp(residual->meta->stride, y->meta->stride, sizeof(int64_t[2])) != 0)
        return false;
    const reel__epilogue end =
        reel__epilogue_of(NULL, residual->data, y->data, a->act, a->a);
    *status = REEL_OK;
    if (call->prepared) {
        reel__gemm_ready(&g, call->prepared, &end);
        return true;
    }
    *status = reel__run_gemm(&g);
    if (*status == REEL_OK) reel__gemm_end(&g, &end);
    return true;
}

/* ---- a constant right operand ------------------------------------------------------ */

static bool product_of(const reel__kcall *call, reel__gemm *g)
{
    reel__batch batch = {.rank = 0};
    if (call->out[0].meta->dtype != REEL_F32) return false;
    if (call->kernel == K_MATMUL ? !matmul_of(call, g, &batch) : !linear_of(call, g))
        return false;
    return batch.rank == 0 && reel__gemm_may_be_ready(g);
}

size_t reel__prepare_product_size(const reel__kcall *call, unsigned constant)
{
    reel__gemm g;
    if (!(constant & 2u) || !product_of(call, &g)) return 0;
    return (size_t)reel__gemm_ready_size(&g) * sizeof(float);
}

reel_status reel__prepare_product(const reel__kcall *call, void *to)
{
    reel__gemm g;
    if (product_of(call, &g)) {
        g.b = call->in[1].data;
        reel__gemm_make_ready(&g, to);
    }
    return REEL_OK;
}
