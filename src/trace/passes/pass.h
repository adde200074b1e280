/* pass.h (internal): what a pass is, and what all of them share.
 *
 * A pass changes a graph into one that computes the same. It is a function and a row of
 * passes.def; its file holds nothing else. Most are tables of rewrites (match.h). */
#ifndef REEL_TRACE_PASSES_PASS_H
#define REEL_TRACE_PASSES_PASS_H

#include "trace/graph/graph.h"

typedef struct reel__pass {
    const char *name;
    const char *about; /* a line for people */
    bool exact;        /* results keep every bit, if values also keep their layouts */
    /* How many changes it made; -1 with an error, and the graph is then in pieces. */
    int (*run)(reel_graph *g);
} reel__pass;

#define PASS(name) extern const reel__pass reel__pass_##name;
#include "trace/passes/passes.def"
#undef PASS

/* ---- optimize.c -------------------------------------------------------------------------- */

/* reel_graph_optimize() with passes of one's own; verify: reel_graph_check() after each. */
reel_status reel__optimize(reel_graph *g, const reel_optimize_opts *opts,
                           const reel__pass *const pass[], int n, bool verify);

/* ---- fake.c ------------------------------------------------------------------------------- */

/* Makes a graph of quantize and dequantize trainable: each pair becomes fake_quantize, integers
 * that the graph holds become parameters of their names, faked in turn (biases are not). Same
 * results, bit for bit. Not optimized before, as files give it. Errors: REEL_ERR_UNSUPPORTED
 * naming what stays in integers, such as what a dynamic file computes; g is in pieces then. */
reel_status reel__graph_fake(reel_graph *g);

/* ---- edits.c ------------------------------------------------------------------------------ */

/* Brings the metas of all values up to date with the shape rules: an edit may have changed how
 * values lie in memory. */
reel_status reel__graph_infer(reel_graph *g);
/* Same shape and dtype, at every batch size. */
bool reel__same_kind(const reel_graph *g, int v, int by);
/* Same kind, and both lie in memory in one way. */
bool reel__same_layout(const reel_graph *g, int v, int by);
/* Whether all that is computed from v can be computed from `by`, of the same kind but perhaps
 * another layout: views may refuse, and where every bit counts it never can. 1, 0, or -1 with
 * an error. */
int reel__layout_fits(const reel_graph *g, int v, int by);
/* A node like `node`, with its attributes, of other operands: the value of its first result, or
 * -1 with an error. */
int reel__emit_like(reel_graph *g, int before, int node, const int *in);
/* A reshape of x to the shape of `like`, at every batch size; x itself if it has it. -1 with an
 * error, such as that it is not a view. */
int reel__emit_reshape(reel_graph *g, int before, int x, int like);
/* A node changes it, by this number. */
bool reel__changed_directly(const reel_graph *g, int v);
/* True, and the number, if v is a constant with one element. */
bool reel__constant_number(const reel_graph *g, int v, double *number);
/* True if v is the same at each run: state that none changes, or computed from such alone. */
static inline bool reel__is_fixed(const reel__effects *e, int v)
{
    return v >= 0 && e->fixed[v];
}

#endif
