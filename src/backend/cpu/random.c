/* random.c: UNIFORM, NORMAL, RANDINT, DROPOUT. attrs.h says which words of the Philox
 * stream make which element; so the pieces that the threads take do not show in the
 * result. */
#include <math.h>

#include "backend/cpu/elem.h"
#include "backend/cpu/isa/random.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/walk.h"
#include "backend/random_blocks.h"
#include "base/int64.h"
#include "base/parallel.h"
#include "base/rng.h"

enum {
    PIECE = 1024, /* elements drawn at a time; whole blocks                     */
    GRAIN = 8 * PIECE
};

typedef struct drawing {
    reel__kernel_id kernel;
    reel_dtype dtype;               /* that is drawn: f32 for a half              */
    reel__store_fn to_half;         /* what makes a half of it; NULL: it is none  */
    double last;                    /* UNIFORM: the number of y's dtype below high */
    size_t size;                    /* bytes of an element of y */
    reel__axis axis[REEL_MAX_RANK]; /* input (a), output (b) */
    int n;
    const char *x;
    char *y;
    reel__random_attrs attrs;
    int per_block;
    int64_t total;
} drawing;

static double u01_at(const uint32_t *words)
{
    return reel__u01(words[0], words[1]);
}

static void uniform_f64(const uint32_t *words, int64_t n, const drawing *d, double *y)
{
    const double low = reel__number_f64(d->attrs.low),
                 high = reel__number_f64(d->attrs.high);
    for (int64_t i = 0; i < n; i++) {
        double v = low + (high - low) * u01_at(words + 2 * i);
        y[i] = v < d->last ? v : d->last;
    }
}

static void normal_f64(const uint32_t *words, int64_t n, const drawing *d, double *y)
{
    const double low = reel__number_f64(d->attrs.low),
                 high = reel__number_f64(d->attrs.high);
    for (int64_t i = 0; i < n; i += 2) {
        double u = 1 - u01_at(words + 2 * i), v = u01_at(words + 2 * i + 2);
        double r = high * sqrt(-2 * log(u)), angle = 6.283185307179586 * v;
        y[i] = low + r * cos(angle);
        y[i + 1] = low + r * sin(angle);
    }
}

/* Upper half of a 64 x 64 bit product. */
static uint64_t multiply_high(uint64_t a, uint64_t b)
{
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t middle = a1 * b0 + (a0 * b0 >> 32), other = a0 * b1 + (uint32_t)middle;
    return a1 * b1 + (middle >> 32) + (other >> 32);
}

static void randint(const uint32_t *words, int64_t n, const drawing *d, void *y)
{
    uint64_t low = (uint64_t)reel__number_i64(d->attrs.low);
    uint64_t range = (uint64_t)reel__number_i64(d->attrs.high) - low;
#define RANDINT_AS(type)                                                                 \
    for (int64_t i = 0; i < n; i++) {                                                    \
        uint64_t draw = (uint64_t)words[2 * i] << 32 | words[2 * i + 1];                 \
        ((type *)y)[i] = (type)(int64_t)(low + multiply_high(draw, range));              \
    }
    switch (d->dtype) {
    case REEL_F32: RANDINT_AS(float) break;
    case REEL_F64: RANDINT_AS(double) break;
    case REEL_I64: RANDINT_AS(int64_t) break;
    case REEL_I32: RANDINT_AS(int32_t) break;
    case REEL_I8: RANDINT_AS(int8_t) break;
    default: RANDINT_AS(uint8_t) break;
    }
#undef RANDINT_AS
}

/* n elements from the words that belong to them; x, y without gaps, y with room for a
 * pair. */
static void draw(const drawing *d, const uint32_t *words, int64_t n, const void *x,
                 void *y)
{
    const reel__random_table *loops = REEL_ISA_PICK(random);
    const double low = reel__number_f64(d->attrs.low),
                 high = reel__number_f64(d->attrs.high);
    const bool wide = d->dtype == REEL_F64;
    switch (d->kernel) {
    case K_UNIFORM:
        if (wide)
            uniform_f64(words, n, d, y);
        else
            loops->uniform(words, n, (float)low, (float)high, (float)d->last, y);
        break;
    case K_NORMAL:
        if (wide)
            normal_f64(words, n, d, y);
        else
            loops->normal(words, n + (n & 1), (float)low, (float)high, y);
        break;
    case K_RANDINT: randint(words, n, d, y); break;
    default:
        if (wide)
            loops->dropout_f64(words, n, reel__dropout_threshold(low), 1 / (1 - low), x,
                               y);
        else
            loops->dropout_f32(words, n, reel__dropout_threshold(low),
                               (float)(1 / (1 - low)), x, y);
    }
}

