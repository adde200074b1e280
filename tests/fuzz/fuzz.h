/* fuzz.h: what the fuzz targets share. What is read from files lies in $REEL_FUZZ_FOLDER, or
 * in a folder that is made and stays. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <reel/reel.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline const char *fuzz_folder(void)
{
    static char made[] = "/tmp/reel-fuzz-XXXXXX";
    static const char *folder;
    if (!folder) folder = getenv("REEL_FUZZ_FOLDER");
    if (!folder) folder = mkdtemp(made);
    if (!folder) abort();
    return folder;
}

/* The path of a name in the folder; two may be in use. */
static inline const char *fuzz_path(const char *name)
{
    static char path[2][512];
    static int next;
    char *p = path[next++ % 2];
    snprintf(p, sizeof path[0], "%s/%s", fuzz_folder(), name);
    return p;
}

static inline const char *fuzz_file(const char *name, const uint8_t *data, size_t size)
{
    const char *path = fuzz_path(name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f)) abort();
    return path;
}

/* Something was read, or an error is pending that a file may cause. */
static inline void fuzz_verdict(bool made)
{
    reel_status st = reel_error_status();
    if (made ? st != REEL_OK
             : st != REEL_ERR_FORMAT && st != REEL_ERR_UNSUPPORTED &&
                   st != REEL_ERR_MEMORY && st != REEL_ERR_IO)
        __builtin_trap();
    reel_error_clear();
}

/* The same of a graph's text, of which the shape rules of operators have their say too. */
static inline void fuzz_verdict_of_graph(const reel_graph *g)
{
    reel_status st = reel_error_status();
    if (!g && (st == REEL_ERR_SHAPE || st == REEL_ERR_DTYPE || st == REEL_ERR_ARG))
        reel_error_clear();
    else
        fuzz_verdict(g != NULL);
}

static inline void fuzz_end(reel_scope s)
{
    reel_scope_end(s);
    if (reel_failed() || reel_live_objects()) __builtin_trap();
}

static volatile double fuzz_sink; /* keeps the reads */

/* Reads every element. */
static inline void fuzz_touch(reel_tensor *t)
{
    size_t n = (size_t)reel_numel(t);
    double *at = malloc((n + 1) * sizeof *at);
    if (!at || reel_read(t, at, REEL_F64)) abort();
    for (size_t i = 0; i < n; i++) fuzz_sink = at[i];
    free(at);
}

#endif
