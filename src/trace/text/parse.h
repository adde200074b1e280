/* parse.h (internal): the parser of graphs, in three files. */
#ifndef REEL_TRACE_PARSE_H
#define REEL_TRACE_PARSE_H

#include "trace/text/text.h"

/* V in a text. */
typedef struct reel__text_ref {
    bool absent;
    int64_t number;             /* %N; -1: a name */
    char name[REEL__TEXT_NAME]; /* of a numbered one "%N" */
    reel__scan place;
} reel__text_ref;

typedef struct reel__known {
    int64_t number; /* as in ref */
    int root;       /* the value that it is a view of */
    reel__scan place;
} reel__known;

typedef struct reel__parser {
    reel__scan s;
    reel_graph *g;
    reel_tensor *(*find)(void *user, const char *name);
    void *user;
    reel__known *value; /* beside g->value */
    int cap_value;
    int *slot; /* open addressing: number of a value plus 1 */
    size_t mask;
} reel__parser;

/* ---- parse_value.c: what values are called ------------------------------------------------------ */

/* A table of `size` slots, a power of two. All of these: false or -1 with an error. */
bool reel__parse_rehash(reel__parser *p, size_t size);
/* The value that is called so; -1, without an error, if there is none. */
int reel__parse_lookup(const reel__parser *p, const reel__text_ref *r);
bool reel__parse_ref(reel__parser *p, reel__text_ref *r);
/* A value that is there; REEL_NO_VALUE for "-". */
bool reel__parse_value(reel__parser *p, int *v);
/* A new value; its number. */
int reel__parse_define(reel__parser *p, const reel__text_ref *r, reel__value_kind kind,
                       const reel__meta *m, const int64_t *grow, reel_tensor *tensor);
bool reel__parse_shape(reel__parser *p, reel__meta *m, int64_t *grow);

/* ---- parse_node.c --------------------------------------------------------------------------------- */

/* A line of a node. */
typedef struct reel__line {
    const reel__op *op;
    int n_result, n_in;
    reel__text_ref result[REEL_OP_MAX_OUT];
    reel__meta meta[REEL_OP_MAX_OUT];
    int64_t grow[REEL_OP_MAX_OUT][REEL_MAX_RANK];
    int in[REEL_OP_MAX_IN], out[REEL_OP_MAX_OUT];
    _Alignas(16) char attrs[REEL_ATTRS_MAX];
    _Alignas(16) char slopes[REEL_ATTRS_MAX];
    bool has_slopes;
    char where[REEL__TEXT_NAME];
    reel__scan op_place;
} reel__line;

/* The rest of a line that begins with no keyword; `l` is room for it. */
bool reel__parse_node(reel__parser *p, reel__line *l);

#endif
