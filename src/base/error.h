/* error.h: what the error room offers to the rooms above it. */
#ifndef REEL_BASE_ERROR_H
#define REEL_BASE_ERROR_H

#include <reel/base.h>

/* Longest message, with its terminator; longer ones are cut. */
#define REEL__ERROR_TEXT 4096

/* Sets what tells this thread's place in a model, such as "layer1.0.conv1"; it is appended
 * to the message of the next error as " (in layer1.0.conv1)" unless it returns NULL or "".
 * NULL switches it off. Returns the earlier one. */
typedef const char *(*reel__where_fn)(void);
reel__where_fn reel__set_error_where(reel__where_fn where);
/* That place now; NULL when nothing tells it. */
const char *reel__error_where(void);

#endif
