/* reel/nn.h: modules, layers, initializers, models, summary.
 *
 * A module is a struct with a forward function and a tree of named children, parameters and
 * buffers. Its state-dict names are PyTorch's ("layer1.0.conv1.weight"), so weights come in
 * and go out as safetensors. A module of your own embeds reel_module as its first member:
 *
 *     typedef struct net { reel_module m; reel_module *fc1, *fc2; } net;
 *
 *     static reel_tensor *net_forward(reel_module *self, reel_tensor *x)
 *     {
 *         net *n = (net *)self;
 *         return reel_forward(n->fc2, reel_relu(reel_forward(n->fc1, x)));
 *     }
 *     reel_module *net_new(void)
 *     {
 *         net *n = reel_module_new(sizeof *n, "net", net_forward);
 *         if (!n) return NULL;
 *         n->fc1 = reel_module_add(&n->m, "fc1", reel_nn_linear(2, 16, NULL));
 *         n->fc2 = reel_module_add(&n->m, "fc2", reel_nn_linear(16, 1, NULL));
 *         return reel_module_done(&n->m);
 *     }
 *
 * Ownership: a parent owns its children and a module its parameters and buffers;
 * reel_module_free(root) frees all. One thread uses a module at a time. Functions that make a
 * module give NULL and leave nothing behind on an error. Layers are made in f32 (see
 * reel_module_cast) on the default device, with PyTorch's default initialization, drawn from
 * this thread's generator (reel_seed). */
#ifndef REEL_NN_H
#define REEL_NN_H

#include <reel/io.h>
#include <reel/onnx.h>
#include <reel/ops.h>
#include <reel/trace.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- modules ----------------------------------------------------------------------- */

typedef struct reel_module reel_module;
struct reel_module {
    reel_tensor *(*forward)(reel_module *self, reel_tensor *x);
    /* Of several tensors, to several: writes y[0..n_y-1]; or NULL. Set it after
     * reel_module_new(). What may be NULL in x, and which n_x and n_y are right, it says. */
    reel_status (*forward_n)(reel_module *self, reel_tensor *const x[], int n_x,
                             reel_tensor *y[], int n_y);
    void (*destroy)(reel_module *self); /* frees what is your own; or NULL */
    const char *type;                   /* "linear"; static storage */
    bool training;                      /* set by reel_train(); true at first */
    struct reel_module_tree *tree;      /* private */
    REEL_FUTURE;
};

/** A zeroed struct of `size` bytes that begins with a reel_module. `forward` may be NULL for
 *  a module that is not called with one tensor. Errors: REEL_ERR_ARG if size is below
 *  sizeof(reel_module); REEL_ERR_MEMORY. Refuses (NULL) while an error is pending. */
REEL_API void *reel_module_new(size_t size, const char *type,
                               reel_tensor *(*forward)(reel_module *self,
                                                       reel_tensor *x));
/** Ends a constructor: `m` if no error is pending, else frees `m` and gives NULL. */
REEL_API reel_module *reel_module_done(reel_module *m);
/** Frees `m` and all below it. NULL is allowed. A child of another module is first taken out
 *  of its parent; its address then stays that of a module which says that it was freed, until
 *  the parent is freed: reel_forward() of it, also by the parent, is REEL_ERR_STATE. To put
 *  another in its place: reel_module_replace(). Errors (nothing is freed): REEL_ERR_STATE for a
 *  part of a reel_graph_module(), or if it was freed already. */
REEL_API void reel_module_free(reel_module *m);

/** Adds a child, which `parent` then owns. Returns `child`; on an error, frees it and gives
 *  NULL (NULL in, NULL out). Errors: REEL_ERR_ARG for a name that is empty, has a dot or is
 *  taken; REEL_ERR_STATE if `child` has a parent already (it is then left alone). */
REEL_API reel_module *reel_module_add(reel_module *parent, const char *name,
                                      reel_module *child);
/** Puts `child` in the place of the child at `path`, such as "fc" or "layer1.0.conv1", which is
 *  freed (see reel_module_free). Name and order stay; `m` then owns `child`. Every field of a
 *  struct made by reel_module_new() in this tree that held the old child holds the new one, so
 *  forward functions need no change; pointers kept elsewhere, such as in a list of your own, are
 *  yours to renew. The new child keeps its mode, dtype and device. Optimizers made before hold
 *  the old parameters: make them after. Returns `child`; on an error, frees it and gives NULL
 *  (NULL in, NULL out). Errors: REEL_ERR_ARG if there is no such child; REEL_ERR_STATE if it is
 *  a part of a reel_graph_module(), or if `child` has a parent already (it is then left
 *  alone). */
