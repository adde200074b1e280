/* recorder.h: who listens to apply(). The tape is always there; others (tracer, anomaly
 * check, profiler) push themselves onto this thread's list. */
#ifndef REEL_OPS_RECORDER_H
#define REEL_OPS_RECORDER_H

#include "ops/op.h"

typedef struct reel_recorder {
    /* After the kernel ran, before the results are handed out. A failure fails the call. */
    reel_status (*record)(struct reel_recorder *self, const reel_call *call);
    struct reel_recorder *next;
} reel_recorder;

void reel__recorder_push(reel_recorder *r);
/* Removes r, wherever it stands in the list; a recorder that is not there is ignored. */
void reel__recorder_remove(reel_recorder *r);

/* The tape (autograd/tape.c). `check` comes before a call that changes an input: it refuses
 * what would make a gradient wrong. */
bool reel__tape_on(void);
reel_status reel__tape_check(const reel_call *call);
/* Before an in-place kernel: the inputs as the tape is to record them, with copies (of the
 * innermost scope) of those that it will save and that the kernel is about to change. */
reel_status reel__tape_keep(const reel_call *call, reel_tensor *in[]);
reel_status reel__tape_record(const reel_call *call);
/* Gradients of y, composed just now, to x, whose histories are not looked into. Recorded. */
reel_status reel__grad_composed(reel_tensor *y, reel_tensor *gy, reel_tensor *const x[],
                                int n_x, reel_tensor *gx[]);

#endif
