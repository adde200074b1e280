/* quantize.h (internal): rules, profiles and the module that is prepared.
 *
 * What becomes of a graph: rules.c says what each record wants, profile.c what each target wants,
 * places.c finds out which values that makes quantized, prepare.c puts nodes there and module.c
 * runs them. */
#ifndef REEL_QUANTIZE_QUANTIZE_H
#define REEL_QUANTIZE_QUANTIZE_H

#include <reel/quantize.h>

#include "ops/op.h"
#include "trace/graph/graph.h"

/* ---- profile.c ---------------------------------------------------------------------------- */

typedef struct reel__profile {
    const char *name;
    reel_quantize_grid activation, weight;
    reel_dtype activation_dtype, weight_dtype;
    bool per_channel; /* weights */
    bool bias;        /* is i32, with the product of the scales */
    bool results;     /* of quantized operators are quantized, whoever reads them */
} reel__profile;
/* NULL, with an error of `who`: it is none. */
const reel__profile *reel__profile_of(const char *who, reel_quantize_target target);

/* ---- rules.c ------------------------------------------------------------------------------- */

typedef enum reel__quantize_role {
    REEL__COMPUTES,  /* reads quantized values, makes one with a scale of its own */
    REEL__ACTIVATES, /* behind one that computes it is a part of it; else it passes */
    REEL__PASSES,    /* what comes out are values that came in: the scale is the same */
    REEL__LOOKS,     /* the same, and no integer code is needed for it: a copy */
    REEL__JOINS      /* passes several inputs, which share a scale */
} reel__quantize_role;

#define REEL__NO_OPERAND (-1)
typedef struct reel__quantize_rule {
    const reel__op *op;
    reel__quantize_role role;
    uint32_t reads;   /* bit i: operand i is an activation; of a JOINS: all are */
    int weight, bias; /* operands; REEL__NO_OPERAND */
    int axis;         /* of the weight's output channels; -1: the last */
    uint32_t targets; /* bit t: of target t */
    bool (*holds)(const reel__gnode *n); /* NULL, or whether the rule is for this node */
} reel__quantize_rule;
/* NULL: the node stays in f32 for this target. */
const reel__quantize_rule *reel__quantize_rule_of(const reel__gnode *n,
                                                  reel_quantize_target target);

/* Between which numbers an activation gives values; infinite: it has no end there, or is none. */
typedef struct reel__ends {
    double low, high;
} reel__ends;
reel__ends reel__activation_ends(const reel__gnode *n);

/* ---- names.c ------------------------------------------------------------------------------- */

enum { REEL__QUANTIZE_NAME = 512 };
/* Module path and record of a node, "layer1.0.add". */
void reel__node_name(const reel__gnode *n, char out[REEL__QUANTIZE_NAME]);
/* Whether a list of patterns names it, or a module above it. */
bool reel__pattern_fits(const char *list, const char *name);
/* Pattern i of the list, into out; false: there is none. */
bool reel__pattern_at(const char *list, int i, char out[REEL__QUANTIZE_NAME]);

/* ---- places.c ------------------------------------------------------------------------------ */

/* A value that is to be quantized. Values of one group have one scale. */
typedef struct reel__quantize_place {
    int value;
    int axis;    /* of a weight's channels; -1: one scale for all */
    int group;   /* from 0, in the order of the graph */
    bool weight; /* one that operands below read, the others not */
    bool all;    /* everybody reads it quantized; else those operands */
    char name[REEL__QUANTIZE_NAME]; /* of the group; of its first place alone */
} reel__quantize_place;

typedef struct reel__quantize_reader {
    int place, node, operand;
} reel__quantize_reader;

typedef struct reel__quantize_places {
    reel__quantize_place *place;
    reel__quantize_reader *reader;
    int n_place, n_reader, n_group;
    int cap_place, cap_reader;
} reel__quantize_places;
reel_status reel__find_places(const reel_graph *g, const reel_quantize_opts *opts,
                              const reel__profile *profile, reel__quantize_places *out);
void reel__places_free(reel__quantize_places *p);

/* ---- state.c --------------------------------------------------------------------------------- */

/* A copy with tensors of its own, which no decision of the original's model concerns. */
reel_graph *reel__own_copy(const reel_graph *g);
/* Copies of all its tensors take their places, each dense in memory. */
reel_status reel__own_tensors(reel_graph *g);
/* The tensor of each value that is the same at each run, else NULL: n_value of them, which belong
 * to the scope; the list is for reel__free(). NULL with an error. */
reel_tensor **reel__fixed_values(const reel_graph *g);

/* ---- equalize.c ------------------------------------------------------------------------------ */

/* Scales channels of layers that follow one another, in the graph's own tensors. */
reel_status reel__equalize(reel_graph *g);

/* ---- range.c, observer.c -------------------------------------------------------------------- */

