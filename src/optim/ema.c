/* ema.c: a moving average of a module's parameters and buffers. */
#include <math.h>
#include <string.h>

#include <reel/optim.h>

#include "base/alloc.h"

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

/* Runs `body` over what the average holds: no history, temporaries gone afterwards. */
static reel_status quietly(reel_ema *e, reel_status (*body)(reel_ema *e, const void *arg),
                           const void *arg)
{
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_status st = body(e, arg);
    reel_set_grad_enabled(was);
    reel_scope_end(s);
    return st;
}

static reel_status begin(reel_ema *e, const void *module)
{
    return reel_tensor_each((reel_module *)(uintptr_t)module, add_entry, e);
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
    if (!quietly(e, begin, m)) return e;
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
        reel_fail(REEL_ERR_STATE, "%s: the averages are swapped in; swap them back first", who);
    return !reel_failed();
}

static reel_status update(reel_ema *e, const void *arg)
{
    double t = (double)e->updates, decay = e->decay;
    (void)arg;
    if (e->warmup) decay = fmin(decay, (1 + t) / (10 + t));
    for (int i = 0; i < e->n; i++) {
        entry *it = &e->entries[i];
        bool mixes = reel_dtype_is_float(reel_dtype_of(it->value));
        if (!(mixes ? reel_lerp_(it->average, it->value, 1 - decay)
                    : reel_copy_(it->average, it->value)))
            return reel_error_status();
    }
    e->updates++;
    return REEL_OK;
}

reel_status reel_ema_update(reel_ema *ema)
{
    return ready("ema_update", ema, false) ? quietly(ema, update, NULL) : reel_error_status();
}

/* All copies first: memory that is missing must not leave half of them exchanged. */
static reel_status swap(reel_ema *e, const void *arg)
{
    (void)arg;
    reel_tensor **old = reel__calloc((size_t)e->n, sizeof *old);
    for (int i = 0; old && i < e->n; i++) old[i] = reel_copy(e->entries[i].value);
    for (int i = 0; i < e->n && !reel_failed(); i++) {
        reel_copy_(e->entries[i].value, e->entries[i].average);
        reel_copy_(e->entries[i].average, old[i]);
    }
    reel__free(old);
    if (!reel_failed()) e->swapped = !e->swapped;
    return reel_error_status();
}

reel_status reel_ema_swap(reel_ema *ema)
{
    return ready("ema_swap", ema, true) ? quietly(ema, swap, NULL) : reel_error_status();
}

/* ---- state --------------------------------------------------------------------------- */

static reel_status save(reel_ema *e, const void *arg)
{
    reel_tensor_map *map = (reel_tensor_map *)(uintptr_t)arg;
    reel_tensor *updates = reel_from(&e->updates, REEL_SCALAR, REEL_I64);
    reel_status st = updates ? reel_tensor_map_set(map, UPDATES, updates) : REEL_ERR_MEMORY;
    for (int i = 0; i < e->n && !st; i++)
        st = reel_tensor_map_set(map, e->entries[i].name, e->entries[i].average);
    return reel_error_status();
}

reel_status reel_ema_state(reel_ema *ema, reel_tensor_map *map)
{
    if (!map) reel_fail(REEL_ERR_ARG, "ema_state: the map is NULL");
    return ready("ema_state", ema, false) ? quietly(ema, save, map) : reel_error_status();
}

static bool same_shape(reel_tensor *a, reel_tensor *b)
{
    bool same = reel_rank(a) == reel_rank(b);
    for (int i = 0; same && i < reel_rank(a); i++) same = reel_size(a, i) == reel_size(b, i);
    return same;
}

static reel_status check(const reel_ema *e, const reel_tensor_map *map)
{
    if (reel_numel(reel_tensor_map_get(map, UPDATES)) != 1)
        return reel_fail(REEL_ERR_ARG, "ema_load_state: \"%s\" is missing, or not one number",
                         UPDATES);
    for (int i = 0; i < e->n; i++) {
        const entry *it = &e->entries[i];
        reel_tensor *t = reel_tensor_map_get(map, it->name);
        if (!t)
            return reel_fail(REEL_ERR_ARG, "ema_load_state: \"%.200s\" is missing", it->name);
        if (!same_shape(t, it->average))
            return reel_fail(REEL_ERR_SHAPE, "ema_load_state: \"%.200s\" has another shape",
                             it->name);
    }
    int64_t there = reel_tensor_map_count(map);
    if (there != e->n + 1)
        return reel_fail(REEL_ERR_ARG, "ema_load_state: %lld tensors, expected %d",
                         (long long)there, e->n + 1);
    return REEL_OK;
}

static reel_status load(reel_ema *e, const void *arg)
{
    const reel_tensor_map *map = arg;
    int64_t updates = reel_item_i64(reel_tensor_map_get(map, UPDATES));
    for (int i = 0; i < e->n && !reel_failed(); i++)
        reel_copy_(e->entries[i].average, reel_tensor_map_get(map, e->entries[i].name));
    if (!reel_failed()) e->updates = updates;
    return reel_error_status();
}

reel_status reel_ema_load_state(reel_ema *ema, const reel_tensor_map *map)
{
    if (!map) reel_fail(REEL_ERR_ARG, "ema_load_state: the map is NULL");
    if (!ready("ema_load_state", ema, false) || check(ema, map)) return reel_error_status();
    return quietly(ema, load, map);
}
