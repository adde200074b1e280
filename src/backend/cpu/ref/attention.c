/* attention.c: reference scaled dot-product attention and its gradients.
 * q [.., lq, d], k [.., lk, d], v [.., lk, dv], mask? -> y [.., lq, dv], stats [.., lq, 2]:
 * the largest score of each query and the sum of e^(score - largest), from which backward
 * makes the probabilities again (Dao et al. 2022, arXiv:2205.14135, with their two numbers
 * apart: of 1e9 + log(4) nothing but 1e9 is left). Scores are rounded to the dtype, as that
 * maximum is.
 * Source: Vaswani et al. 2017, arXiv:1706.03762. */
#include "backend/cpu/ref/ref.h"

#include "backend/random_blocks.h"
#include "base/rng.h"

#include <math.h>

/* Factor of the probability of (batch, i, j) under dropout: 0 or 1 / (1 - p). Element e
 * of the [batch, lq, lk] array draws as element e of DROPOUT does. */
static double dropout_factor(const reel__attention_attrs *a, int64_t element)
{
    if (a->dropout <= 0) return 1;
    uint32_t word[4];
    reel__philox((uint64_t)a->seed, (uint64_t)a->offset + (uint64_t)element / 4, word);
    if (word[element % 4] < reel__dropout_threshold(a->dropout)) return 0;
    return 1 / (1 - a->dropout);
}

/* One task for each worker's scratch memory: `width` doubles each. */
typedef struct attention_task {
    const reel__kcall *call;
    double *scratch;
    int64_t width;
} attention_task;

/* Runs fn over n tasks with `width` doubles of scratch for each worker. */
static reel_status attention_run(const reel__kcall *call, int64_t n, int64_t width,
                                 reel__task_fn fn)
{
    size_t workers = (size_t)reel__max_workers();
    attention_task task = {call, reel__scratch(workers * (size_t)width * sizeof(double)),
                           width};
    if (!task.scratch) return REEL_ERR_MEMORY;
    reel__parallel(n, fn, &task);
    reel__scratch_free(task.scratch);
    return REEL_OK;
}

/* Where the parts of a call lie: the backward takes gy first, and y, lse as inputs. */
typedef struct attention_parts {
    const reel__karg *q, *k, *v, *mask;
    int64_t lq, lk, d, dv, batches;
} attention_parts;

static attention_parts attention_split(const reel__kcall *call, int first)
{
    attention_parts p = {
        .q = &call->in[first], .k = &call->in[first + 1], .v = &call->in[first + 2]};
    const int r = p.q->meta->rank;
    if (reel__ref_in(call, first + 3)) p.mask = &call->in[first + 3];
    p.lq = p.q->meta->dim[r - 2];
    p.d = p.q->meta->dim[r - 1];
    p.lk = p.k->meta->dim[r - 2];
    p.dv = p.v->meta->dim[r - 1];
    p.batches = 1;
    for (int i = 0; i < r - 2; i++) p.batches *= p.q->meta->dim[i];
    return p;
}

/* Position of row i, column j of the matrix that a mask has for `batch`; a dimension that is
 * missing or of size 1 is repeated. */
static int64_t mask_offset(const reel__meta *m, const reel__meta *q, int64_t batch,
                           int64_t i, int64_t j)
{
    int r = m->rank;
    int64_t at = reel__ref_matrix(m, q, batch);
    if (r > 0 && m->dim[r - 1] != 1) at += j * m->stride[r - 1];
    if (r > 1 && m->dim[r - 2] != 1) at += i * m->stride[r - 2];
    return at;
}

#define REEL_REF_TEMPLATE "backend/cpu/ref/attention.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(attention)
REEL_REF_KERNEL(attention_backward)
