/* sample.c: the fields of a sample, and of each the two buffers between which transforms
 * go back and forth. A field that is not in use keeps its buffers for the next sample. */
#include "data/sample.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/shape.h"

/* ---- memory ------------------------------------------------------------------------ */

static bool grow(reel_sample *s)
{
    int room = s->room > 0 ? 2 * s->room : 4;
    reel_field **field = reel__realloc(s->field, (size_t)room * sizeof(reel_field *));
    if (!field) return false;
    memset(field + s->room, 0, (size_t)(room - s->room) * sizeof(reel_field *));
    s->field = field;
    s->room = room;
    return true;
}

/* The next field, not counted yet. */
static reel_field *next_field(reel_sample *s)
{
    if (s->fields == s->room && !grow(s)) return NULL;
    reel_field **f = &s->field[s->fields];
    if (!*f) *f = reel__calloc(1, sizeof **f);
    return *f;
}

void reel_sample_clear(reel_sample *s)
{
    if (!s) return;
    s->fields = 0;
    s->skip = false;
}

void reel_sample_free(reel_sample *s)
{
    if (!s) return;
    for (int i = 0; i < s->room && s->field[i]; i++) {
        reel__free(s->field[i]->own[0]);
        reel__free(s->field[i]->own[1]);
        reel__free(s->field[i]);
    }
    reel__free(s->field);
    *s = (reel_sample){0};
}

/* Room for `bytes` in a buffer that the field does not use now. */
static void *buffer(reel_field *f, size_t bytes)
{
    int k = f->data && f->data == f->own[0] ? 1 : 0;
    if (!f->own[k] || f->own_size[k] < bytes) {
        void *p = reel__malloc(bytes);
        if (!p) return NULL;
        reel__free(f->own[k]);
        f->own[k] = p;
        f->own_size[k] = bytes;
    }
    return f->own[k];
}

/* Bytes of a row-major array; a pending error for what is none. Once for each sample: the
 * full check, which makes the message, only where something is wrong. */
static reel_status measure(const char *who, reel_dtype dtype, const reel_shape *shape,
                           size_t *bytes)
{
    int64_t n = (int64_t)reel_dtype_size(dtype);
    bool fits = n > 0 && shape->rank >= 0 && shape->rank <= REEL_MAX_RANK;
    for (int i = 0; fits && i < shape->rank; i++)
        fits = shape->dim[i] > 0 && reel__checked_mul(n, shape->dim[i], &n);
    *bytes = (size_t)n;
    if (fits) return REEL_OK;
    reel__meta m = reel__meta_of(*shape, dtype, (reel_device){REEL_CPU, 0});
    if (reel__meta_check(who, &m)) return reel_error_status();
    *bytes = (size_t)reel__numel(&m) * reel_dtype_size(dtype);
    return REEL_OK;
}

void *reel_field_out(reel_field *f, reel_shape shape, reel_dtype dtype)
{
    REEL__CALLED;
    size_t bytes = 0;
    if (reel_failed()) return NULL;
    if (!f) reel_fail(REEL_ERR_ARG, "field_out: field is NULL");
    if (!f || measure("field_out", dtype, &shape, &bytes)) return NULL;
    void *p = buffer(f, bytes);
    if (!p) return NULL;
    f->dtype = dtype;
    f->shape = shape;
    f->data = p;
    return p;
}

/* ---- fields ------------------------------------------------------------------------ */

static reel_field *find(const reel_sample *s, const char *name)
{
    for (int i = 0; i < s->fields; i++)
        if (strcmp(s->field[i]->name, name) == 0) return s->field[i];
    return NULL;
}

void reel__no_field(const char *what, const char *name, const void *of, int n,
                    const char *(*name_of)(const void *of, int i))
{
    char there[256] = "none";
    size_t at = 0;
    for (int i = 0; i < n && at < sizeof there; i++)
        at += (size_t)snprintf(there + at, sizeof there - at, "%s%s", i ? ", " : "",
                               name_of(of, i));
    reel_fail(REEL_ERR_ARG, "the %s has no field \"%s\"; it has %s", what, name, there);
}

