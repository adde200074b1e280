/* place.c: where the vertices of each layer stand. Each wants the mean place of its neighbours;
 * in their order and without overlap, the places nearest to those wishes (weighted squares) are
 * found by pooling adjacent violators (Ayer et al. 1955), in linear time. */
#include "base/alloc.h"
#include "trace/view/layout.h"

enum { PASSES = 24 };
static const double gap_x = 22;

/* How much a segment wants to be straight: bends most (Gansner et al. 1993). */
static double pull(const reel__vertex *a, const reel__vertex *b)
{
    return a->is_bend && b->is_bend ? 8 : a->is_bend || b->is_bend ? 2 : 1;
}

/* Vertices that were pushed together: their offsets to the first are fixed. */
typedef struct pool {
    double place, weight; /* of the first */
    int n;
} pool;

/* Sum of pulls and the mean place that they pull to. */
static double wish(const reel__layers *g, int u, int sides, double *place)
{
    double sum = 0, weight = 0;
    for (int side = 0; side < 2; side++) {
        if (!(sides >> side & 1)) continue;
        for (int k = g->start[side][u]; k < g->start[side][u + 1]; k++) {
            const reel__vertex *o = &g->v[g->near[side][k]];
            double w = pull(&g->v[u], o);
            sum += w * o->x;
            weight += w;
        }
    }
    *place = weight > 0 ? sum / weight : g->v[u].x;
    return weight > 0 ? weight : 0.01;
}

static void place_layer(reel__layers *g, int layer, int sides, pool *pools)
{
    int first = g->first[layer], n = g->first[layer + 1] - first, top = 0;
    double offset = 0; /* of vertex i from the first of the layer, packed */
    for (int i = 0; i < n; i++) {
        int u = g->order[first + i];
        double place, weight = wish(g, u, sides, &place);
        if (i) {
            const reel__vertex *before = &g->v[g->order[first + i - 1]];
            bool bends = before->is_bend && g->v[u].is_bend;
            offset += (before->w + g->v[u].w) / 2 + (bends ? 4 : gap_x);
        }
        pools[top++] = (pool){place - offset, weight, 1};
        while (top > 1 && pools[top - 2].place > pools[top - 1].place) {
            pool *a = &pools[top - 2], *b = &pools[top - 1];
            double both = a->weight + b->weight;
            a->place = (a->place * a->weight + b->place * b->weight) / both;
            a->weight = both;
            a->n += b->n;
            top--;
        }
    }
    offset = 0;
    for (int p = 0, i = 0; p < top; p++)
        for (int k = 0; k < pools[p].n; k++, i++) {
            int u = g->order[first + i];
            if (i) {
                const reel__vertex *before = &g->v[g->order[first + i - 1]];
                bool bends = before->is_bend && g->v[u].is_bend;
                offset += (before->w + g->v[u].w) / 2 + (bends ? 4 : gap_x);
            }
            g->v[u].x = pools[p].place + offset;
        }
}

reel_status reel__place_x(reel__layers *g)
{
    pool *pools = reel__calloc((size_t)g->n + 1, sizeof *pools);
    if (!pools) return reel_error_status();
    for (int pass = 0; pass < PASSES; pass++) {
        /* down by what is above, up by what is below, at last by both */
        int sides = pass >= PASSES - 4 ? 3 : pass % 2 ? 2 : 1;
        for (int k = 0; k < g->n_layer; k++)
            place_layer(g, pass % 2 ? g->n_layer - 1 - k : k, sides, pools);
    }
    double left = 0;
    for (int i = 0; i < g->n; i++) {
        double x = g->v[i].x - g->v[i].w / 2;
        if (i == 0 || x < left) left = x;
    }
    for (int i = 0; i < g->n; i++) g->v[i].x -= left;
    reel__free(pools);
    return REEL_OK;
}
