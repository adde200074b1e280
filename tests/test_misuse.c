/* Wrong calls: an error that names the operator, NULL for the result, never a crash (this
 * runs under ASan and UBSan). The first half is generated from the records, the second
 * calls every function of tensor.h, ops.h and autograd.h; one that is missing here fails
 * test_misuse_nets. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <reel/autograd.h>

#include "base/counts.h"
#include "base/debug.h"
#include "backend/pw_info.h"
#include "ops/op.h"
#include "support/misuse.h"
#include "support/sample.h"

/* ---- records: one input replaced ------------------------------------------------------------ */

static int calls, refused, failures; /* all are shown before the test fails */

static void print_call(const reel__op *op, int n, reel_tensor *const in[])
{
    char text[REEL__META_TEXT];
    fprintf(stderr, "%s(", op->name);
    for (int i = 0; i < n; i++)
        fprintf(stderr, "%s%s", i ? ", " : "",
                in[i] ? reel__meta_text(&in[i]->meta, text) : "NULL");
    fprintf(stderr, "): %s\n", reel_failed() ? reel_error_message() : "no error");
}

/* Calls the record. It may accept what it is given, unless `must_fail`; when it refuses, it
 * does so properly. */
static void call(const sample *s, int n, reel_tensor *const given[], bool must_fail)
{
    reel_tensor *in[SAMPLE_MAX_IN + 1], *out[REEL_OP_MAX_OUT] = {NULL};
    unsigned mutates = s->op->mutates | (s->op->traits & REEL_OP_INPLACE ? 1u : 0u);
    for (int i = 0; i < n; i++)
        in[i] = given[i] && (mutates >> i & 1) ? reel_copy(given[i]) : given[i];
    reel_status st = reel__apply(s->op, s->attrs, n, in, out);
    bool proper = (st != REEL_OK) == reel_failed() && st == reel_error_status();
    size_t name = strlen(s->op->name);
    if (st) {
        const char *message = reel_error_message();
        proper =
            proper && strncmp(message, s->op->name, name) == 0 && message[name] == ':';
        for (int i = 0; i < s->op->n_out; i++) proper = proper && !out[i];
    }
    if (!proper || (must_fail && !st)) {
        fprintf(stderr, "%s: ", proper ? "not refused" : "not as it should be");
        print_call(s->op, n, in);
        failures++;
    }
    calls++;
    refused += st != REEL_OK;
    reel_error_clear();
}

/* x with one dimension more or less, larger, or empty; NULL if it cannot be. */
static reel_tensor *reshaped(reel_tensor *x, int variant)
{
    int r = reel_rank(x);
    reel_shape s = reel_shape_of(x), most = {.rank = REEL_MAX_RANK};
    switch (variant) {
    case 0: return reel_unsqueeze(x, 0);
    case 1: return r ? reel_select(x, 0, 0) : NULL;
    case 2: return reel_cast(reel_scalar(1, REEL_F32), reel_dtype_of(x));
    case 3:
        for (int i = 0; i < most.rank; i++) most.dim[i] = 1;
        return reel_zeros(most, reel_dtype_of(x));
    default: break;
    }
    int d = (variant - 4) / 2;
    if (d >= r) return NULL;
    if (variant % 2)
        s.dim[d] = 0;
    else
        s.dim[d] += 1;
    return reel_zeros(s, reel_dtype_of(x));
}

static void replace_shapes(const sample *s, reel_tensor *in[])
{
    for (int i = 0; i < s->n_in; i++)
        for (int variant = 0; in[i] && variant < 4 + 2 * REEL_MAX_RANK; variant++) {
            reel_scope scope = reel_scope_begin();
            reel_tensor *was = in[i], *other = reshaped(was, variant);
            if (other && reel_size(other, 0) >= 0) in[i] = other;
            if (in[i] != was) call(s, s->n_in, in, false);
            reel_error_clear();
            in[i] = was;
            reel_scope_end(scope);
        }
}

static void replace_dtypes(const sample *s, reel_tensor *in[])
{
    bool values = s->op->dtypes && in[0];
    for (int i = 0; i < s->n_in; i++)
        for (int d = 0; in[i] && d < REEL__DTYPE_COUNT; d++) {
            if (in[i]->meta.dtype == (reel_dtype)d) continue;
            reel_scope scope = reel_scope_begin();
            reel_tensor *was = in[i];
            in[i] = reel_cast(was, (reel_dtype)d);
            assert_non_null(in[i]);
            /* one dtype, but where a row is computed in that of an operand of its own */
            const reel__pw_info *row = reel__pw_info_of((reel__kernel_id)s->op->kernel);
            bool one = row && row->typed_by == s->op->n_in - 1;
            bool other = (s->op->traits & REEL_OP_POINTWISE) && one && i > 0;
            call(s, s->n_in, in,
                 (i == 0 && values && !(s->op->dtypes >> d & 1)) || other);
            in[i] = was;
            reel_scope_end(scope);
        }
}

static void misuse(const sample *s)
{
    reel_tensor *in[SAMPLE_MAX_IN + 1] = {NULL};
    reel_scope scope = reel_scope_begin();
    for (int i = 0; i < s->n_in; i++)
        in[i] = sample_base(s, i, SAMPLE_CONTIGUOUS, REEL_F32, 1);
    call(s, s->n_in, in, false);
    for (int i = 0; i < s->n_in; i++) {
        reel_tensor *was = in[i];
        in[i] = NULL;
        call(s, s->n_in, in, !(i < 8 && s->op->optional >> i & 1));
        in[i] = was;
    }
    if (s->op->n_in >= 0) {
        if (s->n_in > 0) call(s, s->n_in - 1, in, true);
        in[s->n_in] = in[0];
        call(s, s->n_in + 1, in, true);
    }
    replace_shapes(s, in);
    replace_dtypes(s, in);
    reel_scope_end(scope);
}

static void test_records(void **state)
{
    (void)state;
    int records = 0;
    calls = refused = 0;
    for (int i = 0; i < reel__n_ops; i++) {
        const reel__op *op = reel__ops[i];
        for (int line = 0; line < sample_lines(op->sample); line++) {
            sample s;
            assert_true(sample_parse(op, op->sample, line, &s));
            misuse(&s);
        }
        records += op->sample != NULL;
    }
    print_message("%d wrong calls of %d records, %d refused\n", calls, records, refused);
    assert_int_equal(failures, 0);
}

