/* resume.h: what of a run is in its checkpoint, so that it goes on bit for bit. */
#ifndef RESNET_CIFAR_RESUME_H
#define RESNET_CIFAR_RESUME_H

#include "csv.h"
#include "session.h"

/* Where a run stands beyond what reel_training keeps: sums of the unfinished epoch, the rows
 * of the finished ones, and the logs. */
typedef struct progress {
    double loss_sum, correct, seen, seconds;
    epoch_row *row; /* [epochs] */
    int64_t rows;
    csv log, steps;
} progress;

/* Writes --checkpoint, if there is one. */
reel_status save_checkpoint(const options *o, session *s, progress *p, int64_t epoch);
/* With --resume, loads --checkpoint if it is there; *epoch is where to go on. A checkpoint
 * that was made with other options is an error. */
reel_status resume(const options *o, session *s, progress *p, int64_t *epoch);

#endif
