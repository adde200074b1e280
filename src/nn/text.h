/* text.h: text that grows. A failed allocation leaves what is there and a pending error. */
#ifndef REEL_NN_TEXT_H
#define REEL_NN_TEXT_H

#include <reel/base.h>

typedef struct reel__text {
    char *s; /* NULL while nothing was added; of reel__malloc */
    size_t n, room;
} reel__text;

bool reel__text_add(reel__text *t, const char *format, ...) REEL_PRINTF(2, 3);
/* Cuts to the first n bytes. */
void reel__text_cut(reel__text *t, size_t n);
void reel__text_free(reel__text *t);

bool reel__shapes_equal(reel_shape a, reel_shape b);
/* "[64,3,7,7]" in a buffer of the caller; returns it. */
#define REEL__SHAPE_TEXT 192
const char *reel__shape_text(reel_shape shape, char text[REEL__SHAPE_TEXT]);

#endif
