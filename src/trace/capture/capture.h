/* capture.h (internal): a capture under way, for the two halves of it: operators (capture.c) and
 * what is heard besides (heard.c). */
#ifndef REEL_TRACE_CAPTURE_H
#define REEL_TRACE_CAPTURE_H

#include "ops/recorder.h"
#include "trace/graph/graph.h"

/* The capture of this thread. */
typedef struct reel__capture {
    reel__recorder listener; /* first */
    reel__listener heard;
    reel_graph *graph; /* NULL: no capture under way */
    reel_captured_grad *grad;
    int n_grad, cap_grad, last_grad;
    bool takes_grads, apart;
    uint64_t *key; /* storage number of each value */
    int cap_key;
    int *slot; /* open addressing: number of a value plus 1 */
    size_t mask;
} reel__capture;
extern _Thread_local reel__capture reel__capture_now;

/* The value that x is; -1 if it is none yet. */
int reel__capture_find(const reel__capture *t, reel_tensor *x);
/* x as a new value; -1 with an error. */
int reel__capture_add(reel__capture *t, reel__value_kind kind, reel_tensor *x,
                      const char *name);

/* ---- heard.c: see reel__listener, base/watched.h ---------------------------------------------- */

void reel__heard_read(const char *who, const reel_tensor *x);
void reel__heard_grad(reel_tensor *leaf, bool replaced);
void reel__heard_object(uint64_t number);

#endif
