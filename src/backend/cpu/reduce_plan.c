/* reduce_plan.c: see reduce_plan.h. */
#include "backend/cpu/reduce_plan.h"

/* Turns an axis that runs backward through the input; `x0` and `y0` follow its start. */
static void run_forward(reel__axis *axis, int64_t *x0, int64_t *y0)
{
    if (axis->a >= 0) return;
    *x0 += (axis->size - 1) * axis->a;
    *y0 += (axis->size - 1) * axis->b;
    axis->a = -axis->a;
    axis->b = -axis->b;
}

reel__reduce_plan reel__plan_reduction(const reel__meta *x, const reel__meta *y,
                                       int64_t mask, bool ordered)
{
    reel__reduce_plan p = {.outputs = 1, .length = 1};
    for (int d = 0; d < x->rank; d++) {
        bool reduced = (mask >> d) & 1;
        reel__axis axis = {x->dim[d], x->stride[d], reduced ? 0 : y->stride[d]};
        if (reduced) {
            p.length *= axis.size;
            if (axis.size == 1) continue;
            if (!ordered && axis.size > 0) run_forward(&axis, &p.x0, &p.y0);
            p.reduced[p.n_reduced++] = axis;
        } else {
            p.outputs *= axis.size;
            if (axis.size == 1) continue;
            if (axis.size > 0) run_forward(&axis, &p.x0, &p.y0);
            p.kept[p.n_kept++] = axis;
        }
    }
    reel__axes_sort(p.kept, p.n_kept);
    if (!ordered) reel__axes_sort(p.reduced, p.n_reduced);
    p.n_kept = reel__axes_merge(p.kept, p.n_kept);
    p.n_reduced = reel__axes_merge(p.reduced, p.n_reduced);
    return p;
}
