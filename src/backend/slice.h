/* slice.h: where a slice lies in a dimension of some size. Shape rules, kernels and whoever
 * asks from which size on it is a line ask here. */
#ifndef REEL_BACKEND_SLICE_H
#define REEL_BACKEND_SLICE_H

#include "backend/attrs.h"

/* A place that counts from either end, clipped. */
static inline int64_t reel__slice_place(int64_t i, int64_t n)
{
    if (i < 0) return i < -n ? 0 : i + n;
    return i > n ? n : i;
}

/* The first element and how many, of a dimension of size n; false if the slice must lie inside
 * and does not, or if it is none. */
static inline bool reel__slice_at(const reel__slice_attrs *a, int64_t n, int64_t *start,
                                  int64_t *length)
{
    int64_t end = reel__slice_place(a->end, n);
    *start = reel__slice_place(a->start, n);
    *length = end > *start ? (end - *start - 1) / (a->step > 0 ? a->step : 1) + 1 : 0;
    switch (a->how) {
    case REEL_SLICE_CLIPS: return a->step >= 1;
    case REEL_SLICE_INSIDE:
        return a->step == 1 && a->start >= 0 && a->start <= a->end && a->end <= n;
    case REEL_SLICE_ONE:
        *length = 1;
        return a->step == 1 && a->end == 0 && a->start >= -n && a->start < n;
    default: return false;
    }
}

/* All sizes above it show how the slice grows: start and length lie on a line, it is not the
 * whole by chance, and one that grows has two elements or more. Places beyond `most`, which no
 * size reaches, are the end itself. 0: all sizes do. */
static inline int64_t reel__slice_settles(const reel__slice_attrs *a, int64_t most)
{
    int64_t s = a->start, e = a->end;
    if (a->how == REEL_SLICE_ONE) return 1;
    if (a->how == REEL_SLICE_INSIDE) return s == 0 ? e : 0;
    if (s >= most || e <= -most) return 0; /* nothing */
    bool open = e < 0 || e >= most;
    int64_t step = a->step < most ? a->step : 0; /* else there is one element at most */
    if (s <= -most) s = 0;
    if (e >= most) e = 0;
    if (s >= 0 && open) return s == 0 && e == 0 && step == 1 ? 0 : s - e + step;
    if (s < 0 && !open) return e - s;
    return s < 0 ? -s - (e < 0 ? e : 0) : s > e ? s : e;
}

#endif
