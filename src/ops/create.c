/* create.c: operators without inputs. They are records too: a tracer sees them, and the
 * random ones draw anew each time a graph runs. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/counts.h"
#include "base/error.h"
#include "backend/random_blocks.h"
#include "base/alloc.h"
#include "ops/onnx.h"

typedef reel__make_attrs made;

#define ROLE_FIELD(name, kind, member, n, role)                                          \
    {                                                                                    \
        name, REEL_ATTR_##kind, offsetof(made, member), n, 0, 0, role                    \
    }
#define FIELD(name, kind, member, n) ROLE_FIELD(name, kind, member, n, REEL_ATTR_PLAIN)
#define DTYPE_FIELDS                                                                     \
    FIELD("dtype", INT, dtype, 1), FIELD("format", INT, format, 1),                      \
        FIELD("device", INT, device_type, 2)
#define SHAPE_FIELDS                                                                     \
    FIELD("rank", INT, shape.rank, 1), FIELD("dim", INT, shape.dim, REEL_MAX_RANK),      \
        DTYPE_FIELDS
REEL_SCHEMA(fill_schema, made, FIELD("value", NUMBER, kernel.fill.value, 1),
            SHAPE_FIELDS);
REEL_SCHEMA(arange_schema, made, FIELD("start", BOUND, kernel.arange.start, 1),
            FIELD("end", BOUND, kernel.arange.end, 1),
            FIELD("step", NUMBER, kernel.arange.step, 1), DTYPE_FIELDS);
REEL_SCHEMA(linspace_schema, made, FIELD("start", REAL, kernel.linspace.start, 1),
            FIELD("end", REAL, kernel.linspace.end, 1), SHAPE_FIELDS);
REEL_SCHEMA(random_schema, made,
            ROLE_FIELD("seed", INT, kernel.random.seed, 1, REEL_ATTR_SEED),
            ROLE_FIELD("offset", INT, kernel.random.offset, 1, REEL_ATTR_PLACE),
            FIELD("low", NUMBER, kernel.random.low, 1),
            FIELD("high", NUMBER, kernel.random.high, 1), SHAPE_FIELDS);

/* A result of a shape, of the dtype, format and device that the attributes say. */
static reel_status made_as(const reel__call *c, reel_shape s, reel__meta *out)
{
    const made *a = ATTRS(c, made);
    const reel_device device = {(reel_device_type)a->device_type, (int)a->device_index};
    REQUIRE(c, a->dtype >= 0 && a->dtype < REEL__DTYPE_COUNT, REEL_ERR_DTYPE,
            "%" PRId64 " is not a dtype", a->dtype);
    REQUIRE(c,
            device.type == a->device_type && device.index == a->device_index &&
                reel_device_available(device),
            REEL_ERR_DEVICE, "there is no device %" PRId64 ":%" PRId64, a->device_type,
            a->device_index);
    *out = reel__meta_of(s, (reel_dtype)a->dtype, device);
    if (a->format == REEL_CHANNELS_LAST) reel__set_channels_last(out);
    return REEL_OK;
}

static reel_status made_infer(const reel__call *c, reel__meta *out)
{
    const made *a = ATTRS(c, made);
    reel_shape s = {.rank = (int)a->shape.rank};
    REQUIRE(c, a->shape.rank >= 0 && a->shape.rank <= REEL_MAX_RANK, REEL_ERR_SHAPE,
            "rank %" PRId64 "; 0 to %d are possible", a->shape.rank, REEL_MAX_RANK);
    memcpy(s.dim, a->shape.dim, sizeof s.dim);
    return made_as(c, s, out);
}

/* How many numbers a range has; negative if they cannot be counted. Of whole numbers exactly:
 * their distance is one of 64 bits without sign. */
static int64_t range_count(const reel__arange_attrs *a)
{
    double start = reel__number_f64(a->start), end = reel__number_f64(a->end),
           step = reel__number_f64(a->step);
    if (!(step != 0 && isfinite(start) && isfinite(end) && isfinite(step))) return -1;
    if (a->start.is_real || a->end.is_real || a->step.is_real) {
        double n = ceil((end - start) / step);
        return !(n < 0x1p53) ? -1 : n > 0 ? (int64_t)n : 0;
    }
    bool up = a->step.whole > 0;
    int64_t low = up ? a->start.whole : a->end.whole,
            high = up ? a->end.whole : a->start.whole;
    if (low >= high) return 0;
    uint64_t width = (uint64_t)high - (uint64_t)low,
             by = up ? (uint64_t)a->step.whole : 0 - (uint64_t)a->step.whole,
             n = width / by + (width % by != 0);
    return n < UINT64_C(1) << 53 ? (int64_t)n : -1;
}

