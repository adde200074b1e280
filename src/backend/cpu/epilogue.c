/* epilogue.c: see epilogue.h. */
#include "backend/cpu/epilogue.h"

reel__epilogue reel__epilogue_of(const float *bias, const float *residual,
                                 const float *out, int64_t act, const reel__number a[2])
{
    bool other = act != K_NONE && act != K_RELU;
    return (reel__epilogue){
        .bias = bias,
        .residual = residual,
        .out = out,
        .relu = act == K_RELU,
        .act = other ? reel__pw_rows_of_isa()->row[act][REEL_PW_F32] : NULL,
        .a = {a[0], a[1]},
    };
}

static void in_place(reel__kernel_id row, const reel__epilogue *e, float *to,
                     const float *other, int64_t n)
{
    const void *const x[3] = {to, other, NULL};
    reel__pw_rows_of_isa()->row[row][REEL_PW_F32](n, x, to, e->a);
}

void reel__epilogue_row(const reel__epilogue *e, float *to, int64_t n)
{
    if (e->residual) in_place(K_ADD, e, to, reel__residual_at(e, to), n);
    if (e->relu) in_place(K_RELU, e, to, NULL, n);
    reel__epilogue_act(e, to, n);
}
