/* tree.c: names, walks, and the list of parameters. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "nn/module.h"
#include "nn/text.h"

const char *reel_module_name(const reel_module *m)
{
    return m && m->tree->name ? m->tree->name : "";
}

int reel_module_count(const reel_module *m)
{
    return m ? m->tree->n_child : 0;
}

reel_module *reel_module_child(const reel_module *m, int i)
{
    return m && i >= 0 && i < m->tree->n_child ? m->tree->child[i] : NULL;
}

/* ---- finding by path ----------------------------------------------------------------- */

static reel_module *child_named(const reel_module *m, const char *name, size_t n)
{
    for (int i = 0; i < m->tree->n_child; i++) {
        const char *have = m->tree->child[i]->tree->name;
        if (strncmp(have, name, n) == 0 && !have[n]) return m->tree->child[i];
    }
    return NULL;
}

reel_module *reel_module_at(reel_module *m, const char *path)
{
    while (m && path && *path) {
        size_t n = strcspn(path, ".");
        m = child_named(m, path, n);
        path += n + (path[n] == '.');
    }
    return path ? m : NULL;
}

reel__slot *reel__slot_at(reel_module *m, const char *path, reel_module **owner)
{
    for (const char *dot; m && path && (dot = strchr(path, '.')); path = dot + 1)
        m = child_named(m, path, (size_t)(dot - path));
    *owner = m;
    for (int i = 0; m && path && i < m->tree->n_slot; i++)
        if (strcmp(m->tree->slot[i].name, path) == 0) return &m->tree->slot[i];
    return NULL;
}

reel_tensor *reel_module_find(reel_module *m, const char *path)
{
    reel_module *owner;
    const reel__slot *slot = reel__slot_at(m, path, &owner);
    return slot ? slot->tensor : NULL;
}

/* ---- walks --------------------------------------------------------------------------- */

typedef struct walk {
    reel__text path;
    reel_module_visit visit;
    void *user;
} walk;

static reel_status walk_modules(walk *w, reel_module *m)
{
    reel_status st = w->visit(w->user, w->path.s ? w->path.s : "", m);
    size_t n = w->path.n;
    for (int i = 0; i < m->tree->n_child && !st; i++) {
        reel_module *child = m->tree->child[i];
        if (!reel__text_add(&w->path, "%s%s", n ? "." : "", child->tree->name))
            return reel_error_status();
        st = walk_modules(w, child);
        reel__text_cut(&w->path, n);
    }
    return st;
}

reel_status reel_module_each(reel_module *m, reel_module_visit visit, void *user)
{
    REEL__CALLED;
    if (!reel__module_there("module_each", m)) return reel_error_status();
    if (!visit) return reel_fail(REEL_ERR_ARG, "module_each: visit is NULL");
    REEL__CALLS_BACK;
    walk w = {.visit = visit, .user = user};
    reel_status st = walk_modules(&w, m);
    reel__text_free(&w.path);
    return st;
}

typedef struct tensor_walk {
    reel__text path;
    reel_tensor_visit visit;
    void *user;
} tensor_walk;

/* Parameters before buffers, as PyTorch. */
static reel_status visit_slots(void *user, const char *path, reel_module *m)
{
    tensor_walk *w = user;
    for (int buffers = 0; buffers < 2; buffers++)
        for (int i = 0; i < m->tree->n_slot; i++) {
            const reel__slot *slot = &m->tree->slot[i];
            if (slot->is_param == (buffers == 1)) continue;
            reel__text_cut(&w->path, 0);
            if (!reel__text_add(&w->path, "%s%s%s", path, *path ? "." : "", slot->name))
                return reel_error_status();
            reel_status st = w->visit(w->user, w->path.s, slot->tensor, slot->is_param);
            if (st) return st;
        }
    return REEL_OK;
}

reel_status reel_tensor_each(reel_module *m, reel_tensor_visit visit, void *user)
{
    REEL__CALLED;
    if (!reel__module_there("tensor_each", m)) return reel_error_status();
    if (!visit) return reel_fail(REEL_ERR_ARG, "tensor_each: visit is NULL");
    tensor_walk w = {.visit = visit, .user = user};
    reel_status st = reel_module_each(m, visit_slots, &w);
    reel__text_free(&w.path);
    return st;
}

/* ---- parameters ---------------------------------------------------------------------- */

void reel__param_list_clear(reel__param_list *list)
{
    for (int i = 0; i < list->n; i++) reel__free(list->name[i]);
    reel__free(list->name);
    reel__free(list->tensor);
    *list = (reel__param_list){0};
}

void reel__params_changed(reel_module *m)
{
    m->tree->changes++;
    for (; m; m = m->tree->parent) reel__param_list_clear(&m->tree->params);
}

static reel_status count_slot(void *user, const char *path, reel_tensor *t, bool is_param)
{
    (void)path;
    (void)t;
    *(int *)user += is_param;
    return REEL_OK;
}

/* Tied weights have two names and count once, under the first. */
static reel_status add_param(void *user, const char *path, reel_tensor *t, bool is_param)
{
    reel__param_list *list = user;
    if (!is_param) return REEL_OK;
    for (int i = 0; i < list->n; i++)
        if (list->tensor[i] == t) return REEL_OK;
    char *name = reel__strdup(path);
    if (!name) return reel_error_status();
    list->name[list->n] = name;
    list->tensor[list->n++] = t;
    return REEL_OK;
}

static bool make_list(reel_module *m, reel__param_list *list)
{
    int most = 0;
    if (reel_tensor_each(m, count_slot, &most)) return false;
    list->tensor = reel__calloc((size_t)most, sizeof *list->tensor);
    list->name = reel__calloc((size_t)most, sizeof *list->name);
    list->valid = list->tensor && list->name && !reel_tensor_each(m, add_param, list);
    return list->valid;
}

reel_params reel_parameters(reel_module *m)
{
    REEL__CALLED;
    if (!reel__module_there("parameters", m)) return (reel_params){0};
    reel__param_list *list = &m->tree->params;
    if (!list->valid && !make_list(m, list)) {
        reel__param_list_clear(list);
        return (reel_params){0};
    }
    return (reel_params){list->tensor, (const char *const *)list->name, list->n};
}

int64_t reel_param_count(reel_module *m)
{
    reel_params p = reel_parameters(m);
    int64_t n = 0;
    for (int i = 0; i < p.n; i++) n += reel_numel(p.tensor[i]);
    return n;
}
