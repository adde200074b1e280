/* loader.h: what the three files of the loader share.
 *
 * Batches are numbered through all epochs: g = epoch * batches + batch. A batch is a pure
 * function of g and the seed (loader_fill.c), so it does not matter who makes it: the
 * caller itself (no workers), or threads that run ahead into a ring of slots
 * (loader_workers.c). */
#ifndef REEL_DATA_LOADER_H
#define REEL_DATA_LOADER_H

#include <reel/data.h>

#include "base/error.h"
#include "base/lock.h"
#include "base/threads.h"

/* A batch, or the error that it met. */
typedef struct reel__filled {
    reel_tensor *x; /* [n, h, w, c] of images, else [n, ...]; a share of its own */
    reel_tensor *y; /* [n]                                                       */
    bool image;
    int64_t n; /* 0 if the data set skipped all of it */
    int64_t *samples;
    reel_status status;
    char message[REEL__ERROR_TEXT];
} reel__filled;

typedef struct reel__slot {
    bool done;
    reel__filled batch;
} reel__slot;

struct reel_loader {
    reel_dataset *ds;
    reel_transform *transform;
    int64_t batch, length, batches; /* samples a batch; samples and batches an epoch */
    uint64_t seed;
    bool shuffle;
    /* The orders of an even and an odd epoch: workers may be one epoch ahead. */
    int64_t *order[2], order_epoch[2];

    int64_t epoch, position; /* of the caller; position in batches */
    reel__filled current;    /* what reel_batch points at          */
    reel_sample sample;      /* where the caller works itself      */

    int workers, running, depth;
    pthread_t *threads;
    reel__slot *slots; /* [depth]; batch g lies in g % depth */
    reel__lock lock;
    reel__event work, ready;
    unsigned forks;        /* when the threads were started */
    reel__stopped stopped; /* a shutdown ends them */
    bool stop;
    int64_t claimed, taken; /* next g to be made, next g to be given out */
};

/* The order of the samples of an epoch, made at need; NULL without shuffle. Not
 * concurrent: workers hold the lock. At most two neighbouring epochs are in use at a
 * time. */
const int64_t *reel__loader_order(reel_loader *l, int64_t epoch);
/* Makes batch g. Leaves no error pending: it is in `out`. */
void reel__loader_fill(const reel_loader *l, int64_t g, const int64_t *order,
                       reel_sample *scratch, reel__filled *out);
/* Frees what is in it and makes it {0}. */
void reel__filled_clear(reel__filled *f);

/* Starts the workers at batch g. */
reel_status reel__loader_start(reel_loader *l, int64_t g);
/* Whether there are workers: none were started, a shutdown ended them, or a fork left them. */
bool reel__loader_runs(reel_loader *l);
/* Waits for the next batch in order, which the workers prepared. */
void reel__loader_take(reel_loader *l, reel__filled *out);
/* Ends the workers and drops what they prepared. */
void reel__loader_stop(reel_loader *l);

#endif