/* Whoever has no sample takes no inputs, or stands here. */
static void test_records_without_sample(void **state)
{
    (void)state;
    for (int i = 0; i < reel__n_ops; i++)
        if (!reel__ops[i]->sample && reel__ops[i]->n_in != 0)
            fail_msg("%s has inputs but no sample", reel__ops[i]->name);
}

/* ---- functions --------------------------------------------------------------------------------- */

typedef struct things {
    reel_tensor *f, *other, *i, *b, *scalar, *image, *empty; /* f [3,4], other [5,7] */
} things;

static things make_things(void)
{
    return (things){reel_ones(REEL_SHAPE(3, 4), REEL_F32),
                    reel_ones(REEL_SHAPE(5, 7), REEL_F32),
                    reel_zeros(REEL_SHAPE(3, 4), REEL_I64),
                    reel_zeros(REEL_SHAPE(3, 4), REEL_BOOL),
                    reel_scalar(1, REEL_F32),
                    reel_ones(REEL_SHAPE(2, 3, 5, 5), REEL_F32),
                    reel_zeros(REEL_SHAPE(0, 4), REEL_F32)};
}

#define ONE(name)                                                                        \
    {                                                                                    \
#name, reel_##name                                                               \
    }
typedef reel_tensor *(*unary)(reel_tensor *);
typedef reel_tensor *(*binary)(reel_tensor *, reel_tensor *);

static void test_unary(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        unary fn;
    } takes_any[] = {ONE(copy),  ONE(contiguous), ONE(t),          ONE(neg),
                     ONE(abs),   ONE(sign),       ONE(square),     ONE(logical_not),
                     ONE(relu_), ONE(detach),     ONE(zeros_like), ONE(ones_like)},
      takes_floats[] = {ONE(exp),      ONE(log),         ONE(log1p),      ONE(expm1),
                        ONE(sqrt),     ONE(rsqrt),       ONE(reciprocal), ONE(sin),
                        ONE(cos),      ONE(tanh),        ONE(erf),        ONE(floor),
                        ONE(ceil),     ONE(round),       ONE(relu),       ONE(relu6),
                        ONE(gelu),     ONE(gelu_tanh),   ONE(silu),       ONE(sigmoid),
                        ONE(softplus), ONE(hardsigmoid), ONE(hardswish),  ONE(isfinite)};
    things t = make_things();
    for (size_t k = 0; k < sizeof takes_any / sizeof *takes_any; k++)
        NONE(takes_any[k].name, takes_any[k].fn(NULL));
    for (size_t k = 0; k < sizeof takes_floats / sizeof *takes_floats; k++) {
        NONE(takes_floats[k].name, takes_floats[k].fn(NULL));
        NONE(takes_floats[k].name, takes_floats[k].fn(t.i));
    }
    NONE("neg", reel_neg(t.b));
    NONE("t", reel_t(t.scalar));
    NONE("fill_", reel_zero_(NULL));
}

static void test_binary(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        binary fn;
    } op[] = {ONE(add),       ONE(sub),         ONE(mul),        ONE(div),
              ONE(div_trunc), ONE(div_floor),   ONE(fmod),       ONE(remainder),
              ONE(pow),       ONE(maximum),     ONE(minimum),    ONE(add_),
              ONE(sub_),      ONE(mul_),        ONE(div_),       ONE(eq),
              ONE(ne),        ONE(lt),          ONE(le),         ONE(gt),
              ONE(ge),        ONE(logical_and), ONE(logical_or), ONE(logical_xor),
              ONE(matmul)};
    things t = make_things();
    for (size_t k = 0; k < sizeof op / sizeof *op; k++) {
        NONE(op[k].name, op[k].fn(NULL, t.f));
        NONE(op[k].name, op[k].fn(t.f, NULL));
        NONE(op[k].name, op[k].fn(t.f, t.other));
        NONE(op[k].name, op[k].fn(t.f, t.i));
    }
    NONE("add_", reel_add_(reel_ones(REEL_SHAPE(4), REEL_F32), t.f));
    NONE("matmul", reel_matmul(t.scalar, t.f));
    NONE("matmul", reel_matmul(t.f, t.f));
    NONE("matmul", reel_matmul(reel_ones(REEL_SHAPE(2, 3, 4), REEL_F32),
                               reel_ones(REEL_SHAPE(3, 4, 5), REEL_F32)));
}

