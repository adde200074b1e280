/* conv_gemm.c: the matrix products inside convolutions, as register blocks of R rows
 * times one or two vectors of columns, and the packing of weights into panels.
 *
 * One block keeps R * NV sums in registers and, for each step of the reduction, loads NV
 * vectors and broadcasts R floats (Goto and van de Geijn 2008). R is a constant in every
 * instance, so that the sums are registers; a count of rows that R does not divide is cut
 * into nearly equal blocks, as two blocks of 8 are faster than one of 14 and one of 2. */
#include "backend/cpu/isa/conv_kernels.h"
#include "backend/cpu/isa/transpose.h"
#include "backend/cpu/isa/vmath.h"

#if defined(__clang__)
#define UNROLL_FOR(...) _Pragma("clang loop unroll(full)") for (__VA_ARGS__)
#else
#define UNROLL_FOR(...) _Pragma("GCC unroll 32") for (__VA_ARGS__)
#endif
#define INLINE static inline __attribute__((always_inline))

/* clang-format off */
/* 32 registers hold 28 sums, 2 columns and some broadcasts; 16 hold 12. */
#if REEL_VW == 16 || defined(__aarch64__)
#define ROWS2 14
#define ROWS1 28
#define EACH_ROWS1(X)                                                                    \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)     \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28)
#define EACH_ROWS2(X)                                                                    \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define ROWS2 6
#define ROWS1 12
#define EACH_ROWS1(X) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12)
#define EACH_ROWS2(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
/* clang-format on */

/* Cuts m rows into as few blocks as fit, all nearly equal; returns the next block's. */
INLINE int64_t next_rows(int64_t left, int64_t most)
{
    int64_t blocks = (left + most - 1) / most;
    return (left + blocks - 1) / blocks;
}

/* ---- gather: rows by pointer, several taps ----------------------------------------- */

/* Stores the sums; `e` has a residual or relu, or is NULL. */
INLINE void store_block(const int R, const int NV, reel_vf sum[][2],
                        const reel_epilogue *e, float *const *d, int64_t column)
{
    UNROLL_FOR (int i = 0; i < R; i++) {
        float *to = d[i] + column;
        const float *residual = e ? reel__residual_at(e, to) : NULL;
        UNROLL_FOR (int j = 0; j < NV; j++) {
            if (residual) sum[i][j] += reel_vload(residual + j * REEL_VW);
            if (e && e->relu) sum[i][j] = reel_vrelu(sum[i][j]);
            reel_vstore(to + j * REEL_VW, sum[i][j]);
        }
    }
}

INLINE void gather_block(const int R, const int NV, const reel_conv_gather *g,
                         int64_t first, const reel_vf *bias, const reel_epilogue *e,
                         float *const *d, int64_t column)
{
    reel_vf sum[ROWS1][2];
    const float *a[ROWS1];
    UNROLL_FOR (int i = 0; i < R; i++) a[i] = g->a[first + i];
    UNROLL_FOR (int i = 0; i < R; i++)
        UNROLL_FOR (int j = 0; j < NV; j++) sum[i][j] = bias[j];
    const float *b = g->b;
    for (int64_t t = 0; t < g->taps; t++) {
        int64_t begin = g->tap[t], end = begin + g->len;
        for (int64_t k = begin; k < end; k++, b += NV * REEL_VW) {
            reel_vf col[2];
            UNROLL_FOR (int j = 0; j < NV; j++) col[j] = reel_vload(b + j * REEL_VW);
            UNROLL_FOR (int i = 0; i < R; i++) {
                reel_vf x = reel_vset(a[i][k]);
                UNROLL_FOR (int j = 0; j < NV; j++) sum[i][j] += x * col[j];
            }
        }
    }
    if (e)
        store_block(R, NV, sum, e, d, column);
    else
        store_block(R, NV, sum, NULL, d, column);
}

/* A row that was stored aside, to its place. */
static void finish_edge(const reel_conv_gather *g, const float *from, float *to)
{
    const float *residual = reel__residual_at(g->end, to);
    for (int64_t c = 0; c < g->valid; c++) {
        float x = from[c];
        if (residual) x += residual[c];
        to[c] = g->end->relu && x < 0 ? 0 : x;
    }
}

