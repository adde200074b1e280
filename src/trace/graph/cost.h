/* cost.h (internal): what reports and pictures share. */
#ifndef REEL_TRACE_COST_H
#define REEL_TRACE_COST_H

#include "trace/graph/graph.h"

/* The roofline's bound; 0 without peaks. */
double reel__seconds_bound(const reel_cost *c, const reel_roofline *peaks);
/* reel_graph_peak_bytes() of the graph as it stands. */
int64_t reel__peak_bytes(const reel_graph *g);
/* Operations for each byte. */
double reel__intensity(const reel_cost *c);
/* Peaks are NULL or above 0; else an error that begins with `who`. */
reel_status reel__check_peaks(const char *who, const reel_roofline *peaks);

/* Everything that a report shows, gathered once. */
typedef struct reel__totals {
    reel_node_cost *node; /* each */
    reel_cost cost;
    double seconds_bound;         /* sum of the nodes' bounds */
    double most;                  /* largest weight of a node */
    double weight;                /* sum of the weights */
    int64_t params, param_bytes;  /* each parameter once */
    int64_t buffers, const_bytes; /* bytes of buffers, of constants */
    int64_t peak_bytes;
    bool timed; /* peaks were given: weight is the time bound, else operations */
} reel__totals;
/* State is counted as `held` has it: of bytes that a dequantize reads, g may know numbers. */
reel_status reel__totals_of(const reel_graph *g, const reel_graph *held, const char *who,
                            const reel_roofline *peaks, reel__totals *t);
void reel__totals_free(reel__totals *t);
/* What a node counts for in shares and colours. */
double reel__weight(const reel__totals *t, int node);

/* A number with a prefix of SI ("1.23 G"); of `size` bytes; returns buf. */
const char *reel__si(double x, char *buf, size_t size);
#define SI(x) reel__si((x), (char[32]){0}, 32)

/* Operators in the order of what they count for. */
typedef struct reel__share {
    const char *op;
    int nodes;
    double weight;
} reel__share;
/* The first n at most; how many there are, or -1 with an error. */
int reel__shares(const reel_graph *g, const reel__totals *t, reel__share *out, int n);

/* ---- short text ---------------------------------------------------------------------------- */

/* Attributes for people: those that are not all zero, without trailing zeros, sizes that grow
 * with the batch as "batch". */
const char *reel__attrs_short(const reel_graph *g, const reel__gnode *n, char *buf,
                              size_t size);

#endif
