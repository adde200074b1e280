/* conv_winograd.c: transforms of Winograd F(4,3), channels in the lanes of a vector.
 *
 * With the points 0, 1, -1, 2, -2 and infinity (Lavin and Gray 2015, arXiv:1509.09308):
 *   y = A' [ (G w G') * (B' x B) ] A    and its adjoint in w, the weight gradient,
 *   gw = G' [ (A gy A') * (B' x B) ] G.
 * Each two-dimensional transform is the one-dimensional one on columns, then on rows. */
#include "backend/cpu/isa/conv_kernels.h"
#include "backend/cpu/isa/transpose.h"
#include "backend/cpu/isa/vmath.h"

#define UNROLL_FOR(...) REEL_UNROLL(32, __VA_ARGS__)
#define INLINE static inline __attribute__((always_inline))

/* ---- one-dimensional transforms; s and d are s[0], s[step], ... -------------------- */

INLINE void b6(reel_vf *d, int ds, const reel_vf *s, int ss) /* 6 -> 6, B' */
{
    reel_vf s0 = s[0], s1 = s[ss], s2 = s[2 * ss], s3 = s[3 * ss], s4 = s[4 * ss],
            s5 = s[5 * ss];
    reel_vf a = s4 - 4 * s2, b = s3 - 4 * s1, e = s4 - s2, f = 2 * (s3 - s1);
    d[0] = (4 * s0 - 5 * s2) + s4;
    d[ds] = a + b;
    d[2 * ds] = a - b;
    d[3 * ds] = e + f;
    d[4 * ds] = e - f;
    d[5 * ds] = (4 * s1 - 5 * s3) + s5;
}

INLINE void a6(reel_vf *d, int ds, const reel_vf *s, int ss) /* 6 -> 4, A' */
{
    reel_vf s0 = s[0], s1 = s[ss], s2 = s[2 * ss], s3 = s[3 * ss], s4 = s[4 * ss],
            s5 = s[5 * ss];
    reel_vf a = s1 + s2, b = s1 - s2, e = s3 + s4, f = s3 - s4;
    d[0] = (s0 + a) + e;
    d[ds] = b + 2 * f;
    d[2 * ds] = a + 4 * e;
    d[3 * ds] = (b + 8 * f) + s5;
}

INLINE void a4(reel_vf *d, int ds, const reel_vf *s, int ss) /* 4 -> 6, A */
{
    reel_vf s0 = s[0], s1 = s[ss], s2 = s[2 * ss], s3 = s[3 * ss];
    reel_vf a = s0 + s2, b = s1 + s3, e = s0 + 4 * s2, f = 2 * s1 + 8 * s3;
    d[0] = s0;
    d[ds] = a + b;
    d[2 * ds] = a - b;
    d[3 * ds] = e + f;
    d[4 * ds] = e - f;
    d[5 * ds] = s3;
}

#define SIXTH 0.166666666666666667f
#define TWELFTH 0.0833333333333333333f
#define TWENTYFOURTH 0.0416666666666666667f

INLINE void g3(reel_vf *d, int ds, const reel_vf *s, int ss) /* 3 -> 6, G */
{
    reel_vf s0 = s[0], s1 = s[ss], s2 = s[2 * ss];
    reel_vf a = -SIXTH * (s0 + s2), b = SIXTH * s1;
    reel_vf e = TWENTYFOURTH * s0 + SIXTH * s2, f = TWELFTH * s1;
    d[0] = 0.25f * s0;
    d[ds] = a - b;
    d[2 * ds] = a + b;
    d[3 * ds] = e + f;
    d[4 * ds] = e - f;
    d[5 * ds] = s2;
}

INLINE void g6(reel_vf *d, int ds, const reel_vf *s, int ss) /* 6 -> 3, G' */
{
    reel_vf s0 = s[0], s1 = s[ss], s2 = s[2 * ss], s3 = s[3 * ss], s4 = s[4 * ss],
            s5 = s[5 * ss];
    reel_vf a = SIXTH * (s1 + s2), b = SIXTH * (s2 - s1), e = s3 + s4, f = s3 - s4;
    d[0] = (0.25f * s0 - a) + TWENTYFOURTH * e;
    d[ds] = b + TWELFTH * f;
    d[2 * ds] = (SIXTH * e - a) + s5;
}

/* ---- two-dimensional transforms ---------------------------------------------------- */

static void input(const float *const pixel[36], int64_t c, float *v, int64_t step)
{
    for (int64_t i = 0; i < c; i += REEL_VW) {
        reel_vf t[36];
        UNROLL_FOR (int x = 0; x < 6; x++) {
            reel_vf s[6];
            UNROLL_FOR (int y = 0; y < 6; y++) s[y] = reel_vload(pixel[y * 6 + x] + i);
            b6(t + x, 6, s, 1);
        }
        UNROLL_FOR (int y = 0; y < 6; y++) {
            reel_vf d[6];
            b6(d, 1, t + y * 6, 1);
            UNROLL_FOR (int x = 0; x < 6; x++)
                reel_vstore(v + (y * 6 + x) * step + i, d[x]);
        }
    }
}

