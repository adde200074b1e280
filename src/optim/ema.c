/* ema.c: a moving average of a module's parameters and buffers. */
#include <math.h>

#include "base/alloc.h"
#include "optim/optim.h"

typedef struct entry {
    char *name;
    reel_tensor *value, *average;
} entry;

struct reel_ema {
    entry *entries;
    int n, room;
    double decay;
    bool warmup, swapped;
    int64_t updates;
};

static const char UPDATES[] = "ema.updates";

static reel_status add_entry(void *user, const char *path, reel_tensor *t, bool is_param)
{
    reel_ema *e = user;
    (void)is_param;
    if (e->n == e->room) {
        int room = e->room ? 2 * e->room : 64;
        entry *list = reel__realloc(e->entries, (size_t)room * sizeof *list);
        if (!list) return reel_error_status();
        e->entries = list;
        e->room = room;
    }
    entry *it = &e->entries[e->n];
    *it = (entry){.name = reel__strdup(path)};
    if (!it->name) return reel_error_status();
    e->n++;
    it->value = reel_keep(t);
    it->average = reel_keep(reel_copy(t));
    return it->average ? REEL_OK : reel_error_status();
}

reel_ema *reel_ema_new(reel_module *m, double decay, const reel_ema_opts *opts)
{
    if (!m || !(decay >= 0 && decay < 1))
        reel_fail(REEL_ERR_ARG, "ema_new: %s",
                  m ? "expected 0 <= decay < 1" : "the module is NULL");
    if (reel_failed()) return NULL;
    reel_ema *e = reel__calloc(1, sizeof *e);
    if (!e) return NULL;
    e->decay = decay;
    e->warmup = opts && opts->warmup;
    reel__quiet q = reel__quiet_begin();
    reel_status st = reel_tensor_each(m, add_entry, e);
    reel__quiet_end(q);
    if (!st) return e;
    reel_ema_free(e);
    return NULL;
}

void reel_ema_free(reel_ema *ema)
{
    if (!ema) return;
    for (int i = 0; i < ema->n; i++) {
        reel__free(ema->entries[i].name);
        reel_release(ema->entries[i].value);
        reel_release(ema->entries[i].average);
    }
    reel__free(ema->entries);
    reel__free(ema);
}

static bool ready(const char *who, const reel_ema *e, bool also_swapped)
{
    if (!e)
        reel_fail(REEL_ERR_ARG, "%s: the average is NULL", who);
    else if (e->swapped && !also_swapped)
        reel_fail(REEL_ERR_STATE, "%s: the averages are swapped in; swap them back first",
                  who);
    return !reel_failed();
}

reel_status reel_ema_update(reel_ema *ema)
{
    if (!ready("ema_update", ema, false)) return reel_error_status();
    double t = (double)ema->updates, decay = ema->decay;
    if (ema->warmup) decay = fmin(decay, (1 + t) / (10 + t));
    reel__quiet q = reel__quiet_begin();
    for (int i = 0; i < ema->n && !reel_failed(); i++) {
        entry *it = &ema->entries[i];
        if (reel_dtype_is_float(reel_dtype_of(it->value)))
            reel_lerp_(it->average, it->value, 1 - decay);
        else
            reel_copy_(it->average, it->value);
    }
    reel__quiet_end(q);
    if (!reel_failed()) ema->updates++;
    return reel_error_status();
}

/* All copies first: memory that is missing must not leave half of them exchanged. */
static void swap(reel_ema *e)
{
    reel_tensor **old = reel__calloc((size_t)e->n, sizeof *old);
    for (int i = 0; old && i < e->n; i++) old[i] = reel_copy(e->entries[i].value);
    for (int i = 0; i < e->n && !reel_failed(); i++) {
        reel_copy_(e->entries[i].value, e->entries[i].average);
        reel_copy_(e->entries[i].average, old[i]);
    }
    reel__free(old);
}

reel_status reel_ema_swap(reel_ema *ema)
{
    if (!ready("ema_swap", ema, true)) return reel_error_status();
    reel__quiet q = reel__quiet_begin();
    swap(ema);
    reel__quiet_end(q);
    if (!reel_failed()) ema->swapped = !ema->swapped;
    return reel_error_status();
}

/* ---- state --------------------------------------------------------------------------- */

reel_status reel_ema_state(reel_ema *ema, reel_tensor_map *map)
{
    if (!map) reel_fail(REEL_ERR_ARG, "ema_state: the map is NULL");
    if (!ready("ema_state", ema, false)) return reel_error_status();
    reel_scope s = reel_scope_begin();
    reel_tensor *updates = reel_from(&ema->updates, REEL_SCALAR, REEL_I64);
    if (updates) reel_tensor_map_set(map, UPDATES, updates);
    for (int i = 0; i < ema->n && !reel_failed(); i++)
        reel_tensor_map_set(map, ema->entries[i].name, ema->entries[i].average);
    reel_scope_end(s);
    return reel_error_status();
}

static reel_status check(const reel_ema *e, const reel_tensor_map *map)
{
    if (reel_numel(reel_tensor_map_get(map, UPDATES)) != 1)
        return reel_fail(REEL_ERR_ARG,
                         "ema_load_state: \"%s\" is missing, or not one number", UPDATES);
    for (int i = 0; i < e->n; i++) {
        const entry *it = &e->entries[i];
        reel_tensor *t = reel_tensor_map_get(map, it->name);
        if (!t)
            return reel_fail(REEL_ERR_ARG, "ema_load_state: \"%.200s\" is missing",
                             it->name);
        if (!reel__same_sizes(t, it->average))
            return reel_fail(REEL_ERR_SHAPE,
                             "ema_load_state: \"%.200s\" has another shape", it->name);
    }
    int64_t there = reel_tensor_map_count(map);
    if (there != e->n + 1)
        return reel_fail(REEL_ERR_ARG, "ema_load_state: %lld tensors, expected %d",
                         (long long)there, e->n + 1);
    return REEL_OK;
}

reel_status reel_ema_load_state(reel_ema *ema, const reel_tensor_map *map)
{
    if (!map) reel_fail(REEL_ERR_ARG, "ema_load_state: the map is NULL");
    if (!ready("ema_load_state", ema, false) || check(ema, map))
        return reel_error_status();
    reel__quiet q = reel__quiet_begin();
    int64_t updates = reel_item_i64(reel_tensor_map_get(map, UPDATES));
    for (int i = 0; i < ema->n && !reel_failed(); i++)
        reel_copy_(ema->entries[i].average,
                   reel_tensor_map_get(map, ema->entries[i].name));
    reel__quiet_end(q);
    if (!reel_failed()) ema->updates = updates;
    return reel_error_status();
}
