/* csv_read.c: RFC 4180: fields between separators, records between line ends (LF or CRLF),
 * quotes around what holds either, "" for a quote within. */
#include "data/csv_read.h"

#include <string.h>

#include "base/alloc.h"

void reel__csv_begin(reel__csv *c)
{
    static const char mark[] = "\xEF\xBB\xBF";
    if (c->end - c->at >= 3 && memcmp(c->at, mark, 3) == 0) c->at += 3;
    c->line = 1;
}

/* Length of a line's end at p: 0, 1 or 2. */
static int line_end(const reel__csv *c, const char *p)
{
    if (p < c->end && *p == '\n') return 1;
    return c->end - p >= 2 && p[0] == '\r' && p[1] == '\n' ? 2 : 0;
}

bool reel__csv_more(reel__csv *c)
{
    for (int n; (n = line_end(c, c->at)) > 0; c->at += n) c->line++;
    return c->at < c->end;
}

/* Passes over what ends a field. False if it is something else. */
static bool finish(reel__csv *c, reel__csv_field *f)
{
    int n = line_end(c, c->at);
    f->last = n > 0 || c->at == c->end;
    if (!f->last && *c->at != c->separator) return false;
    c->line += n > 0;
    c->at += n > 0 ? n : !f->last;
    return true;
}

static reel_status quoted(reel__csv *c, reel__csv_field *f)
{
    int64_t begins = c->line;
    const char *p = c->at + 1;
    for (;; p++) {
        if (p == c->end)
            return reel_fail(REEL_ERR_FORMAT, "csv: %s:%lld: a quote that does not end",
                             c->path, (long long)begins);
        if (*p == '\n') c->line++;
        if (*p != '"') continue;
        if (p + 1 == c->end || p[1] != '"') break;
        p++;
    }
    *f = (reel__csv_field){
        .text = c->at + 1, .n = (size_t)(p - c->at - 1), .quoted = true};
    c->at = p + 1;
    if (finish(c, f)) return REEL_OK;
    return reel_fail(
        REEL_ERR_FORMAT,
        "csv: %s:%lld: text behind the quotes of a field; a quote within them "
        "is written twice",
        c->path, (long long)c->line);
}

reel_status reel__csv_next(reel__csv *c, reel__csv_field *f)
{
    if (c->at < c->end && *c->at == '"') return quoted(c, f);
    const char *p = c->at;
    while (p < c->end && *p != c->separator && *p != '"' && line_end(c, p) == 0) p++;
    *f = (reel__csv_field){.text = c->at, .n = (size_t)(p - c->at)};
    c->at = p;
    if (finish(c, f)) return REEL_OK;
    return reel_fail(REEL_ERR_FORMAT,
                     "csv: %s:%lld: a quote within a field that does not begin with one",
                     c->path, (long long)c->line);
}

char *reel__csv_text(const reel__csv_field *f)
{
    char *text = reel__malloc(f->n + 1);
    size_t n = 0;
    for (size_t i = 0; text && i < f->n; i++) {
        text[n++] = f->text[i];
        if (f->quoted && f->text[i] == '"') i++; /* the second of two */
    }
    if (text) text[n] = '\0';
    return text;
}
