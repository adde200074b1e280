/* gemm.c: microkernels of the matrix product, one source for every instruction set. */
#include "backend/cpu/isa/gemm.h"

#include <string.h>

#include "backend/cpu/isa/transpose.h"

/* Rows and vectors of a register tile, so that accumulators, one row of B and a broadcast
 * element of A fill the register file: 28 + 2 + 1 of 32, 12 + 2 + 1 of 16. */
#if defined(__AVX512F__)
#define MR 14
#define EACH_ROWS(X)                                                                     \
    X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#else
#define MR 6
#define EACH_ROWS(X) X(1) X(2) X(3) X(4) X(5) X(6)
#endif
#define NR (2 * REEL_VW)
/* Row stride of a strip copied to the stack: a cache line more than KC, so that rows do
 * not fall into the same cache set. */
#define STRIP_ROW (REEL_GEMM_KC + 16)
/* Distance of the columns of a strip copied by columns: MR, in whole vectors. */
#define STRIP_COL ((MR + REEL_VW - 1) / REEL_VW * REEL_VW)

typedef struct tile {
    const float *a; /* rows a_step apart (ROWS), or columns a_step apart (COLS) */
    const float *b; /* rows b_step apart */
    float *c;
    int64_t a_step, b_step, c_step, kc;
    const float *bias;
    bool add;
} tile;
typedef enum layout { ROWS = 0, COLS = 1 } layout;

/* c[rows, vecs * REEL_VW]; `rows`, `vecs` and `l` are constants in every instance, so the
 * accumulators are registers. */
static inline __attribute__((always_inline)) void micro(const tile *t, int rows, int vecs,
                                                        layout l)
{
    reel_vf acc[MR][4];
    const float *a = t->a, *b = t->b;
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) acc[i][v] = (reel_vf){0};
    for (int64_t k = 0; k < t->kc; k++) {
        reel_vf bv[4];
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) bv[v] = reel_vload(b + v * REEL_VW);
#pragma GCC unroll 16
        for (int i = 0; i < rows; i++) {
            reel_vf av = reel_vset(l == ROWS ? t->a[i * t->a_step + k] : a[i]);
#pragma GCC unroll 4
            for (int v = 0; v < vecs; v++) acc[i][v] += av * bv[v];
        }
        b += t->b_step;
        if (l == COLS) a += t->a_step;
    }
#pragma GCC unroll 16
    for (int i = 0; i < rows; i++) {
        float *c = t->c + i * t->c_step;
#pragma GCC unroll 4
        for (int v = 0; v < vecs; v++) {
            if (t->add) acc[i][v] += reel_vload(c + v * REEL_VW);
            if (t->bias) acc[i][v] += reel_vload(t->bias + v * REEL_VW);
            reel_vstore(c + v * REEL_VW, acc[i][v]);
        }
    }
}

#define MICRO(name, rows, vecs, l)                                                       \
    static void name(const tile *t)                                                      \
    {                                                                                    \
        micro(t, rows, vecs, l);                                                         \
    }
