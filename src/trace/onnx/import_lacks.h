/* import_lacks.h (internal): what a file needs and we have not, gathered while the graph is
 * built, so that one error lists it all. */
#ifndef REEL_TRACE_ONNX_IMPORT_LACKS_H
#define REEL_TRACE_ONNX_IMPORT_LACKS_H

#include <reel/base.h>

/* Kinds that are told apart; a message has no room for more. */
#define REEL__LACKS_MAX 48

typedef struct reel__import_lacks {
    int n;
    int64_t others; /* beyond the table */
    struct {
        char what[192], where[96]; /* where it was first */
        int64_t count;
    } row[REEL__LACKS_MAX];
} reel__import_lacks;

/* Something is lacking; the same words count once more. */
void reel__lacks(reel__import_lacks *l, const char *where, const char *format, ...)
    REEL_PRINTF(3, 4);
/* REEL_ERR_UNSUPPORTED with the list; REEL_OK if it is empty. */
reel_status reel__lacks_refuse(const reel__import_lacks *l, const char *file,
                               int64_t opset);

#endif
