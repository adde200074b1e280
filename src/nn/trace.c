/* trace.c: the graph of a module. */
#include <reel/nn.h>
#include <reel/trace.h>

static reel_status declare(void *user, const char *path, reel_tensor *t, bool is_param)
{
    (void)user;
    return reel_capture_state(t, path, is_param);
}

reel_status reel_capture_module(reel_module *m)
{
    return reel_tensor_each(m, declare, NULL);
}

reel_graph *reel_trace(reel_module *m, reel_tensor *x)
{
    if (!m || !x) {
        reel_fail(REEL_ERR_ARG, "trace: the %s is NULL", m ? "input" : "module");
        return NULL;
    }
    if (reel_capture_begin()) return NULL;
    reel_scope s = reel_scope_begin();
    if (!reel_capture_module(m)) (void)reel_capture_input(x, NULL);
    reel_tensor *y = reel_failed() ? NULL : reel_forward(m, x);
    reel_graph *g = reel_capture_end(&y, NULL, 1);
    reel_scope_end(s);
    return g;
}
