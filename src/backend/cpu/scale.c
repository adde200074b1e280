/* scale.c: SCALE: a tensor times one f64. f32 is multiplied in f32, unless the number is too
 * small or too large to be one. */
#include <float.h>
#include <math.h>

#include "backend/cpu/kernels.h"
#include "backend/cpu/pw.h"
#include "backend/cpu/walk.h"
#include "base/parallel.h"

enum {
    GRAIN = 16384 /* elements that are worth a task */
};

typedef struct scaling {
    const reel__kcall *call;
    double factor;
    int n;
    reel__axis axis[REEL_MAX_RANK];
} scaling;

/* Neighbours are a row of MUL_SCALAR, unless that is of another type than the product. */
#define SCALE_RUN(type, as, row)                                                         \
    do {                                                                                 \
        const type *x = (const type *)s->call->in[0].data + w.a;                         \
        type *y = (type *)s->call->out[0].data + w.b;                                    \
        const as f = (as)s->factor;                                                      \
        if (sizeof(type) == sizeof(as) && xs == 1 && ys == 1)                            \
            row(run, (const void *[3]){x}, y, attrs);                                    \
        else                                                                             \
            for (int64_t i = 0; i < run; i++) y[i * ys] = (type)((as)x[i * xs] * f);     \
    } while (0)

static void scale(void *ctx, int64_t begin, int64_t end)
{
    const scaling *s = ctx;
    const double size = fabs(s->factor);
    const bool fits = size == 0 || (size >= FLT_MIN && size <= FLT_MAX);
    const reel__pw_fn *rows = reel__pw_rows_of_isa()->row[K_MUL_SCALAR];
    const reel__number attrs[2] = {reel__real(s->factor)};
    reel__walk w = reel__match_walk(s->axis, s->n, begin);
    for (int64_t run; begin < end; begin += run, reel__walk_step(&w, run)) {
        const int64_t left = reel__walk_run(&w);
        const int64_t xs = s->axis[s->n - 1].a, ys = s->axis[s->n - 1].b;
        run = end - begin < left ? end - begin : left;
        if (s->call->in[0].meta->dtype == REEL_F64)
            SCALE_RUN(double, double, rows[REEL_PW_F64]);
        else if (fits)
            SCALE_RUN(float, float, rows[REEL_PW_F32]);
        else
            SCALE_RUN(float, double, rows[REEL_PW_F32]);
    }
}

/* x [...], a number f64 -> y [...] */
reel_status reel__ref_scale(const reel__kcall *call)
{
    const reel__meta *x = call->in[0].meta, *y = call->out[0].meta;
    scaling s = {.call = call, .factor = *(const double *)call->in[1].data};
    const int64_t n = reel__numel(x);
    if (x->dtype != REEL_F32 && x->dtype != REEL_F64)
        return reel_fail(REEL_ERR_DTYPE, "scale: not for dtype %s",
                         reel_dtype_name(x->dtype));
    s.n = reel__axes(x, y, s.axis);
    if (n > 0) reel__parallel_range(n, GRAIN, scale, &s);
    return REEL_OK;
}
