/* reel/quantize.h: graphs whose values fit in eight bits.
 *
 *     reel_train(net, false);
 *     reel_graph *g = reel_trace(net, x, NULL);
 *     reel_module *q = reel_quantize_prepare(g, NULL);   // a copy, with fake_quantize inside
 *     reel_quantize_calibrate(q, loader, NULL);          // ranges, from data
 *     ... train q as any module, if that is not enough ...
 *     reel_graph *int8 = reel_quantize_convert(q);       // quantize and dequantize
 *     reel_onnx_export(int8, "net.int8.onnx", NULL);
 *
 * Whether a value is quantized, and how, stands in the graph: as nodes with scale and zero
 * point as operands, which calibration and training move. What is quantized where is said by a
 * table of operators and a table of targets (docs/adr/0027). f32 alone is quantized. */
#ifndef REEL_QUANTIZE_H
#define REEL_QUANTIZE_H

#include <reel/data.h>
#include <reel/nn.h>
#include <reel/onnx.h>
#include <reel/trace.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- observers: from values to a range ------------------------------------------------ */

/** The grid that a range is for: integers low .. high. */
typedef struct reel_quantize_grid {
    int low, high;
    bool symmetric; /* the zero point is 0 */
} reel_quantize_grid;

#define REEL_OBSERVER_MOST_STATES 4
/** A tensor that an observer keeps. */
typedef struct reel_observer_state_row {
    const char *name;
    int64_t size; /* elements for each channel: [channels, size]; 0: one, [channels] */
    double initial;
    bool wide; /* f64, such as counts; else f32 */
    REEL_FUTURE;
} reel_observer_state_row;

/** What one observer works on. All borrowed. */
typedef struct reel_observer_slot {
    reel_tensor *const *state; /* in the order of the kind's rows */
    int64_t channels; /* 0: all values together, and states without that dimension */
    reel_shape dims;  /* of x to reduce over: all, or all but that of the channels */
    reel_quantize_grid grid;
} reel_observer_slot;

/** The kind of an observer, in static storage: those below are such. */
typedef struct reel_observer_kind {
    const char *name; /* in messages and as the type of the module: "min_max" */
    size_t opts_size; /* bytes of the options; 0: it has none */
    int n_state;      /* up to REEL_OBSERVER_MOST_STATES */
    reel_observer_state_row state[REEL_OBSERVER_MOST_STATES];
    /* It looks at values in C, so it refuses to see any while a step is captured. */
    bool reads;
    /* Called once with the options (zeros if NULL was given): puts the defaults in and checks
     * them (reel_fail). NULL: nothing to check. */
    reel_status (*check)(void *opts);
    /* Takes x, of at least one element, into the state; nothing is recorded meanwhile. */
    reel_status (*see)(const void *opts, const reel_observer_slot *slot, reel_tensor *x);
    /* The range so far: low and high, f32 [] or [channels]; low above high: it saw nothing. */
    reel_status (*range)(const void *opts, const reel_observer_slot *slot,
                         reel_tensor **low, reel_tensor **high);
    REEL_FUTURE;
} reel_observer_kind;

/** The smallest and the largest so far [min, max]. No options. What is not finite is left out,
 *  with all that is reduced together with it. */
REEL_API const reel_observer_kind *reel_observer_min_max(void);
/** Options of reel_observer_moving_average. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_moving_average_opts {
    double rate; /* what a new value counts, in (0, 1]; 0 means 0.01 */
    REEL_FUTURE;
} reel_moving_average_opts;
/** The same, each moving towards that of the tensor that is seen: old + rate (new - old); the
 *  first counts whole [min, max]. Source: Jacob et al. 2018, arXiv:1712.05877, section 3.1. */
REEL_API const reel_observer_kind *reel_observer_moving_average(void);

/* The three that follow count values in bins of a fixed relative width, in C: not while a step
 * is captured [counts, min, max]. */

