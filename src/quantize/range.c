/* range.c: from a range to scale and zero point, by operators, so that a captured step holds it.
 * In f64: it is little, and the scale is then the nearest f32. */
#include "quantize/quantize.h"

/* Of a channel of zeros, as a part of the largest channel's. Smaller ones would let 32 bits of
 * bias overflow for channels that say nothing. */
#define SMALLEST_PART (1.0 / 4096)
/* Of anything: the product of two is still a normal f32. */
#define SMALLEST (1.0 / 1152921504606846976.0) /* 2^-60 */

static reel_tensor *number(double x)
{
    return reel_full(REEL_SCALAR, x, REEL_F64);
}

/* All zero: any scale does. */
static reel_tensor *guarded(reel_tensor *s)
{
    reel_tensor *none = number(0);
    reel_tensor *least = reel_mul_scalar(reel_max(s, REEL_ALL, false), SMALLEST_PART);
    s = reel_maximum(s, least);
    s = reel_where(reel_gt(s, none), s, number(1));
    return reel_maximum(s, number(SMALLEST));
}

reel_status reel__range_parameters(reel_tensor *low, reel_tensor *high,
                                   reel_quantize_grid grid, reel_tensor **scale,
                                   reel_tensor **zero_point)
{
    const double steps = grid.symmetric ? (grid.high < -grid.low ? grid.high : -grid.low)
                                        : grid.high - grid.low;
    low = reel_minimum(reel_cast(low, REEL_F64), number(0));
    high = reel_maximum(reel_cast(high, REEL_F64), number(0));
    reel_tensor *size =
        grid.symmetric ? reel_maximum(reel_neg(low), high) : reel_sub(high, low);
    *scale = reel_cast(guarded(reel_div(size, number(steps))), REEL_F32);
    reel_tensor *zero = reel_neg(reel_round(reel_div(low, reel_cast(*scale, REEL_F64))));
    zero = grid.symmetric
               ? reel_sub(low, low)
               : reel_clamp(reel_add_scalar(zero, grid.low), grid.low, grid.high);
    *zero_point = reel_cast(zero, REEL_F32);
    return reel_error_status();
}
