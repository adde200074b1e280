/* reel/progress.h: a progress line for programs: a bar with rate and time left on a terminal,
 * a plain line now and then elsewhere (a log file, CI). It is written to the FILE that you
 * give and to nothing else.
 *
 *     reel_progress *p = reel_progress_new(stderr, batches, NULL);
 *     for (...) reel_progress_update(p, 1, "loss %.3f", loss);
 *     reel_progress_free(p); */
#ifndef REEL_PROGRESS_H
#define REEL_PROGRESS_H

#include <reel/base.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct reel_progress reel_progress;

/** Options of reel_progress_new. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_progress_opts {
    const char *label; /* in front of the line; none: "" */
    double every;      /* seconds between plain lines; 0 means 10 */
    int64_t start; /* steps that were done before, as after a resume; not in the rate */
    REEL_FUTURE;
} reel_progress_opts;

/** Begins a line of `total` steps (0: how many is not known). `to` NULL is silence: the result
 *  is NULL, which the functions below take, and no error. Errors: REEL_ERR_ARG for a negative
 *  total or interval; REEL_ERR_MEMORY. `opts` may be NULL. One thread at a time. */
REEL_API reel_progress *reel_progress_new(FILE *to, int64_t total,
                                          const reel_progress_opts *opts);
/** `n` steps more are done, with a short text such as the loss behind them; `format` may be
 *  NULL: the text stays as it was. Redraws at most ten times a second. Never fails. */
REEL_API void reel_progress_update(reel_progress *p, int64_t n, const char *format, ...)
    REEL_PRINTF(3, 4);
/** Writes the last line, with the time taken, and frees `p`. NULL is allowed. */
REEL_API void reel_progress_free(reel_progress *p);

#ifdef __cplusplus
}
#endif
#endif