static void test_with_numbers(void **state)
{
    (void)state;
    things t = make_things();
    NONE("add_scaled", reel_add_scaled(NULL, t.f, 1));
    NONE("add_scaled", reel_add_scaled(t.f, t.other, 1));
    NONE("lerp", reel_lerp(t.f, NULL, 1));
    NONE("lerp", reel_lerp(t.i, t.i, 1));
    NONE("add_scaled_", reel_add_scaled_(t.f, NULL, 1));
    NONE("lerp_", reel_lerp_(t.f, t.other, 1));
    NONE("add_scalar", reel_add_scalar(NULL, 1));
    NONE("mul_scalar", reel_mul_scalar(NULL, 1));
    NONE("scale", reel_scale(NULL, t.f));
    NONE("scale", reel_scale(t.f, t.f));
    NONE("scale", reel_scale(t.f, NULL));
    NONE("mul_scalar_", reel_mul_scalar_(NULL, 1));
    NONE("pow_scalar", reel_pow_scalar(t.i, 1));
    NONE("add_scalar", reel_add_scalar_i64(NULL, 1));
    NONE("mul_scalar", reel_mul_scalar_i64(NULL, 1));
    NONE("mul_scalar_", reel_mul_scalar_i64_(NULL, 1));
    NONE("add_scalar", reel_add_scalar(t.i, 0.5));
    NONE("add_scalar", reel_add_scalar(t.i, 0x1p63));
    NONE("clamp", reel_clamp(t.i, 0.5, 2));
    NONE("clamp", reel_clamp_i64(t.i, 1, 0));
    NONE("clamp", reel_clamp_i64(NULL, 0, 1));
    NONE("clamp_", reel_clamp_i64_(t.i, INT64_MAX, INT64_MAX - 1));
    NONE("clamp", reel_clamp(NULL, 0, 1));
    NONE("clamp", reel_clamp(t.f, 1, 0));
    NONE("clamp", reel_clamp(t.f, NAN, 1));
    NONE("clamp_", reel_clamp_(t.f, 1, 0));
    NONE("clamp_", reel_clamp_(NULL, 0, 1));
    NONE("quantize", reel_quantize(NULL, t.f, t.i));
    NONE("quantize", reel_quantize(t.f, NULL, t.i));
    NONE("quantize", reel_quantize(t.f, t.f, NULL));
    NONE("quantize", reel_quantize(t.f, t.f, t.f));
    NONE("quantize", reel_quantize(t.i, t.f, t.i));
    NONE("quantize", reel_quantize(t.f, t.other, t.i));
    NONE("dequantize", reel_dequantize(NULL, t.f, t.i));
    NONE("dequantize", reel_dequantize(t.i, NULL, t.i));
    NONE("dequantize", reel_dequantize(t.f, t.f, t.f));
    NONE("dequantize", reel_dequantize(t.i, t.f, t.f));
    NONE("fake_quantize", reel_fake_quantize(NULL, t.f, NULL, 0, 255));
    NONE("fake_quantize", reel_fake_quantize(t.f, NULL, NULL, 0, 255));
    NONE("fake_quantize", reel_fake_quantize(t.f, t.f, NULL, 7, 7));
    NONE("fake_quantize", reel_fake_quantize(t.f, t.f, NULL, 0, 1 << 24));
    NONE("fake_quantize", reel_fake_quantize(t.f, t.f, t.i, 0, 255));
    NONE("leaky_relu", reel_leaky_relu(NULL, 0.1));
    NONE("elu", reel_elu(t.i, 1));
    NONE("fill_", reel_fill_(NULL, 1));
    NONE("fill_", reel_fill_i64_(NULL, 1));
    NONE("where", reel_where(NULL, t.f, t.f));
    NONE("where", reel_where(t.f, t.f, t.f));
    NONE("where", reel_where(t.b, t.f, t.other));
    NONE("where", reel_where(t.b, t.f, t.i));
    NONE("masked_fill", reel_masked_fill(t.f, NULL, 0));
    NONE("masked_fill", reel_masked_fill(NULL, t.b, 0));
    NONE("masked_fill", reel_masked_fill_i64(NULL, t.b, 0));
    NONE("masked_fill", reel_masked_fill(t.other, t.b, 0));
    NONE("where", reel_masked_fill(t.f, t.f, 0));
}

static void test_views(void **state)
{
    (void)state;
    things t = make_things();
    reel_tensor *out[2];
    reel_shape huge = {.rank = 99}, negative = {.rank = -3};
    NONE("reshape", reel_reshape(NULL, REEL_SHAPE(12)));
    NONE("reshape", reel_reshape(t.f, REEL_SHAPE(5)));
    NONE("reshape", reel_reshape(t.f, REEL_SHAPE(-1, -1)));
    NONE("reshape", reel_reshape(t.f, REEL_SHAPE(-2, 6)));
    NONE("reshape", reel_reshape(t.f, REEL_SHAPE(INT64_MAX, INT64_MAX)));
    NONE("reshape", reel_reshape(t.f, huge));
    NONE("reshape", reel_reshape(t.f, negative));
    NONE("permute", reel_permute(NULL, REEL_DIMS(0, 1)));
    NONE("permute", reel_permute(t.f, REEL_DIMS(0)));
    NONE("permute", reel_permute(t.f, REEL_DIMS(0, 0)));
    NONE("permute", reel_permute(t.f, REEL_DIMS(0, 2)));
    NONE("permute", reel_permute(t.f, REEL_DIMS(0, INT64_MIN)));
    NONE("transpose", reel_transpose(NULL, 0, 1));
    NONE("transpose", reel_transpose(t.f, 0, 2));
    NONE("transpose", reel_transpose(t.f, INT32_MIN, 0));
    NONE("slice", reel_slice(NULL, 0, 0, 1, 1));
    NONE("slice", reel_slice(t.f, 2, 0, 1, 1));
    NONE("slice", reel_slice(t.f, 0, 0, 1, 0));
    NONE("slice", reel_slice(t.f, 0, 0, 1, -1));
    NONE("narrow", reel_narrow(NULL, 0, 0, 1));
    NONE("narrow", reel_narrow(t.f, 0, 2, 2));
    NONE("narrow", reel_narrow(t.f, 0, -1, 2));
    NONE("narrow", reel_narrow(t.f, 0, INT64_MAX, INT64_MAX));
    NONE("narrow", reel_narrow(t.f, -3, 0, 1));
    NONE("select", reel_select(NULL, 0, 0));
    NONE("select", reel_select(t.f, 0, 3));
    NONE("select", reel_select(t.f, 0, INT64_MIN));
    NONE("select", reel_select(t.scalar, 0, 0));
    NONE("expand", reel_expand(NULL, REEL_SHAPE(3, 4)));
    NONE("expand", reel_expand(t.f, REEL_SHAPE(4)));
    NONE("expand", reel_expand(t.f, REEL_SHAPE(3, 5)));
    NONE("expand", reel_expand(t.f, REEL_SHAPE(-1, 3, 4)));
    NONE("expand", reel_expand(t.f, REEL_SHAPE(INT64_MAX, INT64_MAX, 3, 4)));
    NONE("expand", reel_expand(t.f, huge));
    NONE("expand", reel_expand(t.f, negative));
    NONE("squeeze", reel_squeeze(NULL, 0));
    NONE("squeeze", reel_squeeze(t.f, 0));
    NONE("squeeze", reel_squeeze(t.f, 9));
    NONE("unsqueeze", reel_unsqueeze(NULL, 0));
    NONE("unsqueeze", reel_unsqueeze(t.f, 3));
    NONE("unsqueeze", reel_unsqueeze(t.f, -4));
    NONE("unsqueeze", reel_unsqueeze(t.f, INT32_MIN));
    NONE("flatten", reel_flatten(NULL, 0, 1));
    NONE("flatten", reel_flatten(t.f, 1, 0));
    NONE("flatten", reel_flatten(t.f, 0, 2));
    NONE("to_format", reel_to_format(NULL, REEL_CHANNELS_LAST));
    NONE("to_format", reel_to_format(t.f, REEL_CHANNELS_LAST));
    NONE("to_format", reel_to_format(t.image, (reel_memory_format)9));
    NONE("cast", reel_cast(NULL, REEL_F32));
    NONE("cast", reel_cast(t.f, REEL_DTYPE_NONE));
    NONE("cast", reel_cast(t.f, (reel_dtype)-1));
    NONE("to", reel_to(NULL, (reel_device){REEL_CPU, 0}));
    NONE("to", reel_to(t.f, (reel_device){REEL_CPU, 7}));
    NONE("to", reel_to(t.f, (reel_device){(reel_device_type)5, 0}));
    NONE("copy_", reel_copy_(NULL, t.f));
    NONE("copy_", reel_copy_(t.f, NULL));
    NONE("copy_", reel_copy_(t.f, t.other));
    assert_int_equal(reel_split(NULL, 2, 0, out, 2), -1);
    refused_as("split", __LINE__);
    assert_int_equal(reel_split(t.f, 0, 0, out, 2), -1);
    refused_as("split", __LINE__);
    assert_int_equal(reel_split(t.f, 1, 0, out, 2), -1);
    refused_as("split", __LINE__);
    assert_int_equal(reel_split(t.f, 2, 0, NULL, 2), -1);
    refused_as("split", __LINE__);
    assert_int_equal(reel_split(t.f, 2, 5, out, 2), -1);
    refused_as("split", __LINE__);
}

