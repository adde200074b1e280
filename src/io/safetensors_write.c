/* safetensors_write.c: u64 size of the header, header, data.
 *
 * Data lie in the order of element size, largest first, and the header is padded to eight
 * bytes, so that every tensor is aligned for whoever maps the file. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/alloc.h"
#include "base/crc32.h"
#include "base/file.h"
#include "io/bytes.h"
#include "io/safetensors.h"

#ifdef REEL_HAVE_JANSSON

#include <jansson.h>

#define ALIGNMENT 8
#define LARGEST_ELEMENT 8

typedef struct saving {
    const char *path;
    const reel_tensor_map *map;
    int64_t n;
    int64_t *order;  /* of the data: tensor numbers  */
    uint64_t *begin; /* of tensor i in the data       */
} saving;

static reel_status plan(saving *s)
{
    uint64_t at = 0;
    int64_t placed = 0;
    for (size_t size = LARGEST_ELEMENT; size >= 1; size /= 2)
        for (int64_t i = 0; i < s->n; i++) {
            reel_tensor *t = reel_tensor_map_at(s->map, i);
            if (reel_dtype_size(reel_dtype_of(t)) != size) continue;
            s->order[placed++] = i;
            s->begin[i] = at;
            at += reel__byte_count(t);
        }
    if (placed == s->n && at <= INT64_MAX) return REEL_OK;
    return reel_fail(REEL_ERR_SHAPE, "safetensors_save: %s: the tensors are too large",
                     s->path);
}

/* Calls `use` with the bytes of each tensor in the order of the data. */
typedef reel_status (*use_fn)(void *ctx, const void *data, size_t n);
static reel_status each(const saving *s, use_fn use, void *ctx)
{
    for (int64_t k = 0; k < s->n; k++) {
        reel_tensor *t = reel_tensor_map_at(s->map, s->order[k]);
        void *scratch;
        const void *data = reel__byte_view(t, &scratch);
        reel_status status =
            data ? use(ctx, data, reel__byte_count(t)) : reel_error_status();
        reel__free(scratch);
        if (status) return status;
    }
    return REEL_OK;
}

static reel_status use_for_crc(void *ctx, const void *data, size_t n)
{
    uint32_t *crc = ctx;
    *crc = reel__crc32(*crc, data, n);
    return REEL_OK;
}

static reel_status use_for_writing(void *ctx, const void *data, size_t n)
{
    return reel__writer_write(ctx, data, n);
}

/* ---- the header -------------------------------------------------------------------- */

static bool set_text(json_t *object, const char *key, const char *text)
{
    return json_object_set_new(object, key, json_string(text)) == 0;
}

static reel_status header_texts(const saving *s, bool checkpoint, json_t *header)
{
    const reel_tensor_map *m = s->map;
    int64_t n = reel_tensor_map_text_count(m);
    if (n == 0 && !checkpoint) return REEL_OK;
    json_t *texts = json_object();
    json_object_set_new(header, REEL__SAFETENSORS_METADATA, texts); /* owns it, or NULL */
    for (int64_t i = 0; i < n; i++) {
        const char *key = reel_tensor_map_text_key(m, i);
        if (!set_text(texts, key, reel_tensor_map_text(m, key)))
            return reel_fail(
                REEL_ERR_ARG,
                "safetensors_save: %s: text \"%s\" is not UTF-8, or out of memory",
                s->path, key);
    }
    if (!checkpoint) return REEL_OK;
    uint32_t crc = 0;
    if (each(s, use_for_crc, &crc)) return reel_error_status();
    char digits[16];
    snprintf(digits, sizeof digits, REEL__CHECKPOINT_CRC_FORMAT, crc);
    if (set_text(texts, REEL__CHECKPOINT_KEY, REEL__CHECKPOINT_VERSION) &&
        set_text(texts, REEL__CHECKPOINT_CRC_KEY, digits))
        return REEL_OK;
    return reel_fail(REEL_ERR_MEMORY, "safetensors_save: %s: out of memory", s->path);
}

