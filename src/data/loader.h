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
#include "data/batch.h"

/* A batch, or the error that it met. */
typedef struct reel__filled {
    reel_batch batch; /* size 0 if the data set skipped all of it */
    int64_t *samples; /* what batch.samples points to             */
    reel_status status;
    char message[REEL__ERROR_TEXT];
} reel__filled;

/* Where one thread makes batches: memory that serves one after the other. */
typedef struct reel__workbench {
    reel_sample *sample; /* [samples]: one, or a batch of them for a collate */
    int64_t samples;
    reel__rows *rows; /* [n_rows], one a field, of [rows_room] */
    int n_rows, rows_room;
} reel__workbench;

typedef struct reel__slot {
    bool done;
    reel__filled batch;
} reel__slot;

struct reel_loader {
    reel_dataset *ds;
    reel_transform *transform;
    reel_collate *collate;          /* NULL: rows are stacked as they come */
    int64_t samples;                /* of the data set */
    int64_t batch, length, batches; /* samples a batch; samples and batches an epoch */
    uint64_t seed;
    bool drop_last;
    double *weight_sums; /* [samples] up to and with each sample; NULL: without weights */
    /* NULL without shuffle and weights. The orders of an even and an odd epoch: workers may be one epoch ahead. */
    int64_t *order[2], order_epoch[2];

    int64_t epoch, position; /* of the caller; position in batches               */
    bool entered;            /* a batch was asked for since the epoch was gone to */
    reel__filled current;    /* what reel_batch points at                        */
    reel__workbench bench;   /* where the caller works itself                    */

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

/* The order of the samples of an epoch, made at need; NULL: as they are. Not
 * concurrent: workers hold the lock. At most two neighbouring epochs are in use at a
 * time. */
const int64_t *reel__loader_order(reel_loader *l, int64_t epoch);
/* Makes batch g. Leaves no error pending: it is in `out`. */
void reel__loader_fill(const reel_loader *l, int64_t g, const int64_t *order,
                       reel__workbench *w, reel__filled *out);
/* Frees what is in it and makes it {0}. */
void reel__filled_clear(reel__filled *f);
/* {0} is a workbench without memory, which filling allocates. */
void reel__workbench_free(reel__workbench *w);

/* Starts the workers at batch g. */
reel_status reel__loader_start(reel_loader *l, int64_t g);
/* Whether there are workers: none were started, a shutdown ended them, or a fork left them. */
bool reel__loader_runs(reel_loader *l);
/* Waits for the next batch in order, which the workers prepared. */
void reel__loader_take(reel_loader *l, reel__filled *out);
/* Ends the workers and drops what they prepared. */
void reel__loader_stop(reel_loader *l);

#endif
