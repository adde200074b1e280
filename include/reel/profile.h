/* reel/profile.h: what a stretch of code costs, by the formulas of the operators' records. */
#ifndef REEL_PROFILE_H
#define REEL_PROFILE_H

#include <reel/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Sums over the operators that ran. A multiply-add counts as two operations. Bytes are those
 *  of operands and results, each once: what must move if nothing stays in a cache. */
typedef struct reel_cost {
    double flops, bytes_read, bytes_written;
    int64_t calls;
    REEL_FUTURE;
} reel_cost;

/** Begins to count what this thread runs. Errors: REEL_ERR_STATE if it already counts. */
REEL_API reel_status reel_cost_begin(void);
/** Ends counting and gives the sums; `out` may be NULL. Errors: REEL_ERR_STATE without a begin. */
REEL_API reel_status reel_cost_end(reel_cost *out);

#ifdef __cplusplus
}
#endif
#endif
