/* walk.h: stepping through one or two strided operands in the same order.
 *
 * An axis is a dimension with the step of each operand. A list of axes runs from outer to
 * inner and is never empty: a scalar is one axis of size 1. Dimensions of size 1 are left
 * out, and neighbours that lie without a gap in both operands are merged, so that a dense
 * tensor of any rank is one axis. */
#ifndef REEL_BACKEND_CPU_WALK_H
#define REEL_BACKEND_CPU_WALK_H

#include "base/shape.h"

typedef struct reel__axis {
    int64_t size;
    int64_t a, b; /* steps of the two operands, in elements */
} reel__axis;

/* A place in the list: index along each axis, and where that is in the operands. */
typedef struct reel__walk {
    int n;
    const reel__axis *axis;
    int64_t at[REEL_MAX_RANK];
    int64_t a, b;
} reel__walk;

/* Words of the sizes of elements, for those who move bits whatever their type. */
typedef uint8_t reel_bits8 __attribute__((may_alias));
typedef uint16_t reel_bits16 __attribute__((may_alias));
typedef uint32_t reel_bits32 __attribute__((may_alias));
typedef uint64_t reel_bits64 __attribute__((may_alias));

/* Sorts by the distance that a step of operand a moves, the nearest innermost; step 0
 * repeats memory and goes outermost, so that the innermost axis is one that moves. */
void reel__axes_sort(reel__axis *axis, int n);
/* Merges neighbours of a list of n axes; returns the new n, at least 1. */
int reel__axes_merge(reel__axis *axis, int n);
/* Axes of a shape in logical order, with the strides of `a` and of `b` (same dims; NULL:
 * 0). */
int reel__axes(const reel__meta *a, const reel__meta *b, reel__axis axis[REEL_MAX_RANK]);

/* A walk that stands at element `index` of the list's row-major order. */
reel__walk reel__match_walk(const reel__axis *axis, int n, int64_t index);
/* Elements left on the innermost axis, this one included. */
static inline int64_t reel__walk_run(const reel__walk *w)
{
    return w->axis[w->n - 1].size - w->at[w->n - 1];
}
/* Goes `count` elements on, at most reel__walk_run(). */
void reel__walk_step(reel__walk *w, int64_t count);

/* Copies n elements of `size` bytes, any steps (in elements). */
void reel__copy_run(void *dst, int64_t dst_step, const void *src, int64_t src_step,
                    int64_t n, size_t size);
/* Copies the next n elements of operand a (at src) into dst without gaps, and back from
 * there into operand b. `size`: bytes of an element. The walk goes on by n. */
void reel__walk_gather(void *dst, const void *src, reel__walk *w, int64_t n, size_t size);
void reel__walk_scatter(void *dst, const void *src, reel__walk *w, int64_t n,
                        size_t size);

#endif
