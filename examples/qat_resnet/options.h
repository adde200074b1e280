/* options.h: the command line of qat_resnet. */
#ifndef QAT_RESNET_OPTIONS_H
#define QAT_RESNET_OPTIONS_H

#include <stdint.h>

typedef struct options {
    const char *data;    /* NULL: drawn data */
    const char *weights; /* of the float model, a safetensors file; NULL: it is trained */
    const char *model, *target, *out;
    int64_t epochs, qat_epochs, batch, samples, calibrate, threads, seed;
    double lr, qat_lr;
} options;

/* Fills `o`. Returns -1 to go on, else the exit status (0 after --help). */
int options_parse(options *o, int argc, char **argv);

#endif
