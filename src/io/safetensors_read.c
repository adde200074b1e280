/* safetensors_read.c: a file from anywhere: nothing in it is believed before it is
 * checked.
 *
 * The header is JSON, which jansson parses (no duplicate keys, 64-bit integers, valid
 * UTF-8) after a look at its size and nesting. Then every tensor's dtype, shape and place
 * must agree with each other, and the places must cover the data exactly, without gap or
 * overlap. */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/alloc.h"
#include "base/file.h"
#include "io/bytes.h"
#include "io/safetensors.h"

#ifdef REEL_HAVE_JANSSON

#include <jansson.h>

#define MAX_DEPTH 3 /* header { tensor { shape [ */

typedef struct entry {
    const char *name; /* of the header */
    const reel__safetensors_dtype *dtype;
    reel_shape shape;
    uint64_t begin, end; /* in the data */
} entry;

struct reel_safetensors {
    char *path;
    reel__map map;
    json_t *header, *texts; /* texts: NULL or in the header */
    const char *data;
    uint64_t data_size;
    entry *entries; /* in the order of the header */
    int64_t n;
    const entry **by_name, **by_place;
};

/* ---- the header as text ------------------------------------------------------------ */

/* Nesting of a JSON text; brackets in strings do not count. */
static int depth_of(const char *text, size_t n)
{
    int depth = 0, deepest = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = text[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
        } else if (c == '"')
            in_string = true;
        else if (c == '{' || c == '[')
            deepest = ++depth > deepest ? depth : deepest;
        else if (c == '}' || c == ']')
            depth--;
    }
    return deepest;
}

static reel_status parse_header(reel_safetensors *st)
{
    uint64_t size = 0;
    if (st->map.size < sizeof size)
        return reel_fail(
            REEL_ERR_FORMAT,
            "safetensors: %s has %zu bytes, expected at least the 8 that give the "
            "size of the header",
            st->path, st->map.size);
    memcpy(&size, st->map.data, sizeof size);
    uint64_t rest = st->map.size - sizeof size;
    if (size > rest || size > (uint64_t)REEL__SAFETENSORS_MAX_HEADER)
        return reel_fail(
            REEL_ERR_FORMAT,
            "safetensors: %s claims a header of %llu bytes; %llu follow, and at "
            "most %lld are allowed",
            st->path, (unsigned long long)size, (unsigned long long)rest,
            (long long)REEL__SAFETENSORS_MAX_HEADER);
    const char *text = (const char *)st->map.data + sizeof size;
    st->data = text + size;
    st->data_size = rest - size;
    if (size == 0 || text[0] != '{' || depth_of(text, size) > MAX_DEPTH)
        return reel_fail(REEL_ERR_FORMAT,
                         "safetensors: %s: the header is no JSON object of tensors",
                         st->path);
    json_error_t error;
    st->header = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (!st->header)
        return reel_fail(REEL_ERR_FORMAT, "safetensors: %s: header, byte %d: %s",
                         st->path, error.position, error.text);
    return REEL_OK;
}

/* ---- what it says ------------------------------------------------------------------ */

static reel_status bad(const reel_safetensors *st, const char *name, const char *what)
{
    return reel_fail(REEL_ERR_FORMAT, "safetensors: %s: tensor \"%s\": %s", st->path,
                     name, what);
}

static bool parse_shape(const json_t *array, reel_shape *out)
{
    size_t rank = json_array_size(array); /* 0 for what is not an array */
    if (!json_is_array(array) || rank > REEL_MAX_RANK) return false;
    out->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *dim = json_array_get(array, i);
        if (!json_is_integer(dim) || json_integer_value(dim) < 0) return false;
        out->dim[i] = json_integer_value(dim);
    }
    return true;
}

static bool parse_place(const json_t *array, uint64_t *begin, uint64_t *end)
{
    const json_t *b = json_array_get(array, 0), *e = json_array_get(array, 1);
    if (json_array_size(array) != 2 || !json_is_integer(b) || !json_is_integer(e))
        return false;
    if (json_integer_value(b) < 0 || json_integer_value(e) < json_integer_value(b))
        return false;
    *begin = (uint64_t)json_integer_value(b);
    *end = (uint64_t)json_integer_value(e);
    return true;
}

