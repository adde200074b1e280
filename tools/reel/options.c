/* options.c: the command line from a table. */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

static const char *value_name(option_kind kind)
{
    static const char *const names[] = {[OPTION_FLAG] = "",
                                        [OPTION_INT] = " N",
                                        [OPTION_REAL] = " X",
                                        [OPTION_TEXT] = " TEXT",
                                        [OPTION_LIST] = " TEXT"};
    return names[kind];
}

static int help(const command *self, const option *options)
{
    char left[64];
    printf("usage: reel %s %s%s[OPTIONS]\n\n%s\n\n", self->name, self->args,
           *self->args ? " " : "", self->about);
    for (const option *o = options; o->name; o++) {
        snprintf(left, sizeof left, "%s%s", o->name, value_name(o->kind));
        printf("  %-16s %s\n", left, o->about);
    }
    printf("  %-16s this page\n", "-h, --help");
    return 0;
}

int wrong(const command *self, const char *what, const char *why)
{
    fprintf(stderr, "reel %s: %s %s; `reel %s -h` explains\n", self->name, what, why,
            self->name);
    return 2;
}

static bool number(const option *o, const char *value, double *out)
{
    char *end;
    *out = strtod(value, &end);
    if (end == value || *end || !(*out >= o->low && *out <= o->high)) return false;
    return o->kind == OPTION_REAL || *out == (double)(int64_t)*out;
}

/* Stores a value; -1, or the exit status after a message. */
static int set(const command *self, const option *o, const char *value)
{
    char why[96];
    double v;
    text_list *list = o->to;
    switch (o->kind) {
    case OPTION_FLAG: *(bool *)o->to = true; return -1;
    case OPTION_TEXT: *(const char **)o->to = value; return -1;
    case OPTION_LIST:
        if (list->n == MOST_TEXTS)
            return wrong(self, o->name, "comes more than 16 times");
        list->text[list->n++] = value;
        return -1;
    default: break;
    }
    if (!number(o, value, &v)) {
        snprintf(why, sizeof why, "must be a %s from %.10g to %.10g, not",
                 o->kind == OPTION_INT ? "whole number" : "number", o->low, o->high);
        fprintf(stderr, "reel %s: %s %s %s\n", self->name, o->name, why, value);
        return 2;
    }
    if (o->kind == OPTION_INT)
        *(int64_t *)o->to = (int64_t)v;
    else
        *(double *)o->to = v;
    return -1;
}

static const option *find(const option *options, const char *name)
{
    for (const option *o = options; o->name; o++)
        if (strcmp(o->name, name) == 0) return o;
    return NULL;
}

int parse(const command *self, const option *options, const char *files[], int n,
          int argc, char **argv)
{
    int have = 0;
    for (int i = 0; i < argc; i++)
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0)
            return help(self, options);
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] != '-') {
            if (have == n) return wrong(self, argv[i], "is one argument too many");
            files[have++] = argv[i];
            continue;
        }
        const option *o = find(options, argv[i]);
        if (!o) return wrong(self, argv[i], "is not an option");
        bool takes = o->kind != OPTION_FLAG;
        if (takes && i + 1 == argc) return wrong(self, argv[i], "needs a value");
        int status = set(self, o, takes ? argv[++i] : NULL);
        if (status >= 0) return status;
    }
    return have == n ? -1 : wrong(self, "the name of a file", "is missing");
}

int check_peaks(const command *self, const reel_roofline *peaks)
{
    if ((peaks->gflops > 0) == (peaks->gbytes > 0)) return -1;
    return wrong(self, "--gflops and --gbytes", "belong together");
}
