/* reduce_plan.h: a reduction as two lists of axes, kept and reduced, of any rank. */
#ifndef REEL_BACKEND_CPU_REDUCE_PLAN_H
#define REEL_BACKEND_CPU_REDUCE_PLAN_H

#include "backend/cpu/walk.h"

/* Steps: a in the input, b in the output (0 for the reduced). The axes of a plan that is
 * not `ordered` are sorted by memory order and turned around where they run backward,
 * which moves the first element of both operands: x0 and y0 say by how much. */
typedef struct reel__reduce_plan {
    int n_kept, n_reduced;
    reel__axis kept[REEL_MAX_RANK], reduced[REEL_MAX_RANK];
    int64_t outputs; /* product of the kept sizes    */
    int64_t length;  /* product of the reduced sizes */
    int64_t x0, y0;
} reel__reduce_plan;

/* Bit d of `mask` says that dimension d of `x` is reduced (size 1 in `y`). `ordered`
 * keeps the reduced elements in logical order: for those who count them. */
reel__reduce_plan reel__plan_reduction(const reel__meta *x, const reel__meta *y,
                                       int64_t mask, bool ordered);

#endif
