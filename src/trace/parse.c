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
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/c_locale.h"
#include "trace/text.h"

/* V in a text. */
typedef struct ref {
    bool absent;
    int64_t number;             /* %N; -1: a name */
    char name[REEL__TEXT_NAME]; /* of a numbered one "%N" */
    reel__scan place;
} ref;

typedef struct known {
    int64_t number; /* as in ref */
    int root;       /* the value that it is a view of */
    reel__scan place;
} known;

typedef struct parser {
    reel__scan s;
    reel_graph *g;
    reel_tensor *(*find)(void *user, const char *name);
    void *user;
    known *value; /* beside g->value */
    int cap_value;
    int *slot; /* open addressing: number of a value plus 1 */
    size_t mask;
} parser;

/* ---- names of values --------------------------------------------------------------------------- */

/* FNV-1a. */
static size_t hash_of(int64_t number, const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    if (number >= 0)
        return (size_t)((uint64_t)number * UINT64_C(0x9e3779b97f4a7c15) >> 20);
    for (; *name; name++) h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32);
}

static size_t slot_of(const parser *p, int64_t number, const char *name)
{
    size_t i = hash_of(number, name) & p->mask;
    for (; p->slot[i]; i = (i + 1) & p->mask) {
        int v = p->slot[i] - 1;
        if (p->value[v].number != number) continue;
        if (number >= 0 || strcmp(p->g->value[v].name, name) == 0) break;
    }
    return i;
}

static bool rehash(parser *p, size_t size)
{
    int *slot = reel__calloc(size, sizeof *slot);
    if (!slot) return false;
    reel__free(p->slot);
    p->slot = slot;
    p->mask = size - 1;
    for (int v = 0; v < p->g->n_value; v++)
        p->slot[slot_of(p, p->value[v].number, p->g->value[v].name)] = v + 1;
    return true;
}

/* The value that is called so; -1 if there is none. */
static int lookup(const parser *p, const ref *r)
{
    return p->slot[slot_of(p, r->number, r->name)] - 1;
}

static bool scan_ref(parser *p, ref *r)
{
    *r = (ref){.number = -1, .place = p->s};
    if (*p->s.at == '-' && !reel__bare_char((unsigned char)p->s.at[1])) {
        p->s.at++;
        r->absent = true;
        return true;
    }
    if (!reel__scan_is(&p->s, "%"))
        return reel__scan_name(&p->s, r->name, sizeof r->name);
    if (!reel__scan_int(&p->s, &r->number)) return false;
    if (r->number < 0) return reel__scan_fail(&r->place, "a number below 0");
    (void)snprintf(r->name, sizeof r->name, "%%%" PRId64, r->number);
    return true;
}

/* A value that is there. */
static bool scan_value(parser *p, int *v)
{
    ref r;
    if (!scan_ref(p, &r)) return false;
    *v = r.absent ? REEL_NO_VALUE : lookup(p, &r);
    return r.absent || *v >= 0 ||
           reel__scan_fail(&r.place, "nothing is called %.80s here", r.name);
}

/* A new value; its number or -1 with an error. */
static int define(parser *p, const ref *r, reel_value_kind kind, const reel_meta *m,
                  const int64_t *grow, reel_tensor *tensor)
{
    void *list = p->value;
    int n = p->g->n_value;
    if (r->absent || lookup(p, r) >= 0) {
        reel__scan_fail(&r->place,
                        r->absent ? "a name should stand here" : "%.80s is there already",
                        r->name);
        return -1;
    }
    if (!reel__grow(&list, n, &p->cap_value, sizeof *p->value)) return -1;
    p->value = list;
    if ((size_t)n * 2 > p->mask && !rehash(p, 2 * p->mask + 2)) return -1;
    p->value[n] = (known){r->number, n, r->place};
    const char *name = r->number < 0 ? r->name : NULL;
    int v = reel__graph_add_value(p->g, kind, m, name, tensor);
    if (v < 0) return -1;
    memcpy(p->g->value[v].grow, grow, sizeof p->g->value[v].grow);
    p->slot[slot_of(p, r->number, r->name)] = v + 1;
    return v;
}

/* ---- lines without operators --------------------------------------------------------------------- */

/* Sizes at other batches are sums of products: none may come near 64 bits. */
#define MOST_BATCH (INT64_C(1) << 31)

static bool parse_batch(parser *p)
{
    const reel__scan begin = p->s;
    if (p->g->batch || p->g->n_value)
        return reel__scan_fail(&begin, "the batch size stands once, before all shapes");
    if (!reel__scan_int(&p->s, &p->g->batch)) return false;
    return (p->g->batch >= 1 && p->g->batch <= MOST_BATCH) ||
           reel__scan_fail(&begin, "a batch size is 1 to 2^31");
}