REEL_API reel_module *reel_module_replace(reel_module *m, const char *path,
                                          reel_module *child);
/** Takes the child at `path` out of its parent and gives it to the caller, who owns it from then
 *  on: to put a module around it without a copy, as LoRA does,
 *
 *      reel_module *fc = reel_module_take(net, "fc");
 *      reel_module_replace(net, "fc", lora_new(fc, 8)); // which adds fc as its child "base"
 *
 *  Then its tensors are "fc.base.weight" and so on in state dicts and graphs. It keeps them, its
 *  mode and its hooks; optimizers that have its parameters go on. In its place stands a module
 *  of the same name that has no tensors and whose forward is REEL_ERR_STATE, until
 *  reel_module_replace() puts another there or reel_module_free() of it closes the gap. Fields of
 *  structs made by reel_module_new() in the tree of `m` hold that one; pointers kept elsewhere
 *  are still the child's, and find a module that says so if it is freed before its old parent.
 *  NULL on an error, and nothing is changed: REEL_ERR_ARG if there is no such child;
 *  REEL_ERR_STATE if it was taken out already or is a part of a reel_graph_module();
 *  REEL_ERR_MEMORY. */
REEL_API reel_module *reel_module_take(reel_module *m, const char *path);
/** Adds a parameter: keeps `t`, makes it require a gradient, returns it. NULL in, NULL out.
 *  Errors: as reel_module_add; REEL_ERR_DTYPE if `t` is not floating; REEL_ERR_STATE if it
 *  was computed from tensors that require gradients. */
REEL_API reel_tensor *reel_module_param(reel_module *m, const char *name, reel_tensor *t);
/** Makes the parameter (or buffer) at `path` the tensor that is at `same_as`, both below `m`:
 *  reel_module_tie(gpt, "head.weight", "wte.weight"). It is one tensor with two names from then
 *  on: once in reel_parameters() and in graphs, under the name that comes first; under both in
 *  a state dict; it stays one in reel_module_to(), reel_module_cast(), reel_freeze() and loads.
 *  Fields of structs made by reel_module_new() that held the old tensor hold this one;
 *  optimizers made before hold the old one. Errors: REEL_ERR_ARG if there is no such tensor, or
 *  if one is a parameter and the other a buffer; REEL_ERR_SHAPE; REEL_ERR_DTYPE; REEL_ERR_STATE
 *  for a part of a reel_graph_module(). */
REEL_API reel_status reel_module_tie(reel_module *m, const char *path,
                                     const char *same_as);
/** Adds a tensor that is saved but not trained: keeps `t`, returns it. NULL in, NULL out. */
REEL_API reel_tensor *reel_module_buffer(reel_module *m, const char *name,
                                         reel_tensor *t);

/** y = m(x). Runs m->forward in a scope of its own that hands out nothing but the result: what
 *  else it computed lives only as long as the tape needs it. Errors inside carry the
 *  module's path, "(in layer1.0.conv1)". NULL in, NULL out. */
REEL_API reel_tensor *reel_forward(reel_module *m, reel_tensor *x);

/** y[0..n_y-1] = m(x[0..n_x-1]), in the same way:
 *
 *     static reel_status cross_forward(reel_module *self, reel_tensor *const x[], int n_x,
 *                                      reel_tensor *y[], int n_y)
 *     {
 *         cross *c = (cross *)self;
 *         if (n_x != 2 || n_y != 2) return reel_module_takes(self, 2, 2, n_x, n_y);
 *         y[0] = reel_forward(c->left, reel_add(x[0], x[1]));
 *         y[1] = reel_forward(c->right, reel_sub(x[0], x[1]));
 *         return reel_error_status();
 *     }
 *     ... c->m.forward_n = cross_forward;
 *
 *     reel_forward_n(net, (reel_tensor *[]){a, b}, 2, y, 2);
 *
 *  Runs m->forward_n; without one, m->forward of one tensor. reel_forward() of a module that has
 *  forward_n alone is this with one of each. On an error every y[i] is NULL. Errors:
 *  REEL_ERR_ARG for NULL, or for numbers that `m` does not take; REEL_ERR_STATE if a result is
 *  missing; what `m` says. */
