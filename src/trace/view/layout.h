/* layout.h (internal): boxes in layers from top to bottom, links between them. After Sugiyama,
 * Tagawa & Toda 1981: layers by longest paths, few crossings by sweeps of barycenters, then
 * coordinates. A link that passes layers has a bend in each; one that passes very many is not
 * drawn (`is_long`): its ends name each other instead. */
#ifndef REEL_TRACE_VIEW_LAYOUT_H
#define REEL_TRACE_VIEW_LAYOUT_H

#include <reel/base.h>

typedef struct reel__box {
    double w, h; /* given before placing */
    double x, y; /* left, top */
    int layer;
} reel__box;

typedef struct reel__link {
    int from, to;  /* boxes, from < to */
    double port;   /* where it leaves, from the middle of the box's lower side */
    bool is_long;  /* not drawn */
    int bend;      /* the first of its bends; bends of a link are neighbours */
    int n_bend;    /* layers that it passes */
    double x0, x1; /* where it leaves and arrives */
} reel__link;

/* A link crosses the layer of a bend straight down, from y to y + h. */
typedef struct reel__bend {
    double x, y, h;
} reel__bend;

typedef struct reel__layout {
    reel__box *box;
    reel__link *link;
    reel__bend *bend; /* made by placing */
    int n_box, n_link, n_bend;
    double width, height;
} reel__layout;

/* Finds layers and which links are long: before boxes have a size. Never fails. */
void reel__layout_rank(reel__layout *l);
/* Finds places, from sizes. Errors: REEL_ERR_MEMORY. */
reel_status reel__layout_place(reel__layout *l);

/* ---- between layout.c and place.c ---------------------------------------------------------- */

/* A box, or the bend of a link in a layer. */
typedef struct reel__vertex {
    int layer, pos; /* place in its layer */
    double w, x;    /* x: the middle */
    bool is_bend;
} reel__vertex;

/* Vertices in layers, and who hangs together with whom: neighbours above and below. */
typedef struct reel__layers {
    int n, n_layer, n_segment;
    reel__vertex *v;
    int *order;    /* vertices layer by layer, from left to right */
    int *first;    /* [n_layer + 1] where a layer begins in `order` */
    int *segment;  /* pairs: upper vertex, lower vertex */
    int *start[2]; /* [n + 1] of each vertex in near[0]: above, near[1]: below */
    int *near[2];  /* [n_segment] */
} reel__layers;

/* Middle of each vertex, without overlap in a layer. */
reel_status reel__place_x(reel__layers *g);

#endif
