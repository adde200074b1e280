/* create.c: operators without inputs. They are records too: a tracer sees them, and the
 * random ones draw anew each time a graph runs. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "backend/random_blocks.h"
#include "base/alloc.h"
#include "ops/onnx.h"

typedef reel_make_attrs made;

#define FIELD(name, kind, member, n)                                                     \
    {                                                                                    \
        name, REEL_ATTR_##kind, offsetof(made, member), n, 0, 0                          \
    }
#define SHAPE_FIELDS                                                                     \
    FIELD("rank", INT, shape.rank, 1), FIELD("dim", INT, shape.dim, REEL_MAX_RANK),      \
        FIELD("dtype", INT, dtype, 1), FIELD("format", INT, format, 1),                  \
        FIELD("device", INT, device_type, 2)
REEL_SCHEMA(fill_schema, made, FIELD("value", REAL, kernel.fill.value, 1), SHAPE_FIELDS);
REEL_SCHEMA(arange_schema, made, FIELD("start", REAL, kernel.arange.start, 1),
            FIELD("step", REAL, kernel.arange.step, 1),
            FIELD("end", REAL, kernel.arange.end, 1),
            FIELD("ends", INT, kernel.arange.ends, 1), SHAPE_FIELDS);
REEL_SCHEMA(random_schema, made, FIELD("seed", INT, kernel.random.seed, 1),
            FIELD("offset", INT, kernel.random.offset, 1),
            FIELD("low", REAL, kernel.random.low, 1),
            FIELD("high", REAL, kernel.random.high, 1), SHAPE_FIELDS);

static reel_status made_infer(const reel_call *c, reel_meta *out)
{
    const made *a = ATTRS(c, made);
    const reel_device device = {(reel_device_type)a->device_type, (int)a->device_index};
    reel_shape s = {.rank = (int)a->shape.rank};
    REQUIRE(c, a->shape.rank >= 0 && a->shape.rank <= REEL_MAX_RANK, REEL_ERR_SHAPE,
            "rank %" PRId64 "; 0 to %d are possible", a->shape.rank, REEL_MAX_RANK);
    REQUIRE(c, a->dtype >= 0 && a->dtype < REEL_DTYPE_COUNT, REEL_ERR_DTYPE,
            "%" PRId64 " is no dtype", a->dtype);
    REQUIRE(c,
            device.type == a->device_type && device.index == a->device_index &&
                reel_device_available(device),
            REEL_ERR_DEVICE, "there is no device %" PRId64 ":%" PRId64, a->device_type,
            a->device_index);
    memcpy(s.dim, a->shape.dim, sizeof s.dim);
    *out = reel__meta(s, (reel_dtype)a->dtype, device);
    if (a->format == REEL_CHANNELS_LAST) reel__set_channels_last(out);
    return REEL_OK;
}

ONNX_RULE(full, reel__onnx_full(o, ATTRS(c, made)->kernel.fill.value, o->out[0]))
ONNX_RULE(arange, reel__onnx_range(o, &ATTRS(c, made)->kernel.arange, o->out[0].dtype,
                                   o->out[0].dim[0], o->out[0].grow[0]))

#define MAKER(op_name, row, traits_, schema, ...)                                        \
    const reel_op reel__##op_name = {.name = #op_name,                                   \
                                     .kernel = row,                                      \
                                     .traits = REEL_OP_NO_GRAD | (traits_),              \
                                     .n_in = 0,                                          \
                                     .n_out = 1,                                         \
                                     .attrs = &schema,                                   \
                                     .infer = made_infer,                                \
                                     __VA_ARGS__}
MAKER(full, K_FILL, 0, fill_schema, .onnx = full_onnx);
MAKER(arange, K_ARANGE, 0, arange_schema, .onnx = arange_onnx);
MAKER(rand, K_UNIFORM, REEL_OP_RANDOM, random_schema, .values = DTYPES_FLOAT,
      .no_onnx = REEL__ONNX_DRAWS);
MAKER(randn, K_NORMAL, REEL_OP_RANDOM, random_schema, .values = DTYPES_FLOAT,
      .no_onnx = REEL__ONNX_DRAWS);
MAKER(randint, K_RANDINT, REEL_OP_RANDOM, random_schema, .values = DTYPES_NUMBER,
      .no_onnx = REEL__ONNX_DRAWS);

/* Checks before anything reads the dims. */
static bool describe(const char *who, made *a, reel_shape shape, reel_dtype dtype)
{
    reel_device device = reel_default_device();
    reel_meta m = reel__meta(shape, dtype, device);
    if (reel__meta_check(who, &m)) return false;
    a->shape.rank = shape.rank;
    memcpy(a->shape.dim, shape.dim, (size_t)shape.rank * sizeof *shape.dim);
    a->dtype = dtype;
    a->device_type = device.type;
    a->device_index = device.index;
    return true;
}

