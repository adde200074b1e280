/* picture.c: what a graph looks like: boxes, their text, links. */
#include "trace/view/picture.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/decimal.h"

/* ---- text in boxes --------------------------------------------------------------------------- */

static const double size_of[] = {[REEL__LINE_NAME] = 13,
                                 [REEL__LINE_WHERE] = 10.5,
                                 [REEL__LINE_ATTRS] = 10.5,
                                 [REEL__LINE_STATE] = 10.5,
                                 [REEL__LINE_FAR] = 10};

double reel__line_size(reel__line_kind kind)
{
    return size_of[kind];
}

/* Characters of UTF-8; the widest of the fonts that are asked for has 0.605 of its size. */
double reel__text_width(const char *text, double size)
{
    int n = 0;
    for (; *text; text++) n += ((unsigned char)*text & 0xc0) != 0x80;
    return 0.605 * size * n;
}

static void add_line(reel__panel *p, reel__line_kind kind, const char *fmt, ...)
    REEL_PRINTF(3, 4);

/* Cut to the room of a line, not within a character. */
static void add_line(reel__panel *p, reel__line_kind kind, const char *fmt, ...)
{
    if (p->n_line == REEL__LINES) return;
    reel__label *l = &p->line[p->n_line++];
    va_list ap;
    va_start(ap, fmt);
    int n = reel__vsnprint(l->text, sizeof l->text, fmt, ap);
    va_end(ap);
    l->kind = kind;
    if (n < REEL__LINE_TEXT) return;
    int end = REEL__LINE_TEXT - 4;
    while (end > 0 && ((unsigned char)l->text[end] & 0xc0) == 0x80) end--;
    memcpy(l->text + end, "...", 4);
}

/* One number of an attribute: a slope of the batch shows as "batch". */
static int put_number(const reel_graph *g, const reel__gnode *n,
                      const reel__attr_field *f, int k, char *buf, size_t size)
{
    const reel__number v = reel__attr_get(f, k, n->attrs);
    const reel__number by =
        n->per_batch ? reel__attr_get(f, k, n->per_batch) : reel__whole(0);
    if (v.is_real || f->type == REEL_ATTR_REAL || f->type == REEL_ATTR_NUMBER)
        return reel__snprint(buf, size, "%g", reel__number_f64(v));
    const int64_t whole = v.whole, slope = by.whole;
    if (slope == 1 && whole == g->batch) return snprintf(buf, size, "batch");
    if (slope && whole == slope * g->batch)
        return snprintf(buf, size, "%" PRId64 "*batch", slope);
    return snprintf(buf, size, "%" PRId64, whole);
}

/* What goes without saying: these attributes while they are 1. */
static const char *const quiet[] = {"stride", "dilation", "groups"};

static bool is_quiet(const reel__gnode *n, const reel__attr_field *f)
{
    bool named = false, ones = true;
    for (size_t i = 0; i < sizeof quiet / sizeof *quiet; i++)
        named = named || strcmp(f->name, quiet[i]) == 0;
    for (int k = 0; k < f->count && named; k++)
        ones = ones && reel__number_equal(reel__attr_get(f, k, n->attrs), reel__whole(1));
    return named && ones;
}

/* Values of a field that are shown: all but zeros at the end. */
static int shown(const reel__gnode *n, const reel__attr_field *f)
{
    int last = 0;
    if (is_quiet(n, f)) return 0;
    for (int k = 0; k < f->count; k++)
        if (!reel__number_equal(reel__attr_get(f, k, n->attrs), reel__whole(0)))
            last = k + 1;
    return last;
}

const char *reel__attrs_short(const reel_graph *g, const reel__gnode *n, char *buf,
                              size_t size)
{
    const reel__attr_schema *s = n->attrs ? n->op->attrs : NULL;
    size_t at = 0;
    buf[0] = '\0';
    for (int i = 0; s && i < s->n_fields; i++) {
        const reel__attr_field *f = &s->field[i];
        int count = shown(n, f);
        if (f->type == REEL_ATTR_ROW || f->each) {
            /* names and lists as the exact text has them */
            const reel__attr_schema one = {s->size, 1, f};
            if (!count || at + 2 >= size) continue;
            if (at) buf[at++] = ' ';
            at += strlen(reel__attr_text(&one, n->attrs, buf + at, size - at));
            continue;
        }
        for (int k = 0; k < count && at + 32 < size; k++) {
            int lead = k ? snprintf(buf + at, size - at, ",")
                         : snprintf(buf + at, size - at, "%s%s=", at ? " " : "", f->name);
            at += (size_t)lead;
            at += (size_t)put_number(g, n, f, k, buf + at, size - at);
        }
    }
    return buf;
}

