/* places.c: which values are to be quantized, by the rules of the records and the profile of the
 * target. Nodes are looked at in program order; a value becomes a place when the first rule asks
 * for it. */
#include "quantize/quantize.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

typedef struct search {
    const reel_graph *g;
    const reel_quantize_opts *opts;
    const reel__profile *profile;
    reel__quantize_places *out;
    reel__effects e;
    int *uses;
    int *place_of; /* of each value that is an activation: its place, or -1 */
    bool *is_part; /* of each node: an activation that belongs to what is before it */
    bool *in_f32;  /* of each node: the options keep it so */
} search;

/* ---- places ------------------------------------------------------------------------------------ */

/* What changes under way, or is no f32, cannot be. */
static bool can_be(const search *s, int v)
{
    return v >= 0 && s->g->value[v].meta.dtype == REEL_F32 &&
           reel__never_changes(&s->e, v);
}

static int new_place(search *s, reel__quantize_place p)
{
    reel__quantize_places *out = s->out;
    void *list = out->place;
    if (!reel__grow(&list, out->n_place, &out->cap_place, sizeof p)) return -1;
    out->place = list;
    p.group = out->n_place; /* one of its own, until it joins another */
    out->place[out->n_place] = p;
    return out->n_place++;
}

/* The place of an activation, made if it is not there; -1 with an error. */
static int place(search *s, int v, bool all)
{
    if (s->place_of[v] < 0)
        s->place_of[v] = new_place(s, (reel__quantize_place){.value = v, .axis = -1});
    if (s->place_of[v] >= 0 && all) s->out->place[s->place_of[v]].all = true;
    return s->place_of[v];
}

static bool is_quantized(const search *s, int v)
{
    return v >= 0 && s->place_of[v] >= 0 && s->out->place[s->place_of[v]].all;
}

static reel_status read_by(search *s, int place, int node, int operand)
{
    reel__quantize_places *out = s->out;
    void *list = out->reader;
    if (place < 0 ||
        !reel__grow(&list, out->n_reader, &out->cap_reader, sizeof *out->reader))
        return reel_error_status();
    out->reader = list;
    out->reader[out->n_reader++] = (reel__quantize_reader){place, node, operand};
    return REEL_OK;
}

static void join(search *s, int a, int b)
{
    reel__quantize_place *p = s->out->place;
    int keep = p[a].group < p[b].group ? p[a].group : p[b].group;
    int drop = p[a].group < p[b].group ? p[b].group : p[a].group;
    for (int i = 0; i < s->out->n_place; i++)
        if (p[i].group == drop) p[i].group = keep;
}

/* ---- rules -------------------------------------------------------------------------------------- */

static const reel__quantize_rule *rule_of(const search *s, int node)
{
    return s->in_f32[node] ? NULL
                           : reel__quantize_rule_of(&s->g->node[node], s->opts->target);
}

/* The operand that is a weight: one that data do not reach. */
static int weight_of(const search *s, const reel__quantize_rule *r, const reel__gnode *n)
{
    return r->weight != REEL__NO_OPERAND && n->in[r->weight] >= 0 &&
                   s->e.fixed[n->in[r->weight]]
               ? r->weight
               : REEL__NO_OPERAND;
}

static bool reads(const reel__quantize_rule *r, int operand)
{
    return r->role == REEL__JOINS || r->reads >> operand & 1;
}

/* Whether all that the rule needs is there. */
static bool can_compute(const search *s, const reel__quantize_rule *r,
                        const reel__gnode *n)
{
    int weight = weight_of(s, r, n);
    bool can =
        can_be(s, n->out[0]) && (weight >= 0 || r->weight < 0 || reads(r, r->weight));
    for (int k = 0; k < n->n_in && can; k++)
        can = !(reads(r, k) || k == weight) || can_be(s, n->in[k]);
    return can;
}

static reel_status place_weight(search *s, const reel__quantize_rule *r, int node, int k)
{
    int v = s->g->node[node].in[k], rank = s->g->value[v].meta.rank, at = 0;
    int axis = !s->profile->per_channel ? -1 : r->axis < 0 ? rank + r->axis : r->axis;
    const reel__quantize_place *p = s->out->place;
    while (at < s->out->n_place &&
           !(p[at].weight && p[at].value == v && p[at].axis == axis))
        at++;
    if (at == s->out->n_place)
        at = new_place(s,
                       (reel__quantize_place){.value = v, .axis = axis, .weight = true});
    return read_by(s, at, node, k);
}