reel_tensor *reel_full(reel_shape shape, double value, reel_dtype dtype)
{
    made a = {.kernel.fill = {value}};
    if (!describe("full", &a, shape, dtype)) return NULL;
    return reel__apply1(&reel__full, &a, 0, NULL);
}

reel_tensor *reel_zeros(reel_shape shape, reel_dtype dtype)
{
    return reel_full(shape, 0, dtype);
}

reel_tensor *reel_ones(reel_shape shape, reel_dtype dtype)
{
    return reel_full(shape, 1, dtype);
}

reel_tensor *reel_scalar(double value, reel_dtype dtype)
{
    return reel_full(REEL_SCALAR, value, dtype);
}

static reel_tensor *full_like(const char *who, reel_tensor *x, double value)
{
    if (!reel__have(who, x, "x")) return NULL;
    made a = {.kernel.fill = {value}};
    if (!describe(who, &a, reel__shape(&x->meta), x->meta.dtype)) return NULL;
    a.device_type = x->meta.device.type;
    a.device_index = x->meta.device.index;
    a.format = reel__is_channels_last(&x->meta) && !reel__is_contiguous(&x->meta)
                   ? REEL_CHANNELS_LAST
                   : REEL_CONTIGUOUS;
    return reel__apply1(&reel__full, &a, 0, NULL);
}

reel_tensor *reel_zeros_like(reel_tensor *x)
{
    return full_like("zeros_like", x, 0);
}

reel_tensor *reel_ones_like(reel_tensor *x)
{
    return full_like("ones_like", x, 1);
}

/* n values as `range` says. */
static reel_tensor *steps(const char *who, reel_arange_attrs range, double n,
                          reel_dtype dtype)
{
    made a = {.kernel.arange = range};
    if (!(n >= 0 && n < 0x1p53)) {
        reel_fail(REEL_ERR_ARG, "%s: %g elements", who, n);
        return NULL;
    }
    if (!describe(who, &a, REEL_SHAPE((int64_t)n), dtype)) return NULL;
    return reel__apply1(&reel__arange, &a, 0, NULL);
}

reel_tensor *reel_arange(double start, double end, double step, reel_dtype dtype)
{
    if (!(step != 0 && isfinite(start) && isfinite(end) && isfinite(step))) {
        reel_fail(REEL_ERR_ARG,
                  "arange: start %g, end %g, step %g: they must be finite and "
                  "step not 0",
                  start, end, step);
        return NULL;
    }
    double n = ceil((end - start) / step);
    return steps("arange", (reel_arange_attrs){start, step, 0, 0}, n > 0 ? n : 0, dtype);
}

reel_tensor *reel_linspace(double start, double end, int64_t n, reel_dtype dtype)
{
    if (!isfinite(start) || !isfinite(end) || n < 0) {
        reel_fail(REEL_ERR_ARG,
                  "linspace: start %g, end %g, n %" PRId64 ": the ends must be "
                  "finite and n >= 0",
                  start, end, n);
        return NULL;
    }
    double step = n > 1 ? (end - start) / (double)(n - 1) : 0;
    return steps("linspace", (reel_arange_attrs){start, step, end, n > 1}, (double)n,
                 dtype);
}

