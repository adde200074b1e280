/* Quantization by tensors: what is faked is what integers give, bit for bit; parameters for all,
 * for channels and for blocks; the gradients of LSQ and LSQ+ at chosen points, borders among
 * them; and files, in which scales and zero points keep their names. */
#include <math.h>

#include <reel/reel.h>

#include "temp_folder.h"

enum { CASES = 3000, ROOM = 4096 };

static uint64_t state = 1;
static int below(int n)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (int)((state >> 33) % (uint64_t)n);
}
static double between(double low, double high)
{
    return low + (high - low) * below(1 << 20) / (1 << 20);
}

/* ---- what is faked is what integers give ------------------------------------------------------ */

/* A parameter's shape for x: all of it, a channel, or blocks of the last dimension. */
static reel_shape parameter_shape(reel_shape x)
{
    reel_shape p = {.rank = x.rank};
    int how = below(3), axis = x.rank ? below(x.rank) : 0;
    if (how == 0 || !x.rank) return REEL_SCALAR;
    for (int d = 0; d < x.rank; d++)
        p.dim[d] = how == 2 ? x.dim[d] : d == axis ? x.dim[d] : 1;
    if (how == 2) p.dim[axis] = x.dim[axis] % 3 ? 1 : x.dim[axis] / 3;
    return p;
}

static reel_tensor *drawn(reel_shape shape, double low, double high, bool whole)
{
    double v[ROOM];
    int64_t n = 1;
    for (int d = 0; d < shape.rank; d++) n *= shape.dim[d];
    assert_true(n <= ROOM);
    for (int64_t i = 0; i < n; i++) {
        v[i] = between(low, high);
        if (whole) v[i] = rint(v[i]);
    }
    return reel_from(v, shape, REEL_F64);
}

/* Numbers on both sides of the range, in its steps' middles, and not finite. */
static reel_tensor *values(reel_shape shape, double scale)
{
    static const double hard[] = {INFINITY, -INFINITY, 0, -0.0, 1e30, -1e30, 1e-40};
    double v[ROOM];
    int64_t n = 1;
    for (int d = 0; d < shape.rank; d++) n *= shape.dim[d];
    for (int64_t i = 0; i < n; i++) {
        int how = below(8);
        v[i] = how == 0   ? hard[below(7)]
               : how == 1 ? scale * (below(600) - 300 + 0.5)
                          : scale * between(-300, 300);
    }
    return reel_from(v, shape, REEL_F64);
}

static void check_case(void)
{
    static const reel_dtype floats[] = {REEL_F32, REEL_F64, REEL_F32, REEL_F16};
    reel_scope s = reel_scope_begin();
    reel_dtype dtype = floats[below(4)], q_dtype = below(2) ? REEL_U8 : REEL_I8;
    int low = q_dtype == REEL_U8 ? 0 : -128, high = low + 255;
    reel_shape x_shape = {.rank = below(5)};
    for (int d = 0; d < x_shape.rank; d++) x_shape.dim[d] = below(12) ? 1 + below(7) : 0;
    const reel_shape p = parameter_shape(x_shape);
    double step = dtype == REEL_F16 ? 0.01 : pow(10, between(-6, 6));
    reel_tensor *x = reel_cast(values(x_shape, step), dtype);
    reel_tensor *scale = reel_cast(drawn(p, 0.5 * step, step, false), dtype);
    reel_tensor *zero = reel_cast(drawn(p, low, high, true), q_dtype);
    if (x_shape.rank == 4 && below(2)) x = reel_to_format(x, REEL_CHANNELS_LAST);
    if (x_shape.rank >= 2 && below(3) == 0 && p.rank == 0) x = reel_transpose(x, 0, 1);
    reel_tensor *q = reel_quantize(x, scale, zero);
    reel_tensor *back = reel_dequantize(q, scale, zero);
    reel_tensor *fake = reel_fake_quantize(x, scale, reel_cast(zero, dtype), low, high);
    if (reel_failed()) fail_msg("%s", reel_error_message());
    assert_int_equal(reel_dtype_of(q), q_dtype);
    assert_int_equal(reel_dtype_of(back), dtype);
    double a[ROOM], b[ROOM];
    assert_int_equal(reel_read(back, a, REEL_F64), REEL_OK);
    assert_int_equal(reel_read(fake, b, REEL_F64), REEL_OK);
    for (int64_t i = 0; i < reel_numel(x); i++)
        if (a[i] != b[i])
            fail_msg("%s to %s: integers give %.17g, faked %.17g", reel_dtype_name(dtype),
                     reel_dtype_name(q_dtype), a[i], b[i]);
    reel_scope_end(s);
}

