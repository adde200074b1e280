/* module.c: making, filling and freeing modules. */
#include "base/error.h"
#include "base/shares.h"
#include "nn/module.h"

#include <string.h>

#include "base/alloc.h"
#include "base/watched.h"

/* What decides what its forward does: mode, parts, hooks. The mode and the function are fields
 * that anyone may set; parts and hooks change in functions here, which count it. */
static uint64_t says(const void *object)
{
    const reel_module *m = object;
    const uint64_t mode_and_parts = m->tree->changes << 1 | (uint64_t)m->training;
    uint64_t h = reel__says_mix(0, &mode_and_parts, sizeof mode_and_parts);
    return reel__says_mix(h, &m->forward, sizeof m->forward);
}

void *reel_module_new(size_t size, const char *type,
                      reel_tensor *(*forward)(reel_module *self, reel_tensor *x))
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    if (size < sizeof(reel_module)) {
        reel_fail(REEL_ERR_ARG,
                  "module_new: %zu bytes cannot begin with a reel_module of %zu", size,
                  sizeof(reel_module));
        return NULL;
    }
    reel_module *m = reel__calloc(1, size);
    if (!m) return NULL;
    m->tree = reel__calloc(1, sizeof *m->tree);
    if (m->tree) m->tree->watched = reel__watched_new(m, says);
    if (!m->tree || !m->tree->watched) {
        reel__free(m->tree);
        reel__free(m);
        return NULL;
    }
    m->tree->size = size;
    m->tree->shares = 1;
    m->forward = forward;
    m->type = type ? type : "module";
    m->training = true;
    reel__live_add(1);
    return m;
}

reel_module *reel_module_done(reel_module *m)
{
    if (!reel_failed()) return m;
    reel_module_free(m);
    return NULL;
}

/* ---- freeing ------------------------------------------------------------------------ */

/* A child that is freed leaves its struct behind, zeroed, until its parent is freed, and all that
 * it was taken out of before: whoever still has its address finds a module that says so, and
 * not the memory of something else. */

/* One share of the memory; with the last one it goes. */
static void drop_memory(reel_module *m)
{
    struct reel_module_tree *t = m->tree;
    if (--t->shares > 0) return;
    for (reel_module *next; t->left; t->left = next) {
        next = t->left->tree->next_left;
        t->left->tree->parent = NULL;
        drop_memory(t->left);
    }
    reel__free(t->name);
    reel__free(t);
    reel__free(m);
}

/* Nothing of it runs any more, so that it needs no memory of what was taken out of it. */
static void empty(reel_module *m)
{
    struct reel_module_tree *t = m->tree;
    if (m->destroy) m->destroy(m);
    for (int i = 0; i < t->n_child; i++) reel__module_leave_behind(m, t->child[i]);
    for (int i = 0; i < t->n_slot; i++) {
        reel__let_go(t->slot[i].tensor);
        reel__free(t->slot[i].name);
    }
    for (int i = 0; i < t->n_taken; i++) drop_memory(t->taken[i]);
    reel__param_list_clear(&t->params);
    reel__watched_free(t->watched);
    reel__free(t->child);
    reel__free(t->slot);
    reel__free(t->hook);
    reel__free(t->taken);
    *t = (struct reel_module_tree){.name = t->name,
                                   .parent = t->parent,
                                   .left = t->left,
                                   .shares = t->shares,
                                   .size = t->size,
                                   .is_freed = true};
    memset(m, 0, t->size);
    m->type = "module that was freed";
    m->tree = t;
    reel__live_add(-1);
}

void reel__module_leave_behind(reel_module *parent, reel_module *m)
{
    empty(m);
    m->tree->next_left = parent->tree->left;
    parent->tree->left = m;
}

static int count_modules(const reel_module *m)
{
    int n = 1;
    for (int i = 0; i < m->tree->n_child; i++) n += count_modules(m->tree->child[i]);
    return n;
}

static void share_all(struct reel_module_tree *up, reel_module *m)
{
    int at = 0;
    while (at < up->n_taken && up->taken[at] != m) at++;
    if (at == up->n_taken) {
        up->taken[up->n_taken++] = m;
        m->tree->shares++;
    }
    for (int i = 0; i < m->tree->n_child; i++) share_all(up, m->tree->child[i]);
}

reel_status reel__module_share(reel_module *parent, reel_module *child)
{
    int n = count_modules(child);
    for (reel_module *up = parent; up; up = up->tree->parent) {
        struct reel_module_tree *t = up->tree;
        reel_module **list =
            reel__realloc(t->taken, (size_t)(t->n_taken + n) * sizeof *list);
        if (!list) return reel_error_status();
        t->taken = list;
    }
    for (reel_module *up = parent; up; up = up->tree->parent) share_all(up->tree, child);
    return REEL_OK;
}

static void take_out(reel_module *parent, const reel_module *child)
{
    struct reel_module_tree *up = parent->tree;
    int i = 0;
    while (up->child[i] != child) i++;
    up->n_child--;
    memmove(&up->child[i], &up->child[i + 1],
            (size_t)(up->n_child - i) * sizeof *up->child);
    reel__params_changed(parent);
}

