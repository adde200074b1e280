/* memory.h: a data set that lies in memory, one array a field; what CIFAR-10, decoded
 * folders, drawn images, arrays and tables become. */
#ifndef REEL_DATA_MEMORY_H
#define REEL_DATA_MEMORY_H

#include <reel/data.h>

/* n values of one field. */
typedef struct reel__memory_field {
    char *name;
    reel_field_kind kind;
    reel_dtype dtype;
    reel_shape shape; /* of one sample */
    size_t bytes;     /* of one sample */
    void *data;
} reel__memory_field;

typedef struct reel__memory_data {
    const char *name;
    int64_t n;
    reel__memory_field *field;
    int fields;
    int64_t classes;                /* 0: unknown                */
    const char *const *class_names; /* [classes] or NULL */
    char **owned_names;             /* what of it to free, or NULL */
    int64_t skipped;
} reel__memory_data;

/* A set of n samples without fields. NULL and a pending error on failure. */
reel__memory_data *reel__memory_data_new(const char *name, int64_t n);
/* One more field, whose name is copied; its memory, zeros at first. NULL and a pending error
 * on failure. */
void *reel__memory_add(reel__memory_data *m, const char *name, reel_field_kind kind,
                       reel_dtype dtype, reel_shape shape);
/* n images u8 [h, w, c] with labels: fields x and y. */
reel__memory_data *reel__memory_images(const char *name, int64_t n, reel_shape shape);
/* Of such a set: n images one after the other, n labels. */
uint8_t *reel__memory_pixels(const reel__memory_data *m);
int64_t *reel__memory_labels(const reel__memory_data *m);
/* NULL is allowed. */
void reel__memory_data_free(reel__memory_data *m);
/* Makes the data set, which owns `m` from here on, also when this fails. */
reel_dataset *reel__memory_dataset(reel__memory_data *m);

/* Frees a list of `n` strings and the list. NULL is allowed. */
void reel__free_names(char **names, int64_t n);

#endif
