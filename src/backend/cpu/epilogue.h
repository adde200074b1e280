/* epilogue.h: what follows a product or convolution while its result is in cache: bias,
 * residual, activation, in this order. */
#ifndef REEL_CPU_EPILOGUE_H
#define REEL_CPU_EPILOGUE_H

#include "backend/cpu/pw.h"

typedef struct reel__epilogue {
    const float *bias;     /* one a column, added first; NULL: none                */
    const float *residual; /* element [i] belongs to out[i]; NULL: none             */
    const float *out;      /* the whole result                                     */
    bool relu;             /* the activation that inner loops apply in registers   */
    reel__pw_fn act;       /* any other one, on rows that have been stored; or NULL */
    reel__number a[2];
} reel__epilogue;

/* `act` is a unary pointwise row, or K_NONE. */
reel__epilogue reel__epilogue_of(const float *bias, const float *residual,
                                 const float *out, int64_t act, const reel__number a[2]);
/* The residual that belongs to a place of the result; NULL: none. */
static inline const float *reel__residual_at(const reel__epilogue *e, const float *to)
{
    return e->residual ? e->residual + (to - e->out) : NULL;
}
/* The activation that inner loops leave, on n elements. */
static inline void reel__epilogue_act(const reel__epilogue *e, float *to, int64_t n)
{
    const void *const x[3] = {to, NULL, NULL};
    if (e->act) e->act(n, x, to, e->a);
}
/* Everything but the bias, on n elements from `to` on. */
void reel__epilogue_row(const reel__epilogue *e, float *to, int64_t n);

#endif
