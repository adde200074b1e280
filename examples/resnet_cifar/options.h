/* options.h: the command line of resnet_cifar. */
#ifndef RESNET_CIFAR_OPTIONS_H
#define RESNET_CIFAR_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct options {
    const char *data; /* NULL: drawn data */
    const char *model;
    const char *schedule;
    const char *augment;
    const char *checkpoint, *log, *log_steps, *out;
    char own_checkpoint[4096]; /* what `checkpoint` is unless it was given */
    const char *init;          /* safetensors with the first weights */
    int64_t epochs, batch, samples, threads, workers, seed, checkpoint_every;
    double lr, weight_decay, label_smoothing;
    bool resume, skip_corrupt, ema, traced;
    bool adamw; /* instead of SGD; follows from the model */
} options;

/* Fills `o`. Returns -1 to go on, else the exit status (0 after --help). */
int options_parse(options *o, int argc, char **argv);

#endif