static reel_status parse_tensor(const reel_safetensors *st, const char *name,
                                const json_t *value, entry *e)
{
    e->name = name;
    if (!json_is_object(value) || json_object_size(value) != 3)
        return bad(st, name, "expected exactly dtype, shape and data_offsets");
    const json_t *dtype = json_object_get(value, "dtype");
    e->dtype = json_is_string(dtype)
                   ? reel__safetensors_dtype_named(json_string_value(dtype))
                   : NULL;
    if (!e->dtype) return bad(st, name, "dtype is none of the format");
    if (!parse_shape(json_object_get(value, "shape"), &e->shape))
        return bad(st, name, "shape is not a list of at most 8 sizes");
    if (!parse_place(json_object_get(value, "data_offsets"), &e->begin, &e->end))
        return bad(st, name, "data_offsets is no [begin, end]");
    uint64_t bytes;
    if (!reel__shape_bytes(e->shape, e->dtype->size, &bytes))
        return bad(st, name, "shape is larger than any memory");
    if (e->end > st->data_size || e->end - e->begin != bytes)
        return reel_fail(
            REEL_ERR_FORMAT,
            "safetensors: %s: tensor \"%s\" lies at %llu to %llu of %llu bytes; "
            "its shape takes %llu",
            st->path, name, (unsigned long long)e->begin, (unsigned long long)e->end,
            (unsigned long long)st->data_size, (unsigned long long)bytes);
    return REEL_OK;
}

static reel_status parse_texts(reel_safetensors *st, json_t *value)
{
    if (!json_is_object(value))
        return reel_fail(REEL_ERR_FORMAT,
                         "safetensors: %s: __metadata__ is no JSON object", st->path);
    const char *key;
    json_t *text;
    json_object_foreach(value, key, text)
    {
        if (!json_is_string(text))
            return reel_fail(REEL_ERR_FORMAT,
                             "safetensors: %s: __metadata__ \"%s\" is not a string",
                             st->path, key);
    }
    st->texts = value;
    return REEL_OK;
}

static reel_status parse_entries(reel_safetensors *st)
{
    size_t room = json_object_size(st->header);
    st->entries = reel__calloc(room, sizeof *st->entries);
    st->by_name = reel__malloc(room * sizeof *st->by_name);
    st->by_place = reel__malloc(room * sizeof *st->by_place);
    if (!st->entries || !st->by_name || !st->by_place) return reel_error_status();
    const char *name;
    json_t *value;
    json_object_foreach(st->header, name, value)
    {
        if (strcmp(name, REEL__SAFETENSORS_METADATA) == 0) {
            if (parse_texts(st, value)) return reel_error_status();
            continue;
        }
        entry *e = &st->entries[st->n];
        if (parse_tensor(st, name, value, e)) return reel_error_status();
        st->by_name[st->n] = st->by_place[st->n] = e;
        st->n++;
    }
    return REEL_OK;
}

