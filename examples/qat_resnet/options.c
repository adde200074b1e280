/* options.c: the command line of qat_resnet. */
#include "options.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: qat_resnet [OPTIONS]\n"
    "\n"
    "Trains an image classifier in floats, quantizes it after training in several ways, "
    "trains\n"
    "the quantized one on, and says how good each is. Writes OUT/MODEL.onnx and\n"
    "OUT/MODEL.int8.onnx.\n"
    "\n"
    "  --data DIR        CIFAR-10 binary batches, or folders train/ and test/ of images\n"
    "                    (default: drawn shapes and textures of 10 classes)\n"
    "  --samples N       drawn training images; a tenth more for testing (default 8000)\n"
    "  --model NAME      resnet20 (default), resnet18, mobilenet_v2\n"
    "  --weights FILE    a trained float model, as resnet_cifar writes it\n"
    "  --epochs N        of float training without --weights (default 4)\n"
    "  --qat-epochs N    of quantization-aware training (default 2)\n"
    "  --batch N         images a step (default 128)\n"
    "  --lr X            highest learning rate in floats (default 0.2)\n"
    "  --qat-lr X        first learning rate of the quantized (default 0.005)\n"
    "  --calibrate N     images whose values set the ranges (default 1024)\n"
    "  --target NAME     ort (default), tensorrt, per_tensor\n"
    "  --seed N          the same seed gives the same run (default 1)\n"
    "  --threads N       that compute (default 0: all)\n"
    "  --out DIR         an existing folder for the files (default .)\n"
    "  --help            this page\n";

typedef struct option {
    const char *name;
    const char **text;
    int64_t *whole, least;
    double *real;
} option;

static bool number(const option *p, const char *text)
{
    char *end;
    if (p->whole) *p->whole = strtoll(text, &end, 10);
    if (p->real) *p->real = strtod(text, &end);
    return *text && !*end && (!p->whole || *p->whole >= p->least) &&
           (!p->real || *p->real > 0);
}

static bool take(const option *p, const char *text)
{
    if (!p->text) return number(p, text);
    *p->text = text;
    return true;
}

int options_parse(options *o, int argc, char **argv)
{
    *o = (options){.model = "resnet20",
                   .target = "ort",
                   .out = ".",
                   .epochs = 4,
                   .qat_epochs = 2,
                   .batch = 128,
                   .samples = 8000,
                   .calibrate = 1024,
                   .seed = 1,
                   .lr = 0.2,
                   .qat_lr = 0.005};
    const option all[] = {
        {"--data", .text = &o->data},
        {"--model", .text = &o->model},
        {"--weights", .text = &o->weights},
        {"--target", .text = &o->target},
        {"--out", .text = &o->out},
        {"--samples", .whole = &o->samples, .least = 100},
        {"--epochs", .whole = &o->epochs, .least = 1},
        {"--qat-epochs", .whole = &o->qat_epochs},
        {"--batch", .whole = &o->batch, .least = 1},
        {"--calibrate", .whole = &o->calibrate, .least = 1},
        {"--seed", .whole = &o->seed},
        {"--threads", .whole = &o->threads},
        {"--lr", .real = &o->lr},
        {"--qat-lr", .real = &o->qat_lr},
    };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(help, stdout);
            return 0;
        }
        const option *p = NULL;
        for (size_t k = 0; k < sizeof all / sizeof *all && !p; k++)
            if (strcmp(argv[i], all[k].name) == 0) p = &all[k];
        if (p && i + 1 < argc && take(p, argv[i + 1])) {
            i++;
            continue;
        }
        fprintf(stderr, "qat_resnet: %s%s%s; --help lists the options\n", argv[i],
                !p             ? " is not an option"
                : i + 1 < argc ? " does not take "
                               : " needs a value",
                p && i + 1 < argc ? argv[i + 1] : "");
        return 2;
    }
    return -1;
}