REEL_API reel_status reel_forward_n(reel_module *m, reel_tensor *const x[], int n_x,
                                    reel_tensor *y[], int n_y);
/** For a forward_n: the error (REEL_ERR_ARG) that `m` takes `takes` tensors and gives `gives`,
 *  not n_x and n_y. Returns it. */
REEL_API reel_status reel_module_takes(const reel_module *m, int takes, int gives,
                                       int n_x, int n_y);

/** What reel_module_enter() remembers. */
typedef struct reel_frame {
    reel_scope scope;
    const reel_module *outer;
    REEL_FUTURE;
} reel_frame;
/** For functions that take more than tensors: what reel_forward() does around m->forward.
 *      reel_frame f = reel_module_enter(m, x);
 *      return reel_module_leave(m, f, x, my_forward(m, x, causal));
 *  `x` is what hooks see. */
REEL_API reel_frame reel_module_enter(reel_module *m, reel_tensor *x);
/** Ends the scope, runs the hooks, returns `y`. */
REEL_API reel_tensor *reel_module_leave(reel_module *m, reel_frame frame, reel_tensor *x,
                                        reel_tensor *y);

/** Called around a module's forward. Each function may be NULL. */
typedef struct reel_module_hook {
    /* x is the first input, y the first result. */
    void (*before)(void *user, reel_module *m, reel_tensor *x);
    /* Another result to use instead, or NULL to keep y. */
    reel_tensor *(*after)(void *user, reel_module *m, reel_tensor *x, reel_tensor *y);
    void *user;
    /* All of them, also where there is one; after_n may put others into y. */
    void (*before_n)(void *user, reel_module *m, reel_tensor *const x[], int n_x);
    void (*after_n)(void *user, reel_module *m, reel_tensor *const x[], int n_x,
                    reel_tensor *y[], int n_y);
    REEL_FUTURE;
} reel_module_hook;
/** Adds a hook (copied); hooks run in the order in which they were added, and must not add or
 *  remove any on `m`. Returns its number, above 0, for reel_module_remove_hook(); 0 on an error. */
REEL_API int reel_module_add_hook(reel_module *m, const reel_module_hook *hook);
/** Removes a hook of `m`. Errors: REEL_ERR_ARG if there is none of that number. */
REEL_API reel_status reel_module_remove_hook(reel_module *m, int number);

/* ---- the tree ---------------------------------------------------------------------- */

/** Name within the parent; "" for a root and for NULL. */
REEL_API const char *reel_module_name(const reel_module *m);
/** Number of children; 0 for NULL. */
REEL_API int reel_module_count(const reel_module *m);
/** Child `i` in order of adding; NULL out of range. */
REEL_API reel_module *reel_module_child(const reel_module *m, int i);
/** The module at a path such as "layer1.0"; "" is `m`. NULL if there is none (no error). */
REEL_API reel_module *reel_module_at(reel_module *m, const char *path);
/** The parameter or buffer at a path such as "layer1.0.conv1.weight", borrowed. NULL if there
 *  is none (no error). */
REEL_API reel_tensor *reel_module_find(reel_module *m, const char *path);

/** What reel_module_each() calls with each module, parents first; `path` is "" for the root
 *  and valid during the call. Anything but REEL_OK ends the walk. */
typedef reel_status (*reel_module_visit)(void *user, const char *path, reel_module *m);
REEL_API reel_status reel_module_each(reel_module *m, reel_module_visit visit,
                                      void *user);
/** What reel_tensor_each() calls with each parameter and buffer, in PyTorch's state-dict
 *  order; a tensor that has two names comes twice. */
typedef reel_status (*reel_tensor_visit)(void *user, const char *path, reel_tensor *t,
                                         bool is_param);
REEL_API reel_status reel_tensor_each(reel_module *m, reel_tensor_visit visit,
                                      void *user);

/** Named parameters. Write one by hand to optimize tensors that belong to no module. */
typedef struct reel_params {
    reel_tensor *const *tensor;
    const char *const *name;
    int n;
} reel_params;
/** Every parameter of `m` and below, once each, frozen ones too. The lists belong to `m`:
 *  valid until something below it is added, replaced, taken, tied or freed, or `m` goes.
 *  Empty on an error. Errors: REEL_ERR_ARG for NULL, REEL_ERR_MEMORY. */
