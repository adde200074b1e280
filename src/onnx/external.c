/* external.c: weights that lie in files beside the model. The names of these files come from
 * a file that nobody vouches for, so they may lead nowhere but into the model's folder. */
#include "onnx/reader.h"

#include "onnx/arena.h"

#include <stdalign.h>
#include <string.h>

static reel__onnx_file *open_file(reel__onnx_reader *r, const char *location)
{
    struct reel__onnx_owned *owned = r->m->owned;
    if (owned->n_files == REEL__ONNX_FILES_MAX) {
        reel__onnx_beyond(r, "names more than %d files", REEL__ONNX_FILES_MAX);
        return NULL;
    }
    reel__onnx_file *file =
        reel__onnx_array(r, 1, sizeof *file, alignof(reel__onnx_file));
    if (!file) return NULL;
    reel__file f;
    reel_status opened =
        r->data ? reel__file_open(&f, r->data, r->max_bytes)
                : reel__file_open_within(&f, r->folder, location, r->max_bytes);
    if (opened != REEL_OK) {
        reel__onnx_bad_because(r);
        return NULL;
    }
    *file = (reel__onnx_file){.location = location, .next = owned->files};
    bool mapped = reel__file_map(&f, &file->map) == REEL_OK;
    reel__file_close(&f);
    if (!mapped) {
        reel__onnx_bad_because(r);
        return NULL;
    }
    owned->files = file;
    owned->n_files++;
    return file;
}

const void *reel__onnx_external(reel__onnx_reader *r, const char *location,
                                uint64_t offset, size_t bytes)
{
    if (!r->folder) {
        reel__onnx_bad(r, "lies in another file, but a model in memory has no folder");
        return NULL;
    }
    reel__onnx_file *file = r->m->owned->files;
    while (file && strcmp(file->location, location) != 0) file = file->next;
    if (!file) file = open_file(r, location);
    if (!file) return NULL;
    size_t size = file->map.size;
    if (offset > size || bytes > size - offset) {
        reel__onnx_bad(r, "%s has %zu bytes, but %zu bytes at %ju are wanted", location,
                       size, bytes, (uintmax_t)offset);
        return NULL;
    }
    return (const char *)file->map.data + offset;
}
