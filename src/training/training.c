/* training.c: the parts of a run as one checkpoint. Each part has names of its own; in the file
 * they stand behind "module.", "optim." and so on. Ours are parts as a program's own are. */
#include <reel/training.h>

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/option.h"

enum { NAME = 640 };

/* All of `part` into `map`, behind "prefix.". */
static void put_part(reel_tensor_map *map, const char *prefix, reel_tensor_map *part)
{
    char name[NAME];
    for (int64_t i = 0; i < reel_tensor_map_count(part); i++) {
        snprintf(name, sizeof name, "%s.%s", prefix, reel_tensor_map_name(part, i));
        reel_tensor_map_set(map, name, reel_tensor_map_at(part, i));
    }
    for (int64_t i = 0; i < reel_tensor_map_text_count(part); i++) {
        const char *key = reel_tensor_map_text_key(part, i);
        snprintf(name, sizeof name, "%s.%s", prefix, key);
        reel_tensor_map_set_text(map, name, reel_tensor_map_text(part, key));
    }
}

/* NULL, or what stands in `name` behind "prefix.". */
static const char *behind(const char *prefix, const char *name)
{
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 && name[n] == '.' ? name + n + 1 : NULL;
}

/* What stands behind "prefix.", into `part`, without it. */
static void take_part(const reel_tensor_map *map, const char *prefix,
                      reel_tensor_map *part)
{
    for (int64_t i = 0; i < reel_tensor_map_count(map); i++) {
        const char *name = behind(prefix, reel_tensor_map_name(map, i));
        if (name) reel_tensor_map_set(part, name, reel_tensor_map_at(map, i));
    }
    for (int64_t i = 0; i < reel_tensor_map_text_count(map); i++) {
        const char *key = reel_tensor_map_text_key(map, i), *name = behind(prefix, key);
        if (name) reel_tensor_map_set_text(part, name, reel_tensor_map_text(map, key));
    }
}

static void put_numbers(reel_tensor_map *map, const char *name, const int64_t *numbers,
                        int n)
{
    reel_tensor *t = reel_from(numbers, REEL_SHAPE(n), REEL_I64);
    if (t) reel_tensor_map_set(map, name, t);
}

static bool take_numbers(const reel_tensor_map *map, const char *name, int64_t *numbers,
                         int n)
{
    reel_tensor *t = reel_tensor_map_get(map, name);
    if (reel_numel(t) == n && reel_dtype_of(t) == REEL_I64)
        return reel_read(t, numbers, REEL_I64) == REEL_OK;
    reel_fail(REEL_ERR_FORMAT, "training_load: \"%s\" is missing, or not %d integers",
              name, n);
    return false;
}

/* ---- parts of ours --------------------------------------------------------------------- */

static reel_status module_state(void *user, reel_tensor_map *map)
{
    return reel_state_dict(user, map);
}
static reel_status module_load(void *user, const reel_tensor_map *map)
{
    return reel_load_state_dict(user, map, NULL);
}
reel_training_part reel_module_part(const char *name, reel_module *m)
{
    return (reel_training_part){
        .name = name, .user = m, .state = module_state, .load_state = module_load};
}

static reel_status optim_state(void *user, reel_tensor_map *map)
{
    return reel_optim_state(user, map);
}
static reel_status optim_load(void *user, const reel_tensor_map *map)
{
    return reel_optim_load_state(user, map);
}
reel_training_part reel_optim_part(const char *name, reel_optim *optim)
{
    return (reel_training_part){
        .name = name, .user = optim, .state = optim_state, .load_state = optim_load};
}

static reel_status schedule_state(void *user, reel_tensor_map *map)
{
    return reel_schedule_state(user, map);
}
static reel_status schedule_load(void *user, const reel_tensor_map *map)
{
    return reel_schedule_load_state(user, map);
}
reel_training_part reel_schedule_part(const char *name, reel_schedule *schedule)
{
    return (reel_training_part){.name = name,
                                .user = schedule,
                                .state = schedule_state,
                                .load_state = schedule_load};
}