REEL_API reel_params reel_parameters(reel_module *m);
/** Number of elements of all parameters of `m` and below. Errors: as reel_parameters. */
REEL_API int64_t reel_param_count(reel_module *m);

/** Training (dropout drops, batch norm uses the batch) or not, for `m` and below. */
REEL_API void reel_train(reel_module *m, bool on);
/** Whether the parameters of `m` and below ask for no gradient (true) or do (false). */
REEL_API reel_status reel_freeze(reel_module *m, bool on);
/** Clears the gradients of all parameters. */
REEL_API void reel_zero_grad(reel_module *m);
/** Moves parameters and buffers to a device, in place: optimizers hold the same tensors.
 *  Gradients are cleared. Errors: REEL_ERR_DEVICE, REEL_ERR_MEMORY; nothing has changed
 *  then. */
REEL_API reel_status reel_module_to(reel_module *m, reel_device device);
/** Converts floating parameters and buffers to `dtype` (floating), in the same way. */
REEL_API reel_status reel_module_cast(reel_module *m, reel_dtype dtype);

/* ---- state ------------------------------------------------------------------------- */

/** Puts all parameters and buffers into `map` under their paths. They are shared, not copied:
 *  the map shows what becomes of them. */
REEL_API reel_status reel_state_dict(reel_module *m, reel_tensor_map *map);

/** What became of a name. */
typedef enum reel_load_kind {
    REEL_LOAD_LOADED = 0, /* its tensor was copied; after an error: fits */
    REEL_LOAD_MISSING,    /* the module has it, the map has not */
    REEL_LOAD_UNEXPECTED, /* the map has it, the module has not */
    REEL_LOAD_OTHER_SHAPE /* both have it, in different shapes */
} reel_load_kind;
/** The names of a load by what became of them. Opaque. */
typedef struct reel_load_report reel_load_report;
/** An empty one, for reel_load_opts. Errors: REEL_ERR_MEMORY. The caller frees it. */
REEL_API reel_load_report *reel_load_report_new(void);
/** Frees. NULL is allowed. */
REEL_API void reel_load_report_free(reel_load_report *r);
/** Number of names of that kind; 0 for NULL. */
REEL_API int reel_load_report_count(const reel_load_report *r, reel_load_kind kind);
/** Name i of that kind, in the module's order (unexpected ones: the map's), owned by `r` until
 *  its next load; NULL out of range. */
REEL_API const char *reel_load_report_name(const reel_load_report *r, reel_load_kind kind,
                                           int i);

/** Options of reel_load_state_dict and reel_module_load. Zero is the default. */
typedef struct reel_load_opts {
    bool partial;          /* names that are only here, or only there, are left alone */
    bool skip_other_shape; /* so are tensors of another shape */
    reel_load_report
        *report; /* filled, also when names or shapes are an error; or NULL */
    REEL_FUTURE;
} reel_load_opts;
/** Copies tensors of `map` into the parameters and buffers of their names, converting dtype
 *  and device. A name that is not in the map takes the tensor of another name of the same
 *  parameter (reel_module_tie), or the one that the map's text of that name names. Errors:
 *  REEL_ERR_ARG listing missing and unexpected names, if nothing at all fits (whatever `opts`
 *  says), or if two names of one parameter have different values; REEL_ERR_SHAPE listing those
 *  of another shape. Nothing has changed then. */
REEL_API reel_status reel_load_state_dict(reel_module *m, const reel_tensor_map *map,
                                          const reel_load_opts *opts);
/** Writes the state as a safetensors file. A tensor of two names is written once, under the
 *  first; the second is a text of the file that names the first, as
 *  safetensors.torch.save_model() does. Errors: as reel_safetensors_save. */
REEL_API reel_status reel_module_save(reel_module *m, const char *path);
/** Reads it back. Errors: as reel_safetensors_load and reel_load_state_dict. */
REEL_API reel_status reel_module_load(reel_module *m, const char *path,
                                      const reel_load_opts *opts);

/* ---- layers ------------------------------------------------------------------------ */
/* Names in brackets are the layer's own in a state dict. */

/** Options of reel_nn_linear. Zero is the default. */
typedef struct reel_nn_linear_opts {
    bool no_bias;
    REEL_FUTURE;
} reel_nn_linear_opts;
/** y = x W' + b on the last dimension [weight, bias]. */
REEL_API reel_module *reel_nn_linear(int64_t in, int64_t out,
                                     const reel_nn_linear_opts *opts);

