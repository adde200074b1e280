/* place.c: where the vertices of each layer stand, after Brandes & Koepf 2001: vertices are
 * chained to a median neighbour, a chain stands in one vertical line, and lines are packed as
 * their order wants it. That is done four ways (neighbours above or below, packed to the left or
 * to the right); the mean of the two middle results has no bias to a side. Packing is the
 * longest path over lines, as in dagre, because the original's classes can overlap. */
#include <stdlib.h>

#include "base/alloc.h"
#include "trace/view/layout.h"

static const double gap_x = 24, gap_bend = 6;

/* One of the four ways. */
typedef struct way {
    reel__layers *g;
    int side;      /* 0: neighbours above, layers downward; 1: the other way round */
    bool mirrored; /* right is left */
    int *root;     /* the first of a vertex's line */
    int *next;     /* the next of the line; the last one's is the first */
    int *head;     /* lines to the right: first edge of each root; -1 */
    int *follow;   /* the next edge of the same root */
    int *to;       /* where an edge goes */
    double *apart; /* how far apart its ends are at least */
    int *waits;    /* lines to the left that are not placed yet */
    int *queue;
} way;

/* Vertex i of a layer from the left, as this way sees it. */
static int at(const way *w, int layer, int i)
{
    const reel__layers *g = w->g;
    return g->order[w->mirrored ? g->first[layer + 1] - 1 - i : g->first[layer] + i];
}

static int place_of(const way *w, int u)
{
    const reel__layers *g = w->g;
    int layer = g->v[u].layer, n = g->first[layer + 1] - g->first[layer];
    return w->mirrored ? n - 1 - g->v[u].pos : g->v[u].pos;
}

/* Chains u below (or above) o, if nothing of the layer is chained across; `last` is the place
 * of the rightmost that is taken. */
static void chain(way *w, int u, int o, int *last)
{
    if (w->next[u] != u || place_of(w, o) <= *last) return;
    w->next[o] = u;
    w->root[u] = w->root[o];
    w->next[u] = w->root[u];
    *last = place_of(w, o);
}

static void chain_layers(way *w)
{
    const reel__layers *g = w->g;
    for (int u = 0; u < g->n; u++) w->root[u] = w->next[u] = u;
    for (int step = 1; step < g->n_layer; step++) {
        int layer = w->side ? g->n_layer - 1 - step : step, last = -1;
        for (int i = 0; i < g->first[layer + 1] - g->first[layer]; i++) {
            int u = at(w, layer, i);
            const int *near = &g->near[w->side][g->start[w->side][u]];
            int n = g->start[w->side][u + 1] - g->start[w->side][u];
            if (n == 0) continue;
            int low = (n - 1) / 2, high = n / 2; /* medians */
            chain(w, u, near[w->mirrored ? high : low], &last);
            chain(w, u, near[w->mirrored ? low : high], &last);
        }
    }
}

static double apart(const reel__layers *g, int a, int b)
{
    bool bends = g->v[a].is_bend && g->v[b].is_bend;
    return (g->v[a].w + g->v[b].w) / 2 + (bends ? gap_bend : gap_x);
}

/* Lines that are neighbours in some layer. */
static void join_lines(way *w)
{
    int n = 0;
    for (int u = 0; u < w->g->n; u++) w->head[u] = -1, w->waits[u] = 0;
    for (int layer = 0; layer < w->g->n_layer; layer++)
        for (int i = 1; i < w->g->first[layer + 1] - w->g->first[layer]; i++) {
            int a = at(w, layer, i - 1), b = at(w, layer, i);
            w->to[n] = w->root[b];
            w->apart[n] = apart(w->g, a, b);
            w->follow[n] = w->head[w->root[a]];
            w->waits[w->root[b]]++;
            w->head[w->root[a]] = n++;
        }
}

