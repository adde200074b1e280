/* state_log.h: what a checkpoint's function found when it ran first.
 *
 * The function runs twice, and must do the same both times, but state that it changes (a batch
 * norm's running statistics, a counter, a cache) shall change once. So the first run notes each
 * storage that was there before it: what the function only reads must be unchanged when it runs
 * again; what it changes is copied before the first change, and the second run reads and
 * changes a copy of that copy (a detour, ops/recorder.h), which nobody else sees. */
#ifndef REEL_AUTOGRAD_STATE_LOG_H
#define REEL_AUTOGRAD_STATE_LOG_H

#include "ops/recorder.h"

typedef struct reel__found {
    reel__storage *storage; /* counted */
    reel__storage
        *instead;     /* the same in the second run of an outer checkpoint; or NULL */
    uint32_t version; /* when it was first read */
    reel_tensor
        *before; /* all of it, flat, before the function changed it; NULL: read only */
} reel__found;

typedef struct reel__state_log {
    reel__recorder listener; /* first */
    uint64_t mark; /* storages from this number on are of the function's making */
    reel__found *found;
    int n, cap;
} reel__state_log;

/* From now on calls of this thread are noted, up to reel__state_log_end(). NULL with an error. */
reel__state_log *reel__state_log_new(void);
void reel__state_log_end(reel__state_log *log);
/* Ends and frees it; NULL is nothing. */
void reel__state_log_free(reel__state_log *log);

/* The second run. */
typedef struct reel__state_again {
    reel__detour detour; /* first */
    reel__detour *outer;
    const reel__state_log *log;
    reel_tensor **own; /* [log->n]: the copy that this run changes, once it was met */
} reel__state_again;

/* From now on calls of this thread take the detour, up to reel__state_again_end(). Errors:
 * REEL_ERR_STATE if something that the function reads was changed since. */
reel_status reel__state_again_begin(reel__state_again *a, const reel__state_log *log);
void reel__state_again_end(reel__state_again *a);

#endif
