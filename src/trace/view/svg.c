/* svg.c: the picture as SVG. Colours are classes, so that a page or the system's dark mode can
 * choose others. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "trace/text/text.h"
#include "trace/view/picture.h"

/* ---- escaping ---------------------------------------------------------------------------------- */

/* Bytes of the UTF-8 character at c that XML may hold; 0: there is none. */
static int char_length(const unsigned char *c)
{
    if (*c < 0x80) return *c >= 0x20 || *c == '\n' || *c == '\t';
    int n = *c >= 0xf0 ? 4 : *c >= 0xe0 ? 3 : 2;
    if (*c < 0xc2 || *c > 0xf4) return 0;
    for (int i = 1; i < n; i++)
        if ((c[i] & 0xc0) != 0x80) return 0;
    bool too_long = (n == 3 && c[0] == 0xe0 && c[1] < 0xa0) ||
                    (n == 4 && c[0] == 0xf0 && c[1] < 0x90);
    bool surrogate = c[0] == 0xed && c[1] >= 0xa0;
    bool beyond =
        (c[0] == 0xf4 && c[1] >= 0x90) || (c[0] == 0xef && c[1] == 0xbf && c[2] >= 0xbe);
    return too_long || surrogate || beyond ? 0 : n;
}

void reel__put_escaped(FILE *to, const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c;) {
        int n = char_length(c);
        switch (*c) {
        case '&': fputs("&amp;", to); break;
        case '<': fputs("&lt;", to); break;
        case '>': fputs("&gt;", to); break;
        case '"': fputs("&quot;", to); break;
        default:
            if (n)
                fwrite(c, 1, (size_t)n, to);
            else
                fputs("\xef\xbf\xbd", to);
        }
        c += n ? n : 1;
    }
}

/* ---- style ---------------------------------------------------------------------------------------- */

/* White to orange, and slate to rust: text keeps a contrast of 4.5 on each. */
static const char *const light[REEL__COST_STEPS] = {"#ffffff", "#fff6e6", "#ffeed0",
                                                    "#ffe4b5", "#ffd898", "#ffca7a",
                                                    "#ffbb5e", "#fbaa43", "#f5962c"};
static const char *const dark[REEL__COST_STEPS] = {"#262a31", "#332e2b", "#403329",
                                                   "#4f3a26", "#604223", "#724a1f",
                                                   "#84521c", "#955917", "#a35f13"};

static void put_style(FILE *to)
{
    fputs("<style>\n"
          ".reel{font-family:ui-monospace,Menlo,'DejaVu Sans Mono',Consolas,monospace}\n"
          ".reel .bg{fill:#fbfbfc}.reel rect.b{stroke:#b9bec6}.reel text{fill:#1d2127}\n"
          ".reel .io{fill:#dfeafe;stroke:#8aabea}.reel .view{stroke-dasharray:4 3}\n"
          ".reel .m{fill:#363b45}.reel .e{fill:none;stroke:#7d8694;stroke-width:1.3}\n"
          ".reel .a{fill:#7d8694}.reel .l{fill:#fbfbfc}\n"
          ".reel .n:hover rect.b,.reel .n.on rect.b{stroke:#2166d8;stroke-width:2.5}\n",
          to);
    for (int i = 0; i < REEL__COST_STEPS; i++)
        fprintf(to, ".reel .c%d{fill:%s}", i, light[i]);
    fputs("\n@media (prefers-color-scheme:dark){"
          ".reel .bg,.reel .l{fill:#16181c}.reel rect.b{stroke:#4a505b}\n"
          ".reel text{fill:#f1f2f4}.reel .io{fill:#1c2d4d;stroke:#4b71b5}"
          ".reel .m{fill:#ccd1d9}\n"
          ".reel .e{stroke:#7f8896}.reel .a{fill:#7f8896}\n",
          to);
    for (int i = 0; i < REEL__COST_STEPS; i++)
        fprintf(to, ".reel .c%d{fill:%s}", i, dark[i]);
    fputs("}\n</style>\n", to);
}

/* ---- boxes ----------------------------------------------------------------------------------------- */

static void put_operands(FILE *to, const reel_graph *g, const char *head, const int *v,
                         int n)
{
    char name[128], shape[REEL__SHAPE_TEXT];
    for (int k = 0; k < n; k++) {
        if (v[k] < 0) continue;
        fprintf(to, "\n%s ", head);
        reel__put_escaped(to, reel__value_text(g, v[k], name, sizeof name));
        fprintf(to, " %s", reel__value_shape_text(g, v[k], shape));
    }
}

/* What a pointer shows that rests on a node: everything. */
static void put_tip(FILE *to, const reel__picture *p, int i)
{
    char attrs[REEL__ATTRS_TEXT];
    const reel__gnode *n = &p->g->node[i];
    const reel_node_cost *c = &p->totals->node[i];
    fprintf(to, "<title>%d %s", i, n->op->name);
    if (n->where) {
        fputs("\nin ", to);
        reel__put_escaped(to, n->where);
    }
    if (n->attrs) {
        fputc('\n', to);
        reel__put_escaped(to,
                          reel__attr_text(n->op->attrs, n->attrs, attrs, sizeof attrs));
    }
    put_operands(to, p->g, "reads", n->in, n->n_in);
    put_operands(to, p->g, "makes", n->out, n->n_out);
    reel__fprint(to, "\n%sFLOP, %sB read, %sB written, %.2f FLOP/B", SI(c->cost.flops),
                 SI(c->cost.bytes_read), SI(c->cost.bytes_written), c->intensity);
    if (p->totals->timed) fprintf(to, ", bound %ss", SI(c->seconds_bound));
    if (p->totals->weight > 0)
        reel__fprint(to, "\n%.1f%% of the graph",
                     100 * reel__weight(p->totals, i) / p->totals->weight);
    fputs("</title>", to);
}

