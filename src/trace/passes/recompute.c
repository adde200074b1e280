/* recompute.c: values that are cheap to make are made again where they are needed late, rather
 * than kept from the forward to the backward half of a training step (Chen et al. 2016,
 * arXiv:1604.06174). The same kernel runs again on the same operands, so every bit is kept.
 *
 * Which values: those that lower the largest live set, found by counting bytes, never by a
 * clock. A value's readers fall in two at the largest distance between neighbours; after it,
 * a copy stands for the value. Copies of what was itself made again are chained. */
#include <string.h>

#include "base/alloc.h"
#include "ops/records.h"
#include "trace/passes/pass.h"

/* Making costs time, and the last bytes cost most: the live set may be larger than the least
 * by one part in so many. */
enum { WORTH = 10 };

typedef struct planner {
    reel_graph *g;
    reel__effects e;
    int n_node, n_value; /* as they were in the beginning */
    bool *again;         /* by root: made again for its late readers */
    int *split;          /* by root: its last early reader; -1: it cannot be made again */
    int *copy;           /* by value: what stands for it late, once it is there; -1 */
    /* the model: nodes in the order in which they would run */
    struct event {
        int node;
        bool again;
    } * event;
    int n_event;
    int *last;   /* by root, then by copy: the last event that touches it */
    bool *alive; /* likewise */
    int *rank;   /* roots that may be made again, largest first */
    int n_rank;
} planner;

/* What a choice costs in memory. */
typedef struct score {
    int64_t most; /* bytes of the largest live set */
    double sum;   /* of all live sets */
} score;

/* ---- what can be made again ------------------------------------------------------------------ */

/* Operands of the record that makes a node's result again. */
static int operands(const reel__gnode *n, int in[])
{
    for (int k = 0; k < n->n_in; k++) {
        int saved = k < REEL_AGAIN_IN ? n->op->again_out[k] : 0;
        in[k] = saved ? n->out[saved] : n->in[k];
    }
    return n->n_in;
}

static bool is_view(const reel__gnode *n)
{
    return n->op->traits & REEL_OP_VIEW;
}

/* Reads of memory, by root, ascending: split[root] becomes the reader before the largest gap,
 * late[root] the one after it. */
static void find_gaps(const planner *p, int *late, int *latest, int *gap)
{
    const reel_graph *g = p->g;
    for (int i = 0; i < p->n_node; i++) {
        const reel__gnode *n = &g->node[i];
        for (int k = 0; k < n->n_in && !is_view(n); k++) {
            int r = n->in[k] < 0 ? -1 : p->e.root[n->in[k]];
            if (r < 0 || latest[r] < 0) continue;
            if (latest[r] != g->value[r].maker && i - latest[r] > gap[r]) {
                gap[r] = i - latest[r];
                p->split[r] = latest[r];
                late[r] = i;
            }
            latest[r] = i;
        }
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k] >= 0 && p->e.root[n->out[k]] == n->out[k])
                latest[n->out[k]] = i;
    }
}

/* Further results as large as the first would be made for nothing. */
static bool makes_more(const planner *p, const reel__gnode *n)
{
    const reel__op *op = reel__op_again(n->op);
    for (int k = 1; k < op->n_out; k++)
        if (n->out[k] >= 0 && reel__numel(&p->g->value[n->out[k]].meta) >=
                                  reel__numel(&p->g->value[n->out[0]].meta))
            return true;
    return false;
}

/* Whether root r can be made again for a reader at node `late`. */
static bool can_be_made(const planner *p, int r, int late)
{
    const reel__value *v = &p->g->value[r];
    if (v->kind != REEL_VALUE_NODE || v->maker < 0 || !reel__never_changes(&p->e, r))
        return false;
    const reel__gnode *n = &p->g->node[v->maker];
    int in[REEL_OP_MAX_IN];
    if (!reel__op_again(n->op) || n->out[0] != r || makes_more(p, n)) return false;
    int n_in = operands(n, in);
    for (int k = 0; k < n_in; k++)
        if (in[k] >= 0 && !reel__same_between(&p->e, in[k], v->maker, late)) return false;
    return true;
}

static bool find_candidates(planner *p)
{
    size_t n = (size_t)p->n_value + 1;
    int *late = reel__calloc(3 * n, sizeof *late);
    if (!late) return false;
    int *latest = late + n, *gap = late + 2 * n;
    for (int v = 0; v < p->n_value; v++) p->split[v] = latest[v] = -1;
    find_gaps(p, late, latest, gap);
    for (int v = 0; v < p->n_value; v++)
        if (p->split[v] >= 0 && !can_be_made(p, v, late[v])) p->split[v] = -1;
    for (int i = 0; i < p->g->n_output; i++) p->split[p->e.root[p->g->output[i]]] = -1;
    reel__free(late);
    return true;
}

/* ---- the model: the largest live set --------------------------------------------------------- */

static bool is_late(const planner *p, int root, int node)
{
    return p->again[root] && node > p->split[root];
}

