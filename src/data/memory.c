/* memory.c: a data set in memory: its fields, and the table of functions over them. */
#include "data/memory.h"

#include "base/alloc.h"
#include "base/shape.h"

void reel__free_names(char **names, int64_t n)
{
    if (!names) return;
    for (int64_t i = 0; i < n; i++) reel__free(names[i]);
    reel__free(names);
}

reel__memory_data *reel__memory_data_new(const char *name, int64_t n)
{
    reel__memory_data *m = reel__calloc(1, sizeof *m);
    if (m) *m = (reel__memory_data){.name = name, .n = n};
    return m;
}

void *reel__memory_add(reel__memory_data *m, const char *name, reel_field_kind kind,
                       reel_dtype dtype, reel_shape shape)
{
    int64_t bytes = (int64_t)reel_dtype_size(dtype), total = 0;
    bool fits = true;
    for (int i = 0; i < shape.rank; i++)
        fits = fits && reel__checked_mul(bytes, shape.dim[i], &bytes);
    if (!fits || !reel__checked_mul(bytes, m->n, &total)) {
        reel_fail(REEL_ERR_SHAPE, "%s: %lld samples are more than memory can address",
                  m->name, (long long)m->n);
        return NULL;
    }
    reel__memory_field *larger =
        reel__realloc(m->field, (size_t)(m->fields + 1) * sizeof *larger);
    if (!larger) return NULL;
    m->field = larger;
    reel__memory_field *f = &m->field[m->fields];
    *f = (reel__memory_field){.name = reel__strdup(name),
                              .kind = kind,
                              .dtype = dtype,
                              .shape = shape,
                              .bytes = (size_t)bytes,
                              .data = reel__calloc(1, (size_t)total)};
    m->fields++; /* what of it was made is freed with the rest */
    return f->name ? f->data : NULL;
}

reel__memory_data *reel__memory_images(const char *name, int64_t n, reel_shape shape)
{
    reel__memory_data *m = reel__memory_data_new(name, n);
    if (m && reel__memory_add(m, "x", REEL_IMAGE, REEL_U8, shape) &&
        reel__memory_add(m, "y", REEL_LABEL, REEL_I64, REEL_SCALAR))
        return m;
    reel__memory_data_free(m);
    return NULL;
}

uint8_t *reel__memory_pixels(const reel__memory_data *m)
{
    return m->field[0].data;
}

int64_t *reel__memory_labels(const reel__memory_data *m)
{
    return m->field[1].data;
}

void reel__memory_data_free(reel__memory_data *m)
{
    if (!m) return;
    for (int i = 0; i < m->fields; i++) {
        reel__free(m->field[i].name);
        reel__free(m->field[i].data);
    }
    reel__free(m->field);
    reel__free_names(m->owned_names, m->classes);
    reel__free(m);
}

static int64_t memory_length(void *self)
{
    return ((reel__memory_data *)self)->n;
}

static reel_status memory_get(void *self, int64_t index, reel_sample *out)
{
    const reel__memory_data *m = self;
    for (int i = 0; i < m->fields; i++) {
        const reel__memory_field *f = &m->field[i];
        const void *at = (const char *)f->data + (size_t)index * f->bytes;
        if (reel_sample_borrow(out, f->name, f->kind, at, f->shape, f->dtype))
            return reel_error_status();
    }
    return REEL_OK;
}

static int64_t memory_label(void *self, int64_t index)
{
    const reel__memory_data *m = self;
    for (int i = 0; i < m->fields; i++)
        if (m->field[i].kind == REEL_LABEL)
            return ((const int64_t *)m->field[i].data)[index];
    reel_fail(REEL_ERR_ARG, "dataset_label: none of the fields is a label");
    return INT64_MIN;
}

static reel_shape memory_shape(void *self)
{
    return ((reel__memory_data *)self)->field[0].shape;
}

static int64_t memory_classes(void *self)
{
    return ((reel__memory_data *)self)->classes;
}

static const char *memory_class_name(void *self, int64_t k)
{
    const reel__memory_data *m = self;
    return m->class_names ? m->class_names[k] : NULL;
}

static int64_t memory_skipped(void *self)
{
    return ((reel__memory_data *)self)->skipped;
}

static void memory_free(void *self)
{
    reel__memory_data_free(self);
}

static const reel_dataset_fns memory_fns = {
    .name = "memory",
    .length = memory_length,
    .get = memory_get,
    .label = memory_label,
    .shape = memory_shape,
    .classes = memory_classes,
    .class_name = memory_class_name,
    .skipped = memory_skipped,
    .free = memory_free,
};

reel_dataset *reel__memory_dataset(reel__memory_data *m)
{
    return reel_dataset_new(&memory_fns, m);
}