static bool parse_rng(parser *p)
{
    reel_graph *g = p->g;
    return reel__scan_u64(&p->s, &g->rng.seed) && reel__scan_need(&p->s, " ") &&
           reel__scan_u64(&p->s, &g->rng.offset) && reel__scan_need(&p->s, " ") &&
           reel__scan_u64(&p->s, &g->rng_blocks);
}

static bool parse_reads(parser *p)
{
    if (p->g->reads) return reel__scan_fail(&p->s, "reads stand once");
    return (p->g->reads = reel__scan_text(&p->s)) != NULL;
}

static bool scan_shape(parser *p, reel_meta *m, int64_t *grow)
{
    const reel__scan begin = p->s;
    if (!reel__scan_shape(&p->s, p->g->batch, m, grow)) return false;
    for (int d = 0; d < m->rank; d++)
        if (grow[d] > MOST_BATCH || grow[d] < -MOST_BATCH || m->dim[d] > INT64_MAX / 4)
            return reel__scan_fail(&begin, "a size that grows too fast");
    return true;
}

static bool scan_strides(parser *p, reel_meta *m)
{
    reel_meta order = *m;
    if (!reel__scan_is(&p->s, " strides ")) return true;
    for (int d = 0; d < m->rank; d++)
        if ((d && !reel__scan_need(&p->s, ",")) ||
            !reel__scan_int(&p->s, &order.stride[d]))
            return false;
    *m = order;
    return true;
}

/* The tensor of a parameter, buffer or constant, as the text wants it. */
static bool find_state(parser *p, const ref *r, const reel_meta *m, reel_tensor **out)
{
    reel_tensor *t = p->find ? p->find(p->user, r->name) : NULL;
    if (!t) return reel__scan_fail(&r->place, "there is no tensor %.80s", r->name);
    if (!reel__same_shape(&t->meta, m) || t->meta.dtype != m->dtype)
        return reel__scan_fail(&r->place, "tensor %.80s is %s, the text says %s", r->name,
                               SHOW(&t->meta), SHOW(m));
    return (*out = reel__in_order(t, m)) != NULL;
}

static bool parse_outside(parser *p, reel_value_kind kind)
{
    ref r;
    reel_meta m;
    int64_t grow[REEL_MAX_RANK];
    reel_tensor *t = NULL;
    if (!scan_ref(p, &r) || !reel__scan_need(&p->s, " ") || !scan_shape(p, &m, grow) ||
        !scan_strides(p, &m))
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
        reel_meta order = m;
        reel__set_strides_like(&m, &order);
    }
    int v = good ? define(p, &r, kind, t ? &t->meta : &m, grow, t) : -1;
    reel_scope_end(s);
    return v >= 0 && (!is_input || !reel__graph_add_input(p->g, v));
}

static bool parse_output(parser *p)
{
    char name[REEL__TEXT_NAME];
    int v = REEL_NO_VALUE;
    if (!reel__scan_name(&p->s, name, sizeof name) || !reel__scan_need(&p->s, " = "))
        return false;
    const reel__scan begin = p->s;
    if (!scan_value(p, &v)) return false;
    if (v < 0) return reel__scan_fail(&begin, "an output cannot be absent");
    return !reel__graph_add_output(p->g, v, name);
}

/* ---- nodes ------------------------------------------------------------------------------------------ */

/* A line of a node. */
typedef struct line {
    const reel_op *op;
    int n_result, n_in;
    ref result[REEL_OP_MAX_OUT];
    reel_meta meta[REEL_OP_MAX_OUT];
    int64_t grow[REEL_OP_MAX_OUT][REEL_MAX_RANK];
    int in[REEL_OP_MAX_IN], out[REEL_OP_MAX_OUT];
    _Alignas(16) char attrs[REEL_ATTRS_MAX];
    _Alignas(16) char slopes[REEL_ATTRS_MAX];
    bool has_slopes;
    char where[REEL__TEXT_NAME];
    reel__scan op_place;
} line;

static bool begins_with_operator(const parser *p)
{
    const char *c = p->s.at;
    while (reel__bare_char((unsigned char)*c)) c++;
    return *c == '(';
}

static bool scan_results(parser *p, line *l)
{
    if (begins_with_operator(p)) return true;
    do {
        int k = l->n_result++;
        if (k == REEL_OP_MAX_OUT)
            return reel__scan_fail(&p->s, "more than %d results", REEL_OP_MAX_OUT);
        if (!scan_ref(p, &l->result[k])) return false;
        if (!l->result[k].absent &&
            !(reel__scan_need(&p->s, " ") && scan_shape(p, &l->meta[k], l->grow[k])))
            return false;
    } while (reel__scan_is(&p->s, ", "));
    return reel__scan_need(&p->s, " = ");
}

