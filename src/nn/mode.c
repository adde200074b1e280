/* mode.c: what is set for a module and all below it. */
#include "base/error.h"
#include "nn/module.h"

#include "base/alloc.h"

void reel_train(reel_module *m, bool on)
{
    if (!m) return;
    m->training = on;
    for (int i = 0; i < m->tree->n_child; i++) reel_train(m->tree->child[i], on);
}

reel_status reel_freeze(reel_module *m, bool on)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    reel_params p = reel_parameters(m);
    for (int i = 0; i < p.n; i++)
        if (!reel_requires_grad(p.tensor[i], !on)) break;
    return reel_error_status();
}

void reel_zero_grad(reel_module *m)
{
    if (!m) return;
    for (int i = 0; i < m->tree->n_slot; i++)
        if (m->tree->slot[i].is_param) reel_set_grad(m->tree->slot[i].tensor, NULL);
    for (int i = 0; i < m->tree->n_child; i++) reel_zero_grad(m->tree->child[i]);
}

/* ---- moving and converting ------------------------------------------------------------- */

reel_status reel__replace(reel_tensor *leaf, reel_tensor *src)
{
    bool asks = reel_needs_grad(leaf);
    reel_set_grad(leaf, NULL);
    if (asks && !reel_requires_grad(leaf, false)) return reel_error_status();
    reel_status st = reel_set_data(leaf, src);
    if (asks && !reel_requires_grad(leaf, true)) st = reel_error_status();
    return st;
}

/* All results first, then all replacements: an error half way leaves the module as it was. */
typedef struct change {
    bool to_device;
    reel_device device;
    reel_dtype dtype;
    reel_tensor **from, **to;
    int n, room;
} change;

static reel_status collect(void *user, const char *path, reel_tensor *t, bool is_param)
{
    change *c = user;
    (void)path;
    (void)is_param;
    for (int i = 0; i < c->n; i++)
        if (c->from[i] == t) return REEL_OK; /* it has two names */
    if (c->n == c->room) {
        int room = c->room ? 2 * c->room : 64;
        reel_tensor **from = reel__realloc(c->from, (size_t)room * sizeof *from);
        if (from) c->from = from;
        reel_tensor **to = from ? reel__realloc(c->to, (size_t)room * sizeof *to) : NULL;
        if (!to) return reel_error_status();
        c->to = to;
        c->room = room;
    }
    reel_tensor *y = t;
    if (c->to_device)
        y = reel_to(t, c->device);
    else if (reel_dtype_is_float(reel_dtype_of(t)))
        y = reel_cast(t, c->dtype);
    if (!y) return reel_error_status();
    c->from[c->n] = t;
    c->to[c->n++] = y;
    return REEL_OK;
}

static reel_status change_all(reel_module *m, change *c)
{
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_status st = reel_tensor_each(m, collect, c);
    for (int i = 0; i < c->n && !st; i++)
        if (c->to[i] != c->from[i]) st = reel__replace(c->from[i], c->to[i]);
    reel_set_grad_enabled(was);
    reel_scope_end(s);
    reel__free(c->from);
    reel__free(c->to);
    return st;
}

reel_status reel_module_to(reel_module *m, reel_device device)
{
    REEL__CALLED;
    if (!reel__module_there("module_to", m) || reel_failed()) return reel_error_status();
    return change_all(m, &(change){.to_device = true, .device = device});
}

reel_status reel_module_cast(reel_module *m, reel_dtype dtype)
{
    REEL__CALLED;
    if (!reel__module_there("module_cast", m) || reel_failed())
        return reel_error_status();
    if (!reel_dtype_is_float(dtype))
        return reel_fail(REEL_ERR_DTYPE, "module_cast: %s must be a floating dtype",
                         reel_dtype_name(dtype));
    return change_all(m, &(change){.dtype = dtype});
}