/* Appends the copies that a reader of v at `node` needs, and the copies that those need. */
static void need(planner *p, int v, int node)
{
    int r = v < 0 ? -1 : p->e.root[v], in[REEL_OP_MAX_IN];
    if (r < 0 || !is_late(p, r, node) || p->copy[r] >= 0) return;
    p->copy[r] = r;
    int maker = p->g->value[r].maker, n_in = operands(&p->g->node[maker], in);
    for (int k = 0; k < n_in; k++) need(p, in[k], node);
    p->event[p->n_event++] = (struct event){maker, true};
}

static void order_events(planner *p)
{
    p->n_event = 0;
    for (int v = 0; v < p->n_value; v++) p->copy[v] = -1;
    for (int i = 0; i < p->n_node; i++) {
        const reel__gnode *n = &p->g->node[i];
        if (is_view(n)) continue;
        for (int k = 0; k < n->n_in; k++) need(p, n->in[k], i);
        p->event[p->n_event++] = (struct event){i, false};
    }
}

/* Memory is numbered: roots by their values, then the copies of roots in the same order. */
static int copy_of(const planner *p, int root)
{
    return p->n_value + root;
}

static int original(const planner *p, int memory)
{
    return memory < p->n_value ? memory : memory - p->n_value;
}

/* The memory that an event reads for v: v's root, or that root's copy. `now`: the last node
 * that is not a copy and runs with it or before. */
static int memory_of(const planner *p, int v, int now)
{
    int r = p->e.root[v];
    return is_late(p, r, now) ? copy_of(p, r) : r;
}

/* The memory that an event touches, inputs first; -1: none. Returns how many, *n_in of them
 * inputs. */
static int touched(const planner *p, const struct event *e, int now, int *n_in,
                   int list[])
{
    const reel__gnode *n = &p->g->node[e->node];
    int in[REEL_OP_MAX_IN], count = n->n_in;
    memcpy(in, n->in, (size_t)count * sizeof *in);
    if (e->again) count = operands(n, in);
    for (int k = 0; k < count; k++) list[k] = in[k] < 0 ? -1 : memory_of(p, in[k], now);
    *n_in = count;
    for (int k = 0; k < (e->again ? 1 : n->n_out); k++)
        list[count + k] = n->out[k] < 0 ? -1
                          : e->again    ? copy_of(p, p->e.root[n->out[k]])
                                        : p->e.root[n->out[k]];
    return count + (e->again ? 1 : n->n_out);
}

/* The node at which event s stands: that of the next event which is not a copy. */
static int time_of(const planner *p, int s)
{
    while (p->event[s].again) s++;
    return p->event[s].node;
}

static int64_t bytes_of(const planner *p, int memory)
{
    const reel__value *v = &p->g->value[original(p, memory)];
    if (v->kind != REEL_VALUE_NODE) return 0;
    return reel__numel(&v->meta) * (int64_t)reel_dtype_size(v->meta.dtype);
}

/* Whether result y of event s will lie over an input that dies in s, as execute/places.c lays
 * it: no memory comes alive then. That input is taken, and serves no other result. */
static bool replaces(const planner *p, const reel__op *op, const int *list, int n_in,
                     int y, int s, bool *taken)
{
    if (!(op->traits & (REEL_OP_POINTWISE | REEL_OP_REPLACES))) return false;
    for (int k = 0; k < n_in; k++)
        if (list[k] >= 0 && !taken[k] && p->last[list[k]] == s &&
            bytes_of(p, list[k]) == bytes_of(p, y))
            return taken[k] = true;
    return false;
}

/* The last event that touches each memory. */
static void find_lives(planner *p)
{
    int list[REEL_OP_MAX_IN + REEL_OP_MAX_OUT], n_in;
    for (int s = 0, now; s < p->n_event; s++) {
        now = time_of(p, s);
        int n = touched(p, &p->event[s], now, &n_in, list);
        for (int k = 0; k < n; k++)
            if (list[k] >= 0) p->last[list[k]] = s;
    }
}

/* One event: what it makes comes alive, what nobody touches later is dead. The bytes alive
 * while it runs go to *during; those after it are returned. */
static int64_t pass_event(planner *p, int s, int64_t live, int64_t *during)
{
    int list[REEL_OP_MAX_IN + REEL_OP_MAX_OUT], n_in;
    bool taken[REEL_OP_MAX_IN] = {false};
    const reel__op *op = p->g->node[p->event[s].node].op;
    int n = touched(p, &p->event[s], time_of(p, s), &n_in, list);
    for (int k = n_in; k < n; k++) {
        if (list[k] < 0 || p->alive[list[k]]) continue;
        p->alive[list[k]] = true;
        if (!replaces(p, op, list, n_in, list[k], s, taken)) live += bytes_of(p, list[k]);
    }
    *during = live;
    for (int k = 0; k < n; k++) {
        if (list[k] < 0 || !p->alive[list[k]] || p->last[list[k]] != s) continue;
        p->alive[list[k]] = false;
        if (k >= n_in || !taken[k]) live -= bytes_of(p, list[k]);
    }
    return live;
}

