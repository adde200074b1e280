/* pool.h: inner loops of channels-last pooling, one row of the result at a time. */
#ifndef REEL_ISA_POOL_H
#define REEL_ISA_POOL_H

#include "backend/cpu/isa/isa.h"
#include "backend/cpu/pool_window.h"

/* One axis: `outs` windows over `size` inputs. */
typedef struct reel__pool_axis {
    int64_t size, outs, step;    /* step: dilation                                  */
    const float *share;          /* [outs]: 1 / count; 0 if the window is empty     */
    const reel__window *window;  /* [outs]                                          */
    const reel__window *covered; /* [size]: outputs begin .. end whose windows reach
                                 * over the input; backward only                   */
} reel__pool_axis;

/* x [h.size, w.size, channels] of one image -> y [h.outs, w.outs, channels]. */
typedef struct reel__pool_plan {
    reel__pool_axis h, w;
    int64_t channels;
} reel__pool_plan;

typedef struct reel__pool_isa {
    /* Row p of y, and of the flat index h * w.size + w unless NULL. x: the image. */
    void (*max_row)(const reel__pool_plan *plan, const float *x, int64_t p, float *y,
                    int64_t *index);
    /* Row h of gx; gy and index: the image. */
    void (*max_backward_row)(const reel__pool_plan *plan, const float *gy,
                             const int64_t *index, int64_t h, float *gx);
    void (*average_row)(const reel__pool_plan *plan, const float *x, int64_t p, float *y);
    void (*average_backward_row)(const reel__pool_plan *plan, const float *gy, int64_t h,
                                 float *gx);
} reel__pool_isa;

REEL_ISA_DECLARE(reel__pool_isa, pool);

#endif
