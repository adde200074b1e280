/* reel/training.h: a whole training run in one file, so that it goes on bit for bit.
 *
 *     reel_training run = { .module = net, .optim = opt, .schedule = lr, .loader = loader };
 *     if (resume) reel_training_load("run.ckpt", &run);
 *     for (; run.epoch < epochs; run.epoch++) {
 *         ...
 *         reel_training_save("run.ckpt", &run);
 *     } */
#ifndef REEL_TRAINING_H
#define REEL_TRAINING_H

#include <reel/data.h>
#include <reel/optim.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The parts of a run, all borrowed. What is NULL is neither saved nor loaded. */
typedef struct reel_training {
    reel_module *module;     /* weights and buffers */
    reel_optim *optim;       /* its state and rates */
    reel_schedule *schedule; /* its count and base rates */
    reel_ema *ema;           /* its averages */
    reel_loader *loader;     /* epoch and position in it */
    reel_tensor_map *extra;  /* what else you want to find again: curves, texts */
    int64_t epoch, batch;    /* yours: where the run stands */
} reel_training;

/** Writes all parts and the state of this thread's random generator, in one atomic step: a
 *  file that was there is intact until the new one is whole. Errors: REEL_ERR_ARG for NULL;
 *  those of reel_checkpoint_save. */
REEL_API reel_status reel_training_save(const char *path, const reel_training *run);
/** Loads what it holds into the parts of `run`, which are made beforehand, of the same shape;
 *  sets epoch, batch and this thread's random generator; adds to `extra`. Errors: those of
 *  reel_checkpoint_load; REEL_ERR_FORMAT if a part of `run` is not in the file; those of the
 *  parts, of which some may then be loaded. */
REEL_API reel_status reel_training_load(const char *path, reel_training *run);

#ifdef __cplusplus
}
#endif
#endif
