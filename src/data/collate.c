/* collate.c: batches of samples that do not simply stack: the object around a user's
 * function, and the one of ours, which pads. */
#include <math.h>
#include <reel/ops.h>
#include <stdatomic.h>
#include <string.h>

#include "base/alloc.h"
#include "base/counts.h"
#include "base/error.h"
#include "base/option.h"
#include "data/batch.h"

struct reel_collate {
    reel_collate_fn fn;
    void *user;
    void (*free_user)(void *user);
    atomic_int shares;
};

reel_collate *reel_collate_new(reel_collate_fn fn, void *user,
                               void (*free_user)(void *user))
{
    REEL__CALLED;
    reel_collate *c = NULL;
    if (!fn)
        reel_fail(REEL_ERR_ARG, "collate_new: the function is NULL");
    else if (!reel_failed())
        c = reel__malloc(sizeof *c);
    if (!c) {
        if (free_user) free_user(user);
        return NULL;
    }
    c->fn = fn;
    c->user = user;
    c->free_user = free_user;
    atomic_init(&c->shares, 1);
    return c;
}

reel_collate *reel_collate_keep(reel_collate *c)
{
    if (c) atomic_fetch_add_explicit(&c->shares, 1, memory_order_relaxed);
    return c;
}

void reel_collate_free(reel_collate *c)
{
    if (!c || atomic_fetch_sub(&c->shares, 1) != 1) return;
    if (c->free_user) c->free_user(c->user);
    reel__free(c);
}

reel_status reel__collate_run(const reel_collate *c, const reel_sample *samples,
                              int64_t n, reel_batch *out)
{
    REEL__CALLS_BACK;
    reel_status status = c->fn(c->user, samples, n, out);
    if (status || reel_failed())
        return reel_fail(status ? status : REEL_ERR_INTERNAL,
                         "collate: failed without saying why");
    if (out->fields > 0) return REEL_OK;
    return reel_fail(
        REEL_ERR_ARG,
        "collate: put nothing into a batch of %lld samples; reel_batch_put() "
        "does",
        (long long)n);
}

/* ---- one field --------------------------------------------------------------------- */

static reel_status check_call(const char *who, const reel_sample *samples, int64_t n,
                              const char *name, const reel_batch *out)
{
    if (reel_failed()) return reel_error_status();
    if (samples && n > 0 && name && out) return REEL_OK;
    return reel_fail(REEL_ERR_ARG, "%s: %s", who,
                     !samples || n < 1 ? "no samples"
                     : name            ? "batch is NULL"
                                       : "the field has no name");
}

/* Number in the dataset of the sample in row i, for messages. */
static int64_t number(const reel_batch *out, int64_t i)
{
    return out->samples ? out->samples[i] : i;
}

reel_status reel_collate_stack(const reel_sample *samples, int64_t n, const char *name,
                               reel_batch *out)
{
    REEL__CALLED;
    if (check_call("collate_stack", samples, n, name, out)) return reel_error_status();
    reel__rows rows;
    for (int64_t i = 0; i < n; i++) {
        const reel_field *f = reel_sample_field(&samples[i], name);
        if (!f || (i == 0 && reel__rows_begin(&rows, n, f))) return reel_error_status();
        if (!reel__rows_fit(&rows, f))
            return reel__rows_differ(&rows, f, number(out, 0), number(out, i));
        reel__rows_add(&rows, f);
    }
    return reel__rows_put(&rows, out);
}

/* ---- padding ----------------------------------------------------------------------- */

/* How many dimensions of a field may differ between the samples: length, or h and w. */
static int free_dims(const reel_field *f)
{
    return f->kind == REEL_IMAGE ? 2 : 1;
}

/* The largest of each free dimension into `all`, whose other dimensions must be equal. */
static reel_status widen(reel_field *all, const reel_field *f, int64_t a, int64_t b)
{
    bool fits = all->shape.rank == f->shape.rank && all->dtype == f->dtype &&
                all->kind == f->kind;
    for (int d = 0; fits && d < f->shape.rank; d++) {
        if (d < free_dims(f))
            all->shape.dim[d] =
                f->shape.dim[d] > all->shape.dim[d] ? f->shape.dim[d] : all->shape.dim[d];
        fits = all->shape.dim[d] == f->shape.dim[d] || d < free_dims(f);
    }
    if (fits) return REEL_OK;
    return reel_fail(REEL_ERR_SHAPE,
                     "collate_pad: samples %lld and %lld differ in \"%s\" beyond what is "
                     "padded: the first dimension of an array, height and width of an "
                     "image",
                     (long long)a, (long long)b, f->name);
}

