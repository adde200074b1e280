/* layout.c: layers, and the order within each. */
#include "trace/view/layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

enum {
    LONG = 16,  /* a link across more layers is not drawn */
    SWEEPS = 12 /* each from top to bottom, or back */
};
static const double gap_y = 58, least_gap = 26;

/* ---- layers ---------------------------------------------------------------------------------- */

void reel__layout_rank(reel__layout *l)
{
    for (int i = 0; i < l->n_box; i++) l->box[i].layer = 0;
    /* Links go to later boxes and are sorted by them, so one walk finds the longest paths. */
    for (int i = 0; i < l->n_link; i++) {
        int below = l->box[l->link[i].from].layer + 1;
        if (l->box[l->link[i].to].layer < below) l->box[l->link[i].to].layer = below;
    }
    /* What reads nothing stands right above its first reader. */
    for (int i = 0; i < l->n_box; i++) {
        int lowest = -1;
        if (l->box[i].layer > 0) continue;
        for (int k = 0; k < l->n_link; k++) {
            if (l->link[k].from != i) continue;
            int above = l->box[l->link[k].to].layer - 1;
            lowest = lowest < 0 || above < lowest ? above : lowest;
        }
        if (lowest > 0) l->box[i].layer = lowest;
    }
    for (int i = 0; i < l->n_link; i++) {
        reel__link *k = &l->link[i];
        k->n_bend = l->box[k->to].layer - l->box[k->from].layer - 1;
        k->is_long = k->n_bend >= LONG;
        if (k->is_long) k->n_bend = 0;
    }
}

/* ---- vertices -------------------------------------------------------------------------------- */

static void free_layers(reel__layers *g)
{
    reel__free(g->v);
    reel__free(g->order);
    reel__free(g->first);
    reel__free(g->segment);
    for (int side = 0; side < 2; side++) {
        reel__free(g->start[side]);
        reel__free(g->near[side]);
    }
}

static bool make_room(reel__layout *l, reel__layers *g)
{
    int most = 0;
    g->n = l->n_box;
    for (int i = 0; i < l->n_link; i++) {
        l->link[i].bend = g->n - l->n_box;
        g->n += l->link[i].n_bend;
        g->n_segment += l->link[i].is_long ? 0 : l->link[i].n_bend + 1;
    }
    for (int i = 0; i < l->n_box; i++)
        if (l->box[i].layer > most) most = l->box[i].layer;
    g->n_layer = l->n_box ? most + 1 : 0;
    l->n_bend = g->n - l->n_box;
    size_t n = (size_t)g->n + 1, segments = (size_t)g->n_segment + 1;
    l->bend = reel__calloc((size_t)l->n_bend + 1, sizeof *l->bend);
    g->v = reel__calloc(n, sizeof *g->v);
    g->order = reel__calloc(n, sizeof *g->order);
    g->first = reel__calloc((size_t)g->n_layer + 2, sizeof *g->first);
    g->segment = reel__calloc(2 * segments, sizeof *g->segment);
    bool whole = l->bend && g->v && g->order && g->first && g->segment;
    for (int side = 0; side < 2 && whole; side++) {
        g->start[side] = reel__calloc(n + 1, sizeof(int));
        g->near[side] = reel__calloc(segments, sizeof(int));
        whole = g->start[side] && g->near[side];
    }
    return whole;
}

/* Boxes, then the bends of each link; segments join them from layer to layer. */
static void fill_vertices(const reel__layout *l, reel__layers *g)
{
    int n = 0;
    for (int i = 0; i < l->n_box; i++)
        g->v[i] = (reel__vertex){.layer = l->box[i].layer, .w = l->box[i].w};
    for (int i = 0; i < l->n_link; i++) {
        const reel__link *k = &l->link[i];
        int above = k->from;
        if (k->is_long) continue;
        for (int b = 0; b <= k->n_bend; b++) {
            int below = b < k->n_bend ? l->n_box + k->bend + b : k->to;
            if (b < k->n_bend)
                g->v[below] = (reel__vertex){
                    .layer = g->v[above].layer + 1, .w = 12, .is_bend = true};
            g->segment[2 * n] = above;
            g->segment[2 * n++ + 1] = below;
            above = below;
        }
    }
}

