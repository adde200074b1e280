/* scratch.c: scratch memory of kernels, from the room that was lent or the caching allocator.
 * A piece begins with its size, because its user need not know it when freeing. */
#include "backend/scratch.h"

#include "backend/backend.h"
#include "base/alloc.h"

#define ALIGN ((size_t)64)
static const reel_device cpu = {.type = REEL_CPU};
static _Thread_local reel__scratch_room *lent;

/* A piece of the lent room; NULL if there is none or it is full. */
static char *take(size_t size)
{
    reel__scratch_room *r = lent;
    if (!r) return NULL;
    char *p = size <= r->bytes && r->used <= r->bytes - size ? r->data + r->used : NULL;
    r->used += size;
    r->pieces++;
    if (r->used > r->wanted) r->wanted = r->used;
    return p;
}

void *reel__scratch(size_t bytes)
{
    if (bytes > SIZE_MAX / 2) {
        reel_fail(REEL_ERR_MEMORY, "out of memory: %zu bytes of scratch", bytes);
        return NULL;
    }
    size_t size = (bytes + 2 * ALIGN - 1) / ALIGN * ALIGN;
    char *p = take(size);
    if (!p) p = reel__device_alloc(cpu, size);
    if (!p) {
        if (lent && --lent->pieces == 0) lent->used = 0;
        return NULL;
    }
    *(size_t *)p = size;
    return p + ALIGN;
}

void reel__scratch_free(void *p)
{
    if (!p) return;
    reel__scratch_room *r = lent;
    char *start = (char *)p - ALIGN;
    bool inside = r && start >= r->data && start < r->data + r->bytes;
    if (!inside) reel__device_free(cpu, start, *(size_t *)start);
    if (r && --r->pieces == 0) r->used = 0;
}

reel__scratch_room *reel__scratch_lend(reel__scratch_room *room)
{
    reel__scratch_room *was = lent;
    lent = room;
    return was;
}

reel_status reel__scratch_fit(reel__scratch_room *r)
{
    if (r->wanted <= r->bytes) return REEL_OK;
    char *data = reel__device_alloc(cpu, r->wanted);
    if (!data) return reel_error_status();
    reel__device_free(cpu, r->data, r->bytes);
    r->data = data;
    r->bytes = r->wanted;
    return REEL_OK;
}

void reel__scratch_room_free(reel__scratch_room *r)
{
    reel__device_free(cpu, r->data, r->bytes);
    *r = (reel__scratch_room){0};
}