static reel_status measure(const reel_sample *samples, int64_t n, const char *name,
                           const reel_batch *out, reel_field *all)
{
    for (int64_t i = 0; i < n; i++) {
        const reel_field *f = reel_sample_field(&samples[i], name);
        if (!f) return reel_error_status();
        if (f->shape.rank < free_dims(f))
            return reel_fail(REEL_ERR_SHAPE,
                             "collate_pad: \"%s\" of sample %lld is a scalar, which has "
                             "no length to pad",
                             name, (long long)number(out, i));
        if (i == 0)
            *all = (reel_field){f->name, f->kind, f->dtype, f->shape, NULL, {0}, {0}};
        if (widen(all, f, number(out, 0), number(out, i))) return reel_error_status();
    }
    return REEL_OK;
}

/* A sample at the beginning of its row [all], of which only its lines are written: an
 * array is one line, an image h of them. */
static void place(const reel_field *f, const reel_field *all, size_t size, char *row)
{
    int64_t inner = 1, lines = free_dims(f) == 2 ? f->shape.dim[0] : 1;
    for (int d = free_dims(f); d < f->shape.rank; d++) inner *= f->shape.dim[d];
    int64_t n = f->shape.dim[free_dims(f) - 1] * inner;
    int64_t step = all->shape.dim[free_dims(f) - 1] * inner;
    for (int64_t i = 0; i < lines; i++)
        reel__batch_copy(f, i * n, n, row + (size_t)(i * step) * size);
}

/* Integers hold whole numbers of a range; a value that is none of them is a mistake. */
static reel_status check_value(double value, reel_dtype dtype, const char *name)
{
    static const double low[REEL__DTYPE_COUNT] = {
        [REEL_I64] = -0x1p63, [REEL_I32] = -0x1p31, [REEL_I8] = -128};
    static const double high[REEL__DTYPE_COUNT] = {[REEL_I64] = 0x1p63,
                                                   [REEL_I32] = 0x1p31 - 1,
                                                   [REEL_I8] = 127,
                                                   [REEL_U8] = 255,
                                                   [REEL_BOOL] = 1};
    if (reel_dtype_is_float(dtype) || (value >= low[dtype] && value <= high[dtype] &&
                                       value < 0x1p63 && value == floor(value)))
        return REEL_OK;
    return reel_fail(REEL_ERR_ARG, "collate_pad: %g cannot fill up \"%s\", which is %s",
                     value, name, reel_dtype_name(dtype));
}

static reel_status put_padded(const reel_sample *samples, int64_t n, double value,
                              const reel_field *all, reel_batch *out)
{
    reel_shape shape = {.rank = all->shape.rank + 1, .dim = {n}};
    int64_t row = 1;
    for (int d = 0; d < all->shape.rank; d++) row *= shape.dim[d + 1] = all->shape.dim[d];
    reel_dtype dtype = reel__batch_dtype(all);
    reel_tensor *t =
        check_value(value, dtype, all->name) ? NULL : reel_full(shape, value, dtype);
    if (!t) return reel_error_status();
    size_t size = reel_dtype_size(dtype);
    char *to = reel_data(t);
    for (int64_t i = 0; i < n; i++)
        place(reel_sample_field(&samples[i], all->name), all, size,
              to + (size_t)(i * row) * size);
    return reel__batch_put_kind(out, all, t);
}

/* True where a sample has something, [n, longest] or [n, h, w]. */
static reel_status put_mask(const reel_sample *samples, int64_t n, const char *name,
                            const reel_field *all, reel_batch *out)
{
    bool image = free_dims(all) == 2;
    int64_t h = image ? all->shape.dim[0] : 1, w = all->shape.dim[image];
    reel_tensor *t = reel_zeros(
        image ? (reel_shape){3, {n, h, w}} : (reel_shape){2, {n, w}}, REEL_BOOL);
    if (!t) return reel_error_status();
    uint8_t *to = reel_data(t);
    for (int64_t i = 0; i < n; i++, to += h * w) {
        const int64_t *dim = reel_sample_field(&samples[i], all->name)->shape.dim;
        for (int64_t r = 0; r < (image ? dim[0] : 1); r++)
            memset(to + r * w, 1, (size_t)dim[image]);
    }
    return reel_batch_put(out, name, t);
}