static void test_joins(void **state)
{
    (void)state;
    things t = make_things();
    reel_tensor *differ[] = {t.f, t.other}, *dtypes[] = {t.f, t.i}, *hole[] = {t.f, NULL};
    NONE("cat", reel_cat(NULL, 2, 0));
    NONE("cat", reel_cat(differ, 0, 0));
    NONE("cat", reel_cat(differ, -1, 0));
    NONE("cat", reel_cat(differ, 2, 0));
    NONE("cat", reel_cat(dtypes, 2, 0));
    NONE("cat", reel_cat(hole, 2, 0));
    NONE("cat", reel_cat(&t.f, 1, 2));
    NONE("cat", reel_cat(&t.scalar, 1, 0));
    NONE("stack", reel_stack(NULL, 2, 0));
    NONE("stack", reel_stack(differ, 2, 0));
    NONE("stack", reel_stack(hole, 2, 0));
    NONE("stack", reel_stack(hole + 1, 1, 0));
    NONE("dtype", reel_stack(dtypes, 2, 0));
    NONE("stack", reel_stack(&t.f, 1, 4));
    NONE("pad", reel_pad(NULL, REEL_SHAPE(0, 0), REEL_SHAPE(0, 0), 0));
    NONE("pad", reel_pad(t.f, REEL_SHAPE(0), REEL_SHAPE(0, 0), 0));
    NONE("pad", reel_pad_i64(t.f, REEL_SHAPE(0), REEL_SHAPE(0, 0), 0));
    NONE("pad", reel_pad(t.f, REEL_SHAPE(-1, 0), REEL_SHAPE(0, 0), 0));
    NONE("pad", reel_pad(t.f, REEL_SHAPE(INT64_MAX, 0), REEL_SHAPE(1, 0), 0));
    NONE("pad", reel_pad(t.f, REEL_SHAPE(INT64_MAX / 8, 0), REEL_SHAPE(1, 0), 0));
    NONE("flip", reel_flip(NULL, REEL_ALL));
    NONE("flip", reel_flip(t.f, REEL_DIMS(2)));
    NONE("flip", reel_flip(t.f, REEL_DIMS(1, -1)));
}

static void test_reductions(void **state)
{
    (void)state;
    typedef reel_tensor *(*reduction)(reel_tensor *, reel_shape, bool);
    static const struct {
        const char *name;
        reduction fn;
    } op[] = {ONE(sum), ONE(mean), ONE(max), ONE(min), ONE(any), ONE(all)};
    things t = make_things();
    reel_shape negative = {.rank = -1}, many = {.rank = 9};
    for (size_t k = 0; k < sizeof op / sizeof *op; k++) {
        NONE(op[k].name, op[k].fn(NULL, REEL_ALL, false));
        NONE(op[k].name, op[k].fn(t.f, REEL_DIMS(2), false));
        NONE(op[k].name, op[k].fn(t.f, REEL_DIMS(0, -2), false));
        NONE(op[k].name, op[k].fn(t.f, REEL_DIMS(INT64_MIN), false));
        NONE(op[k].name, op[k].fn(t.f, negative, false));
        NONE(op[k].name, op[k].fn(t.f, many, false));
    }
    NONE("mean", reel_mean(t.i, REEL_ALL, false));
    NONE("max", reel_max(t.empty, REEL_DIMS(0), false));
    NONE("norm", reel_norm(NULL, REEL_ALL, false, REEL_F32));
    NONE("norm", reel_norm(t.f, REEL_ALL, false, REEL_F16));
    NONE("norm", reel_norm(t.i, REEL_ALL, false, REEL_F64));
    NONE("var", reel_var(NULL, REEL_ALL, 1, false));
    NONE("var", reel_var(t.f, REEL_ALL, NAN, false));
    NONE("var", reel_var(t.i, REEL_ALL, 1, false));
    NONE("argmax", reel_argmax(NULL, 0, false));
    NONE("argmax", reel_argmax(t.f, 2, false));
    NONE("argmax", reel_argmax(t.empty, 0, false));
    NONE("argmin", reel_argmin(NULL, REEL_FLAT, false));
    NONE("argmin", reel_argmin(t.f, -3, false));
}