/* The result, of the activation behind it if there is one that nobody else gets in front of. */
static int result_of(search *s, int v)
{
    for (int i = 0; i < s->g->n_node && s->uses[v] == 1; i++) {
        const reel__quantize_rule *r = rule_of(s, i);
        if (!r || r->role != REEL__ACTIVATES || s->g->node[i].in[0] != v) continue;
        if (!can_be(s, s->g->node[i].out[0])) break;
        s->is_part[i] = true;
        v = s->g->node[i].out[0];
    }
    return v;
}

static reel_status compute(search *s, const reel__quantize_rule *r, int node)
{
    const reel__gnode *n = &s->g->node[node];
    if (!can_compute(s, r, n)) return REEL_OK;
    int weight = weight_of(s, r, n);
    reel_status st = REEL_OK;
    for (int k = 0; k < n->n_in && !st; k++) {
        if (k == weight)
            st = place_weight(s, r, node, k);
        else if (reads(r, k))
            st = read_by(s, place(s, n->in[k], false), node, k);
    }
    int y = result_of(s, n->out[0]);
    if (!st && s->profile->results && place(s, y, true) < 0) st = reel_error_status();
    return st;
}

/* What is made of quantized values alone has their scale. */
static reel_status pass(search *s, int node)
{
    const reel__gnode *n = &s->g->node[node];
    if (!is_quantized(s, n->in[0]) || !can_be(s, n->out[0])) return REEL_OK;
    int y = place(s, n->out[0], true);
    if (y < 0) return reel_error_status();
    join(s, s->place_of[n->in[0]], y);
    return REEL_OK;
}

/* A copy of quantized values is quantized without a node of its own. */
static void look(search *s, int node)
{
    const reel__gnode *n = &s->g->node[node];
    if (is_quantized(s, n->in[0]) && can_be(s, n->out[0]))
        s->place_of[n->out[0]] = s->place_of[n->in[0]];
}

/* One quantized input is reason enough to quantize the others. */
static reel_status join_all(search *s, const reel__quantize_rule *r, int node)
{
    const reel__gnode *n = &s->g->node[node];
    bool any = false;
    for (int k = 0; k < n->n_in; k++) any = any || is_quantized(s, n->in[k]);
    if (!any || !can_compute(s, r, n)) return REEL_OK;
    int y = place(s, n->out[0], true);
    if (y < 0) return reel_error_status();
    for (int k = 0; k < n->n_in; k++) {
        int x = place(s, n->in[k], false);
        if (read_by(s, x, node, k)) return reel_error_status();
        join(s, x, y);
    }
    return REEL_OK;
}

static reel_status look_at(search *s, int node)
{
    const reel__quantize_rule *r = rule_of(s, node);
    if (!r || s->is_part[node]) return REEL_OK;
    switch (r->role) {
    case REEL__COMPUTES: return compute(s, r, node);
    case REEL__JOINS: return join_all(s, r, node);
    case REEL__LOOKS: look(s, node); return REEL_OK;
    default: return pass(s, node);
    }
}

/* ---- what stays in f32 ---------------------------------------------------------------------------- */

static bool has_weight(const search *s, int node)
{
    const reel__quantize_rule *r = rule_of(s, node);
    return r && weight_of(s, r, &s->g->node[node]) >= 0;
}

static void exclude_by_name(search *s)
{
    char name[REEL__QUANTIZE_NAME];
    for (int i = 0; i < s->g->n_node; i++) {
        reel__node_name(&s->g->node[i], name);
        s->in_f32[i] = reel__pattern_fits(s->opts->exclude, name);
    }
}

/* A pattern that names nothing is a name written wrong. */
static reel_status check_patterns(const search *s)
{
    char text[REEL__QUANTIZE_NAME], name[REEL__QUANTIZE_NAME];
    for (int p = 0; reel__pattern_at(s->opts->exclude, p, text); p++) {
        bool any = false;
        for (int i = 0; i < s->g->n_node && !any; i++) {
            reel__node_name(&s->g->node[i], name);
            any = reel__pattern_fits(text, name);
        }
        if (!any)
            return reel_fail(REEL_ERR_ARG,
                             "quantize_prepare: exclude has \"%s\", which names no "
                             "operator of the graph",
                             text);
    }
    return REEL_OK;
}