/** Options of the kaiming initializers. Zero is the default: fan-in, for ReLU. */
typedef struct reel_kaiming_opts {
    double slope; /* of the leaky ReLU that follows; 1: none follows */
    bool fan_out; /* keep the variance of gradients instead of activations */
    REEL_FUTURE;
} reel_kaiming_opts;
/** Options of reel_nn_conv2d. Zero is the default. */
typedef struct reel_nn_conv2d_opts {
    reel_conv2d_opts conv; /* stride, padding, dilation, groups */
    bool no_bias;
    int kernel_hw[2];                 /* wins over `kernel` unless both are 0 */
    const reel_kaiming_opts *kaiming; /* weights by reel_init_kaiming_normal() with these
                                       * instead of PyTorch's default */
    REEL_FUTURE;
} reel_nn_conv2d_opts;
/** Convolution with a kernel x kernel window [weight, bias]. */
REEL_API reel_module *reel_nn_conv2d(int64_t in, int64_t out, int kernel,
                                     const reel_nn_conv2d_opts *opts);

/** Options of reel_nn_batch_norm2d. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_nn_batch_norm2d_opts {
    double eps;      /* 0 means 1e-5 */
    double momentum; /* 0 means 0.1 */
    REEL_FUTURE;
} reel_nn_batch_norm2d_opts;
/** Batch normalization of [n, c, h, w] [weight, bias, running_mean, running_var,
 *  num_batches_tracked]. */
REEL_API reel_module *reel_nn_batch_norm2d(int64_t channels,
                                           const reel_nn_batch_norm2d_opts *opts);
/** bn(x) + residual (or NULL), then max(0, .) if `relu`: one pass over memory, while the names
 *  in the state dict stay those of separate layers. */
REEL_API reel_tensor *reel_nn_batch_norm2d_forward(reel_module *bn, reel_tensor *x,
                                                   reel_tensor *residual, bool relu);

/** Options of reel_nn_layer_norm. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_nn_layer_norm_opts {
    double eps; /* 0 means 1e-5 */
    bool no_affine;
    bool no_bias;
    REEL_FUTURE;
} reel_nn_layer_norm_opts;
/** Layer normalization over the last dimensions, which have `shape` [weight, bias]. */
REEL_API reel_module *reel_nn_layer_norm(reel_shape shape,
                                         const reel_nn_layer_norm_opts *opts);

/** Largest of each window of kernel x kernel. */
REEL_API reel_module *reel_nn_max_pool2d(int kernel, const reel_pool2d_opts *opts);
/** Mean of each window. */
REEL_API reel_module *reel_nn_avg_pool2d(int kernel, const reel_pool2d_opts *opts);
/** Mean of windows that give [n, c, h, w]. */
REEL_API reel_module *reel_nn_adaptive_avg_pool2d(int h, int w);

/** Elementwise functions; parameters are PyTorch's defaults (leaky_relu 0.01, elu 1): others by
 *  reel_nn_leaky_relu() and reel_nn_elu(). */
typedef enum reel_activation {
    REEL_ACT_RELU = 0,
    REEL_ACT_RELU6,
    REEL_ACT_LEAKY_RELU,
    REEL_ACT_ELU,
    REEL_ACT_GELU,
    REEL_ACT_GELU_TANH,
    REEL_ACT_SILU,
    REEL_ACT_SIGMOID,
    REEL_ACT_TANH,
    REEL_ACT_HARDSIGMOID,
    REEL_ACT_HARDSWISH,
    REEL_ACT_SOFTPLUS,
    REEL_ACT_IDENTITY
} reel_activation;
/** The function itself. */
REEL_API reel_tensor *reel_activate(reel_tensor *x, reel_activation kind);
/** Its name, such as "relu"; "?" for a value that is none. Static storage. */
REEL_API const char *reel_activation_name(reel_activation kind);
/** It as a module. */
REEL_API reel_module *reel_nn_activation(reel_activation kind);
/** reel_nn_activation(REEL_ACT_RELU). */
REEL_API reel_module *reel_nn_relu(void);
/** reel_nn_activation(REEL_ACT_GELU). */
REEL_API reel_module *reel_nn_gelu(void);
/** reel_leaky_relu() as a module: x > 0 ? x : negative_slope x. PyTorch's default is 0.01. */
REEL_API reel_module *reel_nn_leaky_relu(double negative_slope);
/** reel_elu() as a module: x > 0 ? x : alpha (exp(x) - 1). PyTorch's default is 1. */
REEL_API reel_module *reel_nn_elu(double alpha);

