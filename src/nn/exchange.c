/* exchange.c: another child or parameter in the place of one, or none for now. A module's own
 * struct holds the addresses of its children and tensors besides the tree; the library made that
 * struct and knows its size, so what it exchanges in the tree it exchanges in the structs too, and
 * forward functions, ours and users', need not look anything up. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/shares.h"
#include "nn/module.h"
#include "nn/text.h"

/* Pointers in the struct of `m` that are `from` become `to`. */
static void point_anew(reel_module *m, const void *from, const void *to)
{
    char *at = (char *)m;
    for (size_t i = sizeof *m; i + sizeof from <= m->tree->size; i += _Alignof(void *))
        if (memcmp(at + i, &from, sizeof from) == 0) memcpy(at + i, &to, sizeof to);
}

/* Not in `to` itself: if it holds `from`, it holds what is gone, and not itself. */
static void point_all_anew(reel_module *m, const void *from, const void *to)
{
    if (m == to) return;
    point_anew(m, from, to);
    for (int i = 0; i < m->tree->n_child; i++)
        point_all_anew(m->tree->child[i], from, to);
}

static reel_module *root_of(reel_module *m)
{
    while (m->tree->parent) m = m->tree->parent;
    return m;
}

/* ---- children ----------------------------------------------------------------------- */

/* The child at `path` that may be exchanged; NULL with an error. */
static reel_module *child_at(const char *who, reel_module *m, const char *path)
{
    if (!reel__module_there(who, m)) return NULL;
    reel_module *old = reel_module_at(m, path);
    if (!old || old == m) {
        reel_fail(REEL_ERR_ARG,
                  "%s: %s has no child \"%.200s\"; reel_module_add() adds one", who,
                  m->type, path ? path : "");
        return NULL;
    }
    return reel__may_change(who, old->tree->parent) ? old : NULL;
}

/* `child`, which has no parent, where `old` is, which has one no more. */
static void put_in_place(reel_module *parent, reel_module *old, char *name,
                         reel_module *child)
{
    int i = 0;
    while (parent->tree->child[i] != old) i++;
    parent->tree->child[i] = child;
    child->tree->name = name;
    child->tree->parent = parent;
    point_all_anew(root_of(parent), old, child);
    reel__params_changed(parent);
}

reel_module *reel_module_replace(reel_module *m, const char *path, reel_module *child)
{
    REEL__CALLED;
    if (!child) {
        reel_fail(REEL_ERR_ARG, "module_replace: the child \"%s\" is NULL",
                  path ? path : "");
        return NULL;
    }
    if (!reel__may_join("module_replace", m, path, child)) return NULL;
    reel_module *old = reel_failed() ? NULL : child_at("module_replace", m, path);
    char *name = old ? reel__strdup(old->tree->name) : NULL;
    if (!name) {
        reel_module_free(child);
        return NULL;
    }
    reel_module *parent = old->tree->parent;
    put_in_place(parent, old, name, child);
    reel__module_leave_behind(parent, old);
    return child;
}

/* What stands where a child was taken out: it has no forward, and says why. */
static reel_module *hole_new(void)
{
    reel_module *hole = reel_module_new(sizeof *hole, "module that was taken out", NULL);
    if (hole) hole->tree->is_hole = true;
    return hole;
}

reel_module *reel_module_take(reel_module *m, const char *path)
{
    REEL__CALLED;
    reel_module *old = reel_failed() ? NULL : child_at("module_take", m, path);
    if (!old || !reel__module_there("module_take", old)) return NULL;
    reel_module *parent = old->tree->parent, *hole = hole_new();
    if (!hole || reel__module_share(parent, old)) {
        reel_module_free(hole);
        return NULL;
    }
    put_in_place(parent, old, old->tree->name, hole);
    old->tree->name = NULL;
    old->tree->parent = NULL;
    return old;
}

/* ---- tensors ------------------------------------------------------------------------ */

/* Slots of `m` that hold t. */
static int slots_of(const reel_module *m, const reel_tensor *t)
{
    int n = 0;
    for (int i = 0; i < m->tree->n_slot; i++) n += m->tree->slot[i].tensor == t;
    return n;
}

static bool tree_has(const reel_module *m, const reel_tensor *t)
{
    bool has = slots_of(m, t) > 0;
    for (int i = 0; i < m->tree->n_child && !has; i++)
        has = tree_has(m->tree->child[i], t);
    return has;
}

static reel_status check_tie(const char *path, const reel__slot *slot,
                             const char *same_as, const reel__slot *with)
{
    reel_tensor *a = slot->tensor, *b = with->tensor;
    reel_shape sa = reel_shape_of(a), sb = reel_shape_of(b);
    char ta[REEL__SHAPE_TEXT], tb[REEL__SHAPE_TEXT];
    if (slot->is_param != with->is_param)
        return reel_fail(REEL_ERR_ARG,
                         "module_tie: of %.80s and %.80s one is a parameter, the other a "
                         "buffer",
                         path, same_as);
    if (!reel__shapes_equal(sa, sb))
        return reel_fail(REEL_ERR_SHAPE, "module_tie: %.80s is %s, %.80s is %s", path,
                         reel__shape_text(sa, ta), same_as, reel__shape_text(sb, tb));
    if (reel_dtype_of(a) != reel_dtype_of(b))
        return reel_fail(REEL_ERR_DTYPE, "module_tie: %.80s is %s, %.80s is %s", path,
                         reel_dtype_name(reel_dtype_of(a)), same_as,
                         reel_dtype_name(reel_dtype_of(b)));
    return REEL_OK;
}

/* Where the old tensor is still another slot's, other structs may mean that one. */
static void put_tensor(reel_module *owner, reel__slot *slot, reel_tensor *t)
{
    reel_tensor *old = slot->tensor;
    reel_module *root = root_of(owner);
    slot->tensor = reel__hold(t);
    point_anew(owner, old, t);
    if (!tree_has(root, old)) point_all_anew(root, old, t);
    reel__params_changed(owner);
    reel__let_go(old);
}

reel_status reel_module_tie(reel_module *m, const char *path, const char *same_as)
{
    REEL__CALLED;
    static const char who[] = "module_tie";
    if (!reel__module_there(who, m) || reel_failed()) return reel_error_status();
    reel_module *owner = NULL, *other = NULL;
    reel__slot *slot = reel__slot_at(m, path, &owner);
    const reel__slot *with = reel__slot_at(m, same_as, &other);
    if (!slot || !with) {
        const char *lacks = slot ? same_as : path;
        return reel_fail(REEL_ERR_ARG,
                         "%s: %s has no parameter or buffer \"%.200s\" to tie", who,
                         m->type, lacks ? lacks : "");
    }
    if (slot->tensor == with->tensor) return REEL_OK;
    if (check_tie(path, slot, same_as, with) || !reel__may_change(who, owner))
        return reel_error_status();
    if (slots_of(owner, slot->tensor) > 1)
        return reel_fail(REEL_ERR_STATE,
                         "%s: %.200s is tied to another parameter of its module already",
                         who, path);
    put_tensor(owner, slot, with->tensor);
    return REEL_OK;
}
