/* scan.c: words and numbers of a graph's text, each with its place. */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/counts.h"
#include "base/decimal.h"
#include "base/error.h"
#include "trace/text/text.h"

bool reel__scan_fail(const reel__scan *s, const char *fmt, ...)
{
    char text[512] = "", cause[512] = "";
    reel_status st = reel_failed() ? reel_error_status() : REEL_ERR_FORMAT;
    if (st == REEL_ERR_MEMORY) return false;
    va_list ap;
    va_start(ap, fmt);
    (void)reel__vsnprint(text, sizeof text, fmt, ap);
    va_end(ap);
    if (reel_failed()) (void)snprintf(cause, sizeof cause, ": %s", reel__error_said());
    reel_error_clear();
    reel_fail(st, "graph_parse: line %d, column %d: %s%s", s->line,
              (int)(s->at - s->line_begin) + 1, text, cause);
    return false;
}

bool reel__scan_line(reel__scan *s)
{
    s->line_begin = s->at;
    s->line++;
    if (!*s->at) return false;
    bool reads = strncmp(s->at, "reads ", 6) == 0;
    if (reads || memchr(s->at, '\n', strnlen(s->at, REEL__TEXT_LINE))) return true;
    if (strnlen(s->at, REEL__TEXT_LINE) < REEL__TEXT_LINE)
        return reel__scan_fail(s, "the text ends within this line");
    return reel__scan_fail(s, "a line of more than %d bytes", REEL__TEXT_LINE);
}

bool reel__scan_is(reel__scan *s, const char *text)
{
    size_t n = strlen(text);
    if (strncmp(s->at, text, n) != 0) return false;
    s->at += n;
    return true;
}

bool reel__scan_need(reel__scan *s, const char *text)
{
    if (reel__scan_is(s, text)) return true;
    return *text == '\n' ? reel__scan_fail(s, "the line should end here")
                         : reel__scan_fail(s, "\"%s\" should stand here", text);
}

/* ---- numbers ----------------------------------------------------------------------------------- */

bool reel__scan_int(reel__scan *s, int64_t *out)
{
    char *end = NULL;
    const char *digits = s->at + (*s->at == '-' || *s->at == '+');
    if (!isdigit((unsigned char)*digits))
        return reel__scan_fail(s, "a whole number should stand here");
    errno = 0;
    *out = strtoll(s->at, &end, 10);
    if (errno) return reel__scan_fail(s, "a number beyond 64 bits");
    s->at = end;
    return true;
}

bool reel__scan_u64(reel__scan *s, uint64_t *out)
{
    char *end = NULL;
    if (!isdigit((unsigned char)*s->at))
        return reel__scan_fail(s, "a whole number should stand here");
    errno = 0;
    *out = strtoull(s->at, &end, 10);
    if (errno) return reel__scan_fail(s, "a number beyond 64 bits");
    s->at = end;
    return true;
}

/* ---- words ---------------------------------------------------------------------------------------- */