static reel_status ema_state(void *user, reel_tensor_map *map)
{
    return reel_ema_state(user, map);
}
static reel_status ema_load(void *user, const reel_tensor_map *map)
{
    return reel_ema_load_state(user, map);
}
reel_training_part reel_ema_part(const char *name, reel_ema *ema)
{
    return (reel_training_part){
        .name = name, .user = ema, .state = ema_state, .load_state = ema_load};
}

static reel_status loader_state(void *user, reel_tensor_map *map)
{
    if (!user) return reel_fail(REEL_ERR_ARG, "training_save: the loader is NULL");
    reel_loader_state l = reel_loader_get_state(user);
    put_numbers(map, "state", (int64_t[]){(int64_t)l.seed, l.epoch, l.position}, 3);
    return reel_error_status();
}
static reel_status loader_load(void *user, const reel_tensor_map *map)
{
    int64_t n[3];
    if (!take_numbers(map, "state", n, 3)) return reel_error_status();
    return reel_loader_set_state(
        user,
        (reel_loader_state){.seed = (uint64_t)n[0], .epoch = n[1], .position = n[2]});
}
reel_training_part reel_loader_part(const char *name, reel_loader *loader)
{
    return (reel_training_part){
        .name = name, .user = loader, .state = loader_state, .load_state = loader_load};
}

/* ---- all parts of a run ------------------------------------------------------------------ */

/* Part i of the run: ours, then the program's. `user` is NULL for one of ours that is not there.
 * The schedule before the optimizer: it sets rates, and what the run had at last must win. */
enum { OURS = 5 };
static reel_training_part part_of(const reel_training *run, int i)
{
    switch (i) {
    case 0: return reel_module_part("module", run->module);
    case 1: return reel_schedule_part("schedule", run->schedule);
    case 2: return reel_optim_part("optim", run->optim);
    case 3: return reel_ema_part("ema", run->ema);
    case 4: return reel_loader_part("loader", run->loader);
    default: return run->parts[i - OURS];
    }
}

enum { PART_NAME = 80 };
static bool is_name(const char *name)
{
    return name && *name && strlen(name) <= PART_NAME && !strchr(name, '.');
}

static bool is_taken(const reel_training *run, int i, const char *name)
{
    static const char *const others[] = {"extra", "rng", "position"};
    for (size_t k = 0; k < sizeof others / sizeof *others; k++)
        if (strcmp(name, others[k]) == 0) return true;
    for (int k = 0; k < i; k++)
        if (strcmp(name, part_of(run, k).name) == 0) return true;
    return false;
}

static bool check_parts(const char *who, const reel_training *run)
{
    if (!REEL__KNOWN(who, run)) return false;
    if (run->n_parts < 0 || (run->n_parts > 0 && !run->parts))
        reel_fail(REEL_ERR_ARG, "%s: %d parts, and their list is %s", who, run->n_parts,
                  run->parts ? "there" : "NULL");
    for (int i = OURS; i < OURS + run->n_parts && !reel_failed(); i++) {
        const reel_training_part p = part_of(run, i);
        if (!REEL__KNOWN(who, &p)) return false;
        if (!is_name(p.name) || !p.state || !p.load_state)
            reel_fail(REEL_ERR_ARG,
                      "%s: part %d, \"%.80s\": it needs a name of up to %d bytes without "
                      "dots, state and load_state",
                      who, i - OURS, p.name ? p.name : "(NULL)", PART_NAME);
        else if (is_taken(run, i, p.name))
            reel_fail(REEL_ERR_ARG, "%s: part %d: the name \"%.80s\" is taken", who,
                      i - OURS, p.name);
    }
    return !reel_failed();
}

static bool is_empty(const reel_tensor_map *map)
{
    return reel_tensor_map_count(map) == 0 && reel_tensor_map_text_count(map) == 0;
}