/* Scale and zero point, f32, of a range [] or [k] for a grid; by operators. */
reel_status reel__range_parameters(reel_tensor *low, reel_tensor *high,
                                   reel_quantize_grid grid, reel_tensor **scale,
                                   reel_tensor **zero_point);
/* Reads n numbers without a capture hearing of it: what is read decides nothing but errors. */
reel_status reel__peek(reel_tensor *x, double *out);
/* The smallest of all elements; NaN if one is. */
reel_status reel__peek_smallest(reel_tensor *x, double *out);
/* What it says, also before it has seen something. */
reel_status reel__observer_range(reel_module *observer, reel_observed *out);
/* False: a channel has seen nothing; or with an error. */
bool reel__has_seen(const reel_observed *seen);

/* ---- module.c -------------------------------------------------------------------------------- */

/* One for each group. */
typedef struct reel__quantizer {
    char *name;
    reel_tensor *scale, *zero_point; /* those of the graph, borrowed */
    reel_quantize_grid grid;
    int axis;
    bool weight;
    bool learned;      /* the scale is a parameter ... */
    double most_scale; /* ... that may become so large: beyond what an activation gives */
    bool seen;         /* since it began to observe */
    reel_module *observer;
} reel__quantizer;

/* An operator that reads quantized values and computes a new one. */
typedef struct reel__quantized_layer {
    char *name; /* as reel_quantize_opts.exclude has it */
    int node;
} reel__quantized_layer;

typedef struct reel__quantized {
    reel_module m;
    reel_graph *graph;
    const reel__profile *profile;
    reel_quantize_target target;
    reel__quantizer *quantizer;
    int n_quantizer;
    reel__quantized_layer *layer;
    int n_layer;
    int *of_node;   /* of each node of the graph: its quantizer, or -1 */
    bool *observed; /* of each node: its operand is what the range comes from */
    int *norm_of;   /* of each node: the fold_batch_norm that made its weight, or -1 */
    bool may_use_batch;    /* norms may work with statistics of the batch ... */
    bool batch_statistics; /* ... and do */
    bool observing, frozen;
    uint64_t ready;   /* the scales when they were last seen to be above 0; 0: never */
    uint64_t watched; /* base/watched.h */
} reel__quantized;
/* A module that runs g, which it takes over, also where it fails. */
reel__quantized *reel__quantized_new(reel_graph *g, int n_quantizer);
/* Room for what is said of each node. */
reel_status reel__quantized_find_room(reel__quantized *q);
/* ---- calibrate.c ------------------------------------------------------------------------------- */

/* Calls fn, without gradients, with the input of each batch, as the options have it. Errors begin
 * with `who`; `label` stands in the line of progress. */
reel_status reel__each_batch(const char *who, const char *label, reel__quantized *q,
                             reel_loader *loader, const reel_calibrate_opts *o,
                             reel_status (*fn)(void *user, reel_tensor *x), void *user);

/* ---- sensitivity.c ----------------------------------------------------------------------------- */

/* Fills q->layer. */
reel_status reel__find_layers(reel__quantized *q);

/* ---- learn.c, norms.c: what a node does in training -------------------------------------------- */

/* A step of an optimizer may have taken a learned scale out of its range: back into it. */
reel_status reel__learned_settle(const reel__quantizer *z);
/* fake_quantize with a scale, and perhaps a zero point, that are parameters. */
reel_tensor *reel__learned_fake(const reel__quantized *q, int node,
                                reel_tensor *const in[]);
/* Finds which layers have a norm in their weight. */
void reel__find_norms(reel__quantized *q);
/* gamma / sqrt(var + eps) of such a node, [k]; 1 where that is 0. */
reel_tensor *reel__norm_factor(const reel__quantized *q, int fold);
/* Computes a node of a norm by statistics of the batch; false: it is none. */
bool reel__run_norm(const reel__quantized *q, int node, reel_tensor *const in[],
                    reel_tensor *out[]);

/* ---- fakes.c: what is to be converted ---------------------------------------------------------- */

/* A graph with fake_quantize nodes, and whose each is. */
typedef struct reel__faked {
    const reel_graph *graph;
    reel__quantizer *quantizer;
    int n_quantizer;
    int *of_node; /* of each node: its quantizer, or -1 */
    const reel__profile *profile;
    reel_quantize_target target;
} reel__faked;
/* Finds them in f->graph, of which nothing else is known; the tensors are the scope's. Also after
 * an error what was found is for reel__fakes_free(). Error of quantize_convert_graph: a scale that
 * is computed from inputs, or is not above 0; a grid that bytes do not hold. */
reel_status reel__find_fakes(reel__faked *f);
void reel__fakes_free(reel__faked *f);

/* ---- module.c, again ---------------------------------------------------------------------------- */

/* NULL, with an error of `who`: `m` was not prepared. */
reel__quantized *reel__quantized_of(const char *who, reel_module *m);
/* Error of `who` naming the first quantizer that has no scale. */
reel_status reel__quantized_ready(reel__quantized *q, const char *who);

#endif
