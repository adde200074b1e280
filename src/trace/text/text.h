/* text.h (internal): what the printer and the parser of graphs share, and the parser's
 * reader of words. */
#ifndef REEL_TRACE_TEXT_H
#define REEL_TRACE_TEXT_H

#include "trace/graph/graph.h"

enum {
    REEL__KEY_BATCH,
    REEL__KEY_RNG,
    REEL__KEY_READS,
    REEL__KEY_INPUT, /* then in the order of reel__value_kind */
    REEL__KEY_PARAM,
    REEL__KEY_BUFFER,
    REEL__KEY_CONST,
    REEL__KEY_OUTPUT,
    REEL__KEYWORDS
};
extern const char *const reel__keyword[REEL__KEYWORDS];
/* What names hold that are not quoted. They do not begin with '-' and are not a keyword. */
bool reel__bare_char(unsigned char c);

/* Attributes of REEL_ATTRS_MAX bytes as text. */
#define REEL__ATTRS_TEXT (REEL_ATTRS_MAX / 8 * 32 + 1024)

/* Limits of the parser. */
enum {
    REEL__TEXT_NODES = 1000000,
    REEL__TEXT_NAME = 1024,   /* bytes of a name or a module path */
    REEL__TEXT_LINE = 1 << 17 /* bytes of a line, but for `reads` */
};

/* ---- scan.c ----------------------------------------------------------------------------------- */

/* Where the parser is. */
typedef struct reel__scan {
    const char *at, *line_begin;
    int line;
} reel__scan;

/* Sets REEL_ERR_FORMAT with line and column; if an error is pending, it keeps its status and
 * gets the place. Returns false. */
bool reel__scan_fail(const reel__scan *s, const char *fmt, ...) REEL_PRINTF(2, 3);
/* Begins the line at s->at; false at the end of the text, or with an error if it is too long. */
bool reel__scan_line(reel__scan *s);
/* Steps over `text` if it is next. */
bool reel__scan_is(reel__scan *s, const char *text);
/* The same; an error if it is not. */
bool reel__scan_need(reel__scan *s, const char *text);
/* A decimal number, with a sign or without. */
bool reel__scan_int(reel__scan *s, int64_t *out);
bool reel__scan_u64(reel__scan *s, uint64_t *out);
/* A bare word of [a-z0-9_], as operators and attributes have. */
bool reel__scan_word(reel__scan *s, char *out, size_t size);
/* A bare or quoted name into out. */
bool reel__scan_name(reel__scan *s, char *out, size_t size);
/* A quoted text of any length; free with reel__free(). NULL with an error. */
char *reel__scan_text(reel__scan *s);
/* "f32[batch,4*batch+1,10]" at a batch size (0: no dimension may name it). */
bool reel__scan_shape(reel__scan *s, int64_t batch, reel__meta *m, int64_t *grow);
/* " stride=2,2 groups=1" into attrs. `what` names them in messages. */
bool reel__scan_attrs(reel__scan *s, const reel__attr_schema *schema, const char *what,
                      void *attrs);

#endif
