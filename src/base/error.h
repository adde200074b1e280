/* error.h: what the error room offers to the rooms above it. */
#ifndef REEL_BASE_ERROR_H
#define REEL_BASE_ERROR_H

#include <reel/base.h>

/* Longest message, with its terminator; longer ones are cut. */
#define REEL__ERROR_TEXT 4096

/* Sets what tells this thread's place in a model, such as "layer1.0.conv1"; it is appended
 * to the message of the next error as " (in layer1.0.conv1)" unless it returns NULL or "".
 * NULL switches it off. Returns the earlier one. */
typedef const char *(*reel__where_fn)(void);
reel__where_fn reel__set_error_where(reel__where_fn where);
/* That place now; NULL when nothing tells it. */
const char *reel__error_where(void);

/* The function that the program called, where it works through others: an error of these is
 * its own, "mse_loss: squared_error: ...". The outermost counts. First in a function whose
 * checks are not all its own:
 *
 *     REEL__CALLED("mse_loss"); */
#define REEL__CALLED(name)                                                               \
    __attribute__((cleanup(reel__caller_end), unused)) const char *const caller_before = \
        reel__caller_set(name)
const char *reel__caller_set(const char *name);
void reel__caller_end(const char *const *before);

struct reel_tensor;
/* What a function with several results does first: on an error, also one that was pending before,
 * every one of them is NULL. */
static inline void reel__no_results(struct reel_tensor *y[], int n)
{
    for (int i = 0; y && i < n; i++) y[i] = NULL;
}

#endif