static const char *name_of(const void *sample, int i)
{
    return ((const reel_sample *)sample)->field[i]->name;
}

reel_field *reel_sample_field(const reel_sample *s, const char *name)
{
    REEL__CALLED;
    if (!s || !name) {
        reel_fail(REEL_ERR_ARG, "sample_field: %s is NULL", s ? "name" : "sample");
        return NULL;
    }
    reel_field *f = find(s, name);
    if (f) return f;
    reel__no_field("sample", name, s, s->fields, name_of);
    return NULL;
}

reel_status reel__field_problem(const char *who, const reel_field *f)
{
    int rank = f->shape.rank;
    if (rank < 0 || rank >= REEL_MAX_RANK)
        return reel_fail(REEL_ERR_SHAPE, "%s: field \"%s\" has rank %d, expected 0 to %d",
                         who, f->name, rank, REEL_MAX_RANK - 1);
    if (f->kind == REEL_IMAGE)
        return reel_fail(REEL_ERR_SHAPE,
                         "%s: the image \"%s\" has rank %d, expected [h, w, c] or [h, w]",
                         who, f->name, rank);
    if (f->kind == REEL_LABEL)
        return reel_fail(REEL_ERR_DTYPE,
                         "%s: the label \"%s\" is %s of rank %d, expected an i64 scalar",
                         who, f->name, reel_dtype_name(f->dtype), rank);
    return reel_fail(REEL_ERR_ARG, "%s: field \"%s\" is of kind %d", who, f->name,
                     (int)f->kind);
}

/* A field that is checked but has no data yet, and is not counted; NULL on an error. */
static reel_field *begin_field(const char *who, reel_sample *s, const char *name,
                               reel_field_kind kind, reel_dtype dtype,
                               const reel_shape *shape, size_t *bytes)
{
    if (reel_failed()) return NULL;
    if (!s || !name || !*name) {
        reel_fail(REEL_ERR_ARG, "%s: %s", who,
                  s ? "the field has no name" : "sample is NULL");
        return NULL;
    }
    if (find(s, name)) {
        reel_fail(REEL_ERR_ARG, "%s: the sample has a field \"%s\" already", who, name);
        return NULL;
    }
    reel_field *f = next_field(s);
    if (!f) return NULL;
    f->name = name;
    f->kind = kind;
    f->dtype = dtype;
    f->shape = *shape;
    f->data = NULL;
    return reel__check_field(who, f) || measure(who, dtype, shape, bytes) ? NULL : f;
}

void *reel_sample_add(reel_sample *s, const char *name, reel_field_kind kind,
                      reel_shape shape, reel_dtype dtype)
{
    REEL__CALLED;
    size_t bytes = 0;
    reel_field *f = begin_field("sample_add", s, name, kind, dtype, &shape, &bytes);
    void *p = f ? buffer(f, bytes) : NULL;
    if (!p) return NULL;
    f->data = p;
    s->fields++;
    return p;
}

reel_status reel_sample_borrow(reel_sample *s, const char *name, reel_field_kind kind,
                               const void *data, reel_shape shape, reel_dtype dtype)
{
    REEL__CALLED;
    size_t bytes;
    reel_field *f = begin_field("sample_borrow", s, name, kind, dtype, &shape, &bytes);
    if (!f) return reel_error_status();
    if (!data)
        return reel_fail(REEL_ERR_ARG, "sample_borrow: data of \"%s\" is NULL", name);
    f->data = data;
    s->fields++;
    return REEL_OK;
}

reel_status reel_sample_label(reel_sample *s, int64_t label)
{
    REEL__CALLED;
    int64_t *y = reel_sample_add(s, "y", REEL_LABEL, REEL_SCALAR, REEL_I64);
    if (!y) return reel_error_status();
    *y = label;
    return REEL_OK;
}
