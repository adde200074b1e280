/* picture.h (internal): a graph as boxes with lines of text, placed. */
#ifndef REEL_TRACE_VIEW_PICTURE_H
#define REEL_TRACE_VIEW_PICTURE_H

#include "trace/graph/cost.h"
#include "trace/view/layout.h"

enum {
    REEL__LINES = 12,     /* of text in a box */
    REEL__LINE_TEXT = 64, /* bytes of one, cut with "..." */
    REEL__COST_STEPS = 9  /* colours */
};

typedef enum reel__line_kind {
    REEL__LINE_NAME,  /* the operator */
    REEL__LINE_WHERE, /* module path */
    REEL__LINE_ATTRS,
    REEL__LINE_STATE, /* parameters, buffers, constants */
    REEL__LINE_FAR    /* who reads it, or is read, far away */
} reel__line_kind;

typedef struct reel__label {
    reel__line_kind kind;
    char text[REEL__LINE_TEXT];
} reel__label;

typedef enum reel__box_kind {
    REEL__BOX_INPUT,
    REEL__BOX_NODE,
    REEL__BOX_OUTPUT
} reel__box_kind;

/* What a box shows; boxes are inputs, then nodes in program order, then outputs. */
typedef struct reel__panel {
    reel__box_kind kind;
    int index; /* of the input, node or output */
    int n_line;
    reel__label line[REEL__LINES];
    int n_port; /* results that somebody reads: where links leave */
    int port_value[REEL_OP_MAX_OUT];
    int step; /* colour: 0 .. REEL__COST_STEPS - 1 */
} reel__panel;

typedef struct reel__picture {
    const reel_graph *g;
    const reel__totals *totals;
    reel__layout layout;
    reel__panel *panel;
    int *link_value; /* beside layout.link */
} reel__picture;

/* Errors: REEL_ERR_MEMORY. Free in any case. */
reel_status reel__picture_make(const reel_graph *g, const reel__totals *t,
                               reel__picture *p);
void reel__picture_free(reel__picture *p);
/* Middle of port k, from the middle of the box. */
double reel__port(const reel__picture *p, int box, int k);

/* Width of text in a font where every character is as wide. */
double reel__text_width(const char *text, double size);
/* Sizes of text by kind of line, and of the labels on links. */
double reel__line_size(reel__line_kind kind);
#define REEL__LABEL_SIZE 10.0

/* ---- svg.c -------------------------------------------------------------------------------------- */

/* Text with what XML reserves written as entities; what XML cannot hold as U+FFFD. */
void reel__put_escaped(FILE *to, const char *text);
/* The whole element, from <svg to </svg>. */
reel_status reel__put_svg(FILE *to, const reel__picture *p, const char *title);

/* ---- html.c ------------------------------------------------------------------------------------- */

/* The whole page. Errors: REEL_ERR_MEMORY. */
reel_status reel__put_page(FILE *to, const reel__picture *p, const char *title);

#endif
