/* forward.c: calling a module: its scope, its place in error messages, its hooks. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/watched.h"
#include "nn/module.h"

/* The innermost module whose forward runs; its parents say the rest of the path. */
static _Thread_local const reel_module *current;

void reel__module_path(const reel_module *m, char *out, size_t size)
{
    /* From the end of the buffer to its front, as the parents come. */
    size_t at = size - 1;
    out[at] = '\0';
    for (; m && m->tree->parent; m = m->tree->parent) {
        const char *name = m->tree->name;
        size_t n = strlen(name), dot = out[at] ? 1 : 0;
        if (n + dot > at) break;
        if (dot) out[--at] = '.';
        at -= n;
        memcpy(out + at, name, n);
    }
    memmove(out, out + at, size - at);
}

static const char *where(void)
{
    static _Thread_local char path[256];
    reel__module_path(current, path, sizeof path);
    return path;
}

reel_frame reel_module_enter(reel_module *m, reel_tensor *x)
{
    static _Thread_local bool registered;
    if (!registered) {
        (void)reel__set_error_where(where);
        registered = true;
    }
    reel_frame f = {reel_scope_begin(), current};
    if (!m || !reel__module_there("module_enter", m)) return f;
    reel__watched_used(m->tree->watched);
    current = m;
    for (int i = 0; i < m->tree->n_hook; i++) {
        const reel_module_hook *h = &m->tree->hook[i].fns;
        if (h->before) h->before(h->user, m, x);
    }
    return f;
}

reel_tensor *reel_module_leave(reel_module *m, reel_frame frame, reel_tensor *x,
                               reel_tensor *y)
{
    if (!y)
        reel_fail(REEL_ERR_STATE, "%s: forward gave NULL and no error", m ? m->type : "");
    for (int i = 0; m && y && i < m->tree->n_hook; i++) {
        const reel_module_hook *h = &m->tree->hook[i].fns;
        reel_tensor *other = h->after ? h->after(h->user, m, x, y) : NULL;
        if (other) y = other;
    }
    current = frame.outer;
    return reel_scope_return(frame.scope, y);
}

reel_tensor *reel_forward(reel_module *m, reel_tensor *x)
{
    if (!reel__module_there("forward", m)) return NULL;
    if (!x || !m->forward) {
        reel_fail(REEL_ERR_ARG, "forward: %s%s", x ? m->type : "the input is NULL",
                  x ? " has no forward of one tensor" : "");
        return NULL;
    }
    reel_frame f = reel_module_enter(m, x);
    return reel_module_leave(m, f, x, m->forward(m, x));
}

/* ---- hooks -------------------------------------------------------------------------- */

int reel_module_add_hook(reel_module *m, reel_module_hook hook)
{
    if (!reel__module_there("module_add_hook", m) || reel_failed()) return 0;
    struct reel_module_tree *t = m->tree;
    reel__hook *list = reel__realloc(t->hook, (size_t)(t->n_hook + 1) * sizeof *list);
    if (!list) return 0;
    t->hook = list;
    list[t->n_hook++] = (reel__hook){++t->last_hook, hook};
    t->changes++;
    return t->last_hook;
}

reel_status reel_module_remove_hook(reel_module *m, int number)
{
    for (int i = 0; m && i < m->tree->n_hook; i++) {
        struct reel_module_tree *t = m->tree;
        if (t->hook[i].number != number) continue;
        t->n_hook--;
        t->changes++;
        memmove(&t->hook[i], &t->hook[i + 1], (size_t)(t->n_hook - i) * sizeof *t->hook);
        return REEL_OK;
    }
    return reel_fail(REEL_ERR_ARG, "module_remove_hook: there is no hook %d", number);
}