static reel_status header_tensor(const saving *s, int64_t i, json_t *header)
{
    reel_tensor *t = reel_tensor_map_at(s->map, i);
    const char *name = reel_tensor_map_name(s->map, i);
    reel_shape shape = reel_shape_of(t);
    if (strcmp(name, REEL__SAFETENSORS_METADATA) == 0)
        return reel_fail(REEL_ERR_ARG, "safetensors_save: %s: the name %s is reserved",
                         s->path, name);
    json_t *dims = json_array();
    for (int d = 0; d < shape.rank; d++)
        json_array_append_new(dims, json_integer(shape.dim[d]));
    uint64_t begin = s->begin[i], end = begin + reel__byte_count(t);
    json_t *tensor = json_pack("{s:s, s:o, s:[I, I]}", "dtype",
                               reel__safetensors_dtype_name(reel_dtype_of(t)), "shape",
                               dims, "data_offsets", (json_int_t)begin, (json_int_t)end);
    if (json_object_set_new(header, name, tensor) == 0) return REEL_OK;
    return reel_fail(REEL_ERR_ARG,
                     "safetensors_save: %s: name \"%s\" is not UTF-8, or out of memory",
                     s->path, name);
}

/* The header as text, padded with spaces; the caller frees it with free(). */
static char *header_text(const saving *s, bool checkpoint, size_t *size)
{
    json_t *header = json_object();
    char *text = NULL;
    if (!header)
        reel_fail(REEL_ERR_MEMORY, "safetensors_save: %s: out of memory", s->path);
    if (header) header_texts(s, checkpoint, header);
    for (int64_t i = 0; i < s->n && !reel_failed(); i++) header_tensor(s, i, header);
    if (!reel_failed()) {
        text = json_dumps(header, JSON_COMPACT);
        if (!text)
            reel_fail(REEL_ERR_MEMORY, "safetensors_save: %s: out of memory", s->path);
    }
    json_decref(header);
    if (!text) return NULL;
    *size = strlen(text);
    if (*size <= (size_t)REEL__SAFETENSORS_MAX_HEADER - ALIGNMENT) return text;
    reel_fail(REEL_ERR_UNSUPPORTED,
              "safetensors_save: %s: a header of %zu bytes, expected at most %lld",
              s->path, *size, (long long)REEL__SAFETENSORS_MAX_HEADER);
    free(text);
    return NULL;
}

/* ---- the file ---------------------------------------------------------------------- */

static reel_status write_file(const saving *s, const char *header, size_t header_size)
{
    static const char spaces[ALIGNMENT + 1] = "        ";
    size_t padding = (ALIGNMENT - header_size % ALIGNMENT) % ALIGNMENT;
    uint64_t total = header_size + padding;
    reel__writer *w = reel__writer_open(s->path);
    if (!w) return reel_error_status();
    if (reel__writer_write(w, &total, sizeof total) ||
        reel__writer_write(w, header, header_size) ||
        reel__writer_write(w, spaces, padding) || each(s, use_for_writing, w)) {
        reel__writer_abort(w);
        return reel_error_status();
    }
    return reel__writer_commit(w);
}

reel_status reel__safetensors_write(const char *path, const reel_tensor_map *map,
                                    bool checkpoint)
{
    if (reel_failed()) return reel_error_status();
    if (!path || !map)
        return reel_fail(REEL_ERR_ARG, "safetensors_save: %s is NULL",
                         path ? "the map" : "the path");
    saving s = {.path = path, .map = map, .n = reel_tensor_map_count(map)};
    s.order = reel__malloc((size_t)s.n * sizeof *s.order);
    s.begin = reel__malloc((size_t)s.n * sizeof *s.begin);
    if (s.order && s.begin && !plan(&s)) {
        size_t size;
        char *header = header_text(&s, checkpoint, &size);
        if (header) write_file(&s, header, size);
        free(header);
    }
    reel__free(s.order);
    reel__free(s.begin);
    return reel_error_status();
}

reel_status reel_safetensors_save(const reel_tensor_map *map, const char *path)
{
    REEL__CALLED;
    return reel__safetensors_write(path, map, false);
}

#endif
