/* training.c: the parts of a run as one checkpoint. Each part has names of its own; in the file
 * they stand behind "module.", "optim." and so on. */
#include <reel/training.h>

#include <stdio.h>
#include <string.h>

enum { NAME = 640 };

/* All of `part` into `map`, behind `prefix`. */
static void put_part(reel_tensor_map *map, const char *prefix, reel_tensor_map *part)
{
    char name[NAME];
    for (int64_t i = 0; i < reel_tensor_map_count(part); i++) {
        snprintf(name, sizeof name, "%s%s", prefix, reel_tensor_map_name(part, i));
        reel_tensor_map_set(map, name, reel_tensor_map_at(part, i));
    }
    for (int64_t i = 0; i < reel_tensor_map_text_count(part); i++) {
        const char *key = reel_tensor_map_text_key(part, i);
        snprintf(name, sizeof name, "%s%s", prefix, key);
        reel_tensor_map_set_text(map, name, reel_tensor_map_text(part, key));
    }
}

/* What stands behind `prefix`, into `part`, without it. */
static void take_part(const reel_tensor_map *map, const char *prefix,
                      reel_tensor_map *part)
{
    size_t n = strlen(prefix);
    for (int64_t i = 0; i < reel_tensor_map_count(map); i++) {
        const char *name = reel_tensor_map_name(map, i);
        if (strncmp(name, prefix, n) == 0)
            reel_tensor_map_set(part, name + n, reel_tensor_map_at(map, i));
    }
    for (int64_t i = 0; i < reel_tensor_map_text_count(map); i++) {
        const char *key = reel_tensor_map_text_key(map, i);
        if (strncmp(key, prefix, n) == 0)
            reel_tensor_map_set_text(part, key + n, reel_tensor_map_text(map, key));
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

/* ---- the parts ------------------------------------------------------------------------- */

typedef struct part {
    const char *prefix;
    bool (*present)(const reel_training *run);
    reel_status (*save)(const reel_training *run, reel_tensor_map *map);
    reel_status (*load)(const reel_training *run, const reel_tensor_map *map);
} part;

static bool has_module(const reel_training *run)
{
    return run->module;
}
static bool has_optim(const reel_training *run)
{
    return run->optim;
}
static bool has_schedule(const reel_training *run)
{
    return run->schedule;
}
static bool has_ema(const reel_training *run)
{
    return run->ema;
}

static reel_status save_module(const reel_training *run, reel_tensor_map *map)
{
    return reel_state_dict(run->module, map);
}
static reel_status load_module(const reel_training *run, const reel_tensor_map *map)
{
    return reel_load_state_dict(run->module, map, NULL);
}
static reel_status save_optim(const reel_training *run, reel_tensor_map *map)
{
    return reel_optim_state(run->optim, map);
}
static reel_status load_optim(const reel_training *run, const reel_tensor_map *map)
{
    return reel_optim_load_state(run->optim, map);
}
static reel_status save_schedule(const reel_training *run, reel_tensor_map *map)
{
    return reel_schedule_state(run->schedule, map);
}
static reel_status load_schedule(const reel_training *run, const reel_tensor_map *map)
{
    return reel_schedule_load_state(run->schedule, map);
}
static reel_status save_ema(const reel_training *run, reel_tensor_map *map)
{
    return reel_ema_state(run->ema, map);
}
static reel_status load_ema(const reel_training *run, const reel_tensor_map *map)
{
    return reel_ema_load_state(run->ema, map);
}

/* The schedule before the optimizer: it sets rates, and what the run had at last must win. */
static const part parts[] = {
    {"module.", has_module, save_module, load_module},
    {"schedule.", has_schedule, save_schedule, load_schedule},
    {"optim.", has_optim, save_optim, load_optim},
    {"ema.", has_ema, save_ema, load_ema},
};
enum { PARTS = sizeof parts / sizeof parts[0] };

/* ---- saving -------------------------------------------------------------------------- */

static void collect(const reel_training *run, reel_tensor_map *map)
{
    for (int i = 0; i < PARTS && !reel_failed(); i++) {
        if (!parts[i].present(run)) continue;
        reel_tensor_map *one = reel_tensor_map_new();
        if (one && !parts[i].save(run, one)) put_part(map, parts[i].prefix, one);
        reel_tensor_map_free(one);
    }
    if (run->extra) put_part(map, "extra.", run->extra);
    reel_rng_state rng = reel_rng_get();
    put_numbers(map, "rng", (int64_t[]){(int64_t)rng.seed, (int64_t)rng.offset}, 2);
    put_numbers(map, "position", (int64_t[]){run->epoch, run->batch}, 2);
    if (run->loader) {
        reel_loader_state l = reel_loader_get_state(run->loader);
        put_numbers(map, "loader", (int64_t[]){(int64_t)l.seed, l.epoch, l.position}, 3);
    }
}

reel_status reel_training_save(const char *path, const reel_training *run)
{
    if (!path || !run)
        return reel_fail(REEL_ERR_ARG, "training_save: the %s is NULL",
                         path ? "run" : "path");
    reel_tensor_map *map = reel_tensor_map_new();
    if (!map) return reel_error_status();
    reel_scope s = reel_scope_begin();
    collect(run, map);
    if (!reel_failed()) reel_checkpoint_save(path, map);
    reel_scope_end(s);
    reel_tensor_map_free(map);
    return reel_error_status();
}

/* ---- loading ------------------------------------------------------------------------- */

static void load_part(const reel_training *run, const part *p, const reel_tensor_map *map)
{
    reel_tensor_map *one = reel_tensor_map_new();
    if (one) take_part(map, p->prefix, one);
    if (one && reel_tensor_map_count(one) == 0)
        reel_fail(REEL_ERR_FORMAT, "training_load: the file has no \"%s...\"", p->prefix);
    if (!reel_failed()) p->load(run, one);
    reel_tensor_map_free(one);
}

static void distribute(const reel_tensor_map *map, reel_training *run)
{
    int64_t rng[2], position[2], loader[3];
    if (!take_numbers(map, "rng", rng, 2) || !take_numbers(map, "position", position, 2))
        return;
    for (int i = 0; i < PARTS && !reel_failed(); i++)
        if (parts[i].present(run)) load_part(run, &parts[i], map);
    if (run->loader && !reel_failed() && take_numbers(map, "loader", loader, 3))
        reel_loader_set_state(
            run->loader, (reel_loader_state){(uint64_t)loader[0], loader[1], loader[2]});
    if (run->extra && !reel_failed()) take_part(map, "extra.", run->extra);
    if (reel_failed()) return;
    run->epoch = position[0];
    run->batch = position[1];
    reel_rng_set((reel_rng_state){(uint64_t)rng[0], (uint64_t)rng[1]});
}

reel_status reel_training_load(const char *path, reel_training *run)
{
    if (!path || !run)
        return reel_fail(REEL_ERR_ARG, "training_load: the %s is NULL",
                         path ? "run" : "path");
    if (reel_failed()) return reel_error_status();
    reel_tensor_map *map = reel_checkpoint_load(path);
    if (!map) return reel_error_status();
    reel_scope s = reel_scope_begin();
    distribute(map, run);
    reel_scope_end(s);
    reel_tensor_map_free(map);
    return reel_error_status();
}