/* Elements begin .. end - 1, where begin is the first of a block. */
static void draw_range(void *ctx, int64_t begin, int64_t end)
{
    const drawing *d = ctx;
    const reel__random_table *loops = REEL_ISA_PICK(random);
    reel__walk from = reel__match_walk(d->axis, d->n, begin), to = from;
    bool dense_x = d->n == 1 && d->axis[0].a == 1;
    bool in_place =
        d->n == 1 && d->axis[0].b == 1 && d->kernel != K_NORMAL && !d->to_half;
    for (int64_t i = begin, n; i < end; i += n) {
        uint32_t words[2 * PIECE];
        double x_room[PIECE], y_room[PIECE]; /* of the dtype */
        uint16_t halves[PIECE];
        const void *x = d->x + i * (int64_t)d->size;
        void *y = in_place ? (void *)(d->y + i * (int64_t)d->size) : y_room;
        n = min64(end - i, PIECE);
        loops->philox((uint64_t)d->attrs.seed,
                      (uint64_t)d->attrs.offset + (uint64_t)(i / d->per_block),
                      (n + d->per_block - 1) / d->per_block, words);
        if (d->kernel == K_DROPOUT && !dense_x) {
            reel__walk_gather(x_room, d->x, &from, n, d->size);
            x = x_room;
        }
        draw(d, words, n, x, y);
        if (d->to_half) d->to_half(1, n, halves, 0, 1, y_room);
        if (!in_place)
            reel__walk_scatter(d->y, d->to_half ? (void *)halves : y_room, &to, n,
                               d->size);
    }
}

/* The largest number of the float dtype below `high`: no draw may be rounded beyond it. It is
 * `high` where the dtype cannot tell the bounds apart. */
static double last_below(reel_dtype dtype, double low, double high)
{
    if (dtype == REEL_F64) return nextafter(high, low);
    if (dtype == REEL_F32) return nextafterf((float)high, (float)low);
    const reel__elem_rows *elem = reel__elem_rows_of_isa();
    const double bound[2] = {low, high};
    uint16_t half[2];
    double last;
    elem->store[REEL_PW_F64][dtype](1, 2, half, 0, 1, bound);
    if (half[0] != half[1]) /* halves of one sign are in the order of their bits */
        half[1] =
            (uint16_t)((half[1] & 0x7fff) == 0 ? 0x8001
                                               : half[1] + (half[1] >> 15 ? 1 : -1));
    elem->load[REEL_PW_F64][dtype](1, 1, &last, half + 1, 0, 1);
    return last;
}

static reel_status random_kernel(const reel__kcall *c)
{
    const reel__meta *y = c->out[0].meta;
    drawing d = {.kernel = c->kernel, .dtype = y->dtype, .y = c->out[0].data};
    const bool is_real = y->dtype == REEL_F32 || y->dtype == REEL_F64;
    const bool is_integer = !reel_dtype_is_float(y->dtype) && y->dtype != REEL_BOOL;
    d.attrs = *(const reel__random_attrs *)c->attrs;
    if (c->kernel == K_UNIFORM && reel_dtype_is_float(y->dtype)) {
        d.last = last_below(y->dtype, reel__number_f64(d.attrs.low),
                            reel__number_f64(d.attrs.high));
        if (!is_real) {
            d.dtype = REEL_F32;
            d.to_half = reel__elem_rows_of_isa()->store[REEL_PW_F32][y->dtype];
        }
    }
    if (!is_real && !d.to_half && !(is_integer && c->kernel == K_RANDINT))
        return reel_fail(REEL_ERR_DTYPE, "%s: not for dtype %s",
                         reel__kernel_name(c->kernel), reel_dtype_name(y->dtype));
    d.size = reel_dtype_size(y->dtype);
    d.per_block = reel__random_per_block(c->kernel, y->dtype);
    d.total = reel__numel(y);
    if (c->kernel == K_DROPOUT) {
        d.x = c->in[0].data;
        d.n = reel__axes(c->in[0].meta, y, d.axis);
    } else {
        d.x = d.y; /* not read; a and b are both the output's */
        d.n = reel__axes(y, y, d.axis);
    }
    if (d.total > 0) reel__parallel_range(d.total, GRAIN, draw_range, &d);
    return REEL_OK;
}

reel_status reel__ref_uniform(const reel__kcall *c)
{
    return random_kernel(c);
}
reel_status reel__ref_normal(const reel__kcall *c)
{
    return random_kernel(c);
}
reel_status reel__ref_randint(const reel__kcall *c)
{
    return random_kernel(c);
}
reel_status reel__ref_dropout(const reel__kcall *c)
{
    return random_kernel(c);
}