/** In training each element is dropped with probability p in [0, 1). */
REEL_API reel_module *reel_nn_dropout(double p);
/** Dimensions start .. end (both included, negative from the end) become one; (1, -1) is
 *  PyTorch's default. */
REEL_API reel_module *reel_nn_flatten(int start, int end);
/** Rows of a table [n, dim] at integer indices [weight]. */
REEL_API reel_module *reel_nn_embedding(int64_t n, int64_t dim);

/** n modules one after the other, named "0", "1", ...; takes them over. NULL if one is NULL
 *  (the others are freed). Without gradients no more than one result is alive at a time. */
REEL_API reel_module *reel_nn_sequential_n(reel_module *const modules[], int n);
/** reel_nn_sequential(a, b, c): the same with the modules written in place (C only). */
#define reel_nn_sequential(...)                                                          \
    reel_nn_sequential_n(                                                                \
        (reel_module *[]){__VA_ARGS__},                                                  \
        (int)(sizeof((reel_module *[]){__VA_ARGS__}) / sizeof(reel_module *)))

/** Options of reel_nn_attention. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_nn_attention_opts {
    double dropout; /* on the probabilities, in training */
    bool no_bias;
    bool causal; /* query i sees keys 0 .. i */
    REEL_FUTURE;
} reel_nn_attention_opts;
/** Multi-head attention over [n, l, dim]; forward is self-attention, forward_n takes (query),
 *  (query, key, value) or (query, key, value, mask or NULL). Names and packing are
 *  torch.nn.MultiheadAttention's [in_proj_weight, in_proj_bias, out_proj.weight,
 *  out_proj.bias]. Errors: REEL_ERR_ARG if dim is not a multiple of heads. */
REEL_API reel_module *reel_nn_attention(int64_t dim, int heads,
                                        const reel_nn_attention_opts *opts);
/** query [n, lq, dim], key and value [n, lk, dim] -> [n, lq, dim]. `mask` as in
 *  reel_attention, broadcast to [n, heads, lq, lk], or NULL. */
REEL_API reel_tensor *reel_nn_attention_forward(reel_module *mha, reel_tensor *query,
                                                reel_tensor *key, reel_tensor *value,
                                                reel_tensor *mask);

/** Options of reel_nn_encoder_layer. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_nn_encoder_layer_opts {
    int64_t hidden; /* of the feed-forward part; 0 means 2048 */
    double dropout; /* in training; PyTorch's default is 0.1, ours none */
    reel_activation activation;
    double eps;      /* of the norms; 0 means 1e-5 */
    bool norm_first; /* normalize before attention and before feed-forward */
    bool causal;
    REEL_FUTURE;
} reel_nn_encoder_layer_opts;
/** Transformer encoder layer over [n, l, dim], named as torch.nn.TransformerEncoderLayer
 *  [self_attn, linear1, linear2, norm1, norm2]; forward_n takes (x) or (x, mask or NULL), the
 *  mask as in reel_nn_attention_forward. Source: Vaswani et al. 2017,
 *  arXiv:1706.03762; norm_first: Xiong et al. 2020, arXiv:2002.04745. */
REEL_API reel_module *reel_nn_encoder_layer(int64_t dim, int heads,
                                            const reel_nn_encoder_layer_opts *opts);

/* ---- initializers: change a tensor in place, record nothing, return it --------------- */

/** Every element `value`. */
REEL_API reel_tensor *reel_init_constant(reel_tensor *t, double value);
/** Uniform in [low, high). */
REEL_API reel_tensor *reel_init_uniform(reel_tensor *t, double low, double high);
/** Normal. */
REEL_API reel_tensor *reel_init_normal(reel_tensor *t, double mean, double std);
/** Normal, but only values in [low, high]. */
REEL_API reel_tensor *reel_init_trunc_normal(reel_tensor *t, double mean, double std,
                                             double low, double high);

/** Uniform or normal with variance 2 / ((1 + slope^2) fan); t has rank 2 or more, [out, in,
 *  window...]. Source: He et al. 2015, arXiv:1502.01852. */