static bool scan_operator(parser *p, line *l)
{
    char name[64];
    l->op_place = p->s;
    if (!reel__scan_word(&p->s, name, sizeof name)) return false;
    l->op = reel__op_by_name(name);
    if (!l->op) return reel__scan_fail(&l->op_place, "no operator is called %s", name);
    if (l->op->n_out != l->n_result)
        return reel__scan_fail(&l->op_place, "%s has %d results, not %d", name,
                               l->op->n_out, l->n_result);
    return reel__scan_need(&p->s, "(");
}

static bool scan_operands(parser *p, line *l)
{
    while (!reel__scan_is(&p->s, ")")) {
        if (l->n_in == REEL_OP_MAX_IN)
            return reel__scan_fail(&p->s, "more than %d operands", REEL_OP_MAX_IN);
        if (l->n_in && !reel__scan_need(&p->s, ", ")) return false;
        const reel__scan begin = p->s;
        int k = l->n_in;
        if (!scan_value(p, &l->in[k])) return false;
        if (l->in[k] < 0 && !(k < 8 && (l->op->optional >> k & 1)))
            return reel__scan_fail(&begin, "operand %d of %s cannot be absent", k,
                                   l->op->name);
        l->n_in++;
    }
    if (l->op->n_in == l->n_in || (l->op->n_in < 0 && l->n_in > 0)) return true;
    return reel__scan_fail(&l->op_place, "%s takes %d operands, not %d", l->op->name,
                           l->op->n_in < 0 ? 1 : l->op->n_in, l->n_in);
}

/* Attributes that grow stay far from 64 bits, as sizes do. */
static bool check_slopes(const line *l)
{
    const reel_attr_schema *s = l->op->attrs;
    for (int i = 0; i < s->n_fields; i++)
        for (int k = 0; k < s->field[i].count; k++) {
            size_t at = s->field[i].offset + (size_t)k * 8;
            int64_t v, slope;
            memcpy(&v, l->attrs + at, sizeof v);
            memcpy(&slope, l->slopes + at, sizeof slope);
            if (slope == 0 || s->field[i].type == REEL_ATTR_REAL) continue;
            if (s->field[i].type == REEL_ATTR_ROW || slope > MOST_BATCH ||
                slope < -MOST_BATCH || v > INT64_MAX / 4 || v < -INT64_MAX / 4)
                return reel__scan_fail(&l->op_place, "%s cannot grow so",
                                       s->field[i].name);
        }
    return true;
}

static bool scan_attributes(parser *p, line *l)
{
    const reel_attr_schema *s = l->op->attrs;
    if (s && (s->n_fields == 0 || s->size > REEL_ATTRS_MAX))
        return reel__scan_fail(&l->op_place, "attributes of %s have no text",
                               l->op->name);
    if (!reel__scan_attrs(&p->s, s, l->op->name, l->attrs)) return false;
    if (!reel__scan_is(&p->s, " per batch")) return true;
    if (!p->g->batch || !s)
        return reel__scan_fail(
            &p->s, "%s", s ? "the text names no batch size" : "there are no attributes");
    l->has_slopes = true;
    return reel__scan_attrs(&p->s, s, l->op->name, l->slopes) && check_slopes(l);
}

static bool scan_where(parser *p, line *l)
{
    if (!reel__scan_is(&p->s, "  # ")) return true;
    if (*p->s.at == '"') return reel__scan_name(&p->s, l->where, sizeof l->where);
    size_t n = strcspn(p->s.at, "\n");
    if (n >= sizeof l->where)
        return reel__scan_fail(&p->s, "a path of more than %zu bytes",
                               sizeof l->where - 1);
    memcpy(l->where, p->s.at, n);
    p->s.at += n;
    return true;
}

/* A result that has the name of a value: the first operand changed in place, or a view that
 * looks at memory as a value does. */
static bool is_again(const parser *p, const line *l, int k, int v, const reel_meta *m)
{
    const reel_meta *have = &p->g->value[v].meta;
    if (k != 0 || l->n_in == 0 || l->in[0] < 0) return false;
    if (l->op->traits & REEL_OP_INPLACE) return v == l->in[0];
    if (!(l->op->traits & REEL_OP_VIEW) || p->value[v].root != p->value[l->in[0]].root)
        return false;
    bool same = have->offset == m->offset;
    for (int d = 0; d < m->rank && same; d++)
        same = m->dim[d] <= 1 || have->stride[d] == m->stride[d];
    return same;
}