static void gather(const reel_conv_gather *g)
{
    float part[2 * REEL_VW] = {0};
    const reel_epilogue *end = g->end;
    if (end->bias) memcpy(part, end->bias + g->column, (size_t)g->valid * sizeof(float));
    const reel_vf bias[2] = {reel_vload(part), reel_vload(part + REEL_VW)};
    bool wide = g->width == 2 * REEL_VW, whole = g->valid == g->width;
    /* Where the result's channels end within a vector, blocks are stored here first. */
    if (!whole || !(end->residual || end->relu)) end = NULL;
    float edge[ROWS1][2 * REEL_VW], *edge_row[ROWS1];
    for (int i = 0; i < ROWS1; i++) edge_row[i] = edge[i];
    for (int64_t i = 0, r; i < g->m; i += r) {
        r = next_rows(g->m - i, wide ? ROWS2 : ROWS1);
        float *const *d = whole ? g->d + i : edge_row;
        int64_t column = whole ? g->column : 0;
#define CASE(R)                                                                          \
    case R: gather_block(R, NV, g, i, bias, end, d, column); break;
        if (wide) {
#define NV 2
            switch (r) {
                EACH_ROWS2(CASE)
            }
#undef NV
        } else {
#define NV 1
            switch (r) {
                EACH_ROWS1(CASE)
            }
#undef NV
        }
#undef CASE
        for (int64_t j = 0; j < r && !whole; j++)
            finish_edge(g, edge[j], g->d[i + j] + g->column);
    }
}

/* ---- dense: rows at a fixed distance ----------------------------------------------- */

INLINE void dense_block(const int R, const int NV, const float *a, int64_t lda,
                        int64_t len, const float *b, float *d, int64_t ldd,
                        bool accumulate)
{
    reel_vf sum[ROWS1][2];
    UNROLL_FOR (int i = 0; i < R; i++)
        UNROLL_FOR (int j = 0; j < NV; j++)
            sum[i][j] = accumulate ? reel_vload(d + i * ldd + j * REEL_VW) : (reel_vf){0};
    for (int64_t k = 0; k < len; k++, b += NV * REEL_VW) {
        reel_vf col[2];
        UNROLL_FOR (int j = 0; j < NV; j++) col[j] = reel_vload(b + j * REEL_VW);
        UNROLL_FOR (int i = 0; i < R; i++) {
            reel_vf x = reel_vset(a[i * lda + k]);
            UNROLL_FOR (int j = 0; j < NV; j++) sum[i][j] += x * col[j];
        }
    }
    UNROLL_FOR (int i = 0; i < R; i++)
        UNROLL_FOR (int j = 0; j < NV; j++)
            reel_vstore(d + i * ldd + j * REEL_VW, sum[i][j]);
}

static void dense(const float *a, int64_t lda, int64_t m, int64_t len, const float *panel,
                  int64_t width, float *d, int64_t ldd, bool accumulate)
{
    bool wide = width == 2 * REEL_VW;
    for (int64_t i = 0, r; i < m; i += r) {
        r = next_rows(m - i, wide ? ROWS2 : ROWS1);
        const float *ai = a + i * lda;
        float *di = d + i * ldd;
#define CASE(R)                                                                          \
    case R: dense_block(R, NV, ai, lda, len, panel, di, ldd, accumulate); break;
        if (wide) {
#define NV 2
            switch (r) {
                EACH_ROWS2(CASE)
            }
#undef NV
        } else {
#define NV 1
            switch (r) {
                EACH_ROWS1(CASE)
            }
#undef NV
        }
#undef CASE
    }
}

/* ---- outer products: the reduction runs over pixels -------------------------------- */

