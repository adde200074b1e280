/* names.c: each name once. A hash table with open addressing; beside each name stands the
 * number that the next of that name gets, so that thousands of equal words take linear
 * time. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "ops/onnx.h"

typedef struct entry {
    char *name;
    int next;
} entry;

struct reel__onnx_name_set {
    entry *slot;
    size_t n, size; /* size is a power of two */
};

/* FNV-1a. */
static uint64_t hash(const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *name; name++) h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return h;
}

/* Where the name stands, or the free slot where it would. */
static entry *place(const reel__onnx_name_set *s, const char *name)
{
    size_t i = (size_t)hash(name) & (s->size - 1);
    while (s->slot[i].name && strcmp(s->slot[i].name, name) != 0)
        i = (i + 1) & (s->size - 1);
    return &s->slot[i];
}

static bool resize(reel__onnx_name_set *s, size_t size)
{
    const reel__onnx_name_set old = *s;
    entry *slot = reel__calloc(size, sizeof *slot);
    if (!slot) return false;
    s->slot = slot;
    s->size = size;
    for (size_t i = 0; i < old.size; i++)
        if (old.slot[i].name) *place(s, old.slot[i].name) = old.slot[i];
    reel__free(old.slot);
    return true;
}

reel__onnx_name_set *reel__onnx_name_set_new(void)
{
    reel__onnx_name_set *s = reel__calloc(1, sizeof *s);
    if (s && resize(s, 64)) return s;
    reel__free(s);
    return NULL;
}

void reel__onnx_name_set_free(reel__onnx_name_set *s)
{
    if (!s) return;
    for (size_t i = 0; i < s->size; i++) reel__free(s->slot[i].name);
    reel__free(s->slot);
    reel__free(s);
}

bool reel__onnx_name_take(reel__onnx_name_set *s, const char *name)
{
    if (2 * s->n >= s->size && !resize(s, 2 * s->size)) return false;
    entry *e = place(s, name);
    if (e->name || !(e->name = reel__strdup(name))) return false;
    s->n++;
    return true;
}

const char *reel__onnx_name(reel_onnx *o, const char *word)
{
    char base[512], text[512 + 16];
    const char *path = o->where ? o->where : "", *slash = *path ? "/" : "";
    (void)snprintf(base, sizeof base, "%.400s%s%.80s", path, slash, word);
    (void)snprintf(text, sizeof text, "%s", base);
    while (!reel__onnx_name_take(o->names, text)) {
        if (reel_failed()) return NULL;
        (void)snprintf(text, sizeof text, "%s_%d", base, ++place(o->names, base)->next);
    }
    return reel__onnx_text(o->model, text);
}
