/* arena.h: memory that is freed at once, and what else a model owns. */
#ifndef REEL_ONNX_ARENA_H
#define REEL_ONNX_ARENA_H

#include "base/file.h"

typedef struct reel__onnx_block reel__onnx_block;

typedef struct reel__onnx_arena {
    reel__onnx_block *block; /* the newest; the first is the one that is filled */
    size_t used, room;       /* of its bytes */
    size_t total;            /* handed out by the arena */
} reel__onnx_arena;

/* Uninitialized, aligned to `align` (a power of two, at most 16). NULL and a pending error
 * on failure. */
void *reel__onnx_alloc(reel__onnx_arena *a, size_t size, size_t align);
void reel__onnx_arena_free(reel__onnx_arena *a);

/* Files whose bytes the tensors of a model point into, by the name they go by. */
typedef struct reel__onnx_file {
    const char *location;
    reel__map map;
    struct reel__onnx_file *next;
} reel__onnx_file;

struct reel__onnx_owned {
    reel__onnx_arena arena;
    reel__onnx_file *files; /* their records lie in the arena */
    size_t n_files;
};

#endif
