/* parse_node.c: lines of nodes: read, inferred, compared, added. */
#include <string.h>

#include "base/alloc.h"
#include "trace/text/parse.h"

static bool begins_with_operator(const reel__parser *p)
{
    const char *c = p->s.at;
    while (reel__bare_char((unsigned char)*c)) c++;
    return *c == '(';
}

static bool scan_results(reel__parser *p, reel__line *l)
{
    if (begins_with_operator(p)) return true;
    do {
        int k = l->n_result++;
        if (k == REEL_OP_MAX_OUT)
            return reel__scan_fail(&p->s, "more than %d results", REEL_OP_MAX_OUT);
        if (!reel__parse_ref(p, &l->result[k])) return false;
        if (!l->result[k].absent && !(reel__scan_need(&p->s, " ") &&
                                      reel__parse_shape(p, &l->meta[k], l->grow[k])))
            return false;
    } while (reel__scan_is(&p->s, ", "));
    return reel__scan_need(&p->s, " = ");
}

static bool scan_operator(reel__parser *p, reel__line *l)
{
    char name[64];
    l->op_place = p->s;
    if (!reel__scan_word(&p->s, name, sizeof name)) return false;
    l->op = reel__op_take(name);
    if (!l->op)
        return reel__scan_fail(&l->op_place,
                               "no operator is called %s; one of your own must be made "
                               "before, by reel_custom_op_new()",
                               name);
    if (l->op->n_out != l->n_result)
        return reel__scan_fail(&l->op_place, "%s has %d results, not %d", name,
                               l->op->n_out, l->n_result);
    return reel__scan_need(&p->s, "(");
}

static bool scan_operands(reel__parser *p, reel__line *l)
{
    while (!reel__scan_is(&p->s, ")")) {
        if (l->n_in == REEL_OP_MAX_IN)
            return reel__scan_fail(&p->s, "more than %d operands", REEL_OP_MAX_IN);
        if (l->n_in && !reel__scan_need(&p->s, ", ")) return false;
        const reel__scan begin = p->s;
        int k = l->n_in;
        if (!reel__parse_value(p, &l->in[k])) return false;
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
static bool check_slopes(const reel__line *l)
{
    const reel__attr_schema *s = l->op->attrs;
    for (int i = 0; i < s->n_fields; i++)
        for (int k = 0; k < s->field[i].count; k++) {
            const reel__number v = reel__attr_get(&s->field[i], k, l->attrs),
                               slope = reel__attr_get(&s->field[i], k, l->slopes);
            const reel__attr_type type = s->field[i].type;
            if (reel__number_equal(slope, reel__whole(0)) || type == REEL_ATTR_REAL ||
                type == REEL_ATTR_NUMBER)
                continue;
            if (type == REEL_ATTR_ROW || v.is_real || slope.is_real ||
                slope.whole > REEL__MOST_BATCH || slope.whole < -REEL__MOST_BATCH ||
                v.whole > INT64_MAX / 4 || v.whole < -INT64_MAX / 4)
                return reel__scan_fail(&l->op_place, "%s cannot grow so",
                                       s->field[i].name);
        }
    return true;
}

static bool scan_attributes(reel__parser *p, reel__line *l)
{
    const reel__attr_schema *s = l->op->attrs;
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

static bool scan_where(reel__parser *p, reel__line *l)
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
static bool is_again(const reel__parser *p, const reel__line *l, int k, int v,
                     const reel__meta *m)
{
    const reel__meta *have = &p->g->value[v].meta;
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
static bool add_result(reel__parser *p, reel__line *l, int k, const reel__meta *m)
{
    const reel__text_ref *r = &l->result[k];
    l->out[k] = REEL_NO_VALUE;
    if (r->absent != (m->rank < 0))
        return reel__scan_fail(&r->place, "%s %s result %d here", l->op->name,
                               r->absent ? "gives" : "leaves out", k);
    if (r->absent) return true;
    if (!reel__same_shape(m, &l->meta[k]) || m->dtype != l->meta[k].dtype)
        return reel__scan_fail(&r->place, "%s gives %s, the text says %s", l->op->name,
                               SHOW(m), SHOW(&l->meta[k]));
    int v = reel__parse_lookup(p, r);
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
    l->out[k] = reel__parse_define(p, r, REEL_VALUE_NODE, m, l->grow[k], NULL);
    if (l->out[k] >= 0 && k == 0 && (l->op->traits & REEL_OP_VIEW))
        p->value[l->out[k]].root = p->value[l->in[0]].root;
    return l->out[k] >= 0;
}

static bool add_node(reel__parser *p, reel__line *l)
{
    const reel__meta *in[REEL_OP_MAX_IN];
    reel__meta out[REEL_OP_MAX_OUT];
    for (int k = 0; k < l->n_in; k++)
        in[k] = l->in[k] < 0 ? NULL : &p->g->value[l->in[k]].meta;
    if (reel__infer(l->op, l->attrs, in, l->n_in, out))
        return reel__scan_fail(&l->op_place, "this cannot be");
    for (int k = 0; k < l->n_result; k++)
        if (!add_result(p, l, k, &out[k])) return false;
    const reel__call c = {l->op, l->n_in, l->n_result, NULL, NULL, l->attrs, 0, false};
    int n = reel__graph_add_node(p->g, &c, l->in, l->out, l->where);
    if (n < 0 || !l->has_slopes) return n >= 0;
    size_t size = l->op->attrs->size;
    void *slopes = reel__malloc(size);
    p->g->node[n].per_batch = slopes;
    return slopes && memcpy(slopes, l->slopes, size);
}

bool reel__parse_node(reel__parser *p, reel__line *l)
{
    memset(l, 0, sizeof *l);
    if (p->g->n_node == REEL__TEXT_NODES)
        return reel__scan_fail(&p->s, "more than %d nodes", REEL__TEXT_NODES);
    bool good = scan_results(p, l) && scan_operator(p, l) && scan_operands(p, l) &&
                scan_attributes(p, l) && scan_where(p, l) && add_node(p, l);
    reel__op_release(l->op); /* the node has it */
    return good;
}