static void test_faked_is_quantized(void **unused)
{
    (void)unused;
    for (int i = 0; i < CASES; i++) check_case();
}

/* Blocks are what each would be alone. */
static void test_blocks(void **unused)
{
    (void)unused;
    reel_scope s = reel_scope_begin();
    reel_tensor *x = reel_cast(drawn(REEL_SHAPE(3, 12), -1, 1, false), REEL_F32);
    reel_tensor *scale = reel_cast(drawn(REEL_SHAPE(3, 4), 0.01, 0.02, false), REEL_F32);
    reel_tensor *zero = reel_cast(drawn(REEL_SHAPE(3, 4), -9, 9, true), REEL_I8);
    int8_t all[36], one[9];
    assert_int_equal(reel_read(reel_quantize(x, scale, zero), all, REEL_I8), REEL_OK);
    for (int b = 0; b < 4; b++) {
        reel_tensor *q =
            reel_quantize(reel_narrow(x, 1, 3 * b, 3), reel_narrow(scale, 1, b, 1),
                          reel_narrow(zero, 1, b, 1));
        assert_int_equal(reel_read(q, one, REEL_I8), REEL_OK);
        for (int i = 0; i < 3; i++)
            assert_memory_equal(one + 3 * i, all + 12 * i + 3 * b, 3);
    }
    reel_scope_end(s);
}

/* ---- rules at the edges -------------------------------------------------------------------------- */

static int quantized(double x, double scale, int zero, reel_dtype dtype)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *q = reel_quantize(reel_scalar(x, REEL_F32), reel_scalar(scale, REEL_F32),
                                   reel_cast(reel_scalar(zero, REEL_F64), dtype));
    int v = (int)reel_item_i64(q);
    reel_scope_end(s);
    return v;
}

static void test_edges(void **unused)
{
    (void)unused;
    assert_int_equal(quantized(0.5, 1, 3, REEL_U8), 3); /* half to even */
    assert_int_equal(quantized(1.5, 1, 3, REEL_U8), 5);
    assert_int_equal(quantized(-0.5, 1, 3, REEL_U8), 3);
    assert_int_equal(quantized(INFINITY, 0.1, 9, REEL_U8), 255);
    assert_int_equal(quantized(-INFINITY, 0.1, 9, REEL_I8), -128);
    assert_int_equal(quantized(NAN, 0.1, 9, REEL_I8), -128); /* the lowest */
    assert_int_equal(quantized(NAN, 0.1, 9, REEL_U8), 0);
    assert_int_equal(quantized(1, 0, 9, REEL_U8), 255); /* a scale of 0 saturates */
    assert_int_equal(quantized(0, 0, 9, REEL_U8), 0);
    assert_int_equal(quantized(-2.5e9, 1, 0, REEL_I32), -2147483520);
    reel_scope s = reel_scope_begin();
    reel_tensor *nan = reel_fake_quantize(reel_scalar(NAN, REEL_F32),
                                          reel_scalar(1, REEL_F32), NULL, 0, 255);
    assert_true(isnan(reel_item(nan)));
    reel_scope_end(s);
}

/* ---- gradients: LSQ and LSQ+ ------------------------------------------------------------------------ */

/* Of y by x, scale and zero point, for integers of 0..15. */
static void slopes(double x, double scale, double zero, double want_x, double want_scale,
                   double want_zero)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *in[3], *g[3];
    const double v[3] = {x, scale, zero}, want[3] = {want_x, want_scale, want_zero};
    for (int i = 0; i < 3; i++)
        in[i] = reel_requires_grad(reel_scalar(v[i], REEL_F64), true);
    reel_tensor *y = reel_fake_quantize(in[0], in[1], in[2], 0, 15);
    assert_int_equal(reel_grad(&y, 1, NULL, in, 3, g, NULL), REEL_OK);
    for (int i = 0; i < 3; i++)
        if (fabs(reel_item(g[i]) - want[i]) > 1e-12)
            fail_msg("x %g, scale %g, zero %g: slope %d is %.17g, not %.17g", x, scale,
                     zero, i, reel_item(g[i]), want[i]);
    reel_scope_end(s);
}