INLINE void outer_block(const int R, const int NV, const reel_conv_outer *g,
                        int64_t first)
{
    reel_vf sum[ROWS1][2];
    float *p = g->p + first * g->width;
    UNROLL_FOR (int i = 0; i < R; i++)
        UNROLL_FOR (int j = 0; j < NV; j++)
            sum[i][j] =
                g->accumulate ? reel_vload(p + (i * NV + j) * REEL_VW) : (reel_vf){0};
    for (int64_t y = 0; y < g->rows; y++) {
        const float *a = g->a[y] + g->tap + first, *b = g->b[y] + g->column;
        for (int64_t t = 0; t < g->steps; t++, a += g->a_step, b += g->b_step) {
            reel_vf col[2];
            UNROLL_FOR (int j = 0; j < NV; j++) col[j] = reel_vload(b + j * REEL_VW);
            UNROLL_FOR (int i = 0; i < R; i++) {
                reel_vf x = reel_vset(a[i]);
                UNROLL_FOR (int j = 0; j < NV; j++) sum[i][j] += x * col[j];
            }
        }
    }
    UNROLL_FOR (int i = 0; i < R; i++)
        UNROLL_FOR (int j = 0; j < NV; j++)
            reel_vstore(p + (i * NV + j) * REEL_VW, sum[i][j]);
}

static void outer(const reel_conv_outer *g)
{
    bool wide = g->width == 2 * REEL_VW;
    for (int64_t i = 0, r; i < g->m; i += r) {
        r = next_rows(g->m - i, wide ? ROWS2 : ROWS1);
#define CASE(R)                                                                          \
    case R: outer_block(R, NV, g, i); break;
        if (wide) {
#define NV 2
            switch (r) {
                EACH_ROWS2(CASE)
            }
#undef NV
        } else {
#define NV 1
            switch (r) {
                EACH_ROWS1(CASE)
            }
#undef NV
        }
#undef CASE
    }
}

/* ---- packing ----------------------------------------------------------------------- */

static void pack(const float *w, int64_t k, int64_t c, int64_t taps, int64_t o,
                 int64_t width, float *panel)
{
    int64_t length = c * taps; /* of one output channel, contiguous */
    for (int64_t h = 0; h < width; h += REEL_VW) {
        int64_t rows = k - o - h; /* may be <= 0: zeros */
        for (int64_t q = 0; q < length; q += REEL_VW) {
            reel_vf v[REEL_VW];
            int64_t cols = length - q < REEL_VW ? length - q : REEL_VW;
            reel_load_columns(w + (o + h) * length + q, length, rows, cols, v);
            int64_t channel = q / taps, tap = q % taps;
            for (int64_t j = 0; j < cols; j++) {
                reel_vstore(panel + (tap * c + channel) * width + h, v[j]);
                if (++tap == taps) tap = 0, channel++;
            }
        }
    }
}

static void pack_transposed(const float *w, int64_t k, int64_t c, int64_t taps, int64_t o,
                            int64_t width, const int64_t *pick, int64_t n_pick,
                            float *panel)
{
    for (int64_t i = 0; i < k; i++)
        for (int64_t p = 0; p < n_pick; p++) {
            const float *from = w + (i * c + o) * taps + pick[p];
            float *to = panel + (p * k + i) * width;
            int64_t valid = c - o < width ? c - o : width;
            for (int64_t j = 0; j < valid; j++) to[j] = from[j * taps];
            for (int64_t j = valid; j < width; j++) to[j] = 0;
        }
}

static bool unpack(const float *panel, int64_t parts, int64_t part_step, int64_t k,
                   int64_t c, int64_t taps, int64_t o, int64_t width, float *w)
{
    reel_vf test = {0}; /* 0 times infinity or NaN is NaN */
    int64_t length = c * taps;
    for (int64_t h = 0; h < width && o + h < k; h += REEL_VW)
        for (int64_t q = 0; q < length; q += REEL_VW) {
            int64_t cols = length - q < REEL_VW ? length - q : REEL_VW;
            int64_t channel = q / taps, tap = q % taps;
            reel_vf v[REEL_VW] = {{0}};
            for (int64_t j = 0; j < cols; j++) {
                const float *from = panel + (tap * c + channel) * width + h;
                for (int64_t p = 0; p < parts; p++)
                    v[j] += reel_vload(from + p * part_step);
                test += 0 * v[j];
                if (++tap == taps) tap = 0, channel++;
            }
            reel_store_columns(w + (o + h) * length + q, length, k - o - h, cols, v);
        }
    return !reel_vany_nan(test);
}

const reel_conv_gemm ISA(conv_gemm) = {
    .lanes = REEL_VW,
    .rows = ROWS2,
    .gather = gather,
    .dense = dense,
    .outer = outer,
    .pack = pack,
    .pack_transposed = pack_transposed,
    .unpack = unpack,
};
