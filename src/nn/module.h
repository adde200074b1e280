/* module.h (internal): what a module's tree is made of. */
#ifndef REEL_NN_MODULE_H
#define REEL_NN_MODULE_H

#include <reel/autograd.h>
#include <reel/nn.h>

/* A named parameter or buffer. */
typedef struct reel__slot {
    char *name;
    reel_tensor *tensor;
    bool is_param;
} reel__slot;

typedef struct reel__hook {
    int number;
    reel_module_hook fns;
} reel__hook;

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
    reel__hook *hook;
    int n_child, n_slot, n_hook, last_hook;
    uint64_t watched; /* base/watched.h */
    uint64_t changes; /* of its own children, slots and hooks, so far */
    reel__param_list params;
};

/* Children or slots of `m` have changed: what reel_parameters() gave out for it and all above
 * it is void. */
void reel__params_changed(reel_module *m);
void reel__param_list_clear(reel__param_list *list);

/* The module's path, such as "layer1.0.conv1", cut to `size`; "" for a root. */
void reel__module_path(const reel_module *m, char *out, size_t size);

/* The modules one after the other. Takes over one share of x, and lets each value go as soon
 * as the next is there, so that without gradients only one is alive. */
reel_tensor *reel__chain(reel_module *const modules[], int n, reel_tensor *x);

/* Makes a leaf hold what `src` holds, with its shape, dtype and device; the gradient goes. */
reel_status reel__replace(reel_tensor *leaf, reel_tensor *src);

#endif
