#include "data/memory.h"

#include "base/alloc.h"
#include "base/shape.h"

void reel__free_names(char **names, int64_t n)
{
    if (!names) return;
    for (int64_t i = 0; i < n; i++) reel__free(names[i]);
    reel__free(names);
}

reel__memory_data *reel__memory_data_new(const char *name, int64_t n, reel_dtype dtype,
                                         reel_shape shape, bool image)
{
    int64_t bytes = (int64_t)reel_dtype_size(dtype);
    for (int i = 0; i < shape.rank; i++)
        if (!reel__checked_mul(bytes, shape.dim[i], &bytes)) goto too_large;
    int64_t total;
    if (!reel__checked_mul(bytes, n, &total)) goto too_large;

    reel__memory_data *m = reel__calloc(1, sizeof *m);
    if (!m) return NULL;
    *m = (reel__memory_data){.name = name,
                             .n = n,
                             .dtype = dtype,
                             .shape = shape,
                             .image = image,
                             .sample_bytes = (size_t)bytes};
    m->data = reel__calloc(1, (size_t)total);
    m->labels = reel__calloc((size_t)n, sizeof *m->labels);
    if (m->data && m->labels) return m;
    reel__memory_data_free(m);
    return NULL;

too_large:
    reel_fail(REEL_ERR_SHAPE, "%s: %lld samples are more than memory can address", name,
              (long long)n);
    return NULL;
}

void reel__memory_data_free(reel__memory_data *m)
{
    if (!m) return;
    reel__free(m->data);
    reel__free(m->labels);
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
    out->dtype = m->dtype;
    out->shape = m->shape;
    out->image = m->image;
    out->data = (const char *)m->data + (size_t)index * m->sample_bytes;
    out->label = m->labels[index];
    return REEL_OK;
}

static reel_shape memory_shape(void *self)
{
    return ((reel__memory_data *)self)->shape;
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
