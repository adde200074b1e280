/* conv_check.c: whether numbers are finite, at the speed of reading them. */
#include "backend/cpu/isa/conv_kernels.h"
#include "backend/cpu/isa/vmath.h"

static bool all_finite(const float *const *row, int64_t m, int64_t column, int64_t n)
{
    reel_vf even = {0}, odd = {0}; /* 0 times infinity or NaN is NaN */
    float rest = 0;
    for (int64_t i = 0; i < m; i++) {
        const float *p = row[i] + column;
        int64_t j = 0;
        for (; j + 2 * REEL_VW <= n; j += 2 * REEL_VW) {
            even += 0 * reel_vload(p + j);
            odd += 0 * reel_vload(p + j + REEL_VW);
        }
        for (; j < n; j++) rest += 0 * p[j];
    }
    return rest == 0 && !reel_vany_nan(even + odd);
}

const reel__conv_check ISA(conv_check) = {.finite = all_finite};
