/* memory.h: a data set that lies in memory as one array; what CIFAR-10, decoded folders,
 * drawn images and arrays become. */
#ifndef REEL_DATA_MEMORY_H
#define REEL_DATA_MEMORY_H

#include <reel/data.h>

typedef struct reel__memory_data {
    const char *name;
    int64_t n;
    reel_dtype dtype;
    reel_shape shape; /* of one sample */
    bool image;
    size_t sample_bytes;
    void *data;                     /* n samples, zeros at first */
    int64_t *labels;                /* [n], zeros at first       */
    int64_t classes;                /* 0: unknown                */
    const char *const *class_names; /* [classes] or NULL */
    char **owned_names;             /* what of it to free, or NULL */
    int64_t skipped;
} reel__memory_data;

/* Room for n samples. NULL and a pending error on failure. */
reel__memory_data *reel__memory_data_new(const char *name, int64_t n, reel_dtype dtype,
                                         reel_shape shape, bool image);
/* NULL is allowed. */
void reel__memory_data_free(reel__memory_data *m);
/* Makes the data set, which owns `m` from here on, also when this fails. */
reel_dataset *reel__memory_dataset(reel__memory_data *m);

/* Frees a list of `n` strings and the list. NULL is allowed. */
void reel__free_names(char **names, int64_t n);

#endif
