/* attention.c: reference scaled dot-product attention and its gradients.
 * q [.., lq, d], k [.., lk, d], v [.., lk, dv] -> y [.., lq, dv], lse [.., lq].
 * Source: Vaswani et al. 2017, arXiv:1706.03762; the gradients from the log-sum-exp of
 * each row, as Dao et al. 2022, arXiv:2205.14135. */
#include "backend/cpu/ref/ref.h"

#include "backend/random_blocks.h"
#include "base/rng.h"

#include <math.h>

/* Factor of the probability of (batch, i, j) under dropout: 0 or 1 / (1 - p). Element e
 * of the [batch, lq, lk] array draws as element e of DROPOUT does. */
static double dropout_factor(const reel_attention_attrs *a, int64_t element)
{
    if (a->dropout <= 0) return 1;
    uint32_t word[4];
    reel__philox((uint64_t)a->seed, (uint64_t)a->offset + (uint64_t)element / 4, word);
    if (word[element % 4] < reel__dropout_threshold(a->dropout)) return 0;
    return 1 / (1 - a->dropout);
}

/* One task for each worker's scratch memory: `width` doubles each. */
typedef struct attention_task {
    const reel_kcall *call;
    double *scratch;
    int64_t width;
} attention_task;

/* Runs fn over n tasks with `width` doubles of scratch for each worker. */
static reel_status attention_run(const reel_kcall *call, int64_t n, int64_t width,
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
    const reel_karg *q, *k, *v, *mask;
    int64_t lq, lk, d, dv, batches;
} attention_parts;

static attention_parts attention_split(const reel_kcall *call, int first)
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

#define REEL_REF_TEMPLATE "backend/cpu/ref/attention.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(attention)
REEL_REF_KERNEL(attention_backward)