/** Options of reel_observer_percentile. Zero is the default. */
typedef struct reel_percentile_opts {
    double percentile; /* in (50, 100]; 0 means 99.99 */
    REEL_FUTURE;
} reel_percentile_opts;
/** That percentile of what was seen, and on the other side the one as far from it; of magnitudes
 *  on a symmetric grid. */
REEL_API const reel_observer_kind *reel_observer_percentile(void);
/** The range that changes the distribution of magnitudes least, by the divergence of Kullback and
 *  Leibler. No options. Source: Migacz 2017, "8-bit Inference with TensorRT". */
REEL_API const reel_observer_kind *reel_observer_entropy(void);
/** The range with the smallest mean square of what quantizing changes. No options. */
REEL_API const reel_observer_kind *reel_observer_mse(void);

/** Options of reel_observer_new. */
typedef struct reel_observer_opts {
    const void *kind_opts;   /* those of the kind; NULL: its defaults */
    int64_t channels;        /* a range for each of so many; 0: one for all */
    int axis;                /* the dimension of the channels */
    reel_quantize_grid grid; /* all zero: 0 .. 255 */
    REEL_FUTURE;
} reel_observer_opts;
/** An observer as a module: forward sees x and gives x. Its state is its buffers. Errors:
 *  REEL_ERR_ARG for a kind without name, see or range, with too many states, or with one of no
 *  name; for a grid that is not low < high within -2^23 .. 2^23; what its check says. */
REEL_API reel_module *reel_observer_new(const reel_observer_kind *kind,
                                        const reel_observer_opts *opts);
/** What an observer has seen, f32 [] or [channels] each, of the innermost scope. */
typedef struct reel_observed {
    reel_tensor *low, *high;
    reel_tensor *scale, *zero_point; /* of that range, for its grid */
    REEL_FUTURE;
} reel_observed;
/** Its range, and scale and zero point for it. An affine range is widened to hold 0, a
 *  symmetric one is max|x| on both sides. A channel's scale is at least 2^-12 of the largest
 *  channel's, so that one of zeros has one too. All are NULL on an error: REEL_ERR_ARG if
 *  `observer` is none; REEL_ERR_STATE if it has seen nothing. */
REEL_API reel_status reel_observer_range(reel_module *observer, reel_observed *out);
/** It forgets what it saw. Errors: REEL_ERR_ARG if `observer` is none. */
REEL_API reel_status reel_observer_reset(reel_module *observer);

/* ---- prepare ---------------------------------------------------------------------------- */

/** Who is to run it. The profile decides what is quantized, and how:
 *
 *                    ORT                      TENSORRT          PER_TENSOR
 *      activations   u8, any zero point       i8, 0             as ORT
 *      weights       i8 in -127 .. 127, 0, for each output channel; for the whole tensor
 *      biases        i32, product of scales   f32               as ORT
 *      results       quantized                where one reads   as ORT
 *                                             them quantized                              */
typedef enum reel_quantize_target {
    REEL_TARGET_ORT = 0, /* ONNX Runtime */
    REEL_TARGET_TENSORRT,
    REEL_TARGET_PER_TENSOR
} reel_quantize_target;
/** "ort", "tensorrt", "per_tensor"; "?" for a value that is none. Static storage. */
REEL_API const char *reel_quantize_target_name(reel_quantize_target target);

/** Which observer, for quantizers of these names. */
typedef struct reel_quantize_override {
    const char *names; /* as `exclude`, of quantizers (reel_quantize_at) */
    const reel_observer_kind *kind;
    const void *kind_opts;
    REEL_FUTURE;
} reel_quantize_override;