static reel_status arange_infer(const reel__call *c, reel__meta *out)
{
    const reel__arange_attrs *a = &ATTRS(c, made)->kernel.arange;
    int64_t n = range_count(a);
    REQUIRE(c, n >= 0, REEL_ERR_ARG,
            "start %.17g, end %.17g, step %.17g: they must be finite, step not 0 and the "
            "numbers fewer than 2^53",
            reel__number_f64(a->start), reel__number_f64(a->end),
            reel__number_f64(a->step));
    return made_as(c, REEL_SHAPE(n), out);
}

static reel_status linspace_infer(const reel__call *c, reel__meta *out)
{
    reel_status st = made_infer(c, out);
    REQUIRE(c, st || out->rank == 1, REEL_ERR_SHAPE, "rank %d, must be 1", out->rank);
    return st;
}

/* A number that depends on the batch is none that a file could hold. */
static bool is_fixed(const reel__call *c, const reel_onnx *o, reel__number slope)
{
    if (!o->per_batch || reel__number_equal(slope, reel__whole(0))) return true;
    reel__bad(c, REEL_ERR_UNSUPPORTED, "a number that depends on the batch");
    return false;
}
#define SLOPE(o, f)                                                                      \
    ((o)->per_batch ? ((const made *)(o)->per_batch)->f : (reel__number){0})

static reel_status full_onnx(const reel__call *c, reel_onnx *o)
{
    if (!is_fixed(c, o, SLOPE(o, kernel.fill.value))) return reel_error_status();
    return reel__onnx_give(
        o, 0, reel__onnx_full(o, ATTRS(c, made)->kernel.fill.value, o->out[0]));
}

static reel_status arange_onnx(const reel__call *c, reel_onnx *o)
{
    if (!is_fixed(c, o, SLOPE(o, kernel.arange.start)) ||
        !is_fixed(c, o, SLOPE(o, kernel.arange.step)))
        return reel_error_status();
    const reel_onnx_ref *y = &o->out[0];
    return reel__onnx_give(o, 0,
                           reel__onnx_range(o, &ATTRS(c, made)->kernel.arange, y->dtype,
                                            y->dim[0], y->grow[0]));
}

ONNX_RULE(linspace,
          reel__onnx_linspace(o, &ATTRS(c, made)->kernel.linspace, o->out[0].dtype,
                              o->out[0].dim[0], o->out[0].grow[0]))

#define MAKER(op_name, row, traits_, schema, infer_, ...)                                \
    const reel__op reel__##op_name = {.name = #op_name,                                  \
                                      .kernel = row,                                     \
                                      .traits = REEL_OP_NO_GRAD | (traits_),             \
                                      .n_in = 0,                                         \
                                      .n_out = 1,                                        \
                                      .attrs = &schema,                                  \
                                      .infer = infer_,                                   \
                                      __VA_ARGS__}
MAKER(full, K_FILL, REEL_OP_FOLDS, fill_schema, made_infer, .onnx = full_onnx,
      .onnx_grows = true);
MAKER(arange, K_ARANGE, REEL_OP_FOLDS, arange_schema, arange_infer, .onnx = arange_onnx,
      .sample = "| start=-1 end=2.5 step=0.5\n| start=3 end=-9 step=-4 dtype=4",
      .onnx_grows = true);
MAKER(linspace, K_LINSPACE, 0, linspace_schema, linspace_infer, .onnx = linspace_onnx,
      .onnx_grows = true);
#define DRAW(op_name, row, values_)                                                      \
    MAKER(op_name, row, REEL_OP_RANDOM, random_schema, made_infer, .values = values_,    \
          .no_onnx = REEL__ONNX_DRAWS)
DRAW(rand, K_UNIFORM, DTYPES_FLOAT);
DRAW(randn, K_NORMAL, DTYPES_FLOAT);
DRAW(randint, K_RANDINT, DTYPES_NUMBER);

/* Checks before anything reads the dims. */
static bool describe(const char *who, made *a, reel_shape shape, reel_dtype dtype)
{
    reel_device device = reel_default_device();
    reel__meta m = reel__meta_of(shape, dtype, device);
    if (reel__meta_check(who, &m)) return false;
    a->shape.rank = shape.rank;
    memcpy(a->shape.dim, shape.dim, (size_t)shape.rank * sizeof *shape.dim);
    a->dtype = dtype;
    a->device_type = device.type;
    a->device_index = device.index;
    return true;
}

reel_tensor *reel__full_of(reel_shape shape, reel__number value, reel_dtype dtype)
{
    made a = {.kernel.fill = {value}};
    if (!describe("full", &a, shape, dtype)) return NULL;
    return reel__apply1(&reel__full, &a, 0, NULL);
}

reel_tensor *reel_full(reel_shape shape, double value, reel_dtype dtype)
{
    return reel__full_of(shape, reel__real(value), dtype);
}

reel_tensor *reel_full_i64(reel_shape shape, int64_t value, reel_dtype dtype)
{
    REEL__CALLED;
    return reel__full_of(shape, reel__whole(value), dtype);
}

reel_tensor *reel_zeros(reel_shape shape, reel_dtype dtype)
{
    REEL__CALLED;
    return reel_full(shape, 0, dtype);
}

