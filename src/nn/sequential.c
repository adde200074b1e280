/* sequential.c: modules one after the other. */
#include <stdio.h>

#include "base/error.h"
#include "base/shares.h"
#include "nn/module.h"

reel_tensor *reel__chain(reel_module *const modules[], int n, reel_tensor *x)
{
    for (int i = 0; i < n - 1; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *y = reel__hold(reel_forward(modules[i], x));
        reel_scope_end(s);
        reel__let_go(x);
        x = y;
    }
    /* The last result, or x itself, goes to the caller's scope before our share goes. */
    reel_scope s = reel_scope_begin();
    reel_tensor *y = reel_scope_return(s, n > 0 ? reel_forward(modules[n - 1], x) : x);
    reel__let_go(x);
    return y;
}

static reel_tensor *sequential_forward(reel_module *self, reel_tensor *x)
{
    return reel__chain(self->tree->child, self->tree->n_child, reel__hold(x));
}

reel_module *reel_nn_sequential_n(reel_module *const modules[], int n)
{
    REEL__CALLED;
    bool whole = modules || n == 0;
    for (int i = 0; i < n && whole; i++) whole = modules[i] != NULL;
    if (!whole) reel_fail(REEL_ERR_ARG, "nn_sequential: a module is NULL");
    reel_module *m = reel_module_new(sizeof *m, "sequential", sequential_forward);
    for (int i = 0; i < n && modules; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        if (m && modules[i])
            reel_module_add(m, name, modules[i]);
        else
            reel_module_free(modules[i]);
    }
    return reel_module_done(m);
}
