/* ema.c: a moving average of a module's parameters and buffers. The count of updates is a
 * tensor, and what the warm-up makes of it is computed in operators: a graph of a step that
 * updates the average counts as the step does. */
#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "base/shares.h"
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
    reel_tensor *updates, *one; /* i64, one element each */
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
    it->value = reel__hold(t);
    it->average = reel__hold(reel_copy(t));
    return it->average ? REEL_OK : reel_error_status();
}

reel_ema *reel_ema_new(reel_module *m, double decay, const reel_ema_opts *opts)
{
    REEL__CALLED;
    const reel_ema_opts *o = REEL__OPTS("ema_new", reel_ema_opts, opts);
    if (!m || !(decay >= 0 && decay < 1))
        reel_fail(REEL_ERR_ARG, "ema_new: %s",
                  m ? "expected 0 <= decay < 1" : "the module is NULL");
    if (reel_failed()) return NULL;
    reel_ema *e = reel__calloc(1, sizeof *e);
    if (!e) return NULL;
    e->decay = decay;
    e->warmup = o->warmup;
    reel__quiet q = reel__quiet_begin();
    e->updates = reel__hold(reel_zeros(REEL_SCALAR, REEL_I64));
    e->one = reel__hold(reel_ones(REEL_SCALAR, REEL_I64));
    (void)reel_tensor_each(m, add_entry, e);
    reel__quiet_end(q);
    if (!reel_failed()) return e;
    reel_ema_free(e);
    return NULL;
}

void reel_ema_free(reel_ema *ema)
{
    if (!ema) return;
    for (int i = 0; i < ema->n; i++) {
        reel__free(ema->entries[i].name);
        reel__let_go(ema->entries[i].value);
        reel__let_go(ema->entries[i].average);
    }
    reel__let_go(ema->updates);
    reel__let_go(ema->one);
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

/* What the average moves by while it warms up: 1 - min(decay, (1 + t) / (10 + t)), f64. */
static reel_tensor *warm_weight(const reel_ema *e)
{
    reel_tensor *t = reel_cast(e->updates, REEL_F64);
    reel_tensor *d = reel_div(reel_add_scalar(t, 1), reel_add_scalar(t, 10));
    d = reel_minimum(d, reel_scalar(e->decay, REEL_F64));
    return reel_add_scalar(reel_neg(d), 1);
}

/* average += weight (value - average); weight NULL: 1 - decay. */
static void move(const reel_ema *e, const entry *it, reel_tensor *weight)
{
    reel_scope s = reel_scope_begin();
    reel_dtype dtype = reel_dtype_of(it->value);
    if (!reel_dtype_is_float(dtype))
        reel_copy_(it->average, it->value);
    else if (!weight)
        reel_lerp_(it->average, it->value, 1 - e->decay);
    else
        reel_add_(it->average,
                  reel_mul(reel_sub(it->value, it->average), reel_cast(weight, dtype)));
    reel_scope_end(s);
}

reel_status reel_ema_update(reel_ema *ema)
{
    REEL__CALLED;
    if (!ready("ema_update", ema, false)) return reel_error_status();
    reel__quiet q = reel__quiet_begin();
    reel_tensor *weight = ema->warmup ? warm_weight(ema) : NULL;
    for (int i = 0; i < ema->n && !reel_failed(); i++)
        move(ema, &ema->entries[i], weight);
    if (!reel_failed()) reel_add_(ema->updates, ema->one);
    reel__quiet_end(q);
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
    REEL__CALLED;
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
    REEL__CALLED;
    if (!map) reel_fail(REEL_ERR_ARG, "ema_state: the map is NULL");
    if (!ready("ema_state", ema, false)) return reel_error_status();
    reel_scope s = reel_scope_begin();
    reel_tensor_map_set(map, UPDATES, ema->updates);
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
    REEL__CALLED;
    if (!map) reel_fail(REEL_ERR_ARG, "ema_load_state: the map is NULL");
    if (!ready("ema_load_state", ema, false) || check(ema, map))
        return reel_error_status();
    reel__quiet q = reel__quiet_begin();
    reel_tensor *updates = reel_reshape(reel_tensor_map_get(map, UPDATES), REEL_SCALAR);
    reel_copy_(ema->updates, updates);
    for (int i = 0; i < ema->n && !reel_failed(); i++)
        reel_copy_(ema->entries[i].average,
                   reel_tensor_map_get(map, ema->entries[i].name));
    reel__quiet_end(q);
    return reel_error_status();
}
