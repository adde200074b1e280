/* trace.c: the graph of a module. */
#include <reel/trace.h>

#include "base/error.h"
#include "base/option.h"
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
    REEL__CALLED;
    reel_status st = reel_tensor_each(m, declare, NULL);
    return st ? st : reel_module_each(m, decides, NULL);
}

static reel_status declare_module(void *user)
{
    return reel_capture_module(user);
}

reel_tensor *reel_module_function(void *module, reel_tensor *const x[], int n)
{
    REEL__CALLED;
    if (n == 1 && x) return reel_forward(module, x[0]);
    reel_fail(REEL_ERR_ARG, "module_function: %d inputs, a module takes one", n);
    return NULL;
}

reel_status reel_module_function_n(void *module, reel_tensor *const x[], int n_x,
                                   reel_tensor *y[], int n_y)
{
    REEL__CALLED;
    return reel_forward_n(module, x, n_x, y, n_y);
}

reel_graph *reel_trace(reel_module *m, reel_tensor *x, const reel_trace_opts *opts)
{
    REEL__CALLED;
    if (!m || !x) {
        reel_fail(REEL_ERR_ARG, "trace: the %s is NULL", m ? "input" : "module");
        return NULL;
    }
    const reel_trace_opts *given = REEL__OPTS("trace", reel_trace_opts, opts);
    if (!given) return NULL;
    reel_trace_opts o = *given;
    o.declare = declare_module;
    return reel_trace_function(reel_module_function, m, &x, 1, &o);
}

reel_graph *reel_trace_n(reel_module *m, reel_tensor *const x[], int n_x, int n_y,
                         const reel_trace_opts *opts)
{
    REEL__CALLED;
    if (!reel__module_there("trace", m)) return NULL;
    const reel_trace_opts *given = REEL__OPTS("trace_n", reel_trace_opts, opts);
    if (!given) return NULL;
    reel_trace_opts o = *given;
    o.declare = declare_module;
    return reel_trace_function_n(reel_module_function_n, m, x, n_x, n_y, &o);
}

reel_status reel_module_export(reel_module *m, reel_tensor *x, const char *path,
                               const reel_onnx_opts *opts)
{
    REEL__CALLED;
    const reel_onnx_opts *given = REEL__OPTS("module_export", reel_onnx_opts, opts);
    if (!given) return reel_error_status();
    reel_onnx_opts o = *given;
    o.fn = reel_module_function;
    o.user = m;
    reel_graph *g = reel_trace(m, x, NULL);
    if (g && !reel_graph_optimize(g, NULL)) (void)reel_onnx_export(g, path, &o);
    reel_graph_free(g);
    return reel_error_status();
}

reel_status reel_module_export_n(reel_module *m, reel_tensor *const x[], int n_x, int n_y,
                                 const char *path, const reel_trace_opts *trace,
                                 const reel_onnx_opts *opts)
{
    REEL__CALLED;
    const reel_onnx_opts *given = REEL__OPTS("module_export_n", reel_onnx_opts, opts);
    if (!given) return reel_error_status();
    reel_onnx_opts o = *given;
    o.fn = NULL;
    o.fn_n = reel_module_function_n;
    o.user = m;
    reel_graph *g = reel_trace_n(m, x, n_x, n_y, trace);
    if (g && !reel_graph_optimize(g, NULL)) (void)reel_onnx_export(g, path, &o);
    reel_graph_free(g);
    return reel_error_status();
}
