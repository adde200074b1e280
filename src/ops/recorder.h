/* recorder.h: who listens to apply(): the tape, and recorders (tracer, anomaly check,
 * profiler) that push themselves onto this thread's list. */
#ifndef REEL_OPS_RECORDER_H
#define REEL_OPS_RECORDER_H

#include "base/watched.h"
#include "ops/op.h"

typedef struct reel__recorder {
    /* After the kernel ran, before the results are handed out. A failure fails the call. */
    reel_status (*record)(struct reel__recorder *self, const reel__call *call);
    /* Or NULL: before the kernel runs. `asked` are the inputs that the caller gave, which a
     * detour may have replaced by others in `call`. */
    reel_status (*before)(struct reel__recorder *self, const reel__call *call,
                          reel_tensor *const asked[]);
    struct reel__recorder *next;
} reel__recorder;

void reel__recorder_push(reel__recorder *r);
/* Removes r, wherever it stands in the list; a recorder that is not there is ignored. */
void reel__recorder_remove(reel__recorder *r);

/* Other memory for some of what calls of this thread read and change. */
typedef struct reel__detour {
    /* x, or what is to be used in its place (of the innermost scope); NULL with an error. */
    reel_tensor *(*instead)(struct reel__detour *self, reel_tensor *x);
} reel__detour;
/* Makes d (or NULL) the detour of this thread; returns what it was. */
reel__detour *reel__detour_set(reel__detour *d);

/* All who listen to this thread, while they do not: what a kernel computes with operators is its
 * own affair. Between the two the thread records nothing, and no capture hears what it reads. */
typedef struct reel__silence {
    reel__recorder *recorders;
    reel__detour *detour;
    bool silent;
    const reel__listener *heard_by;
    reel__watched_fn watched;
} reel__silence;
void reel__silence_begin(reel__silence *s);
void reel__silence_end(const reel__silence *s);

/* The tape, as apply() knows it. autograd/ installs itself when the first tensor of the
 * process asks for a gradient (before that there is nothing to record), so that no include
 * and no name of this room points upward. */
typedef struct reel__tape {
    /* Before any use of x, whose epoch is not its storage's: brings its history up to date. */
    reel_status (*renew)(const char *who, reel_tensor *x);
    /* Before a call that changes an input: refuses what would make a gradient wrong. */
    reel_status (*check)(const reel__call *call);
    /* Before an in-place kernel: the inputs as they are to be recorded, with copies (of the
     * innermost scope) of those that will be saved and that the kernel is about to change. */
    reel_status (*keep)(const reel__call *call, reel_tensor *in[]);
    reel_status (*record)(const reel__call *call);
    /* Gradients of y, composed just now, to x, whose histories are not looked into; this is
     * recorded itself if `create_graph`. */
    reel_status (*grad_composed)(reel_tensor *y, reel_tensor *gy, reel_tensor *const x[],
                                 int n_x, reel_tensor *gx[], bool create_graph);
} reel__tape;
void reel__tape_install(const reel__tape *tape);
/* The tape, if there is one and this thread records; else NULL. */
const reel__tape *reel__tape_now(void);
/* Whether a call of this thread that reads x is recorded, for those who ask before apply():
 * they may not look at x->node, which can be old. False with an error if it cannot be told. */
bool reel__recorded(const char *who, reel_tensor *x);
/* Whether this thread records; returns what it was (reel_set_grad_enabled). */
bool reel__tape_enable(bool on);
bool reel__tape_enabled(void);

#endif
