/* reel/training.h: a whole training run in one file, so that it goes on bit for bit.
 *
 *     reel_training run = { .module = net, .optim = opt, .schedule = lr, .loader = loader };
 *     if (resume) reel_training_load(&run, "run.ckpt");
 *     for (; run.epoch < epochs; run.epoch++) {
 *         ...
 *         reel_training_save(&run, "run.ckpt");
 *     } */
#ifndef REEL_TRAINING_H
#define REEL_TRAINING_H

#include <reel/data.h>
#include <reel/optim.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Anything that has a state to be found again: an observer of the run (a running metric, the
 *  best loss so far), a second optimizer, a collection of games. Its two functions are called by
 *  reel_training_save() and reel_training_load(); what it puts into the map stands behind
 *  "name." in the file. State that a captured step (reel/compile.h) changes must be tensors,
 *  changed in place by operators; an object that counts on the host refuses within a capture,
 *      if (reel_capturing()) return reel_fail(REEL_ERR_STATE, ...),
 *  as reel_schedule_step() does. */
typedef struct reel_training_part {
    const char *name; /* of its own; 1 to 80 bytes, no dot */
    void *user;
    /* Puts the state into `map`, shared or copied: one tensor or text at least. */
    reel_status (*state)(void *user, reel_tensor_map *map);
    /* Takes it from `map`, which has the same names. */
    reel_status (*load_state)(void *user, const reel_tensor_map *map);
    REEL_FUTURE;
} reel_training_part;

/** Parts of reel's own objects, for a run that has more than one of them: two nets and two
 *  optimizers. The object is borrowed. */
REEL_API reel_training_part reel_module_part(const char *name, reel_module *m);
REEL_API reel_training_part reel_optim_part(const char *name, reel_optim *optim);
REEL_API reel_training_part reel_schedule_part(const char *name, reel_schedule *schedule);
REEL_API reel_training_part reel_ema_part(const char *name, reel_ema *ema);
REEL_API reel_training_part reel_loader_part(const char *name, reel_loader *loader);

/** The parts of a run, all borrowed. What is NULL is neither saved nor loaded. */
typedef struct reel_training {
    reel_module *module;     /* weights and buffers */
    reel_optim *optim;       /* its state and rates */
    reel_schedule *schedule; /* its count and base rates */
    reel_ema *ema;           /* its averages */
    reel_loader *loader;     /* epoch and position in it */
    reel_tensor_map *extra;  /* what else you want to find again: curves, texts */
    int64_t epoch, batch;    /* yours: where the run stands */
    /* More parts, saved and loaded after those above and in this order: a schedule before its
     * optimizer, for loading it sets rates. */
    const reel_training_part *parts;
    int n_parts;
    REEL_FUTURE;
} reel_training;

/** Writes all parts and the state of this thread's random generator, in one atomic step: a
 *  file that was there is intact until the new one is whole. Errors: REEL_ERR_ARG for NULL, for
 *  a part without a function, of a name that is taken ("module", "optim", "schedule", "ema",
 *  "loader", "extra", "rng", "position", another part's), or that has no state; those of the
 *  parts and of reel_tensor_map_save. */
REEL_API reel_status reel_training_save(const reel_training *run, const char *path);
/** Loads what it holds into the parts of `run`, which are made beforehand, of the same shape;
 *  sets epoch, batch and this thread's random generator; adds to `extra`. Errors: those of
 *  reel_tensor_map_load; REEL_ERR_FORMAT if a part of `run` is not in the file; those of the
 *  parts, of which some may then be loaded. */
REEL_API reel_status reel_training_load(reel_training *run, const char *path);

#ifdef __cplusplus
}
#endif
#endif
