/* module.h (internal): what a module's tree is made of. */
#ifndef REEL_NN_MODULE_H
#define REEL_NN_MODULE_H

#include <reel/autograd.h>
#include <reel/nn.h>

#define REEL__ACT_COUNT ((int)REEL_ACT_IDENTITY + 1)

/* A named parameter or buffer. */
typedef struct reel__slot {
    char *name;
    reel_tensor *tensor;
    bool is_param;
} reel__slot;

typedef struct reel__numbered_hook {
    int number;
    reel_module_hook fns;
} reel__numbered_hook;

/* What reel_parameters() gave out last. */
typedef struct reel__param_list {
    reel_tensor **tensor;
    char **name;
    int n;
    bool valid;
} reel__param_list;

struct reel_module_tree {
    char *name; /* in the parent; NULL for a root */
    reel_module *parent;
    reel_module **child;
    reel__slot *slot;
    reel__numbered_hook *hook;
    int n_child, n_slot, n_hook, last_hook;
    uint64_t watched; /* base/watched.h */
    uint64_t changes; /* of its own children, slots and hooks, so far */
    reel__param_list params;
    size_t size;            /* of the struct that begins with the module */
    reel_module *left;      /* children that were freed: module.c ... */
    reel_module *next_left; /* ... one after the other */
    bool is_freed;          /* it is one of them */
    bool is_hole;           /* stands where a child was taken out */
    reel_module **taken;    /* what was below it and was taken out, each once */
    int n_taken;
    int shares; /* of its memory: one for being alive or left behind, and one of each
                 * whose `taken` it is in */
    bool fixed; /* what runs does not look at the children: a graph does */
};

/* True if `m` is a module that lives; else an error of `who`. */
bool reel__module_there(const char *who, const reel_module *m);
/* True if `m` is `below` or above it. */
bool reel__is_above(const reel_module *m, const reel_module *below);
/* True if `child` may go below `parent`; else an error of `who`. */
bool reel__may_join(const char *who, const reel_module *parent, const char *name,
                    const reel_module *child);
/* True if children of `m` may be freed and exchanged; else an error of `who`. */
bool reel__may_change(const char *who, const reel_module *m);
/* Frees what is not a child of its parent any more, whose memory it stays. */
void reel__module_leave_behind(reel_module *parent, reel_module *m);
/* Gives `parent` and all above it, where pointers to `child` and what is below it may be, shares
 * of the memory of these. */
reel_status reel__module_share(reel_module *parent, reel_module *child);

/* The slot at a path such as "layer1.0.conv1.weight", and the module that has it; NULL if there
 * is none. */
reel__slot *reel__slot_at(reel_module *m, const char *path, reel_module **owner);

/* Children or slots of `m` have changed: what reel_parameters() gave out for it and all above
 * it is void. */
void reel__params_changed(reel_module *m);
void reel__param_list_clear(reel__param_list *list);

/* The module's path, such as "layer1.0.conv1", cut to `size`; "" for a root. */
void reel__module_path(const reel_module *m, char *out, size_t size);

/* REEL_DEBUG=1: this thread trains what a forward of `m` in training reads and changes, with
 * gradients on, until the innermost scope ends; of all below it too if `whole`. False with an
 * error if another thread does. */
bool reel__module_trains(reel_module *m, bool whole);

/* The modules one after the other. Takes over one share of x, and lets each value go as soon
 * as the next is there, so that without gradients only one is alive. */
reel_tensor *reel__chain(reel_module *const modules[], int n, reel_tensor *x);

/* ---- graph.c: modules that run a graph ------------------------------------------------------- */

/* The module at the path path[0..n-1] below m, made if it is not there: a folder without a
 * forward. n 0: m. */
reel_module *reel__module_folder(reel_module *m, const char *path, size_t n);
/* Puts parameters and buffers of g below m, under their names; from then on parts of m can be
 * neither replaced nor freed, for what runs is the graph. */
reel_status reel__module_hold_graph(reel_module *m, const reel_graph *g);

/* True for what reel_nn_batch_norm2d() made. */
bool reel__is_batch_norm2d(const reel_module *m);

/* Makes a leaf hold what `src` holds, with its shape, dtype and device; the gradient goes. */
reel_status reel__replace(reel_tensor *leaf, reel_tensor *src);

#endif
