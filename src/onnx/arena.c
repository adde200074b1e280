/* arena.c: a bump allocator. Blocks grow with what was asked for, so that both a model of
 * three nodes and one of a million waste little. */
#include "onnx/arena.h"

#include "base/alloc.h"

#include <stdalign.h>

#define BLOCK_MIN ((size_t)4 << 10)
#define BLOCK_MAX ((size_t)1 << 20)

struct reel__onnx_block {
    struct reel__onnx_block *next;
    alignas(16) unsigned char bytes[];
};

static reel__onnx_block *block_new(size_t size)
{
    size_t whole;
    if (__builtin_add_overflow(size, sizeof(reel__onnx_block), &whole)) {
        reel_fail(REEL_ERR_MEMORY, "out of memory: %zu bytes", size);
        return NULL;
    }
    return reel__malloc(whole);
}

/* What would leave much of the present block unused gets a block of its own, behind it. */
static void *alloc_alone(reel__onnx_arena *a, size_t size)
{
    reel__onnx_block *b = block_new(size);
    if (!b) return NULL;
    if (a->block) {
        b->next = a->block->next;
        a->block->next = b;
    } else {
        b->next = NULL;
        a->block = b;
        a->used = a->room = size;
    }
    a->total += size;
    return b->bytes;
}

static bool next_block(reel__onnx_arena *a)
{
    size_t size = a->total < BLOCK_MIN   ? BLOCK_MIN
                  : a->total > BLOCK_MAX ? BLOCK_MAX
                                         : a->total;
    reel__onnx_block *b = block_new(size);
    if (!b) return false;
    b->next = a->block;
    a->block = b;
    a->used = 0;
    a->room = size;
    return true;
}

void *reel__onnx_alloc(reel__onnx_arena *a, size_t size, size_t align)
{
    if (size > BLOCK_MIN / 4) return alloc_alone(a, size);
    size_t start = (a->used + align - 1) & ~(align - 1);
    if (!a->block || start > a->room || size > a->room - start) {
        if (!next_block(a)) return NULL;
        start = 0;
    }
    a->total += start + size - a->used;
    a->used = start + size;
    return a->block->bytes + start;
}

void reel__onnx_arena_free(reel__onnx_arena *a)
{
    for (reel__onnx_block *b = a->block; b;) {
        reel__onnx_block *next = b->next;
        reel__free(b);
        b = next;
    }
    *a = (reel__onnx_arena){0};
}