static score weigh(planner *p)
{
    score w = {0, 0};
    order_events(p);
    find_lives(p);
    for (int v = 0; v < 2 * p->n_value; v++) p->alive[v] = false;
    for (int64_t s = 0, live = 0, during; s < p->n_event; s++) {
        live = pass_event(p, (int)s, live, &during);
        if (during > w.most) w.most = during;
        w.sum += (double)during;
    }
    return w;
}

/* ---- choosing ---------------------------------------------------------------------------------- */

static void rank_candidates(planner *p)
{
    for (int r = 0; r < p->n_value; r++) {
        if (p->split[r] < 0) continue;
        int k = p->n_rank++;
        for (; k > 0 && bytes_of(p, p->rank[k - 1]) < bytes_of(p, r); k--)
            p->rank[k] = p->rank[k - 1];
        p->rank[k] = r;
    }
}

/* Everything that makes the largest live set smaller, or as large for a shorter time; then, as
 * making costs time, without what hardly matters. */
static int choose(planner *p)
{
    score best = weigh(p);
    int n = 0;
    for (int i = 0; i < p->n_rank; i++) {
        p->again[p->rank[i]] = true;
        score w = weigh(p);
        if (w.most < best.most || (w.most == best.most && w.sum < best.sum))
            best = w;
        else
            p->again[p->rank[i]] = false;
    }
    int64_t limit = best.most + best.most / WORTH;
    for (int i = 0; i < p->n_rank; i++) {
        int r = p->rank[i];
        if (!p->again[r]) continue;
        p->again[r] = false;
        if (weigh(p).most > limit) p->again[r] = true;
        n += p->again[r];
    }
    return n;
}

/* ---- changing the graph ------------------------------------------------------------------------ */

/* What node `before`, a late reader, reads for v: v itself, its copy, or a view of a copy. -1
 * with an error. */
static int late_value(planner *p, int v, int before)
{
    reel_graph *g = p->g;
    int in[REEL_OP_MAX_IN], out[REEL_OP_MAX_OUT];
    if (!is_late(p, p->e.root[v], before)) return v;
    if (p->copy[v] >= 0) return p->copy[v];
    const reel__gnode n = g->node[g->value[v].maker]; /* its blocks stay where they are */
    int n_in = is_view(&n) ? n.n_in : operands(&n, in);
    if (is_view(&n)) memcpy(in, n.in, (size_t)n_in * sizeof *in);
    for (int k = 0; k < n_in; k++)
        if (in[k] >= 0 && (in[k] = late_value(p, in[k], before)) < 0) return -1;
    const reel__op *op = is_view(&n) ? n.op : reel__op_again(n.op);
    if (reel__graph_emit(g, before, op, n.attrs, n.per_batch, in, n_in, n.where, out) < 0)
        return -1;
    return p->copy[v] = out[0];
}

/* Views that nobody looks at any more. */
static bool drop_views(planner *p)
{
    int *uses = reel__graph_uses(p->g);
    for (int i = p->n_node - 1; i >= 0 && uses; i--) {
        const reel__gnode *n = &p->g->node[i];
        if (!is_view(n) || uses[n->out[0]] || p->g->value[n->out[0]].maker != i) continue;
        uses[n->in[0]]--;
        reel__graph_remove(p->g, i);
    }
    reel__free(uses);
    return uses != NULL;
}

static bool change(planner *p)
{
    reel_graph *g = p->g;
    for (int v = 0; v < p->n_value; v++) p->copy[v] = -1;
    for (int i = 0; i < p->n_node; i++)
        for (int k = 0; k < g->node[i].n_in && !is_view(&g->node[i]); k++) {
            int v = g->node[i].in[k] < 0 ? -1 : late_value(p, g->node[i].in[k], i);
            if (v < 0 && g->node[i].in[k] >= 0) return false;
            g->node[i].in[k] = v;
        }
    return drop_views(p);
}

/* ---- all together -------------------------------------------------------------------------------- */

static void end(planner *p)
{
    reel__effects_free(&p->e);
    reel__free(p->again);
    reel__free(p->split);
    reel__free(p->event);
}

static bool begin(planner *p, reel_graph *g)
{
    *p = (planner){.g = g, .n_node = g->n_node, .n_value = g->n_value};
    size_t n = (size_t)g->n_value + 1;
    if (!reel__find_effects(g, &p->e)) return false;
    p->again = reel__calloc(3 * n, sizeof *p->again);
    p->split = reel__calloc(5 * n, sizeof *p->split);
    p->event = reel__calloc((size_t)g->n_node + n, sizeof *p->event);
    if (!p->again || !p->split || !p->event) return false;
    p->alive = p->again + n;
    p->copy = p->split + n;
    p->rank = p->split + 2 * n;
    p->last = p->split + 3 * n;
    return find_candidates(p);
}

static int run(reel_graph *g)
{
    planner p;
    int n = -1;
    if (begin(&p, g)) {
        rank_candidates(&p);
        n = choose(&p);
        if (n && !change(&p)) n = -1;
    }
    end(&p);
    return n;
}

const reel__pass reel__pass_recompute = {
    "recompute", "makes cheap values again rather than keep them", true, run};
