/* trained.c: what a forward in training uses, for REEL_DEBUG=1, which finds that two threads do so
 * at once: parameters where gradients are recorded, and buffers, which it changes even if they are
 * not. A forward for use changes nothing. */
#include <stdio.h>

#include "base/debug.h"
#include "nn/module.h"

static bool train_slots(const reel_module *m)
{
    const bool records = reel_grad_enabled();
    char path[128], name[192];
    const reel_module *root = m;
    while (root->tree->parent) root = root->tree->parent;
    reel__module_path(m, path, sizeof path);
    for (int i = 0; i < m->tree->n_slot; i++) {
        const reel__slot *slot = &m->tree->slot[i];
        if (slot->is_param && !(records && reel_needs_grad(slot->tensor))) continue;
        (void)snprintf(name, sizeof name, "%s%s%s of %s", path, *path ? "." : "",
                       slot->name, root->type);
        if (!reel__debug_trains("forward", slot->tensor, name)) return false;
    }
    return true;
}

static bool train_tree(const reel_module *m)
{
    if (m->training && !train_slots(m)) return false;
    for (int i = 0; i < m->tree->n_child; i++)
        if (!train_tree(m->tree->child[i])) return false;
    return true;
}

bool reel__module_trains(reel_module *m, bool whole)
{
    return whole ? train_tree(m) : !m->training || train_slots(m);
}
