/* copy.c: the same values in other memory, another order or another dtype (copy), and memory that
 * is overwritten (copy_, fill_). */
#include "base/counts.h"
#include "base/error.h"
#include "ops/onnx.h"

/* ---- copy: x -> the same values; attributes: dtype and memory format of the result ------ */

static reel_status copy_infer(const reel__call *c, reel__meta *out)
{
    const reel__meta *x = IN_META(c, 0);
    const reel__cast_attrs *a = ATTRS(c, reel__cast_attrs);
    REQUIRE(c, a->dtype >= 0 && a->dtype < REEL__DTYPE_COUNT, REEL_ERR_DTYPE,
            "%lld is not a dtype", (long long)a->dtype);
    REQUIRE(c, a->format != REEL_CHANNELS_LAST || x->rank == 4, REEL_ERR_ARG,
            "channels-last needs rank 4, input is %s", SHOW(x));
    *out = *x;
    out->offset = 0;
    out->dtype = (reel_dtype)a->dtype;
    if (a->format == REEL_CONTIGUOUS)
        reel__set_contiguous(out);
    else if (a->format == REEL_CHANNELS_LAST)
        reel__set_channels_last(out);
    else
        reel__set_strides_like(out, x);
    return REEL_OK;
}

static void copy_vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    gx[0] = reel_cast(gy[0], IN_META(c, 0)->dtype);
}

/* ONNX says the dtype, and not how a tensor lies in memory: of a copy the cast is left. */
ONNX_RULE(copy, reel__onnx_cast(o, x, o->out[0].dtype))

const reel__op reel__copy = {
    .name = "copy",
    .kernel = K_COPY,
    .traits = REEL_OP_FOLDS,
    .again = &reel__copy,
    .n_in = 1,
    .n_out = 1,
    .attrs = &reel__cast_schema,
    .infer = copy_infer,
    .vjp = copy_vjp,
    .onnx = copy_onnx,
    .sample =
        "f[2,3,4,2] | dtype=1 format=2\nf[3,4] | dtype=1 format=1\nf[2,0] | dtype=1",
};

static reel_tensor *copy_as(reel_tensor *x, reel_dtype dtype, reel_memory_format format)
{
    const reel__cast_attrs a = {dtype, format};
    return APPLY(&reel__copy, &a, x);
}

reel_tensor *reel_copy(reel_tensor *x)
{
    return reel__have("copy", x, "x") ? copy_as(x, x->meta.dtype, REEL_PRESERVE) : NULL;
}

reel_tensor *reel_contiguous(reel_tensor *x)
{
    REEL__CALLED;
    if (!reel__have("contiguous", x, "x")) return NULL;
    return reel__is_contiguous(&x->meta) ? x : copy_as(x, x->meta.dtype, REEL_CONTIGUOUS);
}

reel_tensor *reel_to_format(reel_tensor *x, reel_memory_format format)
{
    REEL__CALLED;
    if (!reel__have("to_format", x, "x")) return NULL;
    if (format == REEL_CONTIGUOUS) return reel_contiguous(x);
    if (format == REEL_PRESERVE) return x;
    if (format != REEL_CHANNELS_LAST || x->meta.rank != 4) {
        reel_fail(REEL_ERR_ARG, "to_format: format %d for %s; channels-last needs rank 4",
                  (int)format, SHOW(&x->meta));
        return NULL;
    }
    return reel__is_channels_last(&x->meta) ? x : copy_as(x, x->meta.dtype, format);
}

reel_tensor *reel_cast(reel_tensor *x, reel_dtype dtype)
{
    if (!reel__have("cast", x, "x")) return NULL;
    if (!reel_dtype_size(dtype)) {
        reel_fail(REEL_ERR_DTYPE, "cast: %d is not a dtype", (int)dtype);
        return NULL;
    }
    return x->meta.dtype == dtype ? x : copy_as(x, dtype, REEL_PRESERVE);
}