bool reel__scan_word(reel__scan *s, char *out, size_t size)
{
    size_t n = 0;
    while (islower((unsigned char)s->at[n]) || isdigit((unsigned char)s->at[n]) ||
           s->at[n] == '_')
        n++;
    if (n == 0 || n >= size)
        return reel__scan_fail(
            s, n ? "a word of %zu letters" : "a word should stand here", n);
    memcpy(out, s->at, n);
    out[n] = '\0';
    s->at += n;
    return true;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One character of a quoted text: its byte, or 0 with an error. */
static char scan_quoted_char(reel__scan *s)
{
    if ((unsigned char)*s->at < 0x20) {
        reel__scan_fail(s, "the closing quotation mark is missing");
        return 0;
    }
    if (*s->at != '\\') return *s->at++;
    if (s->at[1] == '"' || s->at[1] == '\\') {
        s->at += 2;
        return s->at[-1];
    }
    int high = s->at[1] == 'x' ? hex(s->at[2]) : -1;
    int low = high >= 0 ? hex(s->at[3]) : -1;
    if (low < 0 || 16 * high + low == 0) {
        reel__scan_fail(s, "after \\ stands \\, \" or x with two digits, not zero");
        return 0;
    }
    s->at += 4;
    return (char)(16 * high + low);
}

static bool scan_quoted(reel__scan *s, char *out, size_t size)
{
    size_t n = 0;
    if (!reel__scan_need(s, "\"")) return false;
    while (*s->at != '"') {
        if (n + 1 >= size)
            return reel__scan_fail(s, "a text of more than %zu bytes", size - 1);
        if (!(out[n++] = scan_quoted_char(s))) return false;
    }
    out[n] = '\0';
    s->at++;
    return true;
}

bool reel__scan_name(reel__scan *s, char *out, size_t size)
{
    if (*s->at == '"') return scan_quoted(s, out, size);
    size_t n = 0;
    while (n < size && reel__bare_char((unsigned char)s->at[n])) n++;
    if (n == 0 || *s->at == '-') return reel__scan_fail(s, "a name should stand here");
    if (n >= size) return reel__scan_fail(s, "a name of more than %zu bytes", size - 1);
    memcpy(out, s->at, n);
    out[n] = '\0';
    s->at += n;
    return true;
}

char *reel__scan_text(reel__scan *s)
{
    size_t size =
        strcspn(s->at, "\n") + 1; /* what is quoted is not shorter than the text */
    char *out = reel__malloc(size);
    if (out && scan_quoted(s, out, size)) return out;
    reel__free(out);
    return NULL;
}

/* ---- shapes -------------------------------------------------------------------------------------- */

/* "10", "batch", "4*batch", "batch+1", "2*batch-3" */
static bool scan_size(reel__scan *s, int64_t batch, int64_t *dim, int64_t *grow)
{
    int64_t times = 1, rest = 0;
    bool named = reel__scan_is(s, "batch");
    *grow = 0;
    if (!named) {
        if (!reel__scan_int(s, &times)) return false;
        *dim = times;
        named = reel__scan_is(s, "*batch");
    }
    if (named) {
        if (!batch) return reel__scan_fail(s, "the text names no batch size");
        if ((*s->at == '+' || *s->at == '-') && !reel__scan_int(s, &rest)) return false;
        if (times == 0 || !reel__checked_mul(times, batch, dim) ||
            !reel__checked_add(*dim, rest, dim))
            return reel__scan_fail(s, "a size that cannot be");
        *grow = times;
    }
    return *dim >= 0 || reel__scan_fail(s, "a size below 0");
}

static bool scan_dtype(reel__scan *s, reel_dtype *out)
{
    char name[16];
    const reel__scan begin = *s;
    if (!reel__scan_word(s, name, sizeof name)) return false;
    for (int d = 0; d < REEL__DTYPE_COUNT; d++)
        if (strcmp(name, reel_dtype_name((reel_dtype)d)) == 0) {
            *out = (reel_dtype)d;
            return true;
        }
    return reel__scan_fail(&begin, "\"%s\" is not a dtype", name);
}

bool reel__scan_shape(reel__scan *s, int64_t batch, reel__meta *m, int64_t *grow)
{
    *m = (reel__meta){.rank = 0};
    memset(grow, 0, REEL_MAX_RANK * sizeof *grow);
    const reel__scan begin = *s;
    if (!scan_dtype(s, &m->dtype) || !reel__scan_need(s, "[")) return false;
    while (!reel__scan_is(s, "]")) {
        if (m->rank == REEL_MAX_RANK)
            return reel__scan_fail(s, "more than %d dimensions", REEL_MAX_RANK);
        if (m->rank && !reel__scan_need(s, ",")) return false;
        if (!scan_size(s, batch, &m->dim[m->rank], &grow[m->rank])) return false;
        m->rank++;
    }
    if (reel__meta_check("shape", m)) return reel__scan_fail(&begin, "a wrong shape");
    reel__set_contiguous(m);
    return true;
}

/* ---- attributes ------------------------------------------------------------------------------------ */

bool reel__scan_attrs(reel__scan *s, const reel__attr_schema *schema, const char *what,
                      void *attrs)
{
    char name[64];
    while (*s->at == ' ' && islower((unsigned char)s->at[1])) {
        if (strncmp(s->at, " per batch", 10) == 0) break;
        s->at++;
        const reel__scan begin = *s;
        if (!reel__scan_word(s, name, sizeof name)) return false;
        const reel__attr_field *f = reel__find_attr(schema, name, strlen(name));
        if (!f) return reel__scan_fail(&begin, "%s has no \"%s\"", what, name);
        if (!reel__scan_need(s, "=")) return false;
        const char *rest = reel__attr_values(f, s->at, attrs);
        if (!rest) return reel__scan_fail(s, "these are not values of \"%s\"", name);
        s->at = rest;
    }
    return true;
}