/** Options of reel_quantize_prepare. Zero is the default. */
typedef struct reel_quantize_opts {
    reel_quantize_target target;
    /* Operators that stay in f32: their names, separated by commas, with * for anything. The
     * name of an operator is its module's path and what it is ("layer1.0.add"); that of a
     * module stands for all inside ("layer1"). */
    const char *exclude;
    bool keep_first, keep_last; /* of the operators that have weights, in f32 */
    const reel_observer_kind *activations; /* NULL: moving average */
    const void *activation_opts;
    const reel_observer_kind *weights; /* NULL: min-max, of the weight as it is */
    const void *weight_opts;
    const reel_quantize_override *overrides; /* the first that fits counts */
    int n_overrides;
    /* Scales are parameters, trained from the calibrated ones on: by LSQ, with its factor
     * 1 / sqrt(elements * steps) on their gradients. Zero points too, where they are not 0: by
     * LSQ+. Sources: Esser et al. 2020, arXiv:1902.08153; Bhalgat et al. 2020,
     * arXiv:2004.09576. */
    bool learn_scales, learn_zero_points;
    /* In train mode batch norm that was folded works with statistics of the batch, and moves the
     * running ones (by 0.1) that the folded weights follow, until
     * reel_quantize_freeze_statistics(). Source: Krishnamoorthi 2018, arXiv:1806.08342,
     * section 3.2. */
    bool batch_statistics;
    /* Channels of layers that follow one another, with nothing between but relu and pools, are
     * scaled so that both weights have the same range; relu6 between them becomes relu. For
     * targets with one scale for a whole weight. Source: Nagel et al. 2019, arXiv:1906.04721. */
    bool equalize;
    REEL_FUTURE;
} reel_quantize_opts;
/** A trainable module that computes what `g` does, with fake_quantize where the target wants
 *  it: a copy, so the model that was traced stays as it is. Its names are the model's; beside
 *  them stand "NAME_scale" and "NAME_zero_point", and observers as modules "NAME_observer".
 *  Batch norm is folded into the weight before it, as nodes over parameters that stay.
 *
 *  `g` is traced in eval mode and not optimized. In train mode the module observes and fakes,
 *  in eval mode it fakes by the scales that it has.
 *  Errors: REEL_ERR_ARG for NULL, a target that is none, a pattern that fits nothing;
 *  REEL_ERR_STATE if `g` changes state (train mode). `opts` may be NULL. */
REEL_API reel_module *reel_quantize_prepare(const reel_graph *g,
                                            const reel_quantize_opts *opts);

/** One quantizer of a prepared module. Texts and tensors are borrowed. */
typedef struct reel_quantizer {
    const char *name;        /* "layer1.0.conv1.weight", "layer1.0.relu" */
    reel_tensor *scale;      /* f32; 0 until it is calibrated */
    reel_tensor *zero_point; /* f32 [] */
    reel_quantize_grid grid;
    bool weight;
    int axis; /* of the channels; -1: one scale for all */
    reel_module *observer;
    REEL_FUTURE;
} reel_quantizer;
/** How many; 0 for NULL. Errors: REEL_ERR_ARG for a module that was not prepared. */
REEL_API int reel_quantize_count(reel_module *q);
/** The i-th, in the order of the graph. Errors: REEL_ERR_ARG if there is none. */
REEL_API reel_status reel_quantize_at(reel_module *q, int i, reel_quantizer *out);

/* ---- calibrate -------------------------------------------------------------------------- */

/** On: the observers forget what they saw, and while it is on `q` computes in f32 and they see;
 *  values that are not finite are an error (REEL_ERR_NUMERIC) that names the value. Off: scales and zero points become what the ranges
 *  say. For loops of your own; reel_quantize_calibrate() is one. Errors: REEL_ERR_ARG for a
 *  module that was not prepared; off: REEL_ERR_STATE naming a value that was not seen. */
REEL_API reel_status reel_quantize_observe(reel_module *q, bool on);