static void test_gradients(void **unused)
{
    (void)unused;
    slopes(1.1, 0.5, 4, 1, 2 - 2.2, 0);   /* inside: round(x / s) - x / s */
    slopes(-3, 0.5, 4, 0, 0 - 4, -0.5);   /* below: low - zero */
    slopes(9, 0.5, 4, 0, 15 - 4, -0.5);   /* above: high - zero */
    slopes(-2, 0.5, 4, 1, 0, 0);          /* on the lower border: inside */
    slopes(5.5, 0.5, 4, 1, 0, 0);         /* on the upper border */
    slopes(5.7, 0.5, 4, 1, 11 - 11.4, 0); /* rounds to the border: inside */
    slopes(5.76, 0.5, 4, 0, 11, -0.5);    /* rounds to beyond it */
    slopes(1.1, 0.5, 4.3, 1, 2 - 2.2, 0); /* a zero point is rounded */
    slopes(20, 0.5, 99, 0, 0, -0.5);      /* and kept in the range: 15 - 15 */
}

/* ---- files ------------------------------------------------------------------------------------------- */

static reel_tensor *conv_weight, *weight_scale, *weight_zero;

/* x [n,2,4,4] */
static reel_tensor *model(void *user, reel_tensor *const in[], int n)
{
    (void)user, (void)n;
    reel_tensor *x = in[0];
    reel_tensor *s = reel_scalar(0.02, REEL_F32),
                *z = reel_cast(reel_scalar(128, REEL_F64), REEL_U8);
    x = reel_dequantize(reel_quantize(x, s, z), s, z);
    reel_tensor *q = reel_quantize(conv_weight, weight_scale, weight_zero);
    reel_tensor *w = reel_dequantize(q, weight_scale, weight_zero);
    return reel_conv2d(x, w, NULL, NULL);
}

/* Bytes of a file, which contain no text that is not there. */
static bool file_has(const char *path, const char *word)
{
    static char content[65536];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t n = fread(content, 1, sizeof content, f), m = strlen(word);
    fclose(f);
    for (size_t i = 0; i + m <= n; i++)
        if (memcmp(content + i, word, m) == 0) return true;
    return false;
}

static void test_file(void **unused)
{
    (void)unused;
    const char *path = temp_path("q.onnx");
    reel_scope s = reel_scope_begin();
    conv_weight = reel_cast(drawn(REEL_SHAPE(3, 2, 3, 3), -1, 1, false), REEL_F32);
    weight_scale = reel_cast(drawn(REEL_SHAPE(3, 1, 1, 1), 0.01, 0.02, false), REEL_F32);
    weight_zero = reel_zeros(REEL_SHAPE(3, 1, 1, 1), REEL_I8);
    reel_tensor *x = reel_cast(drawn(REEL_SHAPE(2, 2, 4, 4), -3, 3, false), REEL_F32);
    reel_graph *g = reel_trace_function(model, NULL, &x, 1, NULL);
    assert_int_equal(reel_onnx_export(g, path, NULL), REEL_OK);
    assert_true(file_has(path, "QuantizeLinear") && file_has(path, "DequantizeLinear"));
    assert_false(file_has(path, "Reshape")); /* scales are [k] in the file itself */
    reel_graph *back = reel_onnx_load(path, NULL);
    if (reel_failed()) fail_msg("%s", reel_error_message());
    reel_tensor *a[1], *b[1];
    assert_int_equal(reel_graph_run(g, &x, 1, a, 1), REEL_OK);
    assert_int_equal(reel_graph_run(back, &x, 1, b, 1), REEL_OK);
    float u[ROOM], v[ROOM];
    assert_int_equal(reel_read(a[0], u, REEL_F32), REEL_OK);
    assert_int_equal(reel_read(b[0], v, REEL_F32), REEL_OK);
    assert_memory_equal(u, v, (size_t)reel_numel(a[0]) * sizeof *u);
    reel_graph_free(back);
    reel_graph_free(g);
    reel_scope_end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_faked_is_quantized),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_file),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