REEL_API reel_tensor *reel_init_kaiming_uniform(reel_tensor *t,
                                                const reel_kaiming_opts *opts);
REEL_API reel_tensor *reel_init_kaiming_normal(reel_tensor *t,
                                               const reel_kaiming_opts *opts);
/** Uniform or normal with variance gain^2 2 / (fan_in + fan_out); gain 0 means 1, REEL_ZERO
 *  is 0.
 *  Source: Glorot & Bengio 2010. */
REEL_API reel_tensor *reel_init_xavier_uniform(reel_tensor *t, double gain);
REEL_API reel_tensor *reel_init_xavier_normal(reel_tensor *t, double gain);
/** Orthogonal rows or columns (whichever are fewer) of [out, rest], times gain (0 means 1,
 *  REEL_ZERO is 0).
 *  Source: Saxe et al. 2013, arXiv:1312.6120. */
REEL_API reel_tensor *reel_init_orthogonal(reel_tensor *t, double gain);

/* ---- models ------------------------------------------------------------------------ */

/** Options of reel_mlp. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_mlp_opts {
    int64_t hidden[8]; /* widths, up to the first 0; none: one of 256 */
    reel_activation activation;
    double dropout; /* after each activation, in training */
    REEL_FUTURE;
} reel_mlp_opts;
/** Multi-layer perceptron over [n, ...], flattened to `in` elements each, to [n, out]
 *  [fc1, fc2, ...]. */
REEL_API reel_module *reel_mlp(int64_t in, int64_t out, const reel_mlp_opts *opts);

/** Options of the residual nets. Zero is the default. */
typedef struct reel_resnet_opts {
    int64_t classes;  /* 0 means 10 for the CIFAR nets, 1000 for the others */
    int64_t channels; /* of the input; 0 means 3 */
    bool cifar_stem;  /* resnet18/34/50: 3x3 stride 1, no pooling, for 32x32 images */
    /* Shortcuts that change width are option A of the paper, subsampling and zero channels,
     * instead of option B, a 1x1 convolution. */
    bool pad_shortcut;
    bool zero_init; /* the last batch norm of each block begins as 0 */
    REEL_FUTURE;
} reel_resnet_opts;
/** Residual nets for 32x32 images: 3x3 stem of 16 channels, three stages of 16, 32, 64
 *  [conv1, bn1, layer1.0.conv1, ..., layer2.0.downsample.0, ..., fc].
 *  Source: He et al. 2015, arXiv:1512.03385, section 4.2. `opts` may be NULL. */
REEL_API reel_module *reel_resnet20(const reel_resnet_opts *opts);
REEL_API reel_module *reel_resnet32(const reel_resnet_opts *opts);
REEL_API reel_module *reel_resnet56(const reel_resnet_opts *opts);
/** Residual nets for 224x224 images; names and initialization are torchvision's. Same source;
 *  resnet50 has its stride in the 3x3 convolution, as torchvision's. `opts` may be NULL. */
REEL_API reel_module *reel_resnet18(const reel_resnet_opts *opts);
REEL_API reel_module *reel_resnet34(const reel_resnet_opts *opts);
REEL_API reel_module *reel_resnet50(const reel_resnet_opts *opts);

/** Options of reel_mobilenet_v2. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_mobilenet_opts {
    int64_t classes;  /* 0 means 1000 */
    int64_t channels; /* of the input; 0 means 3 */
    double width;     /* times the channels of layers, to multiples of 8; 0 means 1 */
    double dropout;   /* before the classifier, in training; 0 means 0.2 */
    bool cifar_stem;  /* stride 1 in first layer and second stage, for 32x32 images */
    REEL_FUTURE;
} reel_mobilenet_opts;
/** MobileNetV2: inverted residuals, which widen, filter channel by channel and narrow, with
 *  ReLU6, for 224x224 images; names, initialization and rounding of widths are torchvision's
 *  [features.0.0, features.0.1, features.1.conv.0.0, ..., features.18.1, classifier.1]. `opts`
 *  may be NULL. Errors: REEL_ERR_ARG for classes or channels below 1, a width that is not in
 *  (0, 100], a dropout that is not in [0, 1).
 *  Source: Sandler et al. 2018, arXiv:1801.04381. */
REEL_API reel_module *reel_mobilenet_v2(const reel_mobilenet_opts *opts);