/** Options of reel_quantize_calibrate. Zero is the default. */
typedef struct reel_calibrate_opts {
    const char *field; /* of the batch that is the input; NULL: the first */
    int64_t batches;   /* at most; 0: one epoch */
    FILE *progress;    /* a line of progress; NULL: none */
    REEL_FUTURE;
} reel_calibrate_opts;
/** Runs `q`, which has one input, over batches of the loader without gradients, in eval mode,
 *  and observes. Its mode is left as it was. Errors: as reel_quantize_observe(); REEL_ERR_ARG
 *  for an empty set, a field that is not there; what loader and operators say. */
REEL_API reel_status reel_quantize_calibrate(reel_module *q, reel_loader *loader,
                                             const reel_calibrate_opts *opts);

/** In train mode scales stay as they are from now on (on), or follow the observers; those that
 *  are learned follow an optimizer all the same. Errors: REEL_ERR_ARG for a module that was not
 *  prepared. */
REEL_API reel_status reel_quantize_freeze_observers(reel_module *q, bool on);
/** In train mode batch norm works with its running statistics, which stay as they are (on), or
 *  with those of the batch. Without reel_quantize_opts.batch_statistics it always does the first.
 *  Errors: REEL_ERR_ARG for a module that was not prepared. */
REEL_API reel_status reel_quantize_freeze_statistics(reel_module *q, bool on);

/** Options of reel_quantize_smooth. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_smooth_opts {
    double alpha;      /* how much moves into the weights, 0 to 1; 0 means 0.5 */
    const char *field; /* as reel_calibrate_opts */
    int64_t batches;
    FILE *progress;
    REEL_FUTURE;
} reel_smooth_opts;
/** Channels behind layer norm that are large on batches of the loader become smaller, and the
 *  weights of the linear layers that read them larger: SmoothQuant. What `q` computes in f32 stays.
 *  Norms without a weight, and those that something else reads too, stay. Calibrate after it.
 *  Source: Xiao et al. 2022, arXiv:2211.10438. Errors: REEL_ERR_ARG for an alpha out of its range;
 *  as reel_quantize_calibrate(). */
REEL_API reel_status reel_quantize_smooth(reel_module *q, reel_loader *loader,
                                          const reel_smooth_opts *opts);

/** Moves the biases of layers, so that what each gives has in integers the mean that it has in
 *  f32, channel by channel, over batches of the loader: one layer after the other, each behind
 *  those that are corrected already. After calibration and before any training. Layers without a
 *  bias, and without a folded norm that has one, stay. Source: Nagel et al. 2019,
 *  arXiv:1906.04721, section 4.2, by data. Errors: as reel_quantize_calibrate(); REEL_ERR_STATE if
 *  `q` was not calibrated. */
REEL_API reel_status reel_quantize_correct_biases(reel_module *q, reel_loader *loader,
                                                  const reel_calibrate_opts *opts);

/** Options of reel_quantize_round. Zero is the default. */
typedef struct reel_round_opts {
    int64_t steps;     /* of learning, for each layer; 0 means 1000 */
    const char *field; /* as reel_calibrate_opts */
    int64_t batches;   /* all are in memory, for one layer at a time; 0: one epoch */
    FILE *progress;
    REEL_FUTURE;
} reel_round_opts;
/** Learns for each weight whether it is rounded up or down, layer by layer, so that what the layer
 *  gives stays nearest to what it gave in f32: AdaRound. Weights move to the numbers that they are
 *  rounded to; where learning finds nothing better than the nearest they stay. After calibration.
 *  Source: Nagel et al. 2020, arXiv:2004.10568. Errors: as reel_quantize_correct_biases(). */
REEL_API reel_status reel_quantize_round(reel_module *q, reel_loader *loader,
                                         const reel_round_opts *opts);

/** What one operator costs. */
typedef struct reel_layer_noise {
    const char *name; /* as reel_quantize_opts.exclude takes it; owned by the module */
    double
        snr; /* of the model's results, in decibels, if it alone reads quantized values */
    REEL_FUTURE;
} reel_layer_noise;
/** How many operators read quantized values and compute new ones; 0 for NULL. Errors:
 *  REEL_ERR_ARG for a module that was not prepared. */
