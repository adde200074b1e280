/* scratch.h: scratch memory of kernels. By itself each piece comes from the caching allocator;
 * who runs the same kernels again and again lends a room, and then nothing is allocated. */
#ifndef REEL_BACKEND_SCRATCH_H
#define REEL_BACKEND_SCRATCH_H

#include <stddef.h>

#include <reel/base.h>

/* Zero at first. Pieces are cut off one after the other, and all go back when none is left. */
typedef struct reel__scratch_room {
    char *data;
    size_t bytes;
    size_t used, wanted; /* now, and at most, had the room been large enough */
    int pieces;
} reel__scratch_room;

/* Until the next call, reel__scratch() of this thread takes from `room` (NULL: none) what fits.
 * Returns the one before, which must be lent again: a kernel may run a graph. */
reel__scratch_room *reel__scratch_lend(reel__scratch_room *room);
/* Makes a room that was too small as large as was wanted. It is not lent. */
reel_status reel__scratch_fit(reel__scratch_room *room);
void reel__scratch_room_free(reel__scratch_room *room);

#endif