/* Every line as far left as it can be, then as far right as its neighbours let it. */
static void pack(way *w, double *x)
{
    int n = 0;
    for (int u = 0; u < w->g->n; u++) {
        x[u] = 0;
        if (w->root[u] == u && w->waits[u] == 0) w->queue[n++] = u;
    }
    for (int i = 0; i < n; i++)
        for (int u = w->queue[i], e = w->head[u]; e >= 0; e = w->follow[e]) {
            double least = x[u] + w->apart[e];
            if (x[w->to[e]] < least) x[w->to[e]] = least;
            if (--w->waits[w->to[e]] == 0) w->queue[n++] = w->to[e];
        }
    for (int i = n - 1; i >= 0; i--) {
        int u = w->queue[i];
        double most = x[u];
        for (int e = w->head[u]; e >= 0; e = w->follow[e]) {
            double right = x[w->to[e]] - w->apart[e];
            if (e == w->head[u] || right < most) most = right;
        }
        if (most > x[u]) x[u] = most;
    }
    for (int u = 0; u < w->g->n; u++)
        if (w->root[u] != u) x[u] = x[w->root[u]];
    for (int u = 0; u < w->g->n && w->mirrored; u++) x[u] = -x[u];
}

/* ---- four ways ------------------------------------------------------------------------------- */

static void extent(const reel__layers *g, const double *x, double *left, double *right)
{
    for (int u = 0; u < g->n; u++) {
        double l = x[u] - g->v[u].w / 2, r = x[u] + g->v[u].w / 2;
        if (u == 0 || l < *left) *left = l;
        if (u == 0 || r > *right) *right = r;
    }
}

/* Ways that packed to the left share the left edge with the narrowest, the others the right. */
static void shift_alike(const reel__layers *g, double *const x[4])
{
    double left[4] = {0}, right[4] = {0};
    int narrow = 0;
    for (int k = 0; k < 4; k++) {
        extent(g, x[k], &left[k], &right[k]);
        if (right[k] - left[k] < right[narrow] - left[narrow]) narrow = k;
    }
    for (int k = 0; k < 4; k++) {
        double by = k & 1 ? right[narrow] - right[k] : left[narrow] - left[k];
        for (int u = 0; u < g->n; u++) x[k][u] += by;
    }
}

static void take_middle(reel__layers *g, double *const x[4])
{
    for (int u = 0; u < g->n; u++) {
        double sum = 0, low = x[0][u], high = x[0][u];
        for (int k = 0; k < 4; k++) {
            sum += x[k][u];
            if (x[k][u] < low) low = x[k][u];
            if (x[k][u] > high) high = x[k][u];
        }
        g->v[u].x = (sum - low - high) / 2;
    }
}

/* Lists of neighbours from left to right: each is filled in the order of the other's layer. */
static reel_status sort_near(reel__layers *g)
{
    int *next = reel__calloc((size_t)g->n + 1, sizeof *next);
    if (!next) return reel_error_status();
    for (int side = 0; side < 2; side++) {
        for (int u = 0; u < g->n; u++) next[u] = g->start[side][u];
        for (int i = 0; i < g->n; i++) {
            int o = g->order[i];
            for (int k = g->start[!side][o]; k < g->start[!side][o + 1]; k++)
                g->near[side][next[g->near[!side][k]]++] = o;
        }
    }
    reel__free(next);
    return REEL_OK;
}

reel_status reel__place_x(reel__layers *g)
{
    size_t n = (size_t)g->n + 1;
    double *x[4], *numbers = reel__calloc(5 * n, sizeof *numbers);
    int *lists = reel__calloc(7 * n, sizeof *lists);
    reel_status st = numbers && lists ? sort_near(g) : reel_error_status();
    for (int k = 0; k < 4 && !st; k++) {
        way w = {.g = g,
                 .side = k >> 1,
                 .mirrored = k & 1,
                 .root = lists,
                 .next = lists + n,
                 .head = lists + 2 * n,
                 .follow = lists + 3 * n,
                 .to = lists + 4 * n,
                 .waits = lists + 5 * n,
                 .queue = lists + 6 * n,
                 .apart = numbers + 4 * n};
        x[k] = numbers + (size_t)k * n;
        chain_layers(&w);
        join_lines(&w);
        pack(&w, x[k]);
    }
    if (!st && g->n) {
        double left = 0, right = 0;
        shift_alike(g, x);
        take_middle(g, x);
        for (int u = 0; u < g->n; u++) x[0][u] = g->v[u].x;
        extent(g, x[0], &left, &right);
        for (int u = 0; u < g->n; u++) g->v[u].x -= left;
    }
    reel__free(numbers);
    reel__free(lists);
    return st;
}
