/* session.h: everything a run consists of, made from the options. */
#ifndef RESNET_CIFAR_SESSION_H
#define RESNET_CIFAR_SESSION_H

#include <reel/reel.h>

#include "options.h"
#include "report.h"

typedef struct session {
    reel_dataset *train, *test;
    reel_loader *train_loader, *test_loader;
    reel_module *net;
    reel_optim *optim;
    reel_schedule *schedule;
    reel_ema *ema; /* or NULL */
    int64_t steps_per_epoch;
} session;

/* Makes all of it; on an error what was made is freed by session_close(). */
reel_status session_open(session *s, const options *o);
void session_close(session *s);

#endif