static void test_nets(void **state)
{
    (void)state;
    things t = make_things();
    reel_tensor *w = reel_ones(REEL_SHAPE(4, 3, 3, 3), REEL_F32);
    reel_tensor *vec = reel_ones(REEL_SHAPE(3), REEL_F32);
    NONE("linear", reel_linear(NULL, t.f, NULL));
    NONE("linear", reel_linear(t.f, NULL, NULL));
    NONE("linear", reel_linear(t.f, t.other, NULL));
    NONE("linear", reel_linear(t.f, t.f, t.f));
    NONE("linear", reel_linear(t.scalar, t.f, NULL));
    NONE("linear", reel_linear(t.image, vec, NULL));
    NONE("conv2d", reel_conv2d(NULL, w, NULL, NULL));
    NONE("conv2d", reel_conv2d(t.image, NULL, NULL, NULL));
    NONE("conv2d", reel_conv2d(t.f, w, NULL, NULL));
    NONE("conv2d", reel_conv2d(t.image, t.f, NULL, NULL));
    NONE("conv2d", reel_conv2d(t.image, w, vec, NULL));
    NONE("conv2d", reel_conv2d(t.image, w, NULL, &(reel_conv2d_opts){.groups = 3}));
    NONE("conv2d", reel_conv2d(t.image, w, NULL, &(reel_conv2d_opts){.groups = -1}));
    NONE("conv2d", reel_conv2d(t.image, w, NULL, &(reel_conv2d_opts){.stride = -1}));
    NONE("conv2d", reel_conv2d(t.image, w, NULL, &(reel_conv2d_opts){.padding = -1}));
    NONE("conv2d", reel_conv2d(t.image, w, NULL, &(reel_conv2d_opts){.dilation = 9}));
    NONE("conv2d",
         reel_conv2d(t.image, w, NULL, &(reel_conv2d_opts){.padding = INT32_MAX}));
    NONE("conv2d",
         reel_conv2d(t.image, w, NULL, &(reel_conv2d_opts){.stride_hw = {1, -5}}));
    const reel_pool2d_opts padded = {.padding = 2}, minus = {.stride = -1};
    const reel_pool2d_opts spread = {.dilation = -1};
    NONE("max_pool2d", reel_max_pool2d(NULL, 2, NULL));
    NONE("max_pool2d", reel_max_pool2d(t.image, 0, NULL));
    NONE("max_pool2d", reel_max_pool2d(t.image, 0, NULL));
    NONE("max_pool2d", reel_max_pool2d(t.image, 9, NULL));
    NONE("max_pool2d", reel_max_pool2d(t.image, 2, &padded));
    NONE("max_pool2d", reel_max_pool2d(t.image, 2, &spread));
    NONE("max_pool2d", reel_max_pool2d(t.f, 2, NULL));
    NONE("avg_pool2d", reel_avg_pool2d(NULL, 2, NULL));
    NONE("avg_pool2d", reel_avg_pool2d(t.image, 0, NULL));
    NONE("avg_pool2d", reel_avg_pool2d(t.image, 2, &minus));
    NONE("avg_pool2d", reel_avg_pool2d(t.scalar, 2, NULL));
    NONE("avg_pool2d", reel_avg_pool2d(t.image, 2, &(reel_pool2d_opts){.dilation = 2}));
    NONE("adaptive_avg_pool2d", reel_adaptive_avg_pool2d(NULL, 1, 1));
    NONE("adaptive_avg_pool2d", reel_adaptive_avg_pool2d(t.image, 0, 1));
    NONE("adaptive_avg_pool2d", reel_adaptive_avg_pool2d(t.image, 1, -1));
    NONE("adaptive_avg_pool2d", reel_adaptive_avg_pool2d(t.f, 1, 1));
    const reel_batch_norm_opts train = {.training = true}, eps = {.eps = -1};
    NONE("batch_norm", reel_batch_norm(NULL, NULL, NULL, NULL, NULL, NULL, &train));
    NONE("batch_norm", reel_batch_norm(t.image, NULL, NULL, NULL, NULL, NULL, NULL));
    NONE("batch_norm", reel_batch_norm(t.image, NULL, NULL, vec, vec, NULL, &eps));
    NONE("batch_norm", reel_batch_norm(t.image, NULL, NULL, vec, NULL, NULL, &train));
    NONE("batch_norm", reel_batch_norm(t.image, t.f, NULL, NULL, NULL, NULL, &train));
    NONE("batch_norm", reel_batch_norm(t.image, NULL, NULL, NULL, NULL, t.f, &train));
    NONE("batch_norm", reel_batch_norm(vec, NULL, NULL, NULL, NULL, NULL, &train));
    NONE("batch_norm", reel_batch_norm(reel_ones(REEL_SHAPE(1, 3), REEL_F32), NULL, NULL,
                                       NULL, NULL, NULL, &train));
    NONE("layer_norm", reel_layer_norm(NULL, 1, NULL, NULL, NULL));
    NONE("layer_norm", reel_layer_norm(t.f, 0, NULL, NULL, NULL));
    NONE("layer_norm", reel_layer_norm(t.f, 3, NULL, NULL, NULL));
    NONE("layer_norm", reel_layer_norm(t.f, 1, vec, NULL, NULL));
    NONE("layer_norm",
         reel_layer_norm(t.f, 1, NULL, NULL, &(reel_layer_norm_opts){.eps = -1}));
    NONE("layer_norm",
         reel_layer_norm(t.f, 1, NULL, NULL, &(reel_layer_norm_opts){.eps = NAN}));
}

