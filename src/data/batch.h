/* batch.h: a batch while it is made: rows of the fields of its samples.
 *
 * A reel__rows is one tensor that grows by a sample at a time, so that the loader can
 * write each sample as it comes, without keeping a batch of them; a collate, which has
 * all at once, uses the same. */
#ifndef REEL_DATA_BATCH_H
#define REEL_DATA_BATCH_H

#include <reel/data.h>

/* The batch as its user sees it. */
reel_batch reel__batch_made(const reel_batch *b);
/* Frees what a batch holds (not the samples' numbers) and empties it. */
void reel__batch_clear(reel_batch *b);

typedef struct reel__rows {
    reel_field form;  /* name, kind, dtype and shape of every sample; no data */
    reel_tensor *t;   /* [room, ...], owned by a scope */
    char *next;       /* where the next row goes */
    size_t bytes;     /* of a row */
    int64_t elements; /* of a row */
    int64_t n;        /* rows so far */
} reel__rows;

/* Room for `room` samples like `first`. */
reel_status reel__rows_begin(reel__rows *r, int64_t room, const reel_field *first);
/* True if a field is as the first one was. */
bool reel__rows_fit(const reel__rows *r, const reel_field *f);
/* Fails with what differs between samples `a` (the first of the batch) and `b`. */
reel_status reel__rows_differ(const reel__rows *r, const reel_field *f, int64_t a,
                              int64_t b);
/* Adds a row, which fits. */
void reel__rows_add(reel__rows *r, const reel_field *f);
/* Puts the rows that there are into the batch: images with their channels first, by
 * strides alone. */
reel_status reel__rows_put(const reel__rows *r, reel_batch *out);

/* The dtype that a field has in a batch. */
reel_dtype reel__batch_dtype(const reel_field *f);
/* n elements of a field, from element `at` on, in that dtype. */
void reel__batch_copy(const reel_field *f, int64_t at, int64_t n, void *out);
/* Puts `t` [n, h, w, c] or [n, ...] as what its kind is in a batch. */
reel_status reel__batch_put_kind(reel_batch *out, const reel_field *form, reel_tensor *t);

/* Runs a collate. */
reel_status reel__collate_run(const reel_collate *c, const reel_sample *samples,
                              int64_t n, reel_batch *out);

#endif
