/* offsets.c: blocks of memory with known lives, in one arena as small as can be.
 *
 * Greedy by size: the largest block first, each in the smallest gap between those already
 * placed whose lives meet its own (Pisarchyk and Lee 2020, arXiv:2001.03288, algorithm 3). */
#include <stdlib.h>

#include "base/alloc.h"
#include "trace/execute/plan.h"

static bool live_together(const reel__block *a, const reel__block *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Larger first; of one size the one that is made first, so that equal graphs get one plan. */
static int by_size(const void *x, const void *y)
{
    const reel__block *a = *(reel__block *const *)x, *b = *(reel__block *const *)y;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return a < b ? -1 : 1;
}

/* The smallest gap that holds `b` between the n blocks of `placed`, in order of offset; else
 * behind them. */
static size_t best_gap(reel__block *const *placed, int n, const reel__block *b)
{
    size_t end = 0, best = SIZE_MAX, at = 0;
    for (int i = 0; i < n; i++) {
        const reel__block *o = placed[i];
        if (!live_together(o, b)) continue;
        if (o->offset >= end && o->offset - end >= b->bytes && o->offset - end < best) {
            best = o->offset - end;
            at = end;
        }
        if (o->offset + o->bytes > end) end = o->offset + o->bytes;
    }
    return best == SIZE_MAX ? end : at;
}

/* Keeps `placed` in order of offset. */
static void insert(reel__block **placed, int n, reel__block *b)
{
    int i = n;
    for (; i > 0 && placed[i - 1]->offset > b->offset; i--) placed[i] = placed[i - 1];
    placed[i] = b;
}

reel_status reel__plan_offsets(reel__block *block, int n, size_t *arena)
{
    reel__block **list = reel__malloc((size_t)(2 * n + 1) * sizeof *list);
    if (!list) return reel_error_status();
    reel__block **placed = list + n;
    for (int i = 0; i < n; i++) list[i] = &block[i];
    qsort(list, (size_t)n, sizeof *list, by_size);
    *arena = 0;
    for (int i = 0; i < n; i++) {
        reel__block *b = list[i];
        b->offset = best_gap(placed, i, b);
        insert(placed, i, b);
        if (b->offset + b->bytes > *arena) *arena = b->offset + b->bytes;
    }
    reel__free(list);
    return REEL_OK;
}

reel_status reel__plan_lower_bound(const reel__block *block, int n, int n_step,
                                   size_t *bytes)
{
    /* what comes alive at a step and what is dead after it: [2 * step], [2 * step + 1] */
    size_t *change = reel__calloc(2 * (size_t)n_step + 1, sizeof *change), live = 0;
    if (!change) return reel_error_status();
    for (int i = 0; i < n; i++) {
        change[2 * block[i].first] += block[i].bytes;
        change[2 * block[i].last + 1] += block[i].bytes;
    }
    *bytes = 0;
    for (int s = 0; s < n_step; s++) {
        live += change[2 * s];
        if (live > *bytes) *bytes = live;
        live -= change[2 * s + 1];
    }
    reel__free(change);
    return REEL_OK;
}

reel_status reel__plan_check(const reel__block *block, int n, size_t arena)
{
    for (int i = 0; i < n; i++) {
        const reel__block *a = &block[i];
        if (a->bytes > arena || a->offset > arena - a->bytes)
            return reel_fail(REEL_ERR_INTERNAL, "plan: block %d leaves the arena", i);
        for (int k = 0; k < i; k++) {
            const reel__block *b = &block[k];
            bool meet =
                a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
            if (meet && live_together(a, b))
                return reel_fail(REEL_ERR_INTERNAL,
                                 "plan: blocks %d and %d overlap while both are in use",
                                 k, i);
        }
    }
    return REEL_OK;
}