static void put_lines(FILE *to, const reel__panel *panel, const reel__box *box)
{
    bool node = panel->kind == REEL__BOX_NODE;
    double y = box->y + 6;
    for (int k = 0; k < panel->n_line; k++) {
        const reel__label *l = &panel->line[k];
        double size = reel__line_size(l->kind);
        y += size + (k ? 4 : 1);
        reel__fprint(to, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%g\"%s%s>",
                     node ? box->x + 10 : box->x + box->w / 2, y, size,
                     l->kind == REEL__LINE_NAME ? " font-weight=\"600\"" : " class=\"m\"",
                     node ? "" : " text-anchor=\"middle\"");
        reel__put_escaped(to, l->text);
        fputs("</text>", to);
    }
}

static void put_box(FILE *to, const reel__picture *p, int i)
{
    const reel__panel *panel = &p->panel[i];
    const reel__box *b = &p->layout.box[i];
    bool node = panel->kind == REEL__BOX_NODE;
    const reel__op *op = node ? p->g->node[panel->index].op : NULL;
    fputs("<g class=\"n\"", to);
    if (node) fprintf(to, " id=\"n%d\"", panel->index);
    fputs(">", to);
    if (node) put_tip(to, p, panel->index);
    reel__fprint(to,
                 "<rect class=\"b %s%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                 "height=\"%.1f\" rx=\"%.1f\"/>",
                 node ? (char[]){'c', (char)('0' + panel->step), '\0'} : "io",
                 op && (op->traits & REEL_OP_VIEW) ? " view" : "", b->x, b->y, b->w, b->h,
                 node ? 5 : b->h / 2);
    if (node)
        reel__fprint(to,
                     "<text class=\"m\" x=\"%.1f\" y=\"%.1f\" font-size=\"9\" "
                     "text-anchor=\"end\">%d</text>",
                     b->x + b->w - 8, b->y + 16, panel->index);
    put_lines(to, panel, b);
    fputs("</g>\n", to);
}

/* ---- links ---------------------------------------------------------------------------------------------- */

/* From (x0, y0) on to (x1, y1), leaving and arriving straight down. */
static void put_curve(FILE *to, double x0, double y0, double x1, double y1)
{
    if (x0 - x1 < 0.5 && x1 - x0 < 0.5)
        reel__fprint(to, "L%.1f %.1f", x1, y1);
    else
        reel__fprint(to, "C%.1f %.1f %.1f %.1f %.1f %.1f", x0, (y0 + y1) / 2, x1,
                     (y0 + y1) / 2, x1, y1);
}

/* Room of a label below a box. */
static const double label_height = 21;

static void put_link(FILE *to, const reel__picture *p, const reel__link *l)
{
    const reel__box *from = &p->layout.box[l->from], *target = &p->layout.box[l->to];
    double x = l->x0, y = from->y + from->h, tip = target->y;
    if (l->is_long) return;
    reel__fprint(to, "<path class=\"e\" d=\"M%.1f %.1f", x, y);
    y += label_height; /* straight past the label */
    reel__fprint(to, "V%.1f", y);
    for (int i = 0; i < l->n_bend; i++) {
        const reel__bend *b = &p->layout.bend[l->bend + i];
        put_curve(to, x, y, b->x, b->y);
        if (b->h > 0) reel__fprint(to, "V%.1f", b->y + b->h);
        x = b->x;
        y = b->y + b->h;
    }
    put_curve(to, x, y, l->x1, tip - 6);
    reel__fprint(to, "V%.1f\"/><path class=\"a\" d=\"M%.1f %.1fl-3.5 -7h7z\"/>\n", tip,
                 l->x1, tip);
}

/* The shape of each result, on the first piece of its links. */
static void put_labels(FILE *to, const reel__picture *p, int i)
{
    const reel__panel *panel = &p->panel[i];
    const reel__box *b = &p->layout.box[i];
    char shape[REEL__SHAPE_TEXT];
    for (int k = 0; k < panel->n_port; k++) {
        (void)reel__value_shape_text(p->g, panel->port_value[k], shape);
        double w = reel__text_width(shape, REEL__LABEL_SIZE) + 6;
        double x = b->x + b->w / 2 + reel__port(p, i, k), y = b->y + b->h + 5;
        reel__fprint(
            to,
            "<rect class=\"l\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"14\"/>"
            "<text class=\"m\" x=\"%.1f\" y=\"%.1f\" font-size=\"%g\" "
            "text-anchor=\"middle\">%s</text>\n",
            x - w / 2, y, w, x, y + 10.5, REEL__LABEL_SIZE, shape);
    }
}

reel_status reel__put_svg(FILE *to, const reel__picture *p, const char *title)
{
    const double margin = 20;
    double w = p->layout.width + 2 * margin, h = p->layout.height + 2 * margin;
    reel__fprint(
        to,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"reel\" role=\"img\" "
        "width=\"%.0f\" height=\"%.0f\" viewBox=\"%.0f %.0f %.0f %.0f\">\n<title>",
        w, h, -margin, -margin, w, h);
    reel__put_escaped(to, title);
    fputs("</title>\n", to);
    put_style(to);
    reel__fprint(
        to, "<rect class=\"bg\" x=\"%.0f\" y=\"%.0f\" width=\"%.0f\" height=\"%.0f\"/>\n",
        -margin, -margin, w, h);
    for (int i = 0; i < p->layout.n_link; i++) put_link(to, p, &p->layout.link[i]);
    for (int i = 0; i < p->layout.n_box; i++) put_labels(to, p, i);
    for (int i = 0; i < p->layout.n_box; i++) put_box(to, p, i);
    fputs("</svg>\n", to);
    return REEL_OK;
}
