/* watched.h: objects whose settings decide which operators run: modules (train or eval, their
 * parts), optimizers (groups, options). A graph remembers which of them it was captured with
 * and what they said then, and is for that alone. An object is known by a number that is never
 * used again, so one that is gone is not mistaken for another at its address. */
#ifndef REEL_BASE_WATCHED_H
#define REEL_BASE_WATCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A number that stands for all settings of the object; another one when they differ. */
typedef uint64_t (*reel__says_fn)(const void *object);

/* The object's number; 0 with an error. */
uint64_t reel__watched_new(const void *object, reel__says_fn says);
/* It goes. 0 is allowed. */
void reel__watched_free(uint64_t number);
/* What it says now; false if it is gone. */
bool reel__watched_says(uint64_t number, uint64_t *says);

/* What an object said at some time. */
typedef struct reel__said {
    uint64_t number, says;
} reel__said;
/* True if all n are there and say the same now. One lock for all: steps ask it at each run. */
bool reel__watched_agree(const reel__said *said, int n);

/* Its settings are about to decide something: this thread's listener hears of it. */
void reel__watched_used(uint64_t number);
/* NULL: nobody listens. Returns who did. */
typedef void (*reel__watched_fn)(uint64_t number);
reel__watched_fn reel__watched_listen(reel__watched_fn heard);

/* Mixes n bytes into a number that reel__says_fn returns; begin with 0. */
uint64_t reel__says_mix(uint64_t so_far, const void *bytes, size_t n);

#endif