/** Options of reel_vit_tiny. Zero is the default, REEL_ZERO for 0. */
typedef struct reel_vit_opts {
    int64_t classes;  /* 0 means 10 */
    int64_t channels; /* 0 means 3 */
    int image;        /* side; 0 means 32 */
    int patch;        /* side; 0 means 4 */
    int64_t dim;      /* 0 means 192 */
    int depth;        /* 0 means 6 */
    int heads;        /* 0 means 3 */
    int64_t hidden;   /* 0 means 4 dim */
    double dropout;
    REEL_FUTURE;
} reel_vit_opts;
/** Small vision transformer, pre-norm, GELU, mean of the tokens instead of a class token
 *  [patch_embed (convolution), pos_embed [1, tokens, dim], layers.0 ... (encoder layers),
 *  norm, head]. Source: Dosovitskiy et al. 2020, arXiv:2010.11929. `opts` may be NULL. */
REEL_API reel_module *reel_vit_tiny(const reel_vit_opts *opts);

/* ---- graph ------------------------------------------------------------------------- */

/** The graph of what `m` does to `x`: parameters and buffers under their paths, shared with
 *  `m`; the module's path on every node. Train or eval mode and whether gradients are enabled
 *  are taken as they are. `opts` (but for `declare`, which is not looked at) and errors as for
 *  reel_trace_function(), which this is. The caller frees the graph. */
REEL_API reel_graph *reel_trace(reel_module *m, reel_tensor *x,
                                const reel_trace_opts *opts);
/** The same of n_x inputs and n_y results, by reel_forward_n(). */
REEL_API reel_graph *reel_trace_n(reel_module *m, reel_tensor *const x[], int n_x,
                                  int n_y, const reel_trace_opts *opts);
/** reel_forward() as a reel_function: `module` is the module, x its one input. */
REEL_API reel_tensor *reel_module_function(void *module, reel_tensor *const x[], int n);
/** reel_forward_n() as a reel_function_n: `module` is the module. */
REEL_API reel_status reel_module_function_n(void *module, reel_tensor *const x[], int n_x,
                                            reel_tensor *y[], int n_y);
/** `m` as an ONNX file, in one call: traced on `x`, optimized, written, read back and compared
 *  with the module itself. Call reel_train(m, false) before. `opts` (but for `fn` and `user`,
 *  which are the module) and errors: as for reel_onnx_export() and reel_trace(). */
REEL_API reel_status reel_module_export(reel_module *m, reel_tensor *x, const char *path,
                                        const reel_onnx_opts *opts);

/** The same of n_x inputs and n_y results. `trace` and `opts` may be NULL; `declare`, `fn` and
 *  `user` in them are not looked at. */
REEL_API reel_status reel_module_export_n(reel_module *m, reel_tensor *const x[], int n_x,
                                          int n_y, const char *path,
                                          const reel_trace_opts *trace,
                                          const reel_onnx_opts *opts);

/** Declares all parameters and buffers of `m`, by their paths, in a capture of your own.
 *  Errors: as reel_capture_state(). */
REEL_API reel_status reel_capture_module(reel_module *m);
/** A graph as a module, run by forward_n, and by forward if it has one input and one output: a
 *  copy of `g` that shares its tensors; its parameters and buffers stand under their names. So
 *  it is trained, saved and traced as any module; train and eval mode stay as they were traced,
 *  and so do its parts: none can be replaced or freed alone. Errors: REEL_ERR_ARG for a graph
 *  without outputs; as reel_module_param. */
REEL_API reel_module *reel_graph_module(const reel_graph *g);

/* ---- summary ----------------------------------------------------------------------- */

/** Options of reel_summary. Zero is the default. */
typedef struct reel_summary_opts {
    reel_dtype dtype; /* of the input; integers are zeros */
    int depth;        /* modules nested deeper are not listed; 0 means all */
    REEL_FUTURE;
} reel_summary_opts;
/** Runs `m` once without gradients, in eval mode, and says for each module the shape of its
 *  result, parameters, multiply-adds (half the operations that the operators count) and the
 *  memory of its result; and the totals. The caller frees the text with free(). NULL on an
 *  error. `m` is left as it was. `opts` may be NULL. */
REEL_API char *reel_summary(reel_module *m, reel_shape input,
                            const reel_summary_opts *opts);
/** Writes it to `to`. */
REEL_API reel_status reel_summary_write(reel_module *m, reel_shape input, FILE *to,
                                        const reel_summary_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