static void test_losses(void **state)
{
    (void)state;
    things t = make_things();
    reel_tensor *labels = reel_zeros(REEL_SHAPE(3), REEL_I64);
    reel_tensor *beyond = reel_full(REEL_SHAPE(3), 4, REEL_I64);
    reel_tensor *vec = reel_ones(REEL_SHAPE(5), REEL_F32);
    NONE("softmax", reel_softmax(NULL, 0));
    NONE("softmax", reel_softmax(t.f, 2));
    NONE("softmax", reel_softmax(t.i, 0));
    NONE("softmax", reel_softmax(t.scalar, 0));
    NONE("log_softmax", reel_log_softmax(NULL, 0));
    NONE("log_softmax", reel_log_softmax(t.f, -3));
    NONE("logsumexp", reel_logsumexp(NULL, 0, false));
    NONE("logsumexp", reel_logsumexp(t.f, 7, true));
    NONE("cross_entropy", reel_cross_entropy(NULL, labels, NULL));
    NONE("cross_entropy", reel_cross_entropy(t.f, NULL, NULL));
    NONE("cross_entropy", reel_cross_entropy(t.f, t.f, NULL));
    NONE("cross_entropy", reel_cross_entropy(t.f, beyond, NULL));
    NONE("cross_entropy", reel_cross_entropy(t.other, labels, NULL));
    NONE("cross_entropy", reel_cross_entropy(t.image, labels, NULL));
    NONE("cross_entropy", reel_cross_entropy(t.scalar, labels, NULL));
    NONE("cross_entropy",
         reel_cross_entropy(t.f, labels, &(reel_cross_entropy_opts){.weight = vec}));
    NONE("cross_entropy",
         reel_cross_entropy(t.f, labels,
                            &(reel_cross_entropy_opts){.label_smoothing = 1.5}));
    NONE("cross_entropy",
         reel_cross_entropy(t.f, labels,
                            &(reel_cross_entropy_opts){.reduction = (reel_reduction)7}));
    NONE("mse_loss", reel_mse_loss(NULL, t.f, REEL_MEAN));
    NONE("mse_loss", reel_mse_loss(t.f, NULL, REEL_MEAN));
    NONE("mse_loss", reel_mse_loss(t.f, t.other, REEL_MEAN));
    NONE("mse_loss", reel_mse_loss(t.f, t.f, (reel_reduction)9));
    NONE("bce_with_logits", reel_bce_with_logits(NULL, t.f, REEL_MEAN));
    NONE("bce_with_logits", reel_bce_with_logits(t.f, NULL, REEL_SUM));
    NONE("bce_with_logits", reel_bce_with_logits(t.i, t.i, REEL_SUM));
    NONE("attention", reel_attention(NULL, t.f, t.f, NULL));
    NONE("attention", reel_attention(t.f, NULL, t.f, NULL));
    NONE("attention", reel_attention(t.f, t.f, NULL, NULL));
    NONE("attention", reel_attention(t.f, t.other, t.f, NULL));
    NONE("attention", reel_attention(t.f, t.f, t.other, NULL));
    NONE("attention", reel_attention(t.scalar, t.scalar, t.scalar, NULL));
    NONE("attention", reel_attention(vec, vec, vec, NULL));
    NONE("attention", reel_attention(t.i, t.i, t.i, NULL));
    NONE("attention",
         reel_attention(t.f, t.f, t.f, &(reel_attention_opts){.dropout = 1}));
    NONE("attention",
         reel_attention(t.f, t.f, t.f, &(reel_attention_opts){.mask = t.other}));
    NONE("attention",
         reel_attention(
             t.f, t.f, t.f,
             &(reel_attention_opts){.mask = reel_zeros(REEL_SHAPE(3, 3), REEL_I64)}));
    NONE("dropout", reel_dropout(NULL, 0.5, true));
    NONE("dropout", reel_dropout(t.f, 1, true));
    NONE("dropout", reel_dropout(t.f, -0.1, false));
    NONE("dropout", reel_dropout(t.f, NAN, true));
    NONE("dropout", reel_dropout(t.i, 0.5, true));
}

static void test_indices(void **state)
{
    (void)state;
    things t = make_things();
    reel_tensor *index = reel_zeros(REEL_SHAPE(2), REEL_I64);
    reel_tensor *beyond = reel_full(REEL_SHAPE(2), 3, REEL_I64);
    reel_tensor *before = reel_full(REEL_SHAPE(2), -4, REEL_I64);
    reel_tensor *far = reel_full(REEL_SHAPE(3, 4), 99, REEL_I64);
    NONE("embedding", reel_embedding(NULL, index));
    NONE("embedding", reel_embedding(t.f, NULL));
    NONE("embedding", reel_embedding(t.image, index));
    NONE("index_select", reel_embedding(t.f, beyond));
    NONE("index_select", reel_embedding(t.f, t.f));
    NONE("index_select", reel_index_select(NULL, 0, index));
    NONE("index_select", reel_index_select(t.f, 0, NULL));
    NONE("index_select", reel_index_select(t.f, 2, index));
    NONE("index_select", reel_index_select(t.f, 0, beyond));
    NONE("index_select", reel_index_select(t.f, 0, before));
    NONE("index_select", reel_index_select(t.f, 0, t.i));
    NONE("gather", reel_gather(NULL, 0, t.i));
    NONE("gather", reel_gather(t.f, 0, NULL));
    NONE("gather", reel_gather(t.f, 0, index));
    NONE("gather", reel_gather(t.f, 0, far));
    NONE("gather", reel_gather(t.f, 5, t.i));
    NONE("scatter_add", reel_scatter_add(NULL, 0, t.i, t.f));
    NONE("scatter_add", reel_scatter_add(t.f, 0, NULL, t.f));
    NONE("scatter_add", reel_scatter_add(t.f, 0, t.i, NULL));
    NONE("scatter_add", reel_scatter_add(t.f, 0, t.i, t.other));
    NONE("scatter_add", reel_scatter_add(t.f, 0, far, t.f));
    NONE("scatter_add", reel_scatter_add(t.f, -3, t.i, t.f));
    NONE("one_hot", reel_one_hot(NULL, 3, REEL_F32));
    NONE("one_hot", reel_one_hot(index, 0, REEL_F32));
    NONE("one_hot", reel_one_hot(beyond, 3, REEL_F32));
    NONE("one_hot", reel_one_hot(t.f, 3, REEL_F32));
    NONE("one_hot", reel_one_hot(index, 3, REEL__DTYPE_COUNT));
    NONE("one_hot", reel_one_hot(index, INT64_MAX, REEL_F32));
}

static void test_steps(void **state)
{
    (void)state;
    things t = make_things();
    reel_tensor *lr = reel_scalar(0.1, REEL_F64);
    const reel_adam_step_opts adam = {.beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8};
    BAD("sgd_step", reel_sgd_step(NULL, t.f, NULL, lr, NULL));
    BAD("sgd_step", reel_sgd_step(t.f, NULL, NULL, lr, NULL));
    BAD("sgd_step", reel_sgd_step(t.f, t.f, NULL, NULL, NULL));
    BAD("sgd_step", reel_sgd_step(t.f, t.other, NULL, lr, NULL));
    BAD("sgd_step", reel_sgd_step(t.f, t.f, NULL, t.scalar, NULL));
    BAD("sgd_step",
        reel_sgd_step(t.f, t.f, NULL, lr, &(reel_sgd_step_opts){.momentum = 0.9}));
    BAD("sgd_step", reel_sgd_step(t.i, t.i, NULL, lr, NULL));
    BAD("adam_step", reel_adam_step(NULL, t.f, t.f, t.f, lr, lr, &adam));
    BAD("adam_step", reel_adam_step(t.f, t.f, t.f, t.other, lr, lr, &adam));
    BAD("adam_step", reel_adam_step(t.f, t.f, t.f, t.f, lr, NULL, &adam));
}