static reel_status put_lengths(const reel_sample *samples, int64_t n, const char *name,
                               const reel_field *all, reel_batch *out)
{
    int k = free_dims(all);
    reel_tensor *t =
        reel_empty(k == 2 ? (reel_shape){2, {n, 2}} : (reel_shape){1, {n}}, REEL_I64);
    if (!t) return reel_error_status();
    int64_t *to = reel_data(t);
    for (int64_t i = 0; i < n; i++)
        for (int d = 0; d < k; d++)
            *to++ = reel_sample_field(&samples[i], all->name)->shape.dim[d];
    return reel_batch_put(out, name, t);
}

static reel_status put_beside(const reel_sample *samples, int64_t n,
                              const reel_pad_field *p, const reel_field *all,
                              reel_batch *out)
{
    if (p->mask && put_mask(samples, n, p->mask, all, out)) return reel_error_status();
    if (p->lengths) put_lengths(samples, n, p->lengths, all, out);
    return reel_error_status();
}

reel_status reel_collate_pad(const reel_sample *samples, int64_t n,
                             const reel_pad_field *p, reel_batch *out)
{
    REEL__CALLED;
    reel_field all;
    if (p && !REEL__KNOWN("collate_pad", p)) return reel_error_status();
    if (check_call("collate_pad", samples, n, p ? p->name : NULL, out) ||
        measure(samples, n, p->name, out, &all) ||
        put_padded(samples, n, p->value, &all, out))
        return reel_error_status();
    return put_beside(samples, n, p, &all, out);
}

/* ---- all fields -------------------------------------------------------------------- */

typedef struct padding {
    int n;
    reel_pad_field field[];
} padding;

static const reel_pad_field *find(const padding *p, const char *name)
{
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->field[i].name, name) == 0) return &p->field[i];
    return NULL;
}

static reel_status pad_all(void *user, const reel_sample *samples, int64_t n,
                           reel_batch *out)
{
    const padding *p = user;
    for (int64_t i = 1; i < n; i++)
        if (samples[i].fields != samples[0].fields)
            return reel_fail(REEL_ERR_ARG,
                             "pad_collate: samples %lld and %lld have %d and %d fields",
                             (long long)number(out, 0), (long long)number(out, i),
                             samples[0].fields, samples[i].fields);
    for (int i = 0; i < p->n; i++)
        if (!reel_sample_field(&samples[0], p->field[i].name)) return reel_error_status();
    for (int i = 0; i < samples[0].fields; i++) {
        const char *name = samples[0].field[i]->name;
        const reel_pad_field *padded = find(p, name);
        if (padded) {
            const reel_pad_field alone = {.name = name, .value = padded->value};
            if (reel_collate_pad(samples, n, &alone, out)) return reel_error_status();
        } else if (reel_collate_stack(samples, n, name, out)) {
            return reel_error_status();
        }
    }
    for (int i = 0; i < p->n; i++) {
        reel_field all;
        if (measure(samples, n, p->field[i].name, out, &all) ||
            put_beside(samples, n, &p->field[i], &all, out))
            return reel_error_status();
    }
    return REEL_OK;
}

static void free_padding(void *user)
{
    padding *p = user;
    for (int i = 0; i < p->n; i++) {
        reel__free((char *)p->field[i].name);
        reel__free((char *)p->field[i].mask);
        reel__free((char *)p->field[i].lengths);
    }
    reel__free(p);
}

reel_collate *reel_pad_collate(const reel_pad_field *fields, int n)
{
    REEL__CALLED;
    bool named = fields && n > 0;
    for (int i = 0; named && i < n; i++) named = fields[i].name && *fields[i].name;
    if (!named) {
        reel_fail(REEL_ERR_ARG, "pad_collate: %s",
                  fields && n > 0 ? "a field has no name" : "no fields");
        return NULL;
    }
    if (reel_failed()) return NULL;
    for (int i = 0; i < n; i++)
        if (!REEL__KNOWN("pad_collate", &fields[i])) return NULL;
    padding *p = reel__calloc(1, sizeof *p + (size_t)n * sizeof p->field[0]);
    if (!p) return NULL;
    p->n = n;
    for (int i = 0; i < n && !reel_failed(); i++) {
        const reel_pad_field *f = &fields[i];
        p->field[i] = (reel_pad_field){
            .name = reel__strdup(f->name),
            .value = f->value,
            .mask = f->mask ? reel__strdup(f->mask) : NULL,
            .lengths = f->lengths ? reel__strdup(f->lengths) : NULL,
        };
    }
    return reel_collate_new(pad_all, p, free_padding); /* refuses what is not whole */
}
