/* state.c: parameters and buffers by name, and as files. load.c puts them back. */
#include "base/error.h"
#include "nn/module.h"

static reel_status put(void *user, const char *path, reel_tensor *t, bool is_param)
{
    (void)is_param;
    return reel_tensor_map_set(user, path, t);
}

reel_status reel_state_dict(reel_module *m, reel_tensor_map *map)
{
    REEL__CALLED;
    if (!reel__module_there("state_dict", m)) return reel_error_status();
    if (!map) return reel_fail(REEL_ERR_ARG, "state_dict: the map is NULL");
    if (reel_failed()) return reel_error_status();
    return reel_tensor_each(m, put, map);
}

/* ---- files --------------------------------------------------------------------------- */

/* A tensor of two names is written once, and a text says that the second is the first: as
 * safetensors.torch.save_model() writes them, and load_model() reads them. */
static reel_status put_once(void *user, const char *path, reel_tensor *t, bool is_param)
{
    reel_tensor_map *map = user;
    (void)is_param;
    for (int64_t i = 0; i < reel_tensor_map_count(map); i++)
        if (reel_tensor_map_at(map, i) == t)
            return reel_tensor_map_set_text(map, path, reel_tensor_map_name(map, i));
    return reel_tensor_map_set(map, path, t);
}

reel_status reel_module_save(reel_module *m, const char *path)
{
    REEL__CALLED;
    if (!reel__module_there("module_save", m)) return reel_error_status();
    reel_tensor_map *map = reel_tensor_map_new();
    reel_status st = map ? reel_tensor_each(m, put_once, map) : reel_error_status();
    if (!st) st = reel_safetensors_save(map, path);
    reel_tensor_map_free(map);
    return st;
}

reel_status reel_module_load(reel_module *m, const char *path, const reel_load_opts *opts)
{
    REEL__CALLED;
    if (!reel__module_there("module_load", m)) return reel_error_status();
    reel_tensor_map *map = reel_safetensors_load(path);
    reel_status st = map ? reel_load_state_dict(m, map, opts) : reel_error_status();
    reel_tensor_map_free(map);
    return st;
}