reel_tensor *reel_to(reel_tensor *x, reel_device device)
{
    if (!reel__have("to", x, "x")) return NULL;
    if (x->meta.device.type == device.type && x->meta.device.index == device.index)
        return x;
    if (!reel_device_available(device))
        reel_fail(REEL_ERR_DEVICE, "to: no device %d of type %d in this build or machine",
                  device.index, (int)device.type);
    else
        reel_fail(REEL_ERR_UNSUPPORTED, "to: no copy from device type %d to %d",
                  (int)x->meta.device.type, (int)device.type);
    return NULL;
}

/* ---- copy_, fill_: overwrite ------------------------------------------------------------ */

static void copy__vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    if (NEEDS(c, 0)) gx[0] = reel_zeros_like(gy[0]);
    if (NEEDS(c, 1)) gx[1] = reel_cast(gy[0], IN_META(c, 1)->dtype);
}

static reel_status copy__infer(const reel__call *c, reel__meta *out)
{
    REQUIRE(c, reel__same_shape(IN_META(c, 0), IN_META(c, 1)), REEL_ERR_SHAPE,
            "%s does not fit into %s: shapes must be equal", SHOW(IN_META(c, 1)),
            SHOW(IN_META(c, 0)));
    return reel__infer_same(c, out);
}

ONNX_RULE(copy_, reel__onnx_cast(o, y, x->dtype))

const reel__op reel__copy_ = {
    .name = "copy_",
    .kernel = K_COPY,
    .traits = REEL_OP_INPLACE | REEL_OP_OVERWRITE,
    .n_in = 2,
    .n_out = 1,
    .infer = copy__infer,
    .vjp = copy__vjp,
    .onnx = copy__onnx,
    .sample = "f[3,4]; f[3,4]\nf[2,3,2,2]; f[2,3,2,2]\nf[]; f[]",
};

reel_tensor *reel_copy_(reel_tensor *dst, reel_tensor *src)
{
    REEL__CALLED;
    if (!reel__have("copy_", dst, "dst") || !reel__have("copy_", src, "src")) return NULL;
    reel__meta sum;
    if (!reel__broadcast(&dst->meta, &src->meta, &sum) ||
        !reel__same_shape(&sum, &dst->meta)) {
        reel_fail(REEL_ERR_SHAPE, "copy_: %s does not broadcast to %s", SHOW(&src->meta),
                  SHOW(&dst->meta));
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    if (!reel__same_shape(&src->meta, &dst->meta))
        src = reel_expand(src, reel__shape(&dst->meta));
    reel_tensor *y = APPLY(&reel__copy_, NULL, dst, src);
    reel_scope_end(s);
    return y;
}

static void fill__vjp(const reel__call *c, reel_tensor *const gy[], reel_tensor *gx[])
{
    (void)c;
    gx[0] = reel_zeros_like(gy[0]);
}

ONNX_RULE(fill_, reel__onnx_full(o, ATTRS(c, reel__fill_attrs)->value, *x))

const reel__op reel__fill_ = {
    .name = "fill_",
    .kernel = K_FILL,
    .traits = REEL_OP_INPLACE | REEL_OP_OVERWRITE,
    .n_in = 1,
    .n_out = 1,
    .attrs = &reel__fill_schema,
    .infer = reel__infer_same,
    .vjp = fill__vjp,
    .onnx = fill__onnx,
    .sample = "f[3,4] | value=0.5\nf[2,0] | value=1",
};

reel_tensor *reel_fill_(reel_tensor *x, double value)
{
    const reel__fill_attrs a = {reel__real(value)};
    return APPLY(&reel__fill_, &a, x);
}

reel_tensor *reel_fill_i64_(reel_tensor *x, int64_t value)
{
    REEL__CALLED;
    const reel__fill_attrs a = {reel__whole(value)};
    return APPLY(&reel__fill_, &a, x);
}

reel_tensor *reel_zero_(reel_tensor *x)
{
    REEL__CALLED;
    return reel_fill_(x, 0);
}