REEL_API int reel_quantize_layers(reel_module *q);
/** Runs `q` in f32, and once for each of its n = reel_quantize_layers(q) operators with what that
 *  one reads quantized, its weight too; out[n] tells how far the results then are from those in
 *  f32. The lowest are the first to be kept in f32. Errors: as reel_quantize_correct_biases();
 *  REEL_ERR_ARG for another n. */
REEL_API reel_status reel_quantize_sensitivity(reel_module *q, reel_loader *loader,
                                               const reel_calibrate_opts *opts,
                                               reel_layer_noise *out, int n);

/* ---- convert ----------------------------------------------------------------------------- */

/** The graph with real integers: activations quantize -> dequantize, weights and biases as
 *  integers with a dequantize behind them, as the target has it. It computes what `q` does in eval
 *  mode, up to the rounding of biases. A bias that 32 bits would not hold raises its channel's
 *  weight scale. Tensors are its own. The caller frees it. Errors: REEL_ERR_ARG for a module that
 *  was not prepared; REEL_ERR_STATE naming a value that was not calibrated. */
REEL_API reel_graph *reel_quantize_convert(reel_module *q);

/** A graph of quantize and dequantize nodes, loaded or converted and not optimized, as one that
 *  can be trained: a copy with fake_quantize in their places. Integers that it holds become f32
 *  parameters under their names, which are faked where they were bytes; scales and zero points
 *  stay what they are. It computes the same, bit for bit, and shares nothing with `g`;
 *  reel_graph_module() makes a module of it, reel_quantize_convert_graph() integers again.
 *
 *      reel_graph *f = reel_quantize_fake(reel_onnx_load("net.int8.onnx", NULL));
 *      reel_module *m = reel_graph_module(f);
 *      ... train m ...
 *      reel_graph *int8 = reel_quantize_convert_graph(f, REEL_TARGET_ORT);
 *
 *  A graph without such nodes is copied. The caller frees it. Errors: REEL_ERR_ARG for NULL;
 *  REEL_ERR_UNSUPPORTED naming a node through which no gradient goes: a product of integers, as
 *  dynamic files and optimized graphs have it. */
REEL_API reel_graph *reel_quantize_fake(const reel_graph *g);
/** reel_quantize_convert() of any graph whose fake_quantize nodes have scales that do not depend
 *  on inputs, such as one of reel_quantize_fake() that was trained. The target says which biases
 *  become integers; grids are those of the nodes. Tensors are its own. The caller frees it.
 *  Errors: REEL_ERR_ARG for NULL, a target that is none; REEL_ERR_STATE for a scale that is not
 *  above 0; REEL_ERR_UNSUPPORTED for a scale that inputs decide, or a grid that bytes do not
 *  hold. */
REEL_API reel_graph *reel_quantize_convert_graph(const reel_graph *g,
                                                 reel_quantize_target target);

/** What in a graph with quantize and dequantize nodes, converted or loaded and not optimized, the
 *  target does not take or would run in f32, a line each: batch norm that is left, a layer that
 *  is quantized in part, a weight without a scale for each channel, a zero point other than 0
 *  where there must be none, a bias that is (not) quantized, a quantize between a layer and its
 *  relu, a scale that is not above 0, ... "" if there is nothing. Layers whose weight is
 *  f32 are meant to be so, and not told. The caller frees it with free(). NULL on an error: REEL_ERR_ARG for
 *  NULL or a target that is none. */
REEL_API char *reel_quantize_lint(const reel_graph *g, reel_quantize_target target);

/** reel_quantize_convert(), reel_quantize_lint() for its target, and reel_onnx_export(), which reads
 *  the file back and compares. The file's metadata says under "quantization" how it was made. `opts`
 *  may be NULL. Errors: as those functions; REEL_ERR_STATE with the first finding. */
REEL_API reel_status reel_quantize_export(reel_module *q, const char *path,
                                          const reel_onnx_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