/* "weight" of "layer1.conv.weight" in layer1.conv, or in net.layer1.conv; else the whole. */
static const char *short_name(const char *name, const char *where)
{
    const char *last = strrchr(name, '.');
    size_t n = where ? strlen(where) : 0, lead = last ? (size_t)(last - name) : 0;
    bool inside = last && lead <= n && memcmp(where + n - lead, name, lead) == 0 &&
                  (lead == n || where[n - lead - 1] == '.');
    return inside ? last + 1 : name;
}

/* States that a node reads; those of one shape after one another share a line. */
static void add_states(reel__panel *p, const reel_graph *g, const reel__gnode *n)
{
    char names[256] = "", shape[REEL__SHAPE_TEXT], last[REEL__SHAPE_TEXT] = "";
    for (int k = 0; k <= n->n_in; k++) {
        int v = k < n->n_in ? n->in[k] : REEL_NO_VALUE;
        bool state = v >= 0 && reel__is_state(&g->value[v]);
        if (k < n->n_in && !state) continue;
        if (state) (void)reel__value_shape_text(g, v, shape);
        const char *dims = state ? strchr(shape, '[') : "";
        bool joins = state && *last && strcmp(dims, last) == 0 && strlen(names) < 24;
        if (!joins && *names) {
            add_line(p, REEL__LINE_STATE, "%s %s", names, last);
            names[0] = '\0';
        }
        if (!state) break;
        const char *name =
            g->value[v].name ? short_name(g->value[v].name, n->where) : "const";
        size_t at = strlen(names);
        (void)snprintf(names + at, sizeof names - at, "%s%.100s", at ? ", " : "", name);
        (void)snprintf(last, sizeof last, "%s", dims);
    }
}

static void add_texts(reel__panel *p, const reel_graph *g, int i)
{
    char attrs[512];
    const reel__gnode *n = &g->node[i];
    add_line(p, REEL__LINE_NAME, "%s", n->op->name);
    if (n->where) add_line(p, REEL__LINE_WHERE, "%s", n->where);
    if (*reel__attrs_short(g, n, attrs, sizeof attrs))
        add_line(p, REEL__LINE_ATTRS, "%s", attrs);
    add_states(p, g, n);
}

/* ---- links ------------------------------------------------------------------------------------- */

typedef struct builder {
    reel__picture *p;
    int *made_by; /* box that made each value last; -1 */
    int cap_link, cap_value;
} builder;

static int port_of(reel__panel *p, int v)
{
    for (int k = 0; k < p->n_port; k++)
        if (p->port_value[k] == v) return k;
    if (p->n_port == REEL_OP_MAX_OUT) return 0;
    p->port_value[p->n_port] = v;
    return p->n_port++;
}

/* A link for value v to box `to`, one for each value however often it is read. */
static bool add_link(builder *b, int v, int to)
{
    reel__layout *l = &b->p->layout;
    int from = v >= 0 ? b->made_by[v] : -1;
    if (from < 0) return true;
    for (int i = l->n_link - 1; i >= 0 && l->link[i].to == to; i--)
        if (b->p->link_value[i] == v) return true;
    void *links = l->link, *values = b->p->link_value;
    bool room = reel__grow(&links, l->n_link, &b->cap_link, sizeof *l->link);
    l->link = links;
    room = room && reel__grow(&values, l->n_link, &b->cap_value, sizeof(int));
    b->p->link_value = values;
    if (!room) return false;
    b->p->link_value[l->n_link] = v;
    l->link[l->n_link++] = (reel__link){.from = from, .to = to};
    (void)port_of(&b->p->panel[from], v);
    return true;
}

static bool add_boxes(builder *b)
{
    reel__picture *p = b->p;
    const reel_graph *g = p->g;
    int box = 0;
    for (int i = 0; i < g->n_input; i++, box++) {
        p->panel[box] = (reel__panel){.kind = REEL__BOX_INPUT, .index = i};
        add_line(&p->panel[box], REEL__LINE_NAME, "%s", g->value[g->input[i]].name);
        b->made_by[g->input[i]] = box;
    }
    for (int i = 0; i < g->n_node; i++, box++) {
        p->panel[box] = (reel__panel){.kind = REEL__BOX_NODE, .index = i};
        add_texts(&p->panel[box], g, i);
        for (int k = 0; k < g->node[i].n_in; k++)
            if (!add_link(b, g->node[i].in[k], box)) return false;
        for (int k = 0; k < g->node[i].n_out; k++)
            if (g->node[i].out[k] >= 0) b->made_by[g->node[i].out[k]] = box;
    }
    for (int i = 0; i < g->n_output; i++, box++) {
        p->panel[box] = (reel__panel){.kind = REEL__BOX_OUTPUT, .index = i};
        add_line(&p->panel[box], REEL__LINE_NAME, "%s", g->output_name[i]);
        if (!add_link(b, g->output[i], box)) return false;
    }
    return true;
}

