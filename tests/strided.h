/* strided.h: tensors of random shape and random strides, for tests that compare kernels
 * with naive loops. Include it after cmocka.h. */
#ifndef REEL_TESTS_STRIDED_H
#define REEL_TESTS_STRIDED_H

#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"

/* ---- random choices: xorshift64*, the same in every run ---- */

static uint64_t dice_state = 0x9E3779B97F4A7C15u;
static inline uint64_t dice(void)
{
    dice_state ^= dice_state >> 12;
    dice_state ^= dice_state << 25;
    dice_state ^= dice_state >> 27;
    return dice_state * 0x2545F4914F6CDD1Du;
}
/* In low .. high, both included. */
static inline int64_t dice_in(int64_t low, int64_t high)
{
    return low + (int64_t)(dice() % (uint64_t)(high - low + 1));
}
static inline double dice_unit(void)
{
    return (double)(dice() >> 11) * 0x1p-53;
}

/* ---- tensors ---- */

typedef struct strided {
    reel__meta meta;
    char *memory; /* all of it, with guard bytes around */
    size_t bytes;
    void *data; /* the first element */
} strided;

enum { STRIDED_GUARD = 64, STRIDED_FILL = 0x5a };

/* How a tensor may lie in memory. */
enum {
    STRIDED_DENSE = 0,
    STRIDED_PERMUTED = 1,
    STRIDED_GAPS = 2,
    STRIDED_BACKWARD = 4,
    STRIDED_REPEATS = 8, /* step 0: for inputs only */
    STRIDED_OUT = STRIDED_PERMUTED | STRIDED_GAPS | STRIDED_BACKWARD,
    STRIDED_IN = STRIDED_OUT | STRIDED_REPEATS
};

static inline strided strided_new(reel_dtype dtype, int rank, const int64_t *dim, int how)
{
    strided t = {.meta = {.dtype = dtype, .rank = rank}};
    int order[REEL_MAX_RANK];
    for (int d = 0; d < rank; d++) {
        t.meta.dim[d] = dim[d];
        order[d] = d;
    }
    if (how & STRIDED_PERMUTED && dice() % 2)
        for (int d = rank - 1; d > 0; d--) {
            int other = (int)dice_in(0, d), swap = order[d];
            order[d] = order[other];
            order[other] = swap;
        }
    int64_t step = how & STRIDED_GAPS && dice() % 4 == 0 ? dice_in(1, 3) : 1, first = 0;
    for (int k = rank - 1; k >= 0; k--) {
        int d = order[k];
        if (how & STRIDED_REPEATS && dice() % 8 == 0) continue; /* stride 0 */
        t.meta.stride[d] = step;
        step *= dim[d] > 0 ? dim[d] : 1;
        if (how & STRIDED_GAPS && dice() % 4 == 0) step += dice_in(0, 3);
        if (how & STRIDED_BACKWARD && dice() % 4 == 0 && dim[d] > 0) {
            first += (dim[d] - 1) * t.meta.stride[d];
            t.meta.stride[d] = -t.meta.stride[d];
        }
    }
    size_t size = reel_dtype_size(dtype);
    t.bytes = (size_t)step * size + 2 * STRIDED_GUARD;
    t.memory = malloc(t.bytes);
    assert_non_null(t.memory);
    memset(t.memory, STRIDED_FILL, t.bytes);
    t.data = t.memory + STRIDED_GUARD + (size_t)first * size;
    return t;
}

static inline void strided_free(strided *t)
{
    free(t->memory);
}

static inline int64_t strided_numel(const strided *t)
{
    int64_t n = 1;
    for (int d = 0; d < t->meta.rank; d++) n *= t->meta.dim[d];
    return n;
}

/* Index along each dimension of the i-th element in logical order. */
static inline void strided_unravel(const strided *t, int64_t i, int64_t *at)
{
    for (int d = t->meta.rank - 1; d >= 0; d--) {
        at[d] = i % t->meta.dim[d];
        i /= t->meta.dim[d];
    }
}
/* Place in memory, in elements from data, of an index along each dimension. */
static inline int64_t strided_place(const strided *t, const int64_t *at)
{
    int64_t place = 0;
    for (int d = 0; d < t->meta.rank; d++) place += at[d] * t->meta.stride[d];
    return place;
}
static inline int64_t strided_at(const strided *t, int64_t i)
{
    int64_t at[REEL_MAX_RANK];
    strided_unravel(t, i, at);
    return strided_place(t, at);
}

