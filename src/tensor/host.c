/* host.c: between C arrays and tensors. */
#include <math.h>

#include "base/alloc.h"
#include "base/error.h"
#include "tensor/debug.h"
#include "tensor/tensor.h"

static const reel_device cpu = {REEL_CPU, 0};
static _Thread_local reel_device default_device;
_Thread_local const reel__listener *reel__heard_by;

static void hear_read(const char *who, const reel_tensor *x)
{
    if (reel__heard_by) reel__heard_by->on_read(who, x);
}

reel_device reel_default_device(void)
{
    return default_device;
}

reel_status reel_set_default_device(reel_device device)
{
    if (reel_failed()) return reel_error_status();
    if (!reel_device_available(device))
        return reel_fail(REEL_ERR_DEVICE, "set_default_device: no device %d of type %d",
                         device.index, (int)device.type);
    default_device = device;
    return REEL_OK;
}

static reel_tensor *made(const char *by, reel_tensor *t)
{
    if (t && reel__debugging()) reel__debug_made(t, by);
    return reel__autorelease(t);
}

reel_tensor *reel_empty(reel_shape shape, reel_dtype dtype)
{
    reel__meta m = reel__meta_of(shape, dtype, default_device);
    if (reel__meta_check("empty", &m)) return NULL;
    reel_tensor *t = made("empty", reel__tensor_new(&m, NULL));
    if (!t) reel__memory_wanted_by("empty");
    return t;
}

reel_tensor *reel_from(const void *data, reel_shape shape, reel_dtype dtype)
{
    REEL__CALLED;
    reel__meta m = reel__meta_of(shape, dtype, default_device);
    if (reel__meta_check("from", &m)) return NULL;
    size_t bytes = (size_t)reel__numel(&m) * reel_dtype_size(dtype);
    if (!data && bytes) {
        reel_fail(REEL_ERR_ARG, "from: data is NULL, %zu bytes are needed", bytes);
        return NULL;
    }
    reel_tensor *t = reel__tensor_new(&m, NULL);
    if (t && bytes &&
        reel__backend_of(m.device.type)
            ->copy(m.device.index, t->storage->data, data, bytes, REEL_COPY_TO_DEVICE)) {
        reel__tensor_release(t);
        return NULL;
    }
    return made("from", t);
}

/* Only once there is a tensor does the memory's end belong to the storage. */
static reel_tensor *borrow(void *data, reel_shape shape, reel_dtype dtype,
                           void (*free_fn)(void *user, void *data), void *user)
{
    reel__meta m = reel__meta_of(shape, dtype, cpu);
    if (reel__meta_check("from_borrowed", &m)) return NULL;
    size_t size = reel_dtype_size(dtype);
    if (!data || (uintptr_t)data % size) {
        reel_fail(REEL_ERR_ARG, "from_borrowed: data is %s",
                  data ? "not aligned to the dtype's size" : "NULL");
        return NULL;
    }
    reel__storage *s = reel__storage_borrow(cpu, data, (size_t)reel__numel(&m) * size);
    if (!s) return NULL;
    reel_tensor *t = made("from_borrowed", reel__tensor_new(&m, s));
    if (t) {
        s->free_fn = free_fn;
        s->user = user;
    }
    reel__storage_release(s);
    return t;
}

reel_tensor *reel_from_borrowed(void *data, reel_shape shape, reel_dtype dtype,
                                void (*free_fn)(void *user, void *data), void *user)
{
    REEL__CALLED;
    reel_tensor *t = borrow(data, shape, dtype, free_fn, user);
    if (!t && free_fn) free_fn(user, data);
    return t;
}

reel_status reel__read(const char *who, const reel_tensor *x, void *out, reel_dtype dtype)
{
    const reel__backend *be = reel__backend_of(x->meta.device.type);
    int64_t n = reel__numel(&x->meta);
    if (!reel__alive(who, x)) return reel_error_status();
    if (n == 0) return REEL_OK;
    if (!x->storage)
        return reel_fail(REEL_ERR_INTERNAL, "%s: the value was not saved", who);
    hear_read(who, x);
    reel__meta m = reel__meta_of(reel__shape(&x->meta), dtype, x->meta.device);
    if (x->meta.device.type == REEL_CPU) {
        const reel__karg in = {reel__ptr(x), &x->meta}, to = {out, &m};
        const reel__kcall call = {K_COPY, 1, 1, &in, &to, NULL, NULL, 0};
        return reel__launch(m.device, &call);
    }
    reel_tensor *tmp = reel__tensor_new(&m, NULL);
    if (!tmp) return reel_error_status();
    const reel__karg in = {reel__ptr(x), &x->meta}, to = {tmp->storage->data, &m};
    const reel__kcall call = {K_COPY, 1, 1, &in, &to, NULL, NULL, 0};
    reel_status st = reel__launch(m.device, &call);
    if (!st)
        st = be->copy(m.device.index, out, tmp->storage->data,
                      (size_t)n * reel_dtype_size(dtype), REEL_COPY_TO_HOST);
    reel__tensor_release(tmp);
    return st;
}

reel_status reel_read(reel_tensor *x, void *out, reel_dtype dtype)
{
    if (!x || !out)
        return reel_fail(REEL_ERR_ARG, "read: %s is NULL", x ? "out" : "the tensor");
    if (!reel_dtype_size(dtype))
        return reel_fail(REEL_ERR_DTYPE, "read: %d is not a dtype", (int)dtype);
    return reel__read("read", x, out, dtype);
}

static bool one_element(const char *who, const reel_tensor *x)
{
    char text[REEL__META_TEXT];
    if (!x)
        reel_fail(REEL_ERR_ARG, "%s: the tensor is NULL", who);
    else if (!reel__alive(who, x))
        return false;
    else if (reel__numel(&x->meta) != 1)
        reel_fail(REEL_ERR_SHAPE, "%s: %s must have exactly one element", who,
                  reel__meta_text(&x->meta, text));
    else
        return true;
    return false;
}

double reel_item(reel_tensor *x)
{
    double v = NAN;
    if (!one_element("item", x) || reel__read("item", x, &v, REEL_F64)) return NAN;
    return v;
}

int64_t reel_item_i64(reel_tensor *x)
{
    int64_t v = 0;
    if (!one_element("item_i64", x) || reel__read("item_i64", x, &v, REEL_I64)) return 0;
    return v;
}

void *reel_data(reel_tensor *x)
{
    char text[REEL__META_TEXT];
    if (!x)
        reel_fail(REEL_ERR_ARG, "data: the tensor is NULL");
    else if (!reel__alive("data", x))
        return NULL;
    else if (x->meta.device.type != REEL_CPU)
        reel_fail(REEL_ERR_DEVICE, "data: %s is not on the CPU; use reel_read()",
                  reel__meta_text(&x->meta, text));
    else if (!x->storage)
        reel_fail(REEL_ERR_INTERNAL, "data: the value was not saved");
    else if (!reel__is_contiguous(&x->meta))
        reel_fail(REEL_ERR_STATE,
                  "data: %s is not contiguous; use reel_contiguous() or reel_read()",
                  reel__meta_text(&x->meta, text));
    else {
        hear_read("data", x);
        x->storage->lent++;
        return reel__ptr(x);
    }
    return NULL;
}
