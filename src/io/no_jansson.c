/* no_jansson.c: what links where there is no jansson: every way in is an error. */
#include "io/safetensors.h"

#ifndef REEL_HAVE_JANSSON

static reel_status refuse(const char *who)
{
    return reel_fail(REEL_ERR_UNSUPPORTED, "%s: this reel was built without jansson",
                     who);
}

reel_status reel__safetensors_write(const char *path, const reel_tensor_map *map,
                                    bool checkpoint)
{
    (void)path, (void)map, (void)checkpoint;
    return refuse("safetensors_save");
}

reel_status reel_safetensors_save(const reel_tensor_map *map, const char *path)
{
    return reel__safetensors_write(path, map, false);
}

reel_safetensors *reel_safetensors_open(const char *path)
{
    (void)path;
    refuse("safetensors_open");
    return NULL;
}

reel_tensor_map *reel_safetensors_load(const char *path)
{
    reel_safetensors_open(path);
    return NULL;
}

reel_tensor *reel_safetensors_get(reel_safetensors *st, const char *name)
{
    (void)st, (void)name;
    refuse("safetensors_get");
    return NULL;
}

/* Nothing was opened: the rest sees NULL alone. */

void reel_safetensors_close(reel_safetensors *st)
{
    (void)st;
}

int64_t reel_safetensors_count(const reel_safetensors *st)
{
    return (void)st, 0;
}

const char *reel_safetensors_name(const reel_safetensors *st, int64_t i)
{
    return (void)st, (void)i, NULL;
}

reel_shape reel_safetensors_shape(const reel_safetensors *st, int64_t i)
{
    return (void)st, (void)i, (reel_shape){.rank = -1};
}

const char *reel_safetensors_text(const reel_safetensors *st, const char *key)
{
    return (void)st, (void)key, NULL;
}

const void *reel__safetensors_data(const reel_safetensors *st, size_t *size)
{
    *size = 0;
    return (void)st, NULL;
}

reel_tensor_map *reel__safetensors_to_map(reel_safetensors *st)
{
    return (void)st, NULL;
}

#endif