static void exclude_ends(search *s)
{
    int n = s->g->n_node, first = 0, last = n - 1;
    while (first < n && !has_weight(s, first)) first++;
    while (last >= 0 && !has_weight(s, last)) last--;
    if (s->opts->keep_first && first < n) s->in_f32[first] = true;
    if (s->opts->keep_last && last >= 0) s->in_f32[last] = true;
}

/* ---- names and numbers of groups -------------------------------------------------------------------- */

/* What v is a copy of. */
static const reel__value *looked_at(const search *s, int v)
{
    for (int maker; (maker = s->g->value[v].maker) >= 0; v = s->g->node[maker].in[0]) {
        const reel__quantize_rule *r = rule_of(s, maker);
        if (!r || r->role != REEL__LOOKS) break;
    }
    return &s->g->value[v];
}

static void name_place(const search *s, int at)
{
    reel__quantize_place *p = &s->out->place[at];
    const reel__value *v = looked_at(s, p->value);
    const reel__quantize_reader *r = s->out->reader;
    if (p->weight) {
        while (r->place != at) r++;
        const char *where = s->g->node[r->node].where;
        (void)snprintf(p->name, sizeof p->name, "%s%sweight", where ? where : "",
                       where ? "." : "");
    } else if (v->maker >= 0)
        reel__node_name(&s->g->node[v->maker], p->name);
    else
        (void)snprintf(p->name, sizeof p->name, "%s", v->name ? v->name : "constant");
}

static bool is_taken(const search *s, int before, const char *name)
{
    static const char *const ends[] = {"_scale", "_zero_point"};
    char full[REEL__QUANTIZE_NAME + 16];
    for (int i = 0; i < before; i++)
        if (strcmp(s->out->place[i].name, name) == 0) return true;
    for (int v = 0; v < s->g->n_value; v++)
        for (int k = 0; k < 2 && s->g->value[v].name; k++) {
            (void)snprintf(full, sizeof full, "%s%s", name, ends[k]);
            if (strcmp(full, s->g->value[v].name) == 0) return true;
        }
    return false;
}

/* The second of a name is NAME_2. */
static void name_apart(const search *s, int at)
{
    char base[REEL__QUANTIZE_NAME - 16]; /* so that a number fits behind it */
    reel__quantize_place *p = &s->out->place[at];
    name_place(s, at);
    (void)snprintf(base, sizeof base, "%.*s", (int)sizeof base - 1, p->name);
    for (int n = 2; is_taken(s, at, p->name); n++)
        (void)snprintf(p->name, sizeof p->name, "%s_%d", base, n);
}

/* Groups are known by the first of their places; they get numbers from 0 on. */
static void number_groups(search *s)
{
    reel__quantize_place *p = s->out->place;
    for (int i = 0; i < s->out->n_place; i++) {
        bool first = p[i].group == i;
        if (first) name_apart(s, i);
        p[i].group = first ? s->out->n_group++ : p[p[i].group].group;
    }
}

/* ---- all together ------------------------------------------------------------------------------------ */

static bool make_room(search *s)
{
    size_t n_node = (size_t)s->g->n_node + 1, n_value = (size_t)s->g->n_value + 1;
    s->uses = reel__graph_uses(s->g);
    s->place_of = reel__calloc(n_value, sizeof *s->place_of);
    s->is_part = reel__calloc(2 * n_node, sizeof *s->is_part);
    if (!s->uses || !s->place_of || !s->is_part) return false;
    s->in_f32 = s->is_part + n_node;
    for (size_t v = 0; v < n_value; v++) s->place_of[v] = -1;
    return true;
}

reel_status reel__find_places(const reel_graph *g, const reel_quantize_opts *opts,
                              const reel__profile *profile, reel__quantize_places *out)
{
    search s = {.g = g, .opts = opts, .profile = profile, .out = out};
    if (!reel__find_effects(g, &s.e)) return reel_error_status();
    reel_status st = make_room(&s) ? check_patterns(&s) : reel_error_status();
    if (!st) {
        exclude_by_name(&s);
        exclude_ends(&s);
    }
    for (int i = 0; i < g->n_node && !st; i++) st = look_at(&s, i);
    if (!st) number_groups(&s);
    reel__free(s.uses);
    reel__free(s.place_of);
    reel__free(s.is_part);
    reel__effects_free(&s.e);
    return st;
}

void reel__places_free(reel__quantize_places *p)
{
    reel__free(p->place);
    reel__free(p->reader);
    *p = (reel__quantize_places){0};
}
