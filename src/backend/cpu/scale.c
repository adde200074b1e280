/* scale.c: SCALE: a tensor times one f64. f32 is multiplied in f32, unless the number is too
 * small or too large to be one. */
#include <float.h>
#include <math.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/walk.h"
#include "base/parallel.h"

enum {
    GRAIN = 16384 /* elements that are worth a task */
};

typedef struct scaling {
    const reel_kcall *call;
    double factor;
    int n;
    reel_axis axis[REEL_MAX_RANK];
} scaling;

#define SCALE_RUN(type, as)                                                              \
    do {                                                                                 \
        const type *x = (const type *)s->call->in[0].data + w.a;                         \
        type *y = (type *)s->call->out[0].data + w.b;                                    \
        const as f = (as)s->factor;                                                      \
        if (xs == 1 && ys == 1)                                                          \
            for (int64_t i = 0; i < run; i++) y[i] = (type)((as)x[i] * f);               \
        else                                                                             \
            for (int64_t i = 0; i < run; i++) y[i * ys] = (type)((as)x[i * xs] * f);     \
    } while (0)

static void scale(void *ctx, int64_t begin, int64_t end)
{
    const scaling *s = ctx;
    const double size = fabs(s->factor);
    const bool fits = size == 0 || (size >= FLT_MIN && size <= FLT_MAX);
    reel_walk w = reel__walk(s->axis, s->n, begin);
    for (int64_t run; begin < end; begin += run, reel__walk_step(&w, run)) {
        const int64_t left = reel__walk_run(&w);
        const int64_t xs = s->axis[s->n - 1].a, ys = s->axis[s->n - 1].b;
        run = end - begin < left ? end - begin : left;
        if (s->call->in[0].meta->dtype == REEL_F64)
            SCALE_RUN(double, double);
        else if (fits)
            SCALE_RUN(float, float);
        else
            SCALE_RUN(float, double);
    }
}

/* x [...], a number f64 -> y [...] */
reel_status reel__ref_scale(const reel_kcall *call)
{
    const reel_meta *x = call->in[0].meta, *y = call->out[0].meta;
    scaling s = {.call = call, .factor = *(const double *)call->in[1].data};
    const int64_t n = reel__numel(x);
    if (x->dtype != REEL_F32 && x->dtype != REEL_F64)
        return reel_fail(REEL_ERR_DTYPE, "scale: not for dtype %s",
                         reel_dtype_name(x->dtype));
    s.n = reel__axes(x, y, s.axis);
    if (n > 0) reel__parallel_range(n, GRAIN, scale, &s);
    return REEL_OK;
}
