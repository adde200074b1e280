/* checkpoint.c: a safetensors file that can tell whether it is whole. The atomic writer
 * takes care of crashes; the checksum is for what happens to a file later. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/crc32.h"
#include "io/safetensors.h"

reel_status reel_tensor_map_save(const reel_tensor_map *map, const char *path)
{
    REEL__CALLED;
    return reel__safetensors_write(path, map, true);
}

static reel_status check(const char *path, const reel_safetensors *st)
{
    const char *version = reel_safetensors_text(st, REEL__CHECKPOINT_KEY);
    const char *stored = reel_safetensors_text(st, REEL__CHECKPOINT_CRC_KEY);
    if (!version || !stored)
        return reel_fail(REEL_ERR_FORMAT,
                         "tensor_map_load: %s is not a checkpoint of reel", path);
    if (strcmp(version, REEL__CHECKPOINT_VERSION) != 0)
        return reel_fail(
            REEL_ERR_FORMAT,
            "tensor_map_load: %s has version %.20s, expected " REEL__CHECKPOINT_VERSION,
            path, version);
    size_t size;
    const void *data = reel__safetensors_data(st, &size);
    char digits[16];
    snprintf(digits, sizeof digits, REEL__CHECKPOINT_CRC_FORMAT,
             reel__crc32(0, data, size));
    if (strcmp(digits, stored) == 0) return REEL_OK;
    return reel_fail(REEL_ERR_FORMAT,
                     "tensor_map_load: %s is damaged: checksum %s, expected %.20s", path,
                     digits, stored);
}

/* The map without the two texts that are not the user's. */
static reel_tensor_map *user_part(reel_safetensors *st)
{
    reel_tensor_map *all = reel__safetensors_to_map(st), *map = NULL;
    if (all) map = reel_tensor_map_new();
    for (int64_t i = 0; map && i < reel_tensor_map_count(all); i++)
        reel_tensor_map_set(map, reel_tensor_map_name(all, i),
                            reel_tensor_map_at(all, i));
    for (int64_t i = 0; map && i < reel_tensor_map_text_count(all); i++) {
        const char *key = reel_tensor_map_text_key(all, i);
        if (strcmp(key, REEL__CHECKPOINT_KEY) != 0 &&
            strcmp(key, REEL__CHECKPOINT_CRC_KEY) != 0)
            reel_tensor_map_set_text(map, key, reel_tensor_map_text(all, key));
    }
    reel_tensor_map_free(all);
    if (!reel_failed()) return map;
    reel_tensor_map_free(map);
    return NULL;
}

reel_tensor_map *reel_tensor_map_load(const char *path)
{
    REEL__CALLED;
    reel_safetensors *st = reel_safetensors_open(path);
    reel_tensor_map *map = st && !check(path, st) ? user_part(st) : NULL;
    reel_safetensors_close(st);
    return map;
}
