/* pattern.c: reads the texts of match.h, by recursive descent. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/error.h"
#include "trace/passes/match.h"

typedef struct reader {
    reel__pattern *p;
    const char *text, *at;
} reader;

static bool malformed(const reader *r, const char *what)
{
    reel_fail(REEL_ERR_INTERNAL, "pattern \"%s\": %s at \"%s\"", r->text, what, r->at);
    return false;
}

static bool take(reader *r, const char *token)
{
    size_t n = strlen(token);
    r->at += strspn(r->at, " ");
    if (strncmp(r->at, token, n) != 0) return false;
    r->at += n;
    return true;
}

static size_t word(reader *r)
{
    r->at += strspn(r->at, " ");
    size_t n = 0;
    while (isalnum((unsigned char)r->at[n]) || r->at[n] == '_') n++;
    return n;
}

int reel__pattern_name(const reel__pattern *p, const char *name, size_t n)
{
    for (int i = 0; i < p->n_name; i++)
        if (strlen(p->name[i]) == n && memcmp(p->name[i], name, n) == 0) return i;
    return -1;
}

/* The number of the name that stands here, perhaps a new one; -1 with an error. */
static int name_here(reader *r)
{
    reel__pattern *p = r->p;
    size_t n = word(r);
    int i = reel__pattern_name(p, r->at, n);
    if (i < 0 && (n == 0 || n >= REEL__NAME_SIZE || p->n_name == REEL__NAMES)) {
        (void)malformed(r, "a name of 1 to 7 letters is expected, of at most 24");
        return -1;
    }
    if (i < 0) {
        i = p->n_name++;
        memcpy(p->name[i], r->at, n);
    }
    r->at += n;
    return i;
}

/* ---- numbers ------------------------------------------------------------------------------ */

/* 0.5, -1e-3 or $a */
static bool read_number(reader *r, reel__expr *e, int k)
{
    e->name[k] = -1;
    if (take(r, "$")) return (e->name[k] = name_here(r)) >= 0;
    char *end;
    e->number[k] = reel__real(reel__strtod(r->at, &end));
    if (end == r->at) return malformed(r, "a number is expected");
    r->at = end;
    return true;
}

static bool read_expr(reader *r, reel__expr *e)
{
    static const char *const op[] = {"*", "/", "+", "- "};
    *e = (reel__expr){.name = {-1, -1}};
    if (!read_number(r, e, 0)) return false;
    for (int i = 0; i < 4; i++)
        if (take(r, op[i])) {
            e->op = op[i][0];
            return read_number(r, e, 1);
        }
    return true;
}

/* ---- attributes ---------------------------------------------------------------------------- */

/* The field of that name; or, without one, the place-th number of the struct. */
static bool find_field(reader *r, const reel__attr_schema *s, const char *name, size_t n,
                       int place, reel__condition *c)
{
    for (int i = 0; s && i < s->n_fields; i++) {
        const reel__attr_field *f = &s->field[i];
        if (n ? strlen(f->name) == n && memcmp(f->name, name, n) == 0
              : place < f->count) {
            c->field = f;
            c->place = n ? 0 : place;
            return true;
        }
        place -= f->count;
    }
    return malformed(r, "the record has no such attribute");
}

static bool read_condition(reader *r, reel__term *t, int place)
{
    reel__pattern *p = r->p;
    if (take(r, "@")) return (t->like = name_here(r)) >= 0;
    if (p->n_condition == REEL__CONDITIONS) return malformed(r, "too many attributes");
    reel__condition *c = &p->condition[p->n_condition++];
    const char *name = r->at;
    size_t n = isalpha((unsigned char)*(name += strspn(name, " "))) ? word(r) : 0;
    if (!find_field(r, t->op ? t->op->attrs : NULL, name, n, place, c)) return false;
    r->at += n;
    if (n && !take(r, "=")) return malformed(r, "= is expected");
    t->n_condition++;
    return read_expr(r, &c->expr);
}

/* ---- terms ---------------------------------------------------------------------------------- */

static int read_term(reader *r);

static bool read_operands(reader *r, int self)
{
    while (!take(r, ")")) {
        reel__term *t = &r->p->term[self];
        if (t->n_arg && *r->at != '|' && !take(r, ","))
            return malformed(r, "a comma is expected");
        if (take(r, "|")) {
            t->condition = r->p->n_condition;
            int place = 0;
            do
                if (!read_condition(r, t, place++)) return false;
            while (take(r, ","));
            continue;
        }
        if (t->n_arg == (int)(sizeof t->arg / sizeof *t->arg))
            return malformed(r, "too many operands");
        int arg = read_term(r);
        if (arg < 0) return false;
        r->p->term[self].arg[r->p->term[self].n_arg++] = arg;
    }
    return true;
}

/* record(...) or record!(...), of whose name n letters stand here */
static bool read_node(reader *r, int self, size_t n)
{
    char name[64] = {0};
    reel__term *t = &r->p->term[self];
    memcpy(name, r->at, n < sizeof name ? n : sizeof name - 1);
    t->kind = REEL__NODE;
    t->op = reel__op_by_name(name);
    int any = strcmp(name, "any_unary") == 0    ? 1
              : strcmp(name, "any_binary") == 0 ? 2
                                                : 0;
    if (!t->op && !any) return malformed(r, "there is no such record");
    r->at += n;
    t->shared = take(r, "!");
    if (!take(r, "(") || !read_operands(r, self)) return false;
    t = &r->p->term[self];
    if (t->n_arg != (t->op ? t->op->n_in : any))
        return malformed(r, "all operands must be listed");
    return !take(r, "as ") || (t->name = name_here(r)) >= 0;
}

static bool read_leaf(reader *r, reel__term *t)
{
    r->at += strspn(r->at, " ");
    bool minus = r->at[0] == '-' && !isdigit((unsigned char)r->at[1]);
    if (minus || *r->at == '_') {
        t->kind = *r->at++ == '-' ? REEL__ABSENT : REEL__ANY;
        return true;
    }
    if (*r->at == '$' || *r->at == '-' || isdigit((unsigned char)*r->at)) {
        t->kind = REEL__NUMBER;
        return read_expr(r, &t->expr);
    }
    t->kind = REEL__VALUE;
    t->name = name_here(r);
    t->optional = t->name >= 0 && take(r, "?");
    return t->name >= 0;
}

/* The number of the term, or -1 with an error. */
static int read_term(reader *r)
{
    if (r->p->n_term == REEL__TERMS) {
        (void)malformed(r, "too many terms");
        return -1;
    }
    int self = r->p->n_term++;
    r->p->term[self] = (reel__term){.name = -1, .like = -1};
    size_t n = word(r);
    bool node = n && (r->at[n] == '(' || r->at[n] == '!');
    bool good = node ? read_node(r, self, n) : read_leaf(r, &r->p->term[self]);
    return good ? self : -1;
}

bool reel__pattern_parse(reel__pattern *p, const char *text, const reel__pattern *names)
{
    reader r = {p, text, text};
    *p = (reel__pattern){0};
    if (names) {
        memcpy(p->name, names->name, sizeof p->name);
        p->n_name = names->n_name;
    }
    if (read_term(&r) < 0) return false;
    r.at += strspn(r.at, " ");
    if (*r.at) return malformed(&r, "the end is expected");
    if (names && p->n_name != names->n_name)
        return malformed(&r, "the replacement has names that the pattern has not");
    return true;
}
