/* parse.c: text to graphs. The text is what print.c writes, line by line:
 *
 *     batch N                              first, if shapes name "batch"; they stand at N
 *     rng SEED OFFSET BLOCKS               where the random stream stood, and how far it went
 *     reads "..."                          what was read while the graph was captured
 *     input|param|buffer|const V SHAPE [strides N,N,...]
 *     [V SHAPE|-, ... = ]OP(V|-, ...)[ ATTR=N,N ...][ per batch ATTR=N,N ...][  # PATH]
 *     output NAME = V
 *
 * V is a name or %N. Every shape is inferred again by the record's rule and compared. Nothing
 * is trusted: a text gives a graph that passes the verifier, or an error with its place. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "trace/text/parse.h"

/* ---- lines without operators --------------------------------------------------------------------- */

static bool parse_batch(reel__parser *p)
{
    const reel__scan begin = p->s;
    if (p->g->batch || p->g->n_value)
        return reel__scan_fail(&begin, "the batch size stands once, before all shapes");
    if (!reel__scan_int(&p->s, &p->g->batch)) return false;
    return (p->g->batch >= 1 && p->g->batch <= REEL__MOST_BATCH) ||
           reel__scan_fail(&begin, "a batch size is 1 to 2^31");
}

static bool parse_rng(reel__parser *p)
{
    reel_graph *g = p->g;
    return reel__scan_u64(&p->s, &g->rng.seed) && reel__scan_need(&p->s, " ") &&
           reel__scan_u64(&p->s, &g->rng.offset) && reel__scan_need(&p->s, " ") &&
           reel__scan_u64(&p->s, &g->rng_blocks);
}

static bool parse_reads(reel__parser *p)
{
    if (p->g->reads) return reel__scan_fail(&p->s, "reads stand once");
    return (p->g->reads = reel__scan_text(&p->s)) != NULL;
}

static bool scan_strides(reel__parser *p, reel__meta *m)
{
    reel__meta order = *m;
    if (!reel__scan_is(&p->s, " strides ")) return true;
    for (int d = 0; d < m->rank; d++)
        if ((d && !reel__scan_need(&p->s, ",")) ||
            !reel__scan_int(&p->s, &order.stride[d]))
            return false;
    *m = order;
    return true;
}

/* The tensor of a parameter, buffer or constant, as the text wants it. */
static bool find_state(reel__parser *p, const reel__text_ref *r, const reel__meta *m,
                       reel_tensor **out)
{
    reel_tensor *t = p->find ? p->find(p->user, r->name) : NULL;
    if (!t) return reel__scan_fail(&r->place, "there is no tensor %.80s", r->name);
    if (!reel__same_shape(&t->meta, m) || t->meta.dtype != m->dtype)
        return reel__scan_fail(&r->place, "tensor %.80s is %s, the text says %s", r->name,
                               SHOW(&t->meta), SHOW(m));
    return (*out = reel__in_order(t, m)) != NULL;
}

static bool parse_outside(reel__parser *p, reel__value_kind kind)
{
    reel__text_ref r;
    reel__meta m;
    int64_t grow[REEL_MAX_RANK];
    reel_tensor *t = NULL;
    if (!reel__parse_ref(p, &r) || !reel__scan_need(&p->s, " ") ||
        !reel__parse_shape(p, &m, grow) || !scan_strides(p, &m))
        return false;
    bool is_input = kind == REEL_VALUE_INPUT;
    if (is_input && r.number >= 0)
        return reel__scan_fail(&r.place, "an input has a name");
    for (int d = 0; d < m.rank; d++)
        if (grow[d] && !is_input)
            return reel__scan_fail(&r.place,
                                   "only inputs and results grow with the batch");
    reel_scope s = reel_scope_begin();
    bool good = is_input || find_state(p, &r, &m, &t);
    if (is_input) {
        reel__meta order = m;
        reel__set_strides_like(&m, &order);
    }
    int v = good ? reel__parse_define(p, &r, kind, t ? &t->meta : &m, grow, t) : -1;
    reel_scope_end(s);
    return v >= 0 && (!is_input || !reel__graph_add_input(p->g, v));
}

static bool parse_output(reel__parser *p)
{
    char name[REEL__TEXT_NAME];
    int v = REEL_NO_VALUE;
    if (!reel__scan_name(&p->s, name, sizeof name) || !reel__scan_need(&p->s, " = "))
        return false;
    const reel__scan begin = p->s;
    if (!reel__parse_value(p, &v)) return false;
    if (v < 0) return reel__scan_fail(&begin, "an output cannot be absent");
    return !reel__graph_add_output(p->g, v, name);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

/* The keyword that begins this line, stepped over; REEL__KEYWORDS if none does. */
static int scan_keyword(reel__parser *p)
{
    for (int k = 0; k < REEL__KEYWORDS; k++) {
        size_t n = strlen(reel__keyword[k]);
        if (strncmp(p->s.at, reel__keyword[k], n) != 0 || p->s.at[n] != ' ') continue;
        p->s.at += n + 1;
        return k;
    }
    return REEL__KEYWORDS;
}

static bool parse_line(reel__parser *p, reel__line *l)
{
    int key = scan_keyword(p);
    switch (key) {
    case REEL__KEY_BATCH: return parse_batch(p);
    case REEL__KEY_RNG: return parse_rng(p);
    case REEL__KEY_READS: return parse_reads(p);
    case REEL__KEY_OUTPUT: return parse_output(p);
    case REEL__KEYWORDS: return reel__parse_node(p, l);
    default: return parse_outside(p, (reel__value_kind)(key - REEL__KEY_INPUT));
    }
}

/* How results grow is inferred at the next batch size and compared. */
static bool check_growth(reel__parser *p)
{
    const reel_graph *g = p->g;
    reel__meta *next =
        g->batch ? reel__calloc((size_t)g->n_value + 1, sizeof *next) : NULL;
    if (!g->batch) return true;
    bool good = next != NULL;
    if (good && reel__metas_at(g, g->batch + 1, next))
        good = reel__scan_fail(&p->s, "at another batch size");
    for (int v = 0; v < g->n_value && good; v++)
        for (int d = 0; d < g->value[v].meta.rank && good; d++)
            if (next[v].dim[d] != g->value[v].meta.dim[d] + g->value[v].grow[d])
                good = reel__scan_fail(&p->value[v].place,
                                       "dimension %d does not grow as the text says", d);
    reel__free(next);
    return good && !reel__graph_bends(p->g);
}

static bool parse_all(reel__parser *p)
{
    reel__line *l = reel__malloc(sizeof *l); /* too large for some stacks */
    bool good = l && reel__parse_rehash(p, 256);
    while (good && reel__scan_line(&p->s))
        good = parse_line(p, l) && reel__scan_need(&p->s, "\n");
    reel__free(l);
    return good && !reel_failed() && check_growth(p) && !reel_graph_check(p->g);
}

reel_graph *reel_graph_parse(const char *text,
                             reel_tensor *(*find)(void *user, const char *name),
                             void *user)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    if (!text) {
        reel_fail(REEL_ERR_ARG, "graph_parse: the text is NULL");
        return NULL;
    }
    reel__parser p = {
        .s = {text, text, 0}, .g = reel__graph_new(), .find = find, .user = user};
    bool good = p.g && parse_all(&p);
    reel__free(p.value);
    reel__free(p.slot);
    if (good) return p.g;
    reel_graph_free(p.g);
    return NULL;
}
