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

typedef struct reel_found {
    reel_storage *storage; /* counted */
    reel_storage
        *instead;     /* the same in the second run of an outer checkpoint; or NULL */
    uint32_t version; /* when it was first read */
    reel_tensor
        *before; /* all of it, flat, before the function changed it; NULL: read only */
} reel_found;

typedef struct reel_state_log {
    reel_recorder listener; /* first */
    uint64_t mark; /* storages from this number on are of the function's making */
    reel_found *found;
    int n, cap;
} reel_state_log;

/* From now on calls of this thread are noted, up to reel__state_log_end(). NULL with an error. */
reel_state_log *reel__state_log_new(void);
void reel__state_log_end(reel_state_log *log);
/* Ends and frees it; NULL is nothing. */
void reel__state_log_free(reel_state_log *log);

/* The second run. */
typedef struct reel_state_again {
    reel_detour detour; /* first */
    reel_detour *outer;
    const reel_state_log *log;
    reel_tensor **own; /* [log->n]: the copy that this run changes, once it was met */
} reel_state_again;

/* From now on calls of this thread take the detour, up to reel__state_again_end(). Errors:
 * REEL_ERR_STATE if something that the function reads was changed since. */
reel_status reel__state_again_begin(reel_state_again *a, const reel_state_log *log);
void reel__state_again_end(reel_state_again *a);

#endif
