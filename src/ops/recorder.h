/* recorder.h: who listens to apply(): the tape, and recorders (tracer, anomaly check,
 * profiler) that push themselves onto this thread's list. */
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

/* The tape, as apply() knows it. autograd/ installs itself when the first tensor of the
 * process asks for a gradient (before that there is nothing to record), so that no include
 * and no name of this room points upward. */
typedef struct reel_tape {
    /* Before a call that changes an input: refuses what would make a gradient wrong. */
    reel_status (*check)(const reel_call *call);
    /* Before an in-place kernel: the inputs as they are to be recorded, with copies (of the
     * innermost scope) of those that will be saved and that the kernel is about to change. */
    reel_status (*keep)(const reel_call *call, reel_tensor *in[]);
    reel_status (*record)(const reel_call *call);
    /* Gradients of y, composed just now, to x, whose histories are not looked into; this is
     * recorded itself if `create_graph`. */
    reel_status (*grad_composed)(reel_tensor *y, reel_tensor *gy, reel_tensor *const x[],
                                 int n_x, reel_tensor *gx[], bool create_graph);
} reel_tape;
void reel__tape_install(const reel_tape *tape);
/* The tape, if there is one and this thread records; else NULL. */
const reel_tape *reel__tape(void);
/* Whether this thread records; returns what it was (reel_set_grad_enabled). */
bool reel__tape_enable(bool on);
bool reel__tape_enabled(void);

#endif