reel_tensor *reel_ones(reel_shape shape, reel_dtype dtype)
{
    REEL__CALLED;
    return reel_full(shape, 1, dtype);
}

reel_tensor *reel_scalar(double value, reel_dtype dtype)
{
    REEL__CALLED;
    return reel_full(REEL_SCALAR, value, dtype);
}

reel_tensor *reel_scalar_i64(int64_t value, reel_dtype dtype)
{
    REEL__CALLED;
    return reel_full_i64(REEL_SCALAR, value, dtype);
}

static reel_tensor *full_like(const char *who, reel_tensor *x, int64_t value)
{
    if (!reel__have(who, x, "x")) return NULL;
    made a = {.kernel.fill = {reel__whole(value)}};
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
    REEL__CALLED;
    return full_like("zeros_like", x, 0);
}

reel_tensor *reel_ones_like(reel_tensor *x)
{
    REEL__CALLED;
    return full_like("ones_like", x, 1);
}

static reel_tensor *arange(reel__number start, reel__number end, reel__number step,
                           reel_dtype dtype)
{
    made a = {.kernel.arange = {start, end, step}};
    if (!describe("arange", &a, REEL_SCALAR, dtype)) return NULL;
    return reel__apply1(&reel__arange, &a, 0, NULL);
}

reel_tensor *reel_arange(double start, double end, double step, reel_dtype dtype)
{
    return arange(reel__real(start), reel__real(end), reel__real(step), dtype);
}

reel_tensor *reel_arange_i64(int64_t start, int64_t end, int64_t step, reel_dtype dtype)
{
    REEL__CALLED;
    return arange(reel__whole(start), reel__whole(end), reel__whole(step), dtype);
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
    made a = {.kernel.linspace = {start, end}};
    if (!describe("linspace", &a, REEL_SHAPE(n), dtype)) return NULL;
    return reel__apply1(&reel__linspace, &a, 0, NULL);
}

reel_tensor *reel_eye(int64_t n, int64_t m, reel_dtype dtype)
{
    REEL__CALLED;
    if (n < 0 || m < 0) {
        reel_fail(REEL_ERR_ARG, "eye: sizes %" PRId64 " and %" PRId64 " must be >= 0", n,
                  m);
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    reel_tensor *row = reel_arange_i64(0, m, 1, REEL_I64);
    reel_tensor *col = reel_unsqueeze(reel_arange_i64(0, n, 1, REEL_I64), 1);
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

static reel_tensor *draw(const reel__op *op, reel_shape shape, reel_dtype dtype,
                         reel__number low, reel__number high)
{
    made a = {.kernel.random = {.low = low, .high = high}};
    if (!describe(op->name, &a, shape, dtype)) return NULL;
    int64_t n = 1;
    for (int i = 0; i < shape.rank; i++) n *= shape.dim[i];
    reel_rng_state at =
        reel__rng_take(reel__random_blocks((reel__kernel_id)op->kernel, dtype, n));
    a.kernel.random.seed = (int64_t)at.seed;
    a.kernel.random.offset = (int64_t)at.offset;
    return reel__apply1(op, &a, 0, NULL);
}

/* In [0, 1), or of mean 0 and deviation 1. */
static reel_tensor *unit_draw(const reel__op *op, reel_shape shape, reel_dtype dtype)
{
    return draw(op, shape, dtype, reel__whole(0), reel__whole(1));
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
    return need_float("rand", dtype) ? unit_draw(&reel__rand, shape, dtype) : NULL;
}

reel_tensor *reel_randn(reel_shape shape, reel_dtype dtype)
{
    return need_float("randn", dtype) ? unit_draw(&reel__randn, shape, dtype) : NULL;
}

reel_tensor *reel_randint(int64_t low, int64_t high, reel_shape shape, reel_dtype dtype)
{
    /* up to which all integers are there; of i64 that is every one */
    static const int64_t upto[REEL__DTYPE_COUNT] = {
        [REEL_F32] = 1 << 24,   [REEL_F64] = INT64_C(1) << 53,
        [REEL_F16] = 2048,      [REEL_BF16] = 256,
        [REEL_I64] = INT64_MAX, [REEL_I32] = INT64_C(1) << 31,
        [REEL_I8] = 128,        [REEL_U8] = 256};
    int64_t most = dtype >= 0 && dtype < REEL__DTYPE_COUNT ? upto[dtype] : 0;
    int64_t least = dtype == REEL_U8 ? 0 : dtype == REEL_I64 ? INT64_MIN : -most;
    if (low >= high || high > most || low < least) {
        reel_fail(REEL_ERR_ARG,
                  "randint: [%" PRId64 ", %" PRId64 ") must be a range that "
                  "%s holds",
                  low, high, reel_dtype_name(dtype));
        return NULL;
    }
    return draw(&reel__randint, shape, dtype, reel__whole(low), reel__whole(high));
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
    REEL__CALLED;
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