static void part_failed(const char *who, const reel_training_part *p, reel_status st)
{
    if (st && !reel_failed()) reel_fail(st, "%s: part \"%.80s\" failed", who, p->name);
}

/* ---- saving -------------------------------------------------------------------------- */

static void save_part(const reel_training_part *p, reel_tensor_map *map)
{
    reel_tensor_map *one = reel_tensor_map_new();
    if (!one) return;
    REEL__CALLS_BACK;
    part_failed("training_save", p, p->state(p->user, one));
    if (!reel_failed() && is_empty(one))
        reel_fail(REEL_ERR_ARG, "training_save: part \"%.80s\" has no state", p->name);
    if (!reel_failed()) put_part(map, p->name, one);
    reel_tensor_map_free(one);
}

static void collect(const reel_training *run, reel_tensor_map *map)
{
    for (int i = 0; i < OURS + run->n_parts && !reel_failed(); i++) {
        const reel_training_part p = part_of(run, i);
        if (p.user || i >= OURS) save_part(&p, map);
    }
    if (run->extra) put_part(map, "extra", run->extra);
    reel_rng_state rng = reel_rng_get();
    put_numbers(map, "rng", (int64_t[]){(int64_t)rng.seed, (int64_t)rng.offset}, 2);
    put_numbers(map, "position", (int64_t[]){run->epoch, run->batch}, 2);
}

reel_status reel_training_save(const reel_training *run, const char *path)
{
    REEL__CALLED;
    if (!path || !run)
        return reel_fail(REEL_ERR_ARG, "training_save: the %s is NULL",
                         path ? "run" : "path");
    if (!check_parts("training_save", run)) return reel_error_status();
    reel_tensor_map *map = reel_tensor_map_new();
    if (!map) return reel_error_status();
    reel_scope s = reel_scope_begin();
    collect(run, map);
    if (!reel_failed()) reel_tensor_map_save(map, path);
    reel_scope_end(s);
    reel_tensor_map_free(map);
    return reel_error_status();
}

/* ---- loading ------------------------------------------------------------------------- */

static void load_part(const reel_training_part *p, const reel_tensor_map *map)
{
    reel_tensor_map *one = reel_tensor_map_new();
    if (!one) return;
    take_part(map, p->name, one);
    if (!reel_failed() && is_empty(one))
        reel_fail(REEL_ERR_FORMAT, "training_load: the file has no \"%.80s...\"",
                  p->name);
    if (!reel_failed()) {
        REEL__CALLS_BACK;
        part_failed("training_load", p, p->load_state(p->user, one));
    }
    reel_tensor_map_free(one);
}

static void distribute(const reel_tensor_map *map, reel_training *run)
{
    int64_t rng[2], position[2];
    if (!take_numbers(map, "rng", rng, 2) || !take_numbers(map, "position", position, 2))
        return;
    for (int i = 0; i < OURS + run->n_parts && !reel_failed(); i++) {
        const reel_training_part p = part_of(run, i);
        if (p.user || i >= OURS) load_part(&p, map);
    }
    if (run->extra && !reel_failed()) take_part(map, "extra", run->extra);
    if (reel_failed()) return;
    run->epoch = position[0];
    run->batch = position[1];
    reel_rng_set((reel_rng_state){(uint64_t)rng[0], (uint64_t)rng[1]});
}

reel_status reel_training_load(reel_training *run, const char *path)
{
    REEL__CALLED;
    if (!path || !run)
        return reel_fail(REEL_ERR_ARG, "training_load: the %s is NULL",
                         path ? "run" : "path");
    if (reel_failed() || !check_parts("training_load", run)) return reel_error_status();
    reel_tensor_map *map = reel_tensor_map_load(path);
    if (!map) return reel_error_status();
    reel_scope s = reel_scope_begin();
    distribute(map, run);
    reel_scope_end(s);
    reel_tensor_map_free(map);
    return reel_error_status();
}