/* Lists of neighbours by counting sort; side 0: above. */
static void fill_near(reel__layers *g)
{
    for (int side = 0; side < 2; side++) {
        int *start = g->start[side];
        for (int i = 0; i < g->n_segment; i++) start[g->segment[2 * i + !side] + 1]++;
        for (int i = 0; i < g->n; i++) start[i + 1] += start[i];
        for (int i = g->n_segment - 1; i >= 0; i--) {
            /* filled from the back, each start ends where it belongs */
            int at = g->segment[2 * i + !side];
            g->near[side][--start[at + 1]] = g->segment[2 * i + side];
        }
        memmove(start, start + 1, (size_t)g->n * sizeof *start);
        start[g->n] = g->n_segment;
    }
}

static void number_places(reel__layers *g)
{
    for (int k = 0; k < g->n_layer; k++)
        for (int i = g->first[k]; i < g->first[k + 1]; i++)
            g->v[g->order[i]].pos = i - g->first[k];
}

/* By layer, in each as they were made: a counting sort. */
static void fill_order(reel__layers *g)
{
    for (int i = 0; i < g->n; i++) g->first[g->v[i].layer + 1]++;
    for (int k = 0; k < g->n_layer; k++) g->first[k + 1] += g->first[k];
    for (int i = 0; i < g->n; i++) g->order[g->first[g->v[i].layer]++] = i;
    for (int k = g->n_layer; k > 0; k--) g->first[k] = g->first[k - 1];
    g->first[0] = 0;
    number_places(g);
}

/* ---- crossings --------------------------------------------------------------------------------- */

typedef struct keyed {
    double key;
    int pos, vertex;
} keyed;

static int by_key(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    return x->pos - y->pos;
}

/* Sorts one layer by the mean place of the neighbours on one side. */
static void sort_layer(reel__layers *g, int layer, int side, keyed *list)
{
    int first = g->first[layer], n = g->first[layer + 1] - first;
    for (int i = 0; i < n; i++) {
        int u = g->order[first + i], begin = g->start[side][u],
            end = g->start[side][u + 1];
        double sum = 0;
        for (int k = begin; k < end; k++) sum += g->v[g->near[side][k]].pos;
        list[i] = (keyed){end > begin ? sum / (end - begin) : i, i, u};
    }
    qsort(list, (size_t)n, sizeof *list, by_key);
    for (int i = 0; i < n; i++) {
        g->order[first + i] = list[i].vertex;
        g->v[list[i].vertex].pos = i;
    }
}

static int by_place(const void *a, const void *b)
{
    const int *x = a, *y = b;
    return x[0] != y[0] ? x[0] - y[0] : x[1] - y[1];
}

/* Crossings between a layer and the next: inversions of the lower ends when segments are sorted
 * by their upper ones, counted by a tree of sums (Barth, Juenger & Mutzel 2002). */
static int64_t crossings_below(const reel__layers *g, int layer, int *pairs, int *tree)
{
    int n = 0, width = g->first[layer + 2] - g->first[layer + 1];
    int64_t sum = 0;
    for (int i = g->first[layer]; i < g->first[layer + 1]; i++) {
        int u = g->order[i];
        for (int k = g->start[1][u]; k < g->start[1][u + 1]; k++) {
            pairs[2 * n] = g->v[u].pos;
            pairs[2 * n++ + 1] = g->v[g->near[1][k]].pos;
        }
    }
    qsort(pairs, (size_t)n, 2 * sizeof *pairs, by_place);
    memset(tree, 0, ((size_t)width + 1) * sizeof *tree);
    for (int i = 0; i < n; i++) {
        int left = 0, at = pairs[2 * i + 1];
        for (int k = at + 1; k > 0; k -= k & -k) left += tree[k];
        sum += i - left; /* those before that end to the right of it */
        for (int k = at + 1; k <= width; k += k & -k) tree[k]++;
    }
    return sum;
}

static int64_t crossings(const reel__layers *g, int *pairs, int *tree)
{
    int64_t sum = 0;
    for (int k = 0; k + 1 < g->n_layer; k++) sum += crossings_below(g, k, pairs, tree);
    return sum;
}

