/* csv_read.h: the records of a CSV text, a field at a time. */
#ifndef REEL_DATA_CSV_READ_H
#define REEL_DATA_CSV_READ_H

#include <reel/base.h>

typedef struct reel__csv {
    const char *path; /* for messages */
    const char *at, *end;
    char separator;
    int64_t line; /* of `at`, from 1 */
} reel__csv;

/* Between its quotes, if it has some; "" in them is not resolved. */
typedef struct reel__csv_field {
    const char *text; /* not terminated */
    size_t n;
    bool quoted;
    bool last; /* of its record */
} reel__csv_field;

/* Passes over a byte order mark. */
void reel__csv_begin(reel__csv *c);
/* Passes over empty lines; false at the end of the text. */
bool reel__csv_more(reel__csv *c);
/* The next field of the record. REEL_ERR_FORMAT for quotes that do not end or are within
 * text. */
reel_status reel__csv_next(reel__csv *c, reel__csv_field *out);
/* A copy in which "" is one quote; the caller frees it with reel__free(). */
char *reel__csv_text(const reel__csv_field *f);

#endif