/* Result k against what the shape rule says. */
static bool add_result(parser *p, line *l, int k, const reel_meta *m)
{
    const ref *r = &l->result[k];
    l->out[k] = REEL_NO_VALUE;
    if (r->absent != (m->rank < 0))
        return reel__scan_fail(&r->place, "%s %s result %d here", l->op->name,
                               r->absent ? "gives" : "leaves out", k);
    if (r->absent) return true;
    if (!reel__same_shape(m, &l->meta[k]) || m->dtype != l->meta[k].dtype)
        return reel__scan_fail(&r->place, "%s gives %s, the text says %s", l->op->name,
                               SHOW(m), SHOW(&l->meta[k]));
    int v = lookup(p, r);
    bool in_place = k == 0 && (l->op->traits & REEL_OP_INPLACE);
    if (in_place || v >= 0) {
        if (v < 0 || !is_again(p, l, k, v, m))
            return reel__scan_fail(&r->place,
                                   in_place ? "the result is the first operand"
                                            : "%.80s is there already",
                                   r->name);
        l->out[k] = v;
        return true;
    }
    l->out[k] = define(p, r, REEL_VALUE_NODE, m, l->grow[k], NULL);
    if (l->out[k] >= 0 && k == 0 && (l->op->traits & REEL_OP_VIEW))
        p->value[l->out[k]].root = p->value[l->in[0]].root;
    return l->out[k] >= 0;
}

static bool add_node(parser *p, line *l)
{
    const reel_meta *in[REEL_OP_MAX_IN];
    reel_meta out[REEL_OP_MAX_OUT];
    for (int k = 0; k < l->n_in; k++)
        in[k] = l->in[k] < 0 ? NULL : &p->g->value[l->in[k]].meta;
    if (reel__infer(l->op, l->attrs, in, l->n_in, out))
        return reel__scan_fail(&l->op_place, "this cannot be");
    for (int k = 0; k < l->n_result; k++)
        if (!add_result(p, l, k, &out[k])) return false;
    const reel_call c = {l->op, l->n_in, l->n_result, NULL, NULL, l->attrs, 0, false};
    int n = reel__graph_add_node(p->g, &c, l->in, l->out, l->where);
    if (n < 0 || !l->has_slopes) return n >= 0;
    size_t size = l->op->attrs->size;
    void *slopes = reel__malloc(size);
    p->g->node[n].per_batch = slopes;
    return slopes && memcpy(slopes, l->slopes, size);
}

static bool parse_node(parser *p, line *l)
{
    memset(l, 0, sizeof *l);
    if (p->g->n_node == REEL__TEXT_NODES)
        return reel__scan_fail(&p->s, "more than %d nodes", REEL__TEXT_NODES);
    return scan_results(p, l) && scan_operator(p, l) && scan_operands(p, l) &&
           scan_attributes(p, l) && scan_where(p, l) && add_node(p, l);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

/* The keyword that begins this line, stepped over; REEL__KEYWORDS if none does. */
static int scan_keyword(parser *p)
{
    for (int k = 0; k < REEL__KEYWORDS; k++) {
        size_t n = strlen(reel__keyword[k]);
        if (strncmp(p->s.at, reel__keyword[k], n) != 0 || p->s.at[n] != ' ') continue;
        p->s.at += n + 1;
        return k;
    }
    return REEL__KEYWORDS;
}

static bool parse_line(parser *p, line *l)
{
    int key = scan_keyword(p);
    switch (key) {
    case REEL__KEY_BATCH: return parse_batch(p);
    case REEL__KEY_RNG: return parse_rng(p);
    case REEL__KEY_READS: return parse_reads(p);
    case REEL__KEY_OUTPUT: return parse_output(p);
    case REEL__KEYWORDS: return parse_node(p, l);
    default: return parse_outside(p, (reel_value_kind)(key - REEL__KEY_INPUT));
    }
}

/* How results grow is inferred at the next batch size and compared. */
static bool check_growth(parser *p)
{
    const reel_graph *g = p->g;
    reel_meta *next =
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
    return good;
}

static bool parse_all(parser *p)
{
    line *l = reel__malloc(sizeof *l); /* too large for some stacks */
    bool good = l && rehash(p, 256);
    while (good && reel__scan_line(&p->s))
        good = parse_line(p, l) && reel__scan_need(&p->s, "\n");
    reel__free(l);
    return good && !reel_failed() && check_growth(p) && !reel_graph_check(p->g);
}

reel_graph *reel_graph_parse(const char *text,
                             reel_tensor *(*find)(void *user, const char *name),
                             void *user)
{
    reel__locale locale;
    if (reel_failed()) return NULL;
    if (!text) {
        reel_fail(REEL_ERR_ARG, "graph_parse: the text is NULL");
        return NULL;
    }
    if (reel__c_locale(&locale)) return NULL;
    parser p = {.s = {text, text, 0}, .g = reel__graph_new(), .find = find, .user = user};
    bool good = p.g && parse_all(&p);
    reel__c_locale_end(&locale);
    reel__free(p.value);
    reel__free(p.slot);
    if (good) return p.g;
    reel_graph_free(p.g);
    return NULL;
}