static void test_making(void **state)
{
    (void)state;
    reel_shape deep = {.rank = 9}, negative = {.rank = -1},
               huge = REEL_SHAPE(INT64_MAX, 8);
    reel_shape hole = REEL_SHAPE(-1, 3);
    reel_shape shape[] = {deep, negative, huge, hole};
    for (int i = 0; i < 4; i++) {
        NONE("empty", reel_empty(shape[i], REEL_F32));
        NONE("full", reel_zeros(shape[i], REEL_F32));
        NONE("full", reel_ones(shape[i], REEL_F32));
        NONE("full", reel_full(shape[i], 2, REEL_F32));
        NONE("full", reel_full_i64(shape[i], 2, REEL_I64));
        NONE("rand", reel_rand(shape[i], REEL_F32));
        NONE("randn", reel_randn(shape[i], REEL_F64));
        NONE("randint", reel_randint(0, 9, shape[i], REEL_I64));
        NONE("from", reel_from("", shape[i], REEL_F32));
        NONE("from_borrowed", reel_from_borrowed(shape, shape[i], REEL_F32, NULL, NULL));
    }
    const reel_dtype bad[] = {(reel_dtype)REEL__DTYPE_COUNT, REEL_DTYPE_NONE,
                              (reel_dtype)1000};
    for (int i = 0; i < 3; i++) {
        NONE("empty", reel_empty(REEL_SHAPE(2), bad[i]));
        NONE("full", reel_zeros(REEL_SHAPE(2), bad[i]));
        NONE("full", reel_scalar(1, bad[i]));
        NONE("full", reel_scalar_i64(1, bad[i]));
        NONE("arange", reel_arange_i64(0, 3, 1, bad[i]));
        NONE("arange", reel_arange(0, 3, 1, bad[i]));
        NONE("linspace", reel_linspace(0, 3, 4, bad[i]));
        NONE("rand", reel_rand(REEL_SHAPE(2), bad[i]));
        NONE("randint", reel_randint(0, 9, REEL_SHAPE(2), bad[i]));
        NONE("from", reel_from("", REEL_SHAPE(2), bad[i]));
        NONE("from_borrowed",
             reel_from_borrowed(shape, REEL_SHAPE(2), bad[i], NULL, NULL));
        NONE("eye", reel_eye(2, 2, bad[i]));
    }
    NONE("from", reel_from(NULL, REEL_SHAPE(2), REEL_F32));
    NONE("from_borrowed", reel_from_borrowed(NULL, REEL_SHAPE(2), REEL_F32, NULL, NULL));
    NONE("from_borrowed",
         reel_from_borrowed((char *)shape + 1, REEL_SHAPE(2), REEL_F32, NULL, NULL));
    NONE("arange", reel_arange(0, 1, 0, REEL_F32));
    NONE("arange", reel_arange(0, INFINITY, 1, REEL_F32));
    NONE("arange", reel_arange(0, 1, NAN, REEL_F32));
    NONE("arange", reel_arange_i64(0, 1, 0, REEL_I64));
    NONE("arange", reel_arange_i64(INT64_MIN, INT64_MAX, 1, REEL_I64));
    NONE("arange", reel_arange(0, 1e300, 1, REEL_F32));
    NONE("linspace", reel_linspace(0, 1, -1, REEL_F32));
    NONE("linspace", reel_linspace(NAN, 1, 3, REEL_F32));
    NONE("eye", reel_eye(-1, 2, REEL_F32));
    NONE("rand", reel_rand(REEL_SHAPE(2), REEL_I64));
    NONE("randn", reel_randn(REEL_SHAPE(2), REEL_BOOL));
    NONE("randint", reel_randint(5, 5, REEL_SHAPE(2), REEL_I64));
    NONE("randint", reel_randint(0, 1000, REEL_SHAPE(2), REEL_I8));
    NONE("randint", reel_randint(0, 2, REEL_SHAPE(2), REEL_BOOL));
    NONE("randint", reel_randint(-1, 1, REEL_SHAPE(2), REEL_U8));
    NONE("randperm", reel_randperm(-1));
    NONE("randperm", reel_randperm(INT64_MAX));
    /* too large for any memory, but a size that can be written */
    assert_null(reel_empty(REEL_SHAPE(INT64_C(1) << 40, 1 << 10), REEL_F32));
    assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
    refused_as("empty", __LINE__);
    BAD("set_default_device", reel_set_default_device((reel_device){REEL_CPU, 3}));
    BAD("set_default_device",
        reel_set_default_device((reel_device){(reel_device_type)-1, 0}));
    assert_int_equal(reel_default_device().type, REEL_CPU);
    BAD("set_data", reel_set_data(NULL, reel_ones(REEL_SHAPE(2), REEL_F32)));
    BAD("set_data", reel_set_data(reel_ones(REEL_SHAPE(2), REEL_F32), NULL));
}

static void test_asking_and_reading(void **state)
{
    (void)state;
    things t = make_things();
    double room[64];
    assert_int_equal(reel_rank(NULL), -1);
    assert_int_equal(reel_shape_of(NULL).rank, -1);
    assert_int_equal(reel_size(NULL, 0), -1);
    assert_int_equal(reel_size(t.f, 2), -1);
    assert_int_equal(reel_size(t.f, INT32_MIN), -1);
    assert_int_equal(reel_stride(NULL, 0), 0);
    assert_int_equal(reel_stride(t.f, 9), 0);
    assert_int_equal(reel_numel(NULL), -1);
    assert_int_equal(reel_dtype_of(NULL), REEL_DTYPE_NONE);
    assert_int_equal(reel_device_of(NULL).type, REEL_DEVICE_NONE);
    assert_false(reel_is_contiguous(NULL) || reel_is_channels_last(NULL));
    assert_false(reel_failed());
    assert_true(isnan(reel_item(NULL)));
    refused_as("item", __LINE__);
    assert_true(isnan(reel_item(t.f)));
    refused_as("item", __LINE__);
    assert_int_equal(reel_item_i64(NULL), 0);
    refused_as("item_i64", __LINE__);
    assert_int_equal(reel_item_i64(t.empty), 0);
    refused_as("item_i64", __LINE__);
    NONE("data", reel_data(NULL));
    NONE("data", reel_data(reel_t(t.f)));
    BAD("read", reel_read(NULL, room, REEL_F64));
    BAD("read", reel_read(t.f, NULL, REEL_F64));
    BAD("read", reel_read(t.f, room, REEL__DTYPE_COUNT));
    NONE("to_string", reel_to_string(NULL, NULL));
    BAD("to_string", reel_print(NULL));
    NONE("to_string", reel_to_string(t.f, &(reel_print_opts){.precision = -5}));
    NONE("to_string", reel_to_string(t.f, &(reel_print_opts){.edge = -5}));
    NONE("to_string", reel_to_string(t.f, &(reel_print_opts){.threshold = -5}));
    assert_null(reel_keep(NULL));
    reel_release(NULL);
    reel_scope s = reel_scope_begin();
    assert_null(reel_scope_return(s, NULL));
    reel_scope_end(s);
    reel_scope_end(s + 1000); /* a scope that never began */
    assert_int_equal(reel_failed(), reel__debugging());
    reel_error_clear();
    reel_rng_state rng = reel_rng_get();
    reel_seed(0);
    reel_rng_set(rng);
}

