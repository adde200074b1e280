/* walk.c: see walk.h. */
#include "backend/cpu/walk.h"

#include <string.h>

static bool is_further_in(const reel__axis *inner, const reel__axis *outer)
{
    int64_t in = inner->a < 0 ? -inner->a : inner->a;
    int64_t out = outer->a < 0 ? -outer->a : outer->a;
    return in != 0 && (out == 0 || in < out);
}

void reel__axes_sort(reel__axis *axis, int n)
{
    for (int i = 1; i < n; i++) {
        reel__axis moving = axis[i];
        int at = i;
        for (; at > 0 && is_further_in(&axis[at - 1], &moving); at--)
            axis[at] = axis[at - 1];
        axis[at] = moving;
    }
}

int reel__axes_merge(reel__axis *axis, int n)
{
    int last = -1;
    for (int i = 0; i < n; i++) {
        if (axis[i].size == 1) continue;
        if (last >= 0 && axis[last].a == axis[i].a * axis[i].size &&
            axis[last].b == axis[i].b * axis[i].size) {
            axis[last].size *= axis[i].size;
            axis[last].a = axis[i].a;
            axis[last].b = axis[i].b;
        } else {
            axis[++last] = axis[i];
        }
    }
    if (last < 0) axis[++last] = (reel__axis){.size = 1, .a = 1, .b = 1};
    return last + 1;
}

int reel__axes(const reel__meta *a, const reel__meta *b, reel__axis axis[REEL_MAX_RANK])
{
    for (int d = 0; d < a->rank; d++)
        axis[d] = (reel__axis){a->dim[d], a->stride[d], b ? b->stride[d] : 0};
    return reel__axes_merge(axis, a->rank);
}

reel__walk reel__match_walk(const reel__axis *axis, int n, int64_t index)
{
    reel__walk w = {.n = n, .axis = axis};
    for (int d = n - 1; d >= 0 && index > 0; d--) {
        w.at[d] = d > 0 ? index % axis[d].size : index;
        index /= axis[d].size;
        w.a += w.at[d] * axis[d].a;
        w.b += w.at[d] * axis[d].b;
    }
    return w;
}

void reel__walk_step(reel__walk *w, int64_t count)
{
    int d = w->n - 1;
    w->at[d] += count;
    w->a += count * w->axis[d].a;
    w->b += count * w->axis[d].b;
    for (; d > 0 && w->at[d] == w->axis[d].size; d--) {
        w->a += w->axis[d - 1].a - w->at[d] * w->axis[d].a;
        w->b += w->axis[d - 1].b - w->at[d] * w->axis[d].b;
        w->at[d] = 0;
        w->at[d - 1]++;
    }
}

void reel__copy_run(void *dst, int64_t dst_step, const void *src, int64_t src_step,
                    int64_t n, size_t size)
{
    if (dst_step == 1 && src_step == 1) {
        memcpy(dst, src, (size_t)n * size);
        return;
    }
#define COPY_AS(type)                                                                    \
    for (int64_t i = 0; i < n; i++)                                                      \
    ((type *)dst)[i * dst_step] = ((const type *)src)[i * src_step]
    switch (size) {
    case 1: COPY_AS(reel_bits8); break;
    case 2: COPY_AS(reel_bits16); break;
    case 4: COPY_AS(reel_bits32); break;
    default: COPY_AS(reel_bits64); break;
    }
#undef COPY_AS
}

void reel__walk_gather(void *dst, const void *src, reel__walk *w, int64_t n, size_t size)
{
    for (char *to = dst; n > 0;) {
        int64_t run = reel__walk_run(w) < n ? reel__walk_run(w) : n;
        const char *from = (const char *)src + w->a * (int64_t)size;
        reel__copy_run(to, 1, from, w->axis[w->n - 1].a, run, size);
        to += (size_t)run * size;
        n -= run;
        reel__walk_step(w, run);
    }
}

void reel__walk_scatter(void *dst, const void *src, reel__walk *w, int64_t n, size_t size)
{
    for (const char *from = src; n > 0;) {
        int64_t run = reel__walk_run(w) < n ? reel__walk_run(w) : n;
        char *to = (char *)dst + w->b * (int64_t)size;
        reel__copy_run(to, w->axis[w->n - 1].b, from, 1, run, size);
        from += (size_t)run * size;
        n -= run;
        reel__walk_step(w, run);
    }
}
