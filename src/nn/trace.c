/* trace.c: the graph of a module. */
#include <reel/trace.h>

#include "base/watched.h"
#include "nn/module.h"

static reel_status declare(void *user, const char *path, reel_tensor *t, bool is_param)
{
    (void)user;
    return reel_capture_state(t, path, is_param);
}

static reel_status decides(void *user, const char *path, reel_module *m)
{
    (void)user;
    (void)path;
    reel__watched_used(m->tree->watched);
    return REEL_OK;
}

reel_status reel_capture_module(reel_module *m)
{
    reel_status st = reel_tensor_each(m, declare, NULL);
    return st ? st : reel_module_each(m, decides, NULL);
}

static reel_status declare_module(void *user)
{
    return reel_capture_module(user);
}

static reel_tensor *forward(void *user, reel_tensor *const x[], int n)
{
    (void)n;
    return reel_forward(user, x[0]);
}

reel_graph *reel_trace(reel_module *m, reel_tensor *x, const reel_trace_opts *opts)
{
    if (!m || !x) {
        reel_fail(REEL_ERR_ARG, "trace: the %s is NULL", m ? "input" : "module");
        return NULL;
    }
    reel_trace_opts o = opts ? *opts : (reel_trace_opts){0};
    o.declare = declare_module;
    return reel_trace_function(forward, m, &x, 1, &o);
}
