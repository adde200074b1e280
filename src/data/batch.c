/* batch.c: the tensors of a batch by name, and the rows they are made of. */
#include "data/batch.h"

#include <reel/ops.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/shares.h"
#include "data/sample.h"

#define MADE (-1) /* room of a batch that its user sees: nothing is added to it */

/* ---- tensors by name --------------------------------------------------------------- */

static reel_tensor *find(const reel_batch *b, const char *name)
{
    for (int i = 0; i < b->fields; i++)
        if (strcmp(b->field[i].name, name) == 0) return b->field[i].tensor;
    return NULL;
}

static const char *name_of(const void *batch, int i)
{
    return ((const reel_batch *)batch)->field[i].name;
}

reel_tensor *reel_batch_get(const reel_batch *b, const char *name)
{
    REEL__CALLED;
    if (!b || !name) {
        reel_fail(REEL_ERR_ARG, "batch_get: %s is NULL", b ? "name" : "batch");
        return NULL;
    }
    reel_tensor *t = find(b, name);
    if (t) return t;
    reel__no_field("batch", name, b, b->fields, name_of);
    return NULL;
}

static bool grow(reel_batch *b)
{
    int room = b->room > 0 ? 2 * b->room : 4;
    reel_batch_field *field = reel__realloc(b->field, (size_t)room * sizeof *field);
    if (!field) return false;
    b->field = field;
    b->room = room;
    return true;
}

reel_status reel_batch_put(reel_batch *out, const char *name, reel_tensor *t)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!out || !name || !*name || !t)
        return reel_fail(REEL_ERR_ARG, "batch_put: %s",
                         !out              ? "batch is NULL"
                         : !name || !*name ? "the tensor has no name"
                                           : "tensor is NULL");
    if (out->room == MADE)
        return reel_fail(REEL_ERR_STATE,
                         "batch_put: \"%s\" for a batch that is made; only a collate "
                         "adds to one",
                         name);
    if (find(out, name))
        return reel_fail(REEL_ERR_ARG, "batch_put: the batch has a field \"%s\" already",
                         name);
    if (out->fields == out->room && !grow(out)) return reel_error_status();
    out->field[out->fields++] = (reel_batch_field){name, reel__hold(t)};
    if (out->fields == 1) out->x = t;
    if (out->fields == 2) out->y = t;
    return REEL_OK;
}

void reel__batch_clear(reel_batch *b)
{
    for (int i = 0; i < b->fields; i++) reel__let_go(b->field[i].tensor);
    reel__free(b->field);
    *b = (reel_batch){0};
}

reel_batch reel__batch_made(const reel_batch *b)
{
    reel_batch made = *b;
    made.room = MADE;
    return made;
}

/* ---- elements ---------------------------------------------------------------------- */

static int64_t elements(reel_shape s)
{
    int64_t n = 1;
    for (int i = 0; i < s.rank; i++) n *= s.dim[i];
    return n;
}

static bool bytes_become_floats(const reel_field *f)
{
    return f->kind == REEL_IMAGE && f->dtype == REEL_U8;
}

reel_dtype reel__batch_dtype(const reel_field *f)
{
    return bytes_become_floats(f) ? REEL_F32 : f->dtype;
}

void reel__batch_copy(const reel_field *f, int64_t at, int64_t n, void *out)
{
    size_t size = reel_dtype_size(f->dtype);
    if (!bytes_become_floats(f)) {
        memcpy(out, (const char *)f->data + (size_t)at * size, (size_t)n * size);
        return;
    }
    const uint8_t *byte = (const uint8_t *)f->data + at;
    float *to = out;
    for (int64_t i = 0; i < n; i++) to[i] = (float)byte[i] / 255.0f;
}

reel_status reel__batch_put_kind(reel_batch *out, const reel_field *form, reel_tensor *t)
{
    if (t && form->kind == REEL_IMAGE && form->shape.rank == 3)
        t = reel_permute(t, (reel_shape){4, {0, 3, 1, 2}});
    return t ? reel_batch_put(out, form->name, t) : reel_error_status();
}

/* ---- rows -------------------------------------------------------------------------- */

reel_status reel__rows_begin(reel__rows *r, int64_t room, const reel_field *first)
{
    *r = (reel__rows){.form = {.name = first->name,
                               .kind = first->kind,
                               .dtype = first->dtype,
                               .shape = first->shape}};
    reel_dtype dtype = reel__batch_dtype(first);
    r->elements = elements(first->shape);
    r->bytes = (size_t)r->elements * reel_dtype_size(dtype);
    reel_shape shape = {.rank = first->shape.rank + 1, .dim = {room}};
    memcpy(shape.dim + 1, first->shape.dim, (size_t)first->shape.rank * sizeof room);
    r->t = reel_empty(shape, dtype);
    r->next = r->t ? reel_data(r->t) : NULL;
    return reel_error_status();
}

static bool same_shape(reel_shape a, reel_shape b)
{
    return a.rank == b.rank &&
           memcmp(a.dim, b.dim, (size_t)a.rank * sizeof a.dim[0]) == 0;
}

bool reel__rows_fit(const reel__rows *r, const reel_field *f)
{
    const reel_field *form = &r->form;
    return same_shape(form->shape, f->shape) && form->dtype == f->dtype &&
           form->kind == f->kind &&
           (form->name == f->name || strcmp(form->name, f->name) == 0);
}

static const char *shape_text(reel_shape s, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < s.rank && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%lld", i ? "," : "",
                               (long long)s.dim[i]);
    if (at < size) snprintf(text + at, size - at, "]");
    return text;
}

reel_status reel__rows_differ(const reel__rows *r, const reel_field *f, int64_t a,
                              int64_t b)
{
    const reel_field *form = &r->form;
    char one[128], two[128];
    if (strcmp(form->name, f->name) != 0)
        return reel_fail(REEL_ERR_ARG,
                         "sample %lld has a field \"%s\" where sample %lld has "
                         "\"%s\"; all have the same, in the same order",
                         (long long)a, form->name, (long long)b, f->name);
    if (form->dtype != f->dtype)
        return reel_fail(REEL_ERR_DTYPE,
                         "samples %lld and %lld differ in the dtype of \"%s\": "
                         "%s and %s",
                         (long long)a, (long long)b, f->name,
                         reel_dtype_name(form->dtype), reel_dtype_name(f->dtype));
    if (form->kind != f->kind)
        return reel_fail(REEL_ERR_ARG,
                         "samples %lld and %lld differ in the kind of \"%s\": "
                         "one is an image or a label, one is not",
                         (long long)a, (long long)b, f->name);
    return reel_fail(REEL_ERR_SHAPE,
                     "samples %lld and %lld differ in the shape of \"%s\": %s and "
                     "%s; a resize, a crop or reel_pad_collate would make them equal",
                     (long long)a, (long long)b, f->name,
                     shape_text(form->shape, one, sizeof one),
                     shape_text(f->shape, two, sizeof two));
}

void reel__rows_add(reel__rows *r, const reel_field *f)
{
    reel__batch_copy(f, 0, r->elements, r->next);
    r->next += r->bytes;
    r->n++;
}

reel_status reel__rows_put(const reel__rows *r, reel_batch *out)
{
    reel_tensor *t = r->t;
    if (r->n < reel_size(t, 0)) t = reel_narrow(t, 0, 0, r->n);
    return reel__batch_put_kind(out, &r->form, t);
}
