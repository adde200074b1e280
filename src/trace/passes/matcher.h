/* matcher.h (internal): between match.c, which finds, and rules.c, which replaces. */
#ifndef REEL_TRACE_PASSES_MATCHER_H
#define REEL_TRACE_PASSES_MATCHER_H

#include "trace/passes/match.h"

/* One search; g, e and uses are of one state of the graph. */
typedef struct reel__match_walk {
    reel_graph *g;
    reel__effects e;
    int *uses;
    reel__match m;
    bool bound[REEL__NAMES], shared[REEL__TERMS];
    unsigned orders; /* bit i: operands of the i-th commutative node are swapped */
    int n_swap;
} reel__match_walk;

/* Whether the pattern matches with `node` as its last; then w->m is the match. */
bool reel__find_match(reel__match_walk *w, const reel__pattern *p, int node);

#endif