static int compare_names(const void *a, const void *b)
{
    const entry *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int compare_places(const void *a, const void *b)
{
    const entry *x = *(const entry *const *)a, *y = *(const entry *const *)b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static reel_status check_cover(const reel_safetensors *st)
{
    uint64_t at = 0;
    for (int64_t i = 0; i < st->n; i++) {
        const entry *e = st->by_place[i];
        if (e->begin != at)
            return reel_fail(
                REEL_ERR_FORMAT,
                "safetensors: %s: tensor \"%s\" begins at %llu, %s the end of the "
                "one before, %llu",
                st->path, e->name, (unsigned long long)e->begin,
                e->begin < at ? "overlapping" : "leaving a gap after",
                (unsigned long long)at);
        at = e->end;
    }
    if (at == st->data_size) return REEL_OK;
    return reel_fail(REEL_ERR_FORMAT,
                     "safetensors: %s: the tensors take %llu bytes, the file holds %llu",
                     st->path, (unsigned long long)at, (unsigned long long)st->data_size);
}

/* ---- open and close ---------------------------------------------------------------- */

static reel_status map_file(reel_safetensors *st)
{
    reel__file f;
    if (reel__file_open(&f, st->path, INT64_MAX)) return reel_error_status();
    reel__file_map(&f, &st->map);
    reel__file_close(&f);
    return reel_error_status();
}

reel_safetensors *reel_safetensors_open(const char *path)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    if (!path) {
        reel_fail(REEL_ERR_ARG, "safetensors_open: the path is NULL");
        return NULL;
    }
    reel_safetensors *st = reel__calloc(1, sizeof *st);
    if (!st) return NULL;
    st->path = reel__strdup(path);
    if (!st->path || map_file(st) || parse_header(st) || parse_entries(st)) {
        reel_safetensors_close(st);
        return NULL;
    }
    qsort(st->by_name, (size_t)st->n, sizeof *st->by_name, compare_names);
    qsort(st->by_place, (size_t)st->n, sizeof *st->by_place, compare_places);
    if (!check_cover(st)) return st;
    reel_safetensors_close(st);
    return NULL;
}

void reel_safetensors_close(reel_safetensors *st)
{
    if (!st) return;
    json_decref(st->header);
    reel__file_unmap(&st->map);
    reel__free(st->entries);
    reel__free(st->by_name);
    reel__free(st->by_place);
    reel__free(st->path);
    reel__free(st);
}

/* ---- asking ------------------------------------------------------------------------ */

int64_t reel_safetensors_count(const reel_safetensors *st)
{
    return st ? st->n : 0;
}

const char *reel_safetensors_name(const reel_safetensors *st, int64_t i)
{
    return st && i >= 0 && i < st->n ? st->entries[i].name : NULL;
}

reel_shape reel_safetensors_shape(const reel_safetensors *st, int64_t i)
{
    return st && i >= 0 && i < st->n ? st->entries[i].shape : (reel_shape){.rank = -1};
}

const char *reel_safetensors_text(const reel_safetensors *st, const char *key)
{
    return st && key ? json_string_value(json_object_get(st->texts, key)) : NULL;
}

const void *reel__safetensors_data(const reel_safetensors *st, size_t *size)
{
    *size = (size_t)st->data_size;
    return st->data;
}

static reel_tensor *copy_out(const reel_safetensors *st, const entry *e)
{
    size_t bytes = (size_t)(e->end - e->begin);
    const char *from = st->data + e->begin;
    if (e->dtype->dtype == REEL_DTYPE_NONE) {
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "safetensors: %s: tensor \"%s\" is %s, which reel has not", st->path,
                  e->name, e->dtype->name);
        return NULL;
    }
    if (e->dtype->dtype == REEL_BOOL &&
        reel__find_non_bool((const uint8_t *)from, bytes) >= 0) {
        bad(st, e->name, "a BOOL is neither 0 nor 1");
        return NULL;
    }
    reel_tensor *t = reel__host_empty(e->shape, e->dtype->dtype);
    void *to = t ? reel_data(t) : NULL;
    if (to) memcpy(to, from, bytes);
    return t;
}

reel_tensor *reel_safetensors_get(reel_safetensors *st, const char *name)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    if (!st || !name) {
        reel_fail(REEL_ERR_ARG, "safetensors_get: %s is NULL",
                  st ? "the name" : "the file");
        return NULL;
    }
    const entry key = {.name = name}, *wanted = &key;
    const entry *const *found =
        bsearch(&wanted, st->by_name, (size_t)st->n, sizeof *st->by_name, compare_names);
    if (found) return copy_out(st, *found);
    reel_fail(REEL_ERR_ARG, "safetensors_get: %s has no tensor \"%s\"", st->path, name);
    return NULL;
}

reel_tensor_map *reel__safetensors_to_map(reel_safetensors *st)
{
    reel_tensor_map *map = reel_tensor_map_new();
    if (!map) return NULL;
    for (int64_t i = 0; i < st->n && !reel_failed(); i++) {
        reel_scope scope = reel_scope_begin();
        reel_tensor *t = copy_out(st, &st->entries[i]);
        if (t) reel_tensor_map_set(map, st->entries[i].name, t);
        reel_scope_end(scope);
    }
    const char *key;
    json_t *text;
    json_object_foreach(st->texts, key, text)
        reel_tensor_map_set_text(map, key, json_string_value(text));
    if (!reel_failed()) return map;
    reel_tensor_map_free(map);
    return NULL;
}

reel_tensor_map *reel_safetensors_load(const char *path)
{
    REEL__CALLED;
    reel_safetensors *st = reel_safetensors_open(path);
    reel_tensor_map *map = st ? reel__safetensors_to_map(st) : NULL;
    reel_safetensors_close(st);
    return map;
}

#endif