static bool output(const float *m, int64_t step, int64_t width, const float *bias,
                   const float *const *residual, bool relu, float *const pixel[16])
{
    reel_vf test = {0}; /* 0 * sum is 0, or NaN if the sum is not finite */
    for (int64_t i = 0; i < width; i += REEL_VW) {
        reel_vf t[24], add = bias ? reel_vload(bias + i) : (reel_vf){0};
        UNROLL_FOR (int x = 0; x < 6; x++) {
            reel_vf s[6];
            UNROLL_FOR (int y = 0; y < 6; y++)
                s[y] = reel_vload(m + (y * 6 + x) * step + i);
            a6(t + x, 6, s, 1);
        }
        UNROLL_FOR (int y = 0; y < 4; y++) {
            reel_vf d[4];
            a6(d, 1, t + y * 6, 1);
            /* d[1] = b + 2 f is finite where b + 8 f, so d[3], is. */
            test += 0 * d[0];
            test += 0 * d[2];
            test += 0 * d[3];
            UNROLL_FOR (int x = 0; x < 4; x++) {
                d[x] += add;
                if (residual) d[x] += reel_vload(residual[y * 4 + x] + i);
                if (relu) d[x] = reel_vrelu(d[x]);
                reel_vstore(pixel[y * 4 + x] + i, d[x]);
            }
        }
    }
    return !reel_vany_nan(test);
}

static void output_grad(const float *const pixel[16], int64_t k, float *z, int64_t step)
{
    for (int64_t i = 0; i < k; i += REEL_VW) {
        reel_vf t[24];
        UNROLL_FOR (int x = 0; x < 4; x++) {
            reel_vf s[4];
            UNROLL_FOR (int y = 0; y < 4; y++) s[y] = reel_vload(pixel[y * 4 + x] + i);
            a4(t + x, 4, s, 1);
        }
        UNROLL_FOR (int y = 0; y < 6; y++) {
            reel_vf d[6];
            a4(d, 1, t + y * 4, 1);
            UNROLL_FOR (int x = 0; x < 6; x++)
                reel_vstore(z + (y * 6 + x) * step + i, d[x]);
        }
    }
}

/* v[tap][lane] of REEL_VW output channels: rows of 9 contiguous floats, transposed. */
INLINE void load_taps(const float *w, const float *end, int64_t o_step, reel_vf tap[9])
{
    UNROLL_FOR (int t = 0; t < 9; t += REEL_VW) {
        reel_vf v[REEL_VW];
        /* Whole vectors where they stay inside the tensor: the surplus is not used. */
        bool inside = end - (w + (REEL_VW - 1) * o_step + t) >= REEL_VW;
        reel_load_columns(w + t, o_step, REEL_VW, inside ? REEL_VW : 9 - t, v);
        for (int j = 0; j < REEL_VW && t + j < 9; j++) tap[t + j] = v[j];
    }
}

INLINE void transform_weight(const reel_vf tap[9], float *u, int64_t step)
{
    reel_vf t[18];
    UNROLL_FOR (int x = 0; x < 3; x++) g3(t + x, 3, tap + x, 3);
    UNROLL_FOR (int y = 0; y < 6; y++) {
        reel_vf d[6];
        g3(d, 1, t + y * 3, 1);
        UNROLL_FOR (int x = 0; x < 6; x++) reel_vstore(u + (y * 6 + x) * step, d[x]);
    }
}

static void weight(const float *w, const float *end, int64_t o_step, int64_t i_step,
                   bool rotate, int64_t n, int64_t width, float *u, int64_t step)
{
    for (int64_t h = 0; h < width; h += REEL_VW)
        for (int64_t i = 0; i < n; i++) {
            reel_vf tap[9];
            load_taps(w + i * i_step + h * o_step, end, o_step, tap);
            if (rotate)
                for (int j = 0; j < 4; j++) {
                    reel_vf swap = tap[j];
                    tap[j] = tap[8 - j];
                    tap[8 - j] = swap;
                }
            transform_weight(tap, u + i * width + h, step);
        }
}

static void weight_packed(const float *w, int64_t tap_step, int64_t n, int64_t width,
                          float *u, int64_t step)
{
    for (int64_t i = 0; i < n * width; i += REEL_VW) {
        reel_vf tap[9];
        UNROLL_FOR (int j = 0; j < 9; j++) tap[j] = reel_vload(w + j * tap_step + i);
        transform_weight(tap, u + i, step);
    }
}

static void weight_grad(const float *p, int64_t step, int64_t n, int64_t width,
                        float *sum, int64_t sum_step)
{
    for (int64_t i = 0; i < n * width; i += REEL_VW) {
        reel_vf t[18];
        UNROLL_FOR (int x = 0; x < 6; x++) {
            reel_vf s[6];
            UNROLL_FOR (int y = 0; y < 6; y++)
                s[y] = reel_vload(p + (y * 6 + x) * step + i);
            g6(t + x, 6, s, 1);
        }
        UNROLL_FOR (int y = 0; y < 3; y++) {
            reel_vf d[3];
            g6(d, 1, t + y * 6, 1);
            UNROLL_FOR (int x = 0; x < 3; x++) {
                float *to = sum + (y * 3 + x) * sum_step + i;
                reel_vstore(to, reel_vload(to) + d[x]);
            }
        }
    }
}

const reel__conv_winograd ISA(conv_winograd) = {
    .input = input,
    .output = output,
    .output_grad = output_grad,
    .weight = weight,
    .weight_packed = weight_packed,
    .weight_grad = weight_grad,
};