/* Links that are not drawn are said: "reads 12 relu", "read by 40, 51". */
static void say_far(reel__picture *p)
{
    const reel__layout *l = &p->layout;
    for (int i = 0; i < l->n_link; i++) {
        if (!l->link[i].is_long) continue;
        reel__panel *from = &p->panel[l->link[i].from], *to = &p->panel[l->link[i].to];
        char name[80];
        if (from->kind == REEL__BOX_NODE)
            (void)snprintf(name, sizeof name, "%d %.60s", from->index,
                           from->line[0].text);
        else
            (void)snprintf(name, sizeof name, "%.70s", from->line[0].text);
        add_line(to, REEL__LINE_FAR, "reads %s", name);
        reel__label *last = &from->line[from->n_line - 1];
        size_t n = strlen(last->text);
        if (last->kind != REEL__LINE_FAR || strncmp(last->text, "read by ", 8) != 0)
            add_line(from, REEL__LINE_FAR, "read by %d", to->index);
        else if (n + 16 < sizeof last->text && n < 30)
            (void)snprintf(last->text + n, sizeof last->text - n, ", %d", to->index);
        else if (last->text[n - 1] != '.')
            (void)snprintf(last->text + n, sizeof last->text - n, " ...");
    }
}

/* ---- sizes and places ----------------------------------------------------------------------------- */

static double port_width(const reel__picture *p, int v)
{
    char shape[REEL__SHAPE_TEXT];
    return reel__text_width(reel__value_shape_text(p->g, v, shape), REEL__LABEL_SIZE) +
           14;
}

double reel__port(const reel__picture *p, int box, int k)
{
    const reel__panel *panel = &p->panel[box];
    double all = 0, before = 0;
    for (int i = 0; i < panel->n_port; i++) {
        double w = port_width(p, panel->port_value[i]);
        if (i < k) before += w;
        if (i == k) before += w / 2;
        all += w;
    }
    return before - all / 2;
}

static void set_sizes(reel__picture *p)
{
    for (int i = 0; i < p->layout.n_box; i++) {
        const reel__panel *panel = &p->panel[i];
        reel__box *box = &p->layout.box[i];
        double w = 56, h = 12, ports = 0;
        for (int k = 0; k < panel->n_line; k++) {
            double size = reel__line_size(panel->line[k].kind);
            double number = k == 0 && panel->kind == REEL__BOX_NODE ? 34 : 0;
            w = fmax(w, reel__text_width(panel->line[k].text, size) + number);
            h += size + 4;
        }
        for (int k = 0; k < panel->n_port; k++)
            ports += port_width(p, panel->port_value[k]);
        box->w = fmax(w + 20, ports);
        box->h = h;
    }
}

static void set_ports(reel__picture *p)
{
    for (int i = 0; i < p->layout.n_link; i++) {
        reel__link *l = &p->layout.link[i];
        l->port = reel__port(p, l->from, port_of(&p->panel[l->from], p->link_value[i]));
    }
}

/* Square root: what costs a hundredth of the most still has a tint. */
static void set_colours(reel__picture *p)
{
    for (int i = 0; i < p->layout.n_box; i++) {
        reel__panel *panel = &p->panel[i];
        if (panel->kind != REEL__BOX_NODE || p->totals->most <= 0) continue;
        double share = reel__weight(p->totals, panel->index) / p->totals->most;
        panel->step = (int)lround(sqrt(share) * (REEL__COST_STEPS - 1));
    }
}

reel_status reel__picture_make(const reel_graph *g, const reel__totals *t,
                               reel__picture *p)
{
    *p = (reel__picture){.g = g, .totals = t};
    int n = g->n_input + g->n_node + g->n_output;
    builder b = {.p = p, .made_by = reel__calloc((size_t)g->n_value + 1, sizeof(int))};
    p->layout.n_box = n;
    p->layout.box = reel__calloc((size_t)n + 1, sizeof *p->layout.box);
    p->panel = reel__calloc((size_t)n + 1, sizeof *p->panel);
    bool whole = b.made_by && p->layout.box && p->panel;
    for (int v = 0; v < g->n_value && whole; v++) b.made_by[v] = -1;
    whole = whole && add_boxes(&b);
    reel__free(b.made_by);
    if (!whole) return reel_error_status();
    reel__layout_rank(&p->layout);
    say_far(p);
    set_sizes(p);
    set_ports(p);
    set_colours(p);
    return reel__layout_place(&p->layout);
}

void reel__picture_free(reel__picture *p)
{
    reel__free(p->layout.box);
    reel__free(p->layout.link);
    reel__free(p->layout.bend);
    reel__free(p->panel);
    reel__free(p->link_value);
    *p = (reel__picture){0};
}