static reel_tensor *identity(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return x[0];
}

static reel_tensor *no_result(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)x;
    (void)n;
    return NULL;
}

static reel_tensor *no_hook(void *user, reel_tensor *g)
{
    (void)user;
    (void)g;
    return NULL;
}

static void test_autograd(void **state)
{
    (void)state;
    things t = make_things();
    reel_tensor *x = reel_requires_grad(reel_ones(REEL_SHAPE(2), REEL_F64), true);
    reel_tensor *none = NULL, *gx[2], *y = reel_square(x);
    NONE("requires_grad", reel_requires_grad(NULL, true));
    NONE("requires_grad", reel_requires_grad(t.i, true));
    NONE("requires_grad", reel_requires_grad(y, true));
    assert_false(reel_needs_grad(NULL));
    assert_null(reel_grad_of(NULL));
    BAD("set_grad", reel_set_grad(NULL, x));
    BAD("set_grad", reel_set_grad(x, t.f));
    BAD("backward", reel_backward(NULL, NULL));
    BAD("backward", reel_backward(t.scalar, NULL));
    BAD("backward", reel_backward(y, &(reel_backward_opts){.gradient = t.f}));
    BAD("grad", reel_grad(NULL, 1, NULL, &x, 1, gx, NULL));
    BAD("grad", reel_grad(&y, 0, NULL, &x, 1, gx, NULL));
    BAD("grad", reel_grad(&y, 1, NULL, NULL, 1, gx, NULL));
    BAD("grad", reel_grad(&y, 1, NULL, &x, 1, NULL, NULL));
    BAD("grad", reel_grad(&y, 1, NULL, &none, 1, gx, NULL));
    BAD("grad", reel_grad(&y, 1, NULL, &t.f, 1, gx, NULL));
    BAD("backward", reel_grad(&none, 1, NULL, &x, 1, gx, NULL));
    BAD("backward", reel_grad(&y, 1, &t.f, &x, 1, gx, NULL));
    BAD("register_hook", reel_register_hook(NULL, no_hook, NULL));
    BAD("register_hook", reel_register_hook(x, NULL, NULL));
    BAD("register_hook", reel_register_hook(t.f, no_hook, NULL));
    NONE("checkpoint", reel_checkpoint(NULL, NULL, &x, 1));
    NONE("checkpoint", reel_checkpoint(identity, NULL, NULL, 1));
    NONE("checkpoint", reel_checkpoint(identity, NULL, &none, 1));
    NONE("checkpoint", reel_checkpoint(identity, NULL, &x, 0));
    NONE("checkpoint", reel_checkpoint(identity, NULL, &x, 99));
    NONE("checkpoint", reel_checkpoint(no_result, NULL, &x, 1));
    BAD("gradcheck", reel_gradcheck(NULL, NULL, &x, 1, NULL));
    BAD("gradcheck", reel_gradcheck(identity, NULL, NULL, 1, NULL));
    BAD("gradcheck", reel_gradcheck(identity, NULL, &t.f, 1, NULL));
    BAD("gradcheck", reel_gradcheck(no_result, NULL, &x, 1, NULL));
    BAD("gradgradcheck", reel_gradgradcheck(identity, NULL, &none, 1, NULL));
    BAD("gradgradcheck", reel_gradgradcheck(no_result, NULL, &x, 1, NULL));
    assert_true(reel_set_grad_enabled(true) && reel_grad_enabled());
    assert_false(reel_set_anomaly(false));
    assert_null(reel_op_name(-1));
    assert_null(reel_op_name(reel_op_count()));
    reel_op_facts facts;
    BAD("op_info", reel_op_info(-1, &facts));
    BAD("op_info", reel_op_info(reel_op_count(), &facts));
    BAD("op_info", reel_op_info(0, NULL));
    assert_int_equal(reel_gradcheck(identity, NULL, &x, 1, NULL), REEL_OK);
}

/* What the header promises to take is taken: makers, in every dtype. */
static void test_makers_take_every_dtype(void **state)
{
    (void)state;
    reel_shape s = REEL_SHAPE(5);
    for (int d = 0; d < REEL__DTYPE_COUNT; d++) {
        reel_dtype dt = (reel_dtype)d;
        bool real = reel_dtype_is_float(dt);
        assert_non_null(reel_full(s, 1, dt));
        assert_non_null(reel_eye(3, 3, dt));
        if (dt != REEL_BOOL) assert_non_null(reel_arange(0, 5, 1, dt));
        if (dt != REEL_BOOL) assert_non_null(reel_randint(0, 5, s, dt));
        if (real) assert_non_null(reel_rand(s, dt));
        if (real) assert_non_null(reel_randn(s, dt));
        if (real) assert_non_null(reel_dropout(reel_ones(s, dt), 0.5, true));
    }
    if (reel_failed()) fail_msg("%s", reel_error_message());
}

static int clean(void **state)
{
    (void)state;
    reel_error_clear();
    reel_scope_end(0);
    return misuse_ended();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clean, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_records),      TEST(test_records_without_sample),
        TEST(test_unary),        TEST(test_binary),
        TEST(test_with_numbers), TEST(test_views),
        TEST(test_joins),        TEST(test_reductions),
        TEST(test_nets),         TEST(test_losses),
        TEST(test_indices),      TEST(test_steps),
        TEST(test_making),       TEST(test_asking_and_reading),
        TEST(test_autograd),     TEST(test_makers_take_every_dtype),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
