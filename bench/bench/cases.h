/* cases.h: the work that is timed. A case is a row: a name, how it is set up, one step of it.
 * bench/torch_worker.py has the same names with the same work in PyTorch. */
#ifndef BENCH_CASES_H
#define BENCH_CASES_H

#include <reel/reel.h>

typedef struct bench_case {
    const char *name;
    const char *what; /* one line for the table */
    void *(*open)(const struct bench_case *);
    reel_status (*step)(void *state);
    void (*close)(void *state);
    int64_t size[8]; /* what the functions make of it: batch, channels, ... */
    int inner;       /* repeats within one step that is timed; 0 means 1 */
} bench_case;

/* Models run as graphs: reel_compiled, or what an executor makes of an optimized trace. */
extern bool bench_traced;
extern const char *bench_skip; /* passes; or NULL */

extern const bench_case bench_models[], bench_ops[];
extern const int bench_n_models, bench_n_ops;

/* NULL if there is none of that name. */
const bench_case *bench_find(const char *name);

#endif
