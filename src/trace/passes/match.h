/* match.h (internal): patterns are text, and most rewrites are a pair of texts:
 *
 *     REWRITE("mul_scalar(mul_scalar(x | $a) | $b)", "mul_scalar(x | $a * $b)")
 *
 *     x, y, c ...      a value; the same name twice is the same value
 *     b?               a value, or an operand that is absent
 *     _   -            any value; an absent operand
 *     relu(...)        result 0 of a node of that record, all operands listed. Nobody else may
 *                      read it; with relu!(...) others may
 *     any_unary(x)     a pointwise record of one input and any attributes; any_binary(x, y)
 *     add(...) as s    names the value that it makes; later `s` is that value again
 *     0.5   $a         a constant of one element; the same, and its number is $a
 *     ( ... | 0, 6)    attributes by place: the first number is 0, the second 6
 *     ( ... | dim=$d)  by name; those not mentioned may be anything. In a replacement they are
 *                      0, or where `@c` stands those of the node that makes value c
 *
 * Add, mul, maximum, minimum and comparisons for equality match either order. Whole
 * numbers match exactly, others with a relative tolerance of 1e-6. In a replacement a number
 * may be an expression of two, such as $a * $b or 1 / $a. Whole numbers are computed as such;
 * where 64 bits do not hold the result, the rule does not apply.
 *
 * A match holds only where everything that it read can be read at its last node, so whatever a
 * rule makes there sees the same memory. */
#ifndef REEL_TRACE_PASSES_MATCH_H
#define REEL_TRACE_PASSES_MATCH_H

#include "trace/passes/pass.h"

enum { REEL__TERMS = 40, REEL__NAMES = 24, REEL__NAME_SIZE = 8, REEL__CONDITIONS = 24 };

typedef struct reel__pattern reel__pattern;

typedef struct reel__match {
    const reel__pattern *pattern;
    const reel__effects *effects;     /* of the graph as it was matched */
    int root;                         /* the last node: its result is replaced */
    int n_node, node[REEL__TERMS];    /* all nodes, once each */
    int value[REEL__NAMES];           /* by name: a value ... */
    reel__number number[REEL__NAMES]; /* ... or a number */
} reel__match;

/* What a name of the pattern stands for: REEL_NO_VALUE for an absent operand, and for a name
 * that the pattern has not. A number must be in it. */
int reel__bound(const reel__match *m, const char *name);
double reel__bound_number(const reel__match *m, const char *name);
/* The node that makes that value. */
static inline int reel__bound_node(const reel_graph *g, const reel__match *m,
                                   const char *name)
{
    return g->value[reel__bound(m, name)].maker;
}

typedef struct reel__rule {
    const char *pattern;
    const char *by; /* what stands for it; or NULL, and then: */
    /* Emits nodes before m->root; the value that replaces its result, or -1 to decline (or with
     * an error). It may decline after it has emitted something. */
    int (*make)(reel_graph *g, const reel__match *m);
} reel__rule;
#define REWRITE(pattern, by)                                                             \
    {                                                                                    \
        pattern, by, NULL                                                                \
    }
#define REWRITE_BY(pattern, make)                                                        \
    {                                                                                    \
        pattern, NULL, make                                                              \
    }

/* Applies rules, the first that matches each node, until none does. How often, or -1 with an
 * error. */
int reel__apply_rules(reel_graph *g, const reel__rule *rule, int n);
#define REEL__APPLY_RULES(g, rules)                                                      \
    reel__apply_rules((g), (rules), (int)(sizeof(rules) / sizeof *(rules)))

/* ---- pattern.c: text to terms ------------------------------------------------------------- */

typedef enum reel__term_kind {
    REEL__ANY,
    REEL__ABSENT,
    REEL__VALUE,  /* a name */
    REEL__NUMBER, /* an operand that is a constant */
    REEL__NODE
} reel__term_kind;

/* a, a op b: each a number or, where name >= 0, that of a name. */
typedef struct reel__expr {
    reel__number number[2];
    int name[2];
    char op; /* 0: a alone */
} reel__expr;

/* One attribute: where it lies, what it must be or becomes. */
typedef struct reel__condition {
    const reel__attr_field *field;
    int place; /* within the field */
    reel__expr expr;
} reel__condition;

typedef struct reel__term {
    reel__term_kind kind;
    const reel__op *op; /* NULL: any_unary, any_binary */
    bool shared;        /* op!(...): others may read it */
    bool optional;      /* b? */
    int name;           /* of the value; -1 */
    int like;           /* @c; -1 */
    int n_arg, arg[8];
    int condition, n_condition;
    reel__expr expr; /* REEL__NUMBER */
} reel__term;

struct reel__pattern {
    reel__term term[REEL__TERMS]; /* the root is 0 */
    reel__condition condition[REEL__CONDITIONS];
    char name[REEL__NAMES][REEL__NAME_SIZE];
    int n_term, n_condition, n_name;
};

/* Reads a text; names that `names` has keep their numbers (NULL: none yet). False, with
 * REEL_ERR_INTERNAL, if it is malformed. */
bool reel__pattern_parse(reel__pattern *p, const char *text, const reel__pattern *names);
/* Number of a name; -1. */
int reel__pattern_name(const reel__pattern *p, const char *name, size_t n);
#endif
