/* cross_entropy.c: reference softmax cross-entropy with class indices, and its gradient
 * in the same pass; label smoothing, class weights and ignored rows as PyTorch has them:
 *
 *   row loss = sum over classes j of a[j] (lse - x[j]),
 *   a[j] = (1 - s) w[t] [j == t] + s / c w[j]
 *
 * and the mean divides by the sum of w[t] over the rows that count. */
#include "backend/cpu/ref/ref.h"

#include <inttypes.h>
#include <math.h>

/* Target of a row; -1 for a row that is ignored. */
static int64_t target_of(const reel__kcall *call, int64_t row)
{
    const reel__cross_entropy_attrs *a = call->attrs;
    const int64_t *target = call->in[1].data;
    int64_t t = target[row * call->in[1].meta->stride[0]];
    return t == a->ignore_index ? -1 : t;
}

/* Every target that counts names a class. */
static reel_status check_targets(const reel__kcall *call)
{
    const reel__cross_entropy_attrs *a = call->attrs;
    const reel__meta *xm = call->in[0].meta, *tm = call->in[1].meta;
    const int64_t *target = call->in[1].data;
    for (int64_t row = 0; row < xm->dim[0]; row++) {
        int64_t t = target[row * tm->stride[0]];
        if ((t >= 0 && t < xm->dim[1]) || t == a->ignore_index) continue;
        return reel_fail(REEL_ERR_ARG,
                         "cross_entropy: target of row %" PRId64 " is %" PRId64
                         ", but the logits have %" PRId64 " classes: 0 .. %" PRId64,
                         row, t, xm->dim[1], xm->dim[1] - 1);
    }
    return REEL_OK;
}

/* What every row of a call shares. */
typedef struct cross_entropy_task {
    const reel__kcall *call;
    double *loss;   /* [n] */
    double divisor; /* of the loss and its gradient */
} cross_entropy_task;

#define REEL_REF_TEMPLATE "backend/cpu/ref/cross_entropy.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(cross_entropy)
