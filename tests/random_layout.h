/* random_layout.h: operands of random layout in memory that knows its bounds, elements as
 * raw bytes or numbers: for tests of kernels that take any strides and dtypes. */
#ifndef REEL_TESTS_RANDOM_LAYOUT_H
#define REEL_TESTS_RANDOM_LAYOUT_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/shape.h"

typedef struct layout {
    reel__meta meta;
    char *memory; /* what was allocated */
    char *data;   /* first element      */
    size_t bytes;
} layout;

static uint64_t random_state = 1;

static inline uint32_t random_bits(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33);
}

static inline int64_t random_below(int64_t n)
{
    return (int64_t)(random_bits() % (uint64_t)n);
}

enum { BROADCAST = 1, REVERSE = 2, GAPS = 4, PERMUTE = 8, EXPAND = 16, DROP_DIMS = 32 };

/* An operand that broadcasts to `shape` (the same, without BROADCAST and DROP_DIMS). */
static inline layout random_layout(reel_shape shape, reel_dtype dtype, unsigned how)
{
    layout l = {.meta = {.dtype = dtype}};
    reel__meta *m = &l.meta;
    int drop = how & DROP_DIMS && shape.rank ? (int)random_below(shape.rank + 1) : 0;
    m->rank = shape.rank - drop;
    for (int i = 0; i < m->rank; i++) {
        m->dim[i] = shape.dim[i + drop];
        if (how & BROADCAST && random_below(3) == 0) m->dim[i] = 1;
    }
    int order[REEL_MAX_RANK];
    for (int i = 0; i < m->rank; i++) order[i] = i;
    if (how & PERMUTE)
        for (int i = m->rank - 1; i > 0; i--) {
            int j = (int)random_below(i + 1), t = order[i];
            order[i] = order[j];
            order[j] = t;
        }
    int64_t step = 1, low = 0, high = 0;
    for (int k = m->rank - 1; k >= 0; k--) {
        int i = order[k];
        if (how & GAPS && random_below(3) == 0) step *= 2;
        m->stride[i] = step;
        if (how & EXPAND && random_below(4) == 0)
            m->stride[i] = 0;
        else
            step *= m->dim[i] > 0 ? m->dim[i] : 1;
        if (how & REVERSE && random_below(3) == 0) m->stride[i] = -m->stride[i];
        int64_t span = m->stride[i] * (m->dim[i] > 0 ? m->dim[i] - 1 : 0);
        if (span < 0)
            low += span;
        else
            high += span;
    }
    size_t size = reel_dtype_size(dtype);
    l.bytes = (size_t)(high - low + 1) * size;
    l.memory = malloc(l.bytes);
    assert_non_null(l.memory);
    memset(l.memory, 0, l.bytes);
    l.data = l.memory - low * (int64_t)size;
    return l;
}

/* ---- elements as numbers ----------------------------------------------------------- */

static inline double get(const void *p, reel_dtype d)
{
    uint16_t h;
    uint32_t u;
    float f;
    switch (d) {
    case REEL_F32: return (double)*(const float *)p;
    case REEL_F64: return *(const double *)p;
    case REEL_F16:
        memcpy(&h, p, 2);
        if ((h & 0x7c00) == 0x7c00)
            return h & 0x3ff    ? (double)NAN
                   : h & 0x8000 ? -(double)INFINITY
                                : (double)INFINITY;
        f = ldexpf((float)(h & 0x3ff) + ((h & 0x7c00) ? 1024.f : 0.f),
                   ((h & 0x7c00) ? h >> 10 & 31 : 1) - 25);
        return (double)(h & 0x8000 ? -f : f);
    case REEL_BF16:
        memcpy(&h, p, 2);
        u = (uint32_t)h << 16;
        memcpy(&f, &u, 4);
        return (double)f;
    case REEL_I64: return (double)*(const int64_t *)p;
    case REEL_I32: return (double)*(const int32_t *)p;
    case REEL_I8: return (double)*(const int8_t *)p;
    case REEL_U8:
    case REEL_BOOL: return (double)*(const uint8_t *)p;
    default: fail_msg("dtype %d", (int)d);
    }
    return 0;
}

/* Small integers, which every dtype has exactly (u8 and bool: unless negative). */
static inline void put(void *p, reel_dtype d, int v)
{
    uint32_t u;
    float f = (float)v;
    switch (d) {
    case REEL_F32: *(float *)p = f; break;
    case REEL_F64: *(double *)p = v; break;
    case REEL_BF16:
        memcpy(&u, &f, 4);
        *(uint16_t *)p = (uint16_t)(u >> 16);
        break;
    case REEL_F16: {
        int e, m = abs(v);
        if (v == 0) {
            *(uint16_t *)p = 0;
            break;
        }
        (void)frexp(m, &e);
        *(uint16_t *)p =
            (uint16_t)((v < 0 ? 0x8000 : 0) | (e + 14) << 10 | ((m << (11 - e)) & 0x3ff));
        break;
    }
    case REEL_I64: *(int64_t *)p = v; break;
    case REEL_I32: *(int32_t *)p = v; break;
    case REEL_I8: *(int8_t *)p = (int8_t)v; break;
    case REEL_U8: *(uint8_t *)p = (uint8_t)v; break;
    case REEL_BOOL: *(uint8_t *)p = v != 0; break;
    default: fail_msg("dtype %d", (int)d);
    }
}

static inline void free_layout(layout *l)
{
    free(l->memory);
}

/* Address of the element at an index of `shape`, to which the operand broadcasts. */
static inline void *element(const layout *l, reel_shape shape, const int64_t *index)
{
    int64_t at = 0;
    for (int i = 0; i < l->meta.rank; i++)
        if (l->meta.dim[i] != 1)
            at += index[i + shape.rank - l->meta.rank] * l->meta.stride[i];
    return l->data + at * (int64_t)reel_dtype_size(l->meta.dtype);
}

/* Next index of a shape; false after the last. */
static inline bool next_index(reel_shape shape, int64_t *index)
{
    for (int d = shape.rank - 1; d >= 0; d--) {
        if (++index[d] < shape.dim[d]) return true;
        index[d] = 0;
    }
    return false;
}

static inline reel_shape random_shape(int most)
{
    reel_shape s = {.rank = (int)random_below(6)};
    for (int i = 0; i < s.rank; i++) s.dim[i] = 1 + random_below(most);
    return s;
}

#endif