#define DEFINE_MICRO(R)                                                                  \
    MICRO(rows_##R##_1, R, 1, ROWS)                                                      \
    MICRO(rows_##R##_2, R, 2, ROWS)                                                      \
    MICRO(cols_##R##_1, R, 1, COLS)                                                      \
    MICRO(cols_##R##_2, R, 2, COLS)
EACH_ROWS(DEFINE_MICRO)
/* One or two rows leave registers for wider tiles: whole lines of a B in place. */
MICRO(rows_1_4, 1, 4, ROWS)
MICRO(rows_2_4, 2, 4, ROWS)

typedef void (*micro_fn)(const tile *);
#define NAME_MICRO(R) {{rows_##R##_1, rows_##R##_2}, {cols_##R##_1, cols_##R##_2}},
/* [rows - 1][layout][vectors - 1] */
static const micro_fn micros[MR][2][2] = {EACH_ROWS(NAME_MICRO)};

/* ---- packing ----------------------------------------------------------------------- */

/* One panel of w <= NR columns: dst [kc, NR], zeros beyond w. */
static void pack_panel(const float *b, int64_t b_row, int64_t b_col, int64_t kc,
                       int64_t w, float *dst)
{
    int64_t k = 0;
    if (w < NR) memset(dst, 0, (size_t)(kc * NR) * sizeof *dst);
    if (b_col == 1 && w == NR) {
        for (; k < kc; k++)
            for (int v = 0; v < NR; v += REEL_VW)
                reel_vstore(dst + k * NR + v, reel_vload(b + k * b_row + v));
    } else if (b_row == 1) {
        /* whole squares of columns that exist, then column by column */
        int64_t j = 0;
        for (; j + REEL_VW <= w; j += REEL_VW) {
            int64_t kk = 0;
            for (; kk + REEL_VW <= kc; kk += REEL_VW) {
                for (int i = 0; i < REEL_VW; i++)
                    __builtin_prefetch(b + kk + 4 * REEL_VW + (j + i) * b_col);
                reel_vtranspose(b + kk + j * b_col, b_col, dst + kk * NR + j, NR);
            }
            for (; kk < kc; kk++)
                for (int i = 0; i < REEL_VW; i++)
                    dst[kk * NR + j + i] = b[kk + (j + i) * b_col];
        }
        for (; j < w; j++)
            for (int64_t kk = 0; kk < kc; kk++) dst[kk * NR + j] = b[kk + j * b_col];
    } else {
        for (; k < kc; k++)
            for (int64_t j = 0; j < w; j++) dst[k * NR + j] = b[k * b_row + j * b_col];
    }
}

static void pack_b(const float *b, int64_t b_row, int64_t b_col, int64_t kc, int64_t n,
                   float *panels)
{
    for (int64_t j = 0; j < n; j += NR) {
        pack_panel(b + j * b_col, b_row, b_col, kc, n - j < NR ? n - j : NR, panels);
        panels += kc * NR;
    }
}

/* ---- strips of A ------------------------------------------------------------------- */

/* Strips that are copied together when A lies by columns, so that whole lines are
 * used. */
#define GROUP 4
/* Columns ahead of a copy that are fetched: too far apart for the hardware to guess. */
#define AHEAD 16
#define STRIP_SIZE (STRIP_COL * STRIP_ROW) /* enough for both layouts */

static void copy_rows(const float *a, int64_t a_row, int rows, int64_t kc, float *room)
{
    for (int r = 0; r < rows; r++)
        memcpy(room + r * STRIP_ROW, a + r * a_row, (size_t)kc * sizeof *a);
}

/* Rows i .. of A, up to GROUP strips, strip s at room + s * STRIP_SIZE as [kc,
 * STRIP_COL]. */
static void copy_cols(const reel_gemm_block *t, int64_t i, float *room)
{
    for (int64_t k = 0; k < t->kc; k++)
        for (int s = 0; s < GROUP && i + s * MR < t->m; s++) {
            int64_t first = i + s * MR;
            const float *a = t->a + first * t->a_row + k * t->a_col;
            float *to = room + s * STRIP_SIZE + k * STRIP_COL;
            if (t->a_row == 1 && first + STRIP_COL <= t->a_rows) {
                /* whole vectors, though MR would do: the elements after them exist */
                __builtin_prefetch(a + AHEAD * t->a_col);
                __builtin_prefetch(a + AHEAD * t->a_col + REEL_VW - 1);
                for (int r = 0; r < STRIP_COL; r += REEL_VW)
                    reel_vstore(to + r, reel_vload(a + r));
            } else {
                for (int r = 0; r < MR && first + r < t->m; r++) to[r] = a[r * t->a_row];
            }
        }
}

/* ---- one block of k ---------------------------------------------------------------- */

/* A tile whose last columns do not fill a vector: computed aside, then its w columns
 * merged into C. */
static void ragged_tile(const tile *t, int rows, int vecs, layout l, int64_t w)
{
    float aside[MR * NR];
    tile s = *t;
    s.c = aside;
    s.c_step = NR;
    s.bias = NULL;
    s.add = false;
    micros[rows - 1][l][vecs - 1](&s);
    for (int i = 0; i < rows; i++) {
        float *c = t->c + i * t->c_step;
        for (int64_t j = 0; j < w; j++) {
            float x = aside[i * NR + j];
            if (t->add) x += c[j];
            if (t->bias) x += t->bias[j];
            c[j] = x;
        }
    }
}

/* One strip of A against all columns; `tail` is the packed last panel of an unpacked
 * B. */
static void strip(const reel_gemm_block *t, int64_t i, int rows, const float *tail,
                  tile *s, layout l)
{
    int64_t j = 0;
    s->c_step = t->c_row;
    s->kc = t->kc;
    s->add = t->add;
    while (j < t->n) {
        int64_t w = t->n - j;
        int vecs = w > REEL_VW ? 2 : 1;
        s->c = t->c + i * t->c_row + j;
        s->bias = t->bias ? t->bias + j : NULL;
        s->b = t->b_row ? t->b + j : t->b + j * t->kc;
        s->b_step = t->b_row ? t->b_row : NR;
        if (t->b_row && rows <= 2 && l == ROWS && w >= 4 * REEL_VW) {
            (rows == 1 ? rows_1_4 : rows_2_4)(s);
            j += 4 * REEL_VW;
            continue;
        }
        if (w >= NR || w == REEL_VW) {
            micros[rows - 1][l][vecs - 1](s);
        } else {
            if (t->b_row) {
                s->b = tail;
                s->b_step = NR;
            }
            ragged_tile(s, rows, vecs, l, w);
        }
        j += NR;
    }
}

static void block(const reel_gemm_block *t)
{
    float room[GROUP * STRIP_SIZE], tail[REEL_GEMM_KC * NR];
    int64_t ragged = t->n % NR;
    if (t->b_row && ragged && ragged != REEL_VW)
        pack_panel(t->b + t->n - ragged, t->b_row, 1, t->kc, ragged, tail);
    bool reuse = t->n > 2 * NR; /* then a strip is worth a copy that lies well in L1 */
    layout l = t->a_col == 1 ? ROWS : COLS;
    for (int64_t i = 0, member = 0; i < t->m; i += MR, member = (member + 1) % GROUP) {
        int rows = t->m - i < MR ? (int)(t->m - i) : MR;
        tile s = {.a = t->a + i * t->a_row, .a_step = l == ROWS ? t->a_row : t->a_col};
        if (l == ROWS && reuse) {
            copy_rows(s.a, t->a_row, rows, t->kc, room);
            s.a = room;
            s.a_step = STRIP_ROW;
        } else if (l == COLS && (reuse || t->a_row != 1)) {
            if (member == 0) copy_cols(t, i, room);
            s.a = room + member * STRIP_SIZE;
            s.a_step = STRIP_COL;
        }
        strip(t, i, rows, tail, &s, l);
    }
}

/* ---- few rows ---------------------------------------------------------------------- */

/* A tile of REEL_VW dot products: as many accumulators as a vector has lanes, so that one
 * network adds them all up. */
#define DOT_COLS 4
#define DOT_ROWS (REEL_VW / DOT_COLS)

/* Lane i of the result is the sum of the lanes of x[i]. Each round interleaves two
 * vectors and adds the halves. */
static inline __attribute__((always_inline)) reel_vf sum_each(reel_vf x[REEL_VW])
{
#pragma GCC unroll 4
    for (int half = REEL_VW / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < half; i++)
            x[i] = REEL_ZIP_LOW(x[i], x[i + half]) + REEL_ZIP_HIGH(x[i], x[i + half]);
    return x[0];
}

/* rows x cols dot products side by side; the rest of the tile stays zero. */
static inline __attribute__((always_inline)) void dots(const reel_gemm_dot *t, int64_t i,
                                                       int64_t j, int rows, int cols)
{
    reel_vf acc[REEL_VW];
    const float *a = t->a + i * t->a_row, *b = t->b + j * t->b_row;
#pragma GCC unroll 16
    for (int x = 0; x < REEL_VW; x++) acc[x] = (reel_vf){0};
    int64_t k = 0;
    for (; k + REEL_VW <= t->k; k += REEL_VW) {
        reel_vf bv[DOT_COLS];
#pragma GCC unroll 4
        for (int c = 0; c < cols; c++) bv[c] = reel_vload(b + c * t->b_row + k);
#pragma GCC unroll 4
        for (int r = 0; r < rows; r++) {
            reel_vf av = reel_vload(a + r * t->a_row + k);
#pragma GCC unroll 4
            for (int c = 0; c < cols; c++) acc[r * DOT_COLS + c] += av * bv[c];
        }
    }
    float sum[REEL_VW];
    reel_vstore(sum, sum_each(acc));
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < cols; c++) {
            float x = sum[r * DOT_COLS + c];
            for (int64_t kk = k; kk < t->k; kk++)
                x += a[r * t->a_row + kk] * b[c * t->b_row + kk];
            float *out = t->c + (i + r) * t->c_row + j + c;
            if (t->add) x += *out;
            if (t->bias) x += t->bias[j + c];
            *out = x;
        }
}

static void dot(const reel_gemm_dot *t)
{
    /* columns outside: a few rows of B serve all rows of A from L1 */
    for (int64_t j = 0; j < t->n; j += DOT_COLS) {
        bool whole = t->n - j >= DOT_COLS;
        int64_t i = 0;
        for (; whole && i + DOT_ROWS <= t->m; i += DOT_ROWS)
            dots(t, i, j, DOT_ROWS, DOT_COLS);
        for (; i < t->m; i++) {
            if (whole)
                dots(t, i, j, 1, DOT_COLS);
            else
                for (int64_t c = j; c < t->n; c++) dots(t, i, c, 1, 1);
        }
    }
}

const reel_gemm_isa ISA(gemm) = {
    .mr = MR, .nr = NR, .pack_b = pack_b, .block = block, .dot = dot};
