/* csv.c: rows in a file, the same whether or not the run was interrupted. */
#include "csv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static reel_status fail(const csv *c)
{
    return reel_fail(REEL_ERR_IO, "cannot write %s: %s", c->path, strerror(errno));
}

/* Where the rows up to number `keep` end; -1 if the file does not begin with `header`. A line
 * that was cut short by a crash is not a row. */
static long end_of_rows(FILE *f, const char *header, int64_t keep)
{
    char line[256];
    size_t n = strlen(header);
    if (!fgets(line, sizeof line, f) || strncmp(line, header, n) != 0 || line[n] != '\n')
        return -1;
    long end = ftell(f);
    while (fgets(line, sizeof line, f) && strchr(line, '\n') && atoll(line) <= keep)
        end = ftell(f);
    return end;
}

reel_status csv_open(csv *c, const char *path, const char *header, int64_t keep)
{
    *c = (csv){.path = path};
    if (!path) return REEL_OK;
    bool old = keep > 0 && access(path, F_OK) == 0;
    if (!(c->f = fopen(path, old ? "r+" : "w"))) return fail(c);
    if (!old) return csv_row(c, "%s\n", header);
    long end = end_of_rows(c->f, header, keep);
    if (end < 0) {
        fclose(c->f);
        c->f = NULL;
        return reel_fail(REEL_ERR_FORMAT,
                         "%s is not a log to go on with: its first line is not "
                         "\"%s\"",
                         path, header);
    }
    if (fseek(c->f, end, SEEK_SET) || ftruncate(fileno(c->f), end)) return fail(c);
    return REEL_OK;
}

reel_status csv_row(csv *c, const char *format, ...)
{
    if (!c->f) return REEL_OK;
    va_list args;
    va_start(args, format);
    int n = vfprintf(c->f, format, args);
    va_end(args);
    return n < 0 ? fail(c) : REEL_OK;
}

reel_status csv_flush(csv *c)
{
    return c->f && fflush(c->f) ? fail(c) : REEL_OK;
}

reel_status csv_close(csv *c)
{
    FILE *f = c->f;
    c->f = NULL;
    return f && fclose(f) ? fail(c) : REEL_OK;
}
