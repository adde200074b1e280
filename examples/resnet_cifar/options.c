/* options.c: one table row an option; help, parsing and range checks read it. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { TEXT, WHOLE, REAL, SWITCH } kind;

typedef struct row {
    const char *name;
    const char *value; /* what --help calls it */
    kind kind;
    size_t at;        /* offset in options */
    double low, high; /* of a number */
    const char *help;
} row;

#define AT(field) offsetof(options, field)
static const row rows[] = {
    {"--data", "DIR", TEXT, AT(data), 0, 0,
     "CIFAR-10 binary batches, or folders train/ and test/ of images\n"
     "(default: drawn shapes and textures of 10 classes)"},
    {"--samples", "N", WHOLE, AT(samples), 10, 1e6,
     "drawn training images; a tenth more for testing (default 20000)"},
    {"--skip-corrupt", "", SWITCH, AT(skip_corrupt), 0, 0,
     "leave corrupt images out instead of stopping"},
    {"--augment", "NAME", TEXT, AT(augment), 0, 0,
     "crop: padded crop and mirror (default); cutout: the same and a hole;\nnone"},

    {"--model", "NAME", TEXT, AT(model), 0, 0,
     "resnet20 (default), resnet32, resnet56, resnet18, mobilenet_v2, mlp,\nvit-tiny"},
    {"--init", "FILE", TEXT, AT(init), 0, 0, "first weights, a safetensors file"},
    {"--epochs", "N", WHOLE, AT(epochs), 1, 1e6,
     "passes over the data (default 6; 4 over drawn data)"},
    {"--batch", "N", WHOLE, AT(batch), 1, 65536, "images a step (default 128)"},
    {"--lr", "X", REAL, AT(lr), 0, 1e3,
     "highest learning rate (default 0.2; 0.001 for vit-tiny and mlp, which\n"
     "use AdamW instead of SGD)"},
    {"--schedule", "NAME", TEXT, AT(schedule), 0, 0,
     "onecycle (default), cosine, step, constant"},
    {"--weight-decay", "X", REAL, AT(weight_decay), 0, 10,
     "(default 5e-4; 0.05 with AdamW)"},
    {"--label-smoothing", "X", REAL, AT(label_smoothing), 0, 1, "(default 0)"},
    {"--ema", "", SWITCH, AT(ema), 0, 0, "test with a moving average of the weights"},
    {"--traced", "", SWITCH, AT(traced), 0, 0,
     "train with the step as a graph: faster, in less memory; losses differ\n"
     "by rounding"},
    {"--seed", "N", WHOLE, AT(seed), 0, 9e15,
     "the same seed gives the same run (default 1)"},

    {"--threads", "N", WHOLE, AT(threads), 0, 1024, "that compute (default 0: all)"},
    {"--workers", "N", WHOLE, AT(workers), 0, 256,
     "threads that prepare batches (default 1)"},
    {"--checkpoint", "FILE", TEXT, AT(checkpoint), 0, 0,
     "written after each epoch and on Ctrl-C (default: checkpoint.safetensors\n"
     "in --out)"},
    {"--checkpoint-every", "N", WHOLE, AT(checkpoint_every), 1, 1e9,
     "and after every N steps"},
    {"--resume", "", SWITCH, AT(resume), 0, 0,
     "go on from --checkpoint, bit for bit, if the file is there; logs are\n"
     "cut to where it stands"},
    {"--log", "FILE", TEXT, AT(log), 0, 0, "CSV, a row an epoch"},
    {"--log-steps", "FILE", TEXT, AT(log_steps), 0, 0, "CSV, a row a step"},
    {"--out", "DIR", TEXT, AT(out), 0, 0,
     "for pictures, weights and the ONNX file (default resnet_cifar_out)"},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static void help_row(FILE *to, const char *name, const char *value, const char *text)
{
    fprintf(to, "  %s %-*s ", name, 23 - (int)strlen(name), value);
    for (; *text; text++) {
        putc(*text, to);
        if (*text == '\n') fprintf(to, "%27s", "");
    }
    putc('\n', to);
}

static void help(FILE *to)
{
    fprintf(to, "usage: resnet_cifar [OPTIONS]\n\n"
                "Trains an image classifier and says how good it became.\n\n");
    for (int i = 0; i < N_ROWS; i++)
        help_row(to, rows[i].name, rows[i].value, rows[i].help);
    help_row(to, "--help", "", "this page");
}

static int bad(const char *what, const char *value, const char *right)
{
    fprintf(stderr, "resnet_cifar: %s%s%s%s%s\n(--help lists the options)\n", what,
            value ? " \"" : "", value ? value : "", value ? "\"" : "", right);
    return 2;
}

static int set(options *o, const row *r, const char *value)
{
    char *base = (char *)o + r->at, *end = NULL;
    if (r->kind == TEXT) {
        memcpy(base, &value, sizeof value);
        return -1;
    }
    errno = 0;
    double x = r->kind == WHOLE ? (double)strtoll(value, &end, 10) : strtod(value, &end);
    if (end == value || *end || errno || !isfinite(x) || x < r->low || x > r->high) {
        char range[96];
        snprintf(range, sizeof range, ": must be a %s from %g to %g",
                 r->kind == WHOLE ? "whole number" : "number", r->low, r->high);
        return bad(r->name, value, range);
    }
    int64_t whole = (int64_t)x;
    memcpy(base, r->kind == WHOLE ? (void *)&whole : (void *)&x, 8);
    return -1;
}

/* True if `value` is one of the words in `words`, "a b c". */
static bool one_of(const char *value, const char *words)
{
    size_t n = strlen(value);
    for (const char *w = words; *w; w += strspn(w, " ")) {
        size_t k = strcspn(w, " ");
        if (k == n && memcmp(w, value, n) == 0) return true;
        w += k;
    }
    return false;
}

/* Adam for models without batch norm. */
static void set_defaults(options *o)
{
    o->adamw = one_of(o->model, "vit-tiny mlp");
    if (o->lr < 0) o->lr = o->adamw ? 1e-3 : 0.2;
    if (o->weight_decay < 0) o->weight_decay = o->adamw ? 0.05 : 5e-4;
}

#define MODELS "resnet20 resnet32 resnet56 resnet18 mobilenet_v2 mlp vit-tiny"

static int check(const options *o)
{
    if (!one_of(o->model, MODELS))
        return bad("--model", o->model, ": is none of " MODELS);
    if (!one_of(o->schedule, "onecycle cosine step constant"))
        return bad("--schedule", o->schedule,
                   ": is none of onecycle cosine step constant");
    if (!one_of(o->augment, "crop cutout none"))
        return bad("--augment", o->augment, ": is none of crop cutout none");
    return -1;
}

int options_parse(options *o, int argc, char **argv)
{
    *o = (options){.model = "resnet20",
                   .schedule = "onecycle",
                   .augment = "crop",
                   .out = "resnet_cifar_out",
                   .batch = 128,
                   .samples = 20000,
                   .workers = 1,
                   .seed = 1,
                   .lr = -1,
                   .weight_decay = -1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            help(stdout);
            return 0;
        }
        const row *r = NULL;
        for (int k = 0; k < N_ROWS; k++)
            if (strcmp(argv[i], rows[k].name) == 0) r = &rows[k];
        if (!r) return bad("unknown option", argv[i], "");
        if (r->kind == SWITCH) {
            *(bool *)((char *)o + r->at) = true;
            continue;
        }
        if (i + 1 == argc) return bad(r->name, NULL, " needs a value");
        int st = set(o, r, argv[++i]);
        if (st >= 0) return st;
    }
    set_defaults(o);
    if (!o->epochs) o->epochs = o->data ? 6 : 4;
    if (!o->checkpoint) {
        snprintf(o->own_checkpoint, sizeof o->own_checkpoint, "%s/checkpoint.safetensors",
                 o->out);
        o->checkpoint = o->own_checkpoint;
    }
    return check(o);
}