reel_tensor *reel_eye(int64_t n, int64_t m, reel_dtype dtype)
{
    if (n < 0 || m < 0) {
        reel_fail(REEL_ERR_ARG, "eye: sizes %" PRId64 " and %" PRId64 " must be >= 0", n,
                  m);
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    reel_tensor *row = reel_arange(0, (double)m, 1, REEL_I64);
    reel_tensor *col = reel_unsqueeze(reel_arange(0, (double)n, 1, REEL_I64), 1);
    return reel_scope_return(s, reel_cast(reel_eq(col, row), dtype));
}

/* ---- random: this thread's generator ------------------------------------------------- */

static _Thread_local reel_rng_state rng;

void reel_seed(uint64_t seed)
{
    rng = (reel_rng_state){seed, 0};
}

reel_rng_state reel_rng_get(void)
{
    return rng;
}

void reel_rng_set(reel_rng_state state)
{
    rng = state;
}

reel_rng_state reel__rng_take(int64_t blocks)
{
    reel_rng_state at = rng;
    rng.offset += (uint64_t)blocks;
    return at;
}

static reel_tensor *draw(const reel_op *op, reel_shape shape, reel_dtype dtype,
                         double low, double high)
{
    made a = {.kernel.random = {.low = low, .high = high}};
    if (!describe(op->name, &a, shape, dtype)) return NULL;
    int64_t n = 1;
    for (int i = 0; i < shape.rank; i++) n *= shape.dim[i];
    reel_rng_state at =
        reel__rng_take(reel__random_blocks((reel_kernel_id)op->kernel, dtype, n));
    a.kernel.random.seed = (int64_t)at.seed;
    a.kernel.random.offset = (int64_t)at.offset;
    return reel__apply1(op, &a, 0, NULL);
}

static bool need_float(const char *who, reel_dtype dtype)
{
    if (reel_dtype_is_float(dtype)) return true;
    reel_fail(REEL_ERR_DTYPE, "%s: dtype %s must be floating", who,
              reel_dtype_name(dtype));
    return false;
}

reel_tensor *reel_rand(reel_shape shape, reel_dtype dtype)
{
    return need_float("rand", dtype) ? draw(&reel__rand, shape, dtype, 0, 1) : NULL;
}

reel_tensor *reel_randn(reel_shape shape, reel_dtype dtype)
{
    return need_float("randn", dtype) ? draw(&reel__randn, shape, dtype, 0, 1) : NULL;
}

reel_tensor *reel_randint(int64_t low, int64_t high, reel_shape shape, reel_dtype dtype)
{
    static const double bits[REEL_DTYPE_COUNT] = {
        [REEL_F32] = 0x1p24, [REEL_F64] = 0x1p53, [REEL_F16] = 2048, [REEL_BF16] = 256,
        [REEL_I64] = 0x1p53, [REEL_I32] = 0x1p31, [REEL_I8] = 128,   [REEL_U8] = 256};
    double most = dtype >= 0 && dtype < REEL_DTYPE_COUNT ? bits[dtype] : 0;
    bool is_unsigned = dtype == REEL_U8;
    if (low >= high || (double)high > most || (double)low < (is_unsigned ? 0 : -most)) {
        reel_fail(REEL_ERR_ARG,
                  "randint: [%" PRId64 ", %" PRId64 ") must be a range that "
                  "%s holds",
                  low, high, reel_dtype_name(dtype));
        return NULL;
    }
    return draw(&reel__randint, shape, dtype, (double)low, (double)high);
}

/* Fisher-Yates on the host: place i swaps with one of 0 .. i, chosen by the high part of a
 * 53-bit draw times i + 1. */
static void shuffle(int64_t *item, const int64_t *draw, int64_t n)
{
    for (int64_t i = 0; i < n; i++) item[i] = i;
    for (int64_t i = n - 1; i > 0; i--) {
        uint64_t lo = (uint64_t)draw[i] & 0x3ffffff, hi = (uint64_t)draw[i] >> 26;
        uint64_t m = (uint64_t)i + 1; /* draw * m >> 53 without 128-bit arithmetic */
        int64_t j = (int64_t)((hi * m + (lo * m >> 26)) >> 27);
        int64_t t = item[i];
        item[i] = item[j];
        item[j] = t;
    }
}

reel_tensor *reel_randperm(int64_t n)
{
    if (n < 0 || n > INT32_MAX) { /* hi * m above stays below 2^58 */
        reel_fail(REEL_ERR_ARG, "randperm: n %" PRId64 " must be 0 to %d", n, INT32_MAX);
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    reel_tensor *perm = NULL;
    reel_tensor *draws = reel_randint(0, INT64_C(1) << 53, REEL_SHAPE(n), REEL_I64);
    int64_t *host = draws ? reel__malloc((size_t)(2 * n + 1) * sizeof *host) : NULL;
    if (host && !reel_read(draws, host, REEL_I64)) {
        shuffle(host + n, host, n);
        perm = reel_from(host + n, REEL_SHAPE(n), REEL_I64);
    }
    reel__free(host);
    return reel_scope_return(s, perm);
}
