/* forward.c: calling a module: its scope, its place in error messages, its hooks. */
#include <string.h>

#include "base/alloc.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/option.h"
#include "base/shares.h"
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

/* ---- around a forward ----------------------------------------------------------------- */

/* False only under REEL_DEBUG=1, where the forward would be a mistake. */
static bool may_run(reel_module *m, const reel_module *outer, reel_tensor *const x[],
                    int n_x)
{
    if (!reel__debugging()) return true;
    return reel__debug_all_alive("forward", "input", x, n_x) &&
           reel__module_trains(m, !outer);
}

static reel_frame enter(reel_module *m, reel_tensor *const x[], int n_x, bool *may)
{
    static _Thread_local bool registered;
    if (!registered) {
        (void)reel__set_error_where(where);
        registered = true;
    }
    reel_frame f = {.scope = reel_scope_begin(), .outer = current};
    *may = m && reel__module_there("module_enter", m);
    if (!*may) return f;
    reel__watched_used(m->tree->watched);
    current = m;
    *may = may_run(m, f.outer, x, n_x);
    for (int i = 0; i < m->tree->n_hook && *may; i++) {
        const reel_module_hook *h = &m->tree->hook[i].fns;
        if (h->before) h->before(h->user, m, n_x ? x[0] : NULL);
        if (h->before_n) h->before_n(h->user, m, x, n_x);
    }
    return f;
}

/* The hooks see and change y, all of which is there. */
static void run_hooks(reel_module *m, reel_tensor *const x[], int n_x, reel_tensor *y[],
                      int n_y)
{
    for (int i = 0; i < m->tree->n_hook; i++) {
        const reel_module_hook *h = &m->tree->hook[i].fns;
        reel_tensor *other =
            h->after && n_y ? h->after(h->user, m, n_x ? x[0] : NULL, y[0]) : NULL;
        if (other) y[0] = other;
        if (h->after_n) h->after_n(h->user, m, x, n_x, y, n_y);
    }
}

static bool all_there(const reel_module *m, reel_tensor *const y[], int n_y)
{
    int i = 0;
    while (i < n_y && y[i]) i++;
    if (i == n_y) return true;
    if (n_y == 1)
        reel_fail(REEL_ERR_STATE, "%s: forward gave NULL and no error",
                  m ? m->type : "a module");
    else
        reel_fail(REEL_ERR_STATE, "%s: forward gave NULL for result %d and no error",
                  m ? m->type : "a module", i);
    return false;
}

/* The results go to the caller's scope. */
static void leave(reel_module *m, reel_frame frame, reel_tensor *const x[], int n_x,
                  reel_tensor *y[], int n_y)
{
    if (all_there(m, y, n_y) && m && m->tree->n_hook) {
        run_hooks(m, x, n_x, y, n_y);
        (void)all_there(m, y, n_y);
    }
    current = frame.outer;
    for (int i = 1; i < n_y; i++) reel__hold(y[i]);
    reel_tensor *first = reel_scope_return(frame.scope, n_y ? y[0] : NULL);
    if (n_y) y[0] = first;
    for (int i = 1; i < n_y; i++) {
        (void)reel_scope_return(reel_scope_begin(), y[i]);
        reel__let_go(y[i]); /* the scope's share is left */
    }
}

reel_frame reel_module_enter(reel_module *m, reel_tensor *x)
{
    REEL__CALLS_BACK_AS("module_enter");
    bool may;
    return enter(m, &x, 1, &may);
}

reel_tensor *reel_module_leave(reel_module *m, reel_frame frame, reel_tensor *x,
                               reel_tensor *y)
{
    REEL__CALLS_BACK_AS("module_leave");
    (void)reel__alive("module_leave", x);
    leave(m, frame, &x, 1, &y, 1);
    return y;
}

/* ---- forward -------------------------------------------------------------------------- */

reel_tensor *reel_forward(reel_module *m, reel_tensor *x)
{
    REEL__CALLS_BACK_AS("forward");
    if (!reel__module_there("forward", m)) return NULL;
    if (!x || !(m->forward || m->forward_n)) {
        reel_fail(REEL_ERR_ARG, "forward: %s%s", x ? m->type : "the input is NULL",
                  x ? " has no forward of one tensor" : "");
        return NULL;
    }
    reel_tensor *y = NULL;
    bool may;
    reel_frame f = enter(m, &x, 1, &may);
    if (!may)
        y = NULL;
    else if (m->forward)
        y = m->forward(m, x);
    else if (m->forward_n(m, &x, 1, &y, 1))
        y = NULL;
    leave(m, f, &x, 1, &y, 1);
    return y;
}

reel_status reel_module_takes(const reel_module *m, int takes, int gives, int n_x,
                              int n_y)
{
    return reel_fail(REEL_ERR_ARG,
                     "forward_n: %s: %d inputs for %d results; it takes %d and gives %d",
                     m ? m->type : "a module", n_x, n_y, takes, gives);
}

reel_status reel_forward_n(reel_module *m, reel_tensor *const x[], int n_x,
                           reel_tensor *y[], int n_y)
{
    REEL__CALLS_BACK_AS("forward_n");
    reel__no_results(y, n_y);
    if (!reel__module_there("forward_n", m) || reel_failed()) return reel_error_status();
    if (n_x < 0 || n_y < 0 || (n_x && !x) || (n_y && !y))
        return reel_fail(REEL_ERR_ARG, "forward_n: %d inputs and %d results, or NULL",
                         n_x, n_y);
    if (!m->forward_n && !m->forward)
        return reel_fail(REEL_ERR_ARG, "forward_n: %s has no forward", m->type);
    if (!m->forward_n && (n_x != 1 || n_y != 1))
        return reel_module_takes(m, 1, 1, n_x, n_y);
    if (!m->forward_n && !x[0])
        return reel_fail(REEL_ERR_ARG, "forward_n: the input is NULL");
    bool may;
    reel_frame f = enter(m, x, n_x, &may);
    reel_status st = REEL_OK;
    if (!may)
        st = reel_error_status();
    else if (m->forward_n)
        st = m->forward_n(m, x, n_x, y, n_y);
    else
        y[0] = m->forward(m, x[0]);
    if (st && !reel_failed())
        reel_fail(st, "%s: forward_n returned status %d", m->type, (int)st);
    for (int i = 0; i < n_y && reel_failed(); i++) y[i] = NULL;
    leave(m, f, x, n_x, y, n_y);
    for (int i = 0; i < n_y && reel_failed(); i++) y[i] = NULL;
    return reel_error_status();
}

/* ---- hooks -------------------------------------------------------------------------- */

static bool hook_known(const reel_module_hook *hook)
{
    if (hook) return REEL__KNOWN("module_add_hook", hook);
    reel_fail(REEL_ERR_ARG, "module_add_hook: the hook is NULL");
    return false;
}

int reel_module_add_hook(reel_module *m, const reel_module_hook *hook)
{
    REEL__CALLED;
    if (!reel__module_there("module_add_hook", m) || reel_failed() || !hook_known(hook))
        return 0;
    struct reel_module_tree *t = m->tree;
    reel__numbered_hook *list =
        reel__realloc(t->hook, (size_t)(t->n_hook + 1) * sizeof *list);
    if (!list) return 0;
    t->hook = list;
    list[t->n_hook++] = (reel__numbered_hook){++t->last_hook, *hook};
    t->changes++;
    return t->last_hook;
}

reel_status reel_module_remove_hook(reel_module *m, int number)
{
    REEL__CALLED;
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