void reel_module_free(reel_module *m)
{
    REEL__CALLED;
    if (!m || !(m->tree->is_hole || reel__module_there("module_free", m))) return;
    reel_module *parent = m->tree->parent;
    if (!parent) {
        empty(m);
        drop_memory(m);
    } else if (reel__may_change("module_free", parent)) {
        take_out(parent, m);
        reel__module_leave_behind(parent, m);
    }
}

/* ---- asking ------------------------------------------------------------------------- */

bool reel__module_there(const char *who, const reel_module *m)
{
    if (m && !m->tree->is_freed && !m->tree->is_hole) return true;
    if (m)
        reel_fail(REEL_ERR_STATE,
                  "%s: the module \"%s\" was %s; reel_module_replace() puts another in "
                  "the place of a child",
                  who, m->tree->name ? m->tree->name : "",
                  m->tree->is_freed ? "freed" : "taken out");
    else
        reel_fail(REEL_ERR_ARG, "%s: the module is NULL", who);
    return false;
}

bool reel__is_above(const reel_module *m, const reel_module *below)
{
    while (below && below != m) below = below->tree->parent;
    return below == m;
}

bool reel__may_join(const char *who, const reel_module *parent, const char *name,
                    const reel_module *child)
{
    if (!child->tree->is_freed && !child->tree->parent && !reel__is_above(child, parent))
        return true;
    reel_fail(REEL_ERR_STATE, "%s: %s \"%s\" %s", who, child->type, name ? name : "",
              child->tree->is_freed ? "cannot be used"
              : child->tree->parent ? "has a parent already"
                                    : "is above its parent");
    return false;
}

bool reel__may_change(const char *who, const reel_module *m)
{
    const reel_module *up = m;
    while (up && !up->tree->fixed) up = up->tree->parent;
    if (up)
        reel_fail(
            REEL_ERR_STATE,
            "%s: this module is part of a %s, which runs as it was captured; change "
            "the module that is captured",
            who, up->type);
    return !up;
}

/* ---- filling ------------------------------------------------------------------------ */

static bool name_fits(const char *who, const reel_module *m, const char *name)
{
    if (!reel__module_there(who, m)) return false;
    if (!name || !*name || strchr(name, '.')) {
        reel_fail(REEL_ERR_ARG, "%s: a name must not be empty or have a dot", who);
        return false;
    }
    bool taken = false;
    for (int i = 0; i < m->tree->n_child; i++)
        taken |= strcmp(m->tree->child[i]->tree->name, name) == 0;
    for (int i = 0; i < m->tree->n_slot; i++)
        taken |= strcmp(m->tree->slot[i].name, name) == 0;
    if (taken) reel_fail(REEL_ERR_ARG, "%s: %s has a \"%s\" already", who, m->type, name);
    return !taken;
}

reel_module *reel_module_add(reel_module *parent, const char *name, reel_module *child)
{
    REEL__CALLED;
    if (!child) {
        reel_fail(REEL_ERR_ARG, "module_add: the child \"%s\" is NULL", name ? name : "");
        return NULL;
    }
    if (!reel__may_join("module_add", parent, name, child)) return NULL;
    bool fits = !reel_failed() && name_fits("module_add", parent, name);
    char *copy = fits ? reel__strdup(name) : NULL;
    if (copy) {
        struct reel_module_tree *t = parent->tree;
        reel_module **list =
            reel__realloc(t->child, (size_t)(t->n_child + 1) * sizeof *list);
        if (list) {
            t->child = list;
            list[t->n_child++] = child;
            child->tree->name = copy;
            child->tree->parent = parent;
            reel__params_changed(parent);
            return child;
        }
        reel__free(copy);
    }
    reel_module_free(child);
    return NULL;
}

static reel_tensor *add_slot(const char *who, reel_module *m, const char *name,
                             reel_tensor *t, bool is_param)
{
    if (!t) {
        reel_fail(REEL_ERR_ARG, "%s: the tensor \"%s\" is NULL", who, name ? name : "");
        return NULL;
    }
    char *copy = !reel_failed() && name_fits(who, m, name) ? reel__strdup(name) : NULL;
    if (!copy) return NULL;
    struct reel_module_tree *tree = m->tree;
    reel__slot *list =
        reel__realloc(tree->slot, (size_t)(tree->n_slot + 1) * sizeof *list);
    if (list) tree->slot = list;
    if (!list || (is_param && !reel_requires_grad(t, true))) {
        reel__free(copy);
        return NULL;
    }
    list[tree->n_slot++] = (reel__slot){copy, reel__hold(t), is_param};
    reel__params_changed(m);
    return t;
}

reel_tensor *reel_module_param(reel_module *m, const char *name, reel_tensor *t)
{
    REEL__CALLED;
    return add_slot("module_param", m, name, t, true);
}

reel_tensor *reel_module_buffer(reel_module *m, const char *name, reel_tensor *t)
{
    REEL__CALLED;
    return add_slot("module_buffer", m, name, t, false);
}