/* Sweeps down and up; the best order that was met stays. */
static reel_status order_layers(reel__layers *g)
{
    keyed *list = reel__calloc((size_t)g->n + 1, sizeof *list);
    int *best = reel__calloc((size_t)g->n + 1, sizeof *best);
    int *tree = reel__calloc((size_t)g->n + 2, sizeof *tree);
    int *pairs = reel__calloc((size_t)g->n_segment + 1, 2 * sizeof *pairs);
    bool whole = list && best && tree && pairs;
    int64_t least = whole ? crossings(g, pairs, tree) : 0;
    if (whole) memcpy(best, g->order, (size_t)g->n * sizeof *best);
    for (int s = 0; s < SWEEPS && whole && least > 0; s++) {
        for (int k = 1; k < g->n_layer; k++)
            sort_layer(g, s % 2 ? g->n_layer - 1 - k : k, s % 2, list);
        int64_t now = crossings(g, pairs, tree);
        if (now >= least) continue;
        least = now;
        memcpy(best, g->order, (size_t)g->n * sizeof *best);
    }
    if (whole) memcpy(g->order, best, (size_t)g->n * sizeof *best);
    number_places(g);
    reel__free(list);
    reel__free(best);
    reel__free(tree);
    reel__free(pairs);
    return whole ? REEL_OK : reel_error_status();
}

/* ---- places -------------------------------------------------------------------------------------- */

/* Where links arrive: side by side on the upper side, in the order of where they come from. */
static void place_ports(reel__layout *l, const reel__layers *g)
{
    for (int i = 0; i < l->n_link;) {
        int n = 1;
        while (i + n < l->n_link && l->link[i + n].to == l->link[i].to) n++;
        const reel__box *to = &l->box[l->link[i].to];
        double step = to->w * 0.7 / n < 28 ? to->w * 0.7 / n : 28;
        for (int a = i; a < i + n; a++) {
            reel__link *k = &l->link[a];
            int rank = 0, drawn = 0;
            for (int b = i; b < i + n; b++) {
                const reel__link *o = &l->link[b];
                if (o->is_long) continue;
                double mine = k->n_bend ? g->v[l->n_box + k->bend + k->n_bend - 1].x
                                        : g->v[k->from].x + k->port;
                double its = o->n_bend ? g->v[l->n_box + o->bend + o->n_bend - 1].x
                                       : g->v[o->from].x + o->port;
                drawn++;
                rank += its < mine || (its == mine && b < a);
            }
            k->x0 = g->v[k->from].x + k->port;
            k->x1 = g->v[k->to].x + (rank - (drawn - 1) / 2.0) * step;
        }
        i += n;
    }
}

static void place_y(reel__layout *l, const reel__layers *g)
{
    double y = 0;
    for (int k = 0; k < g->n_layer; k++) {
        double tallest = 0;
        for (int i = g->first[k]; i < g->first[k + 1]; i++)
            if (g->order[i] < l->n_box && l->box[g->order[i]].h > tallest)
                tallest = l->box[g->order[i]].h;
        for (int i = g->first[k]; i < g->first[k + 1]; i++) {
            int v = g->order[i];
            if (v < l->n_box)
                l->box[v].y = y + (tallest - l->box[v].h) / 2;
            else
                l->bend[v - l->n_box] = (reel__bend){g->v[v].x, y, tallest};
        }
        l->height = y + tallest;
        y += tallest + (tallest > 0 ? gap_y : least_gap);
    }
}

reel_status reel__layout_place(reel__layout *l)
{
    reel__layers g = {0};
    reel_status st = make_room(l, &g) ? REEL_OK : reel_error_status();
    if (!st) {
        fill_vertices(l, &g);
        fill_near(&g);
        fill_order(&g);
        st = order_layers(&g);
    }
    if (!st) st = reel__place_x(&g);
    if (!st) {
        l->width = 0;
        for (int i = 0; i < g.n; i++) {
            if (g.v[i].x + g.v[i].w / 2 > l->width) l->width = g.v[i].x + g.v[i].w / 2;
            if (i < l->n_box) l->box[i].x = g.v[i].x - g.v[i].w / 2;
        }
        place_ports(l, &g);
        place_y(l, &g);
    }
    free_layers(&g);
    return st;
}
