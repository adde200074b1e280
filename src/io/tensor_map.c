/* tensor_map.c: named tensors and texts, in order. A search walks the list: models have
 * hundreds of names, and a walk over them costs less than the tensors themselves. */
#include <reel/io.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/shares.h"

typedef struct item {
    char *name;
    reel_tensor *tensor; /* of a tensor */
    char *text;          /* of a text   */
} item;

typedef struct list {
    item *items;
    int64_t n, room;
} list;

struct reel_tensor_map {
    list tensors, texts;
};

static item *find(const list *l, const char *name)
{
    for (int64_t i = 0; name && i < l->n; i++)
        if (strcmp(l->items[i].name, name) == 0) return &l->items[i];
    return NULL;
}

/* The item of that name, a new one if there is none. NULL without memory. */
static item *find_or_add(list *l, const char *name)
{
    item *it = find(l, name);
    if (it) return it;
    if (l->n == l->room) {
        int64_t room = l->room > 0 ? 2 * l->room : 16;
        item *larger = reel__realloc(l->items, (size_t)room * sizeof *larger);
        if (!larger) return NULL;
        l->items = larger;
        l->room = room;
    }
    it = &l->items[l->n];
    *it = (item){.name = reel__strdup(name)};
    if (!it->name) return NULL;
    l->n++;
    return it;
}

static void clear(list *l)
{
    for (int64_t i = 0; i < l->n; i++) {
        reel__free(l->items[i].name);
        reel__free(l->items[i].text);
        reel__let_go(l->items[i].tensor);
    }
    reel__free(l->items);
}

reel_tensor_map *reel_tensor_map_new(void)
{
    REEL__CALLED;
    return reel_failed() ? NULL : reel__calloc(1, sizeof(reel_tensor_map));
}

void reel_tensor_map_free(reel_tensor_map *map)
{
    if (!map) return;
    clear(&map->tensors);
    clear(&map->texts);
    reel__free(map);
}

/* ---- tensors ----------------------------------------------------------------------- */

reel_status reel_tensor_map_set(reel_tensor_map *map, const char *name, reel_tensor *t)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!map || !name || !t)
        return reel_fail(REEL_ERR_ARG, "tensor_map_set: %s is NULL",
                         !map    ? "the map"
                         : !name ? "the name"
                                 : "the tensor");
    item *it = find_or_add(&map->tensors, name);
    if (!it) return reel_error_status();
    reel__hold(t); /* before the release: it may be the same */
    reel__let_go(it->tensor);
    it->tensor = t;
    return REEL_OK;
}

reel_tensor *reel_tensor_map_get(const reel_tensor_map *map, const char *name)
{
    const item *it = map ? find(&map->tensors, name) : NULL;
    return it ? it->tensor : NULL;
}

int64_t reel_tensor_map_count(const reel_tensor_map *map)
{
    return map ? map->tensors.n : 0;
}

const char *reel_tensor_map_name(const reel_tensor_map *map, int64_t i)
{
    return map && i >= 0 && i < map->tensors.n ? map->tensors.items[i].name : NULL;
}

reel_tensor *reel_tensor_map_at(const reel_tensor_map *map, int64_t i)
{
    return map && i >= 0 && i < map->tensors.n ? map->tensors.items[i].tensor : NULL;
}

/* ---- texts ------------------------------------------------------------------------- */

reel_status reel_tensor_map_set_text(reel_tensor_map *map, const char *key,
                                     const char *text)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!map || !key || !text)
        return reel_fail(REEL_ERR_ARG, "tensor_map_set_text: %s is NULL",
                         !map   ? "the map"
                         : !key ? "the key"
                                : "the text");
    char *copy = reel__strdup(text);
    item *it = copy ? find_or_add(&map->texts, key) : NULL;
    if (!it) {
        reel__free(copy);
        return reel_error_status();
    }
    reel__free(it->text);
    it->text = copy;
    return REEL_OK;
}

const char *reel_tensor_map_text(const reel_tensor_map *map, const char *key)
{
    const item *it = map ? find(&map->texts, key) : NULL;
    return it ? it->text : NULL;
}

int64_t reel_tensor_map_text_count(const reel_tensor_map *map)
{
    return map ? map->texts.n : 0;
}

const char *reel_tensor_map_text_key(const reel_tensor_map *map, int64_t i)
{
    return map && i >= 0 && i < map->texts.n ? map->texts.items[i].name : NULL;
}