/* Value at a place in memory; f64 holds every value that the tests use. */
static inline double strided_read(const strided *t, int64_t place)
{
    const void *p = t->data;
    switch (t->meta.dtype) {
    case REEL_F32: return ((const float *)p)[place];
    case REEL_F64: return ((const double *)p)[place];
    case REEL_I64: return (double)((const int64_t *)p)[place];
    case REEL_I32: return ((const int32_t *)p)[place];
    case REEL_I8: return ((const int8_t *)p)[place];
    case REEL_U8: return ((const uint8_t *)p)[place];
    case REEL_BOOL: return ((const uint8_t *)p)[place];
    default: return ((const uint16_t *)p)[place]; /* halves: their bits */
    }
}
static inline void strided_write(strided *t, int64_t place, double value)
{
    void *p = t->data;
    switch (t->meta.dtype) {
    case REEL_F32: ((float *)p)[place] = (float)value; break;
    case REEL_F64: ((double *)p)[place] = value; break;
    case REEL_I64: ((int64_t *)p)[place] = (int64_t)value; break;
    case REEL_I32: ((int32_t *)p)[place] = (int32_t)value; break;
    case REEL_I8: ((int8_t *)p)[place] = (int8_t)value; break;
    case REEL_U8: ((uint8_t *)p)[place] = (uint8_t)value; break;
    case REEL_BOOL: ((uint8_t *)p)[place] = value != 0; break;
    default: ((uint16_t *)p)[place] = (uint16_t)value; break;
    }
}
static inline double strided_get(const strided *t, int64_t i)
{
    return strided_read(t, strided_at(t, i));
}

/* Values: floats in -1..1, now and then the same one twice; integers in -9..9 or 0..9. */
static inline void strided_randomize(strided *t)
{
    int64_t n = strided_numel(t);
    for (int64_t i = 0; i < n; i++) {
        double value = (double)dice_in(-9, 9);
        if (t->meta.dtype == REEL_F32 || t->meta.dtype == REEL_F64)
            value = dice() % 4 == 0 ? value / 8 : 2 * dice_unit() - 1;
        else if (t->meta.dtype == REEL_BOOL)
            value = (double)(dice() % 2);
        else if (t->meta.dtype != REEL_I64 && t->meta.dtype != REEL_I32 &&
                 t->meta.dtype != REEL_I8)
            value = (double)dice_in(0, 9);
        strided_write(t, strided_at(t, i), value);
    }
}

/* Bytes that belong to no element must be as they were. Destroys the elements. */
static inline void strided_check_gaps(strided *t)
{
    size_t size = reel_dtype_size(t->meta.dtype);
    int64_t n = strided_numel(t);
    for (int64_t i = 0; i < n; i++)
        memset((char *)t->data + strided_at(t, i) * (int64_t)size, STRIDED_FILL, size);
    for (size_t i = 0; i < t->bytes; i++)
        assert_int_equal((unsigned char)t->memory[i], STRIDED_FILL);
}

/* A random shape: rank in 0 .. max_rank, about `most` elements at most, now and then
 * none. */
static inline int strided_shape(int max_rank, int64_t most, int64_t *dim)
{
    int rank = (int)dice_in(0, max_rank);
    for (int d = 0; d < rank; d++) {
        int64_t room = most < 1 ? 1 : most;
        int64_t high = dice() % 3 == 0 ? room : room < 6 ? room : 6;
        dim[d] = dice_in(1, high);
        most /= dim[d];
    }
    if (rank > 0 && dice() % 24 == 0) dim[dice_in(0, rank - 1)] = 0;
    return rank;
}

static inline reel__karg strided_arg(const strided *t)
{
    return (reel__karg){.data = t->data, .meta = &t->meta};
}

#endif
