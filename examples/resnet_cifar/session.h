/* session.h: everything a run consists of, made from the options. */
#ifndef RESNET_CIFAR_SESSION_H
#define RESNET_CIFAR_SESSION_H

#include <reel/reel.h>

#include "options.h"
#include "report.h"

typedef struct session {
    const options *o;
    reel_dataset *train, *test;
    reel_loader *train_loader, *test_loader;
    reel_module *net;
    reel_optim *optim;
    reel_schedule *schedule;
    reel_ema *ema;           /* or NULL */
    reel_compiled *step;     /* train_step() as a graph; NULL without --traced */
    const float *mean, *std; /* [3], of the pixels */
    int64_t steps_per_epoch;
} session;

/* Makes all of it; on an error what was made is freed by session_close(). */
reel_status session_open(session *s, const options *o);
/* One step: x images and labels, y loss and logits; `user` is the session. The schedule, the
 * average and the logs are no part of it: they are not the graph's. */
reel_status session_step(void *user, reel_tensor *const x[], int n_x, reel_tensor *y[],
                         int n_y);
void session_close(session *s);

#endif
