/* csv.h: a log whose rows begin with a number that grows: the step or the epoch. */
#ifndef RESNET_CIFAR_CSV_H
#define RESNET_CIFAR_CSV_H

#include <reel/reel.h>

typedef struct csv {
    FILE *f; /* NULL: nothing is logged */
    const char *path;
} csv;

/* Opens `path`, NULL for no log. keep 0: a new file. keep > 0, of a run that goes on: rows up
 * to number `keep` stay, and what the run had logged beyond its checkpoint is cut off, since
 * those rows come again. Another file than such a log is an error, and left alone. */
reel_status csv_open(csv *c, const char *path, const char *header, int64_t keep);
reel_status csv_row(csv *c, const char *format, ...) REEL_PRINTF(2, 3);
/* What was logged is in the file, before a checkpoint says that it is. */
reel_status csv_flush(csv *c);
reel_status csv_close(csv *c);

#endif
