/* html.c: a page that stands alone: the picture with a few lines of script to move it, and the
 * table of costs. It is well-formed XML too, but for its first line. */
#include <inttypes.h>
#include <stdio.h>

#include "base/decimal.h"
#include "trace/view/picture.h"

static const char style[] =
    "<style>\n"
    ":root{color-scheme:light "
    "dark;--bg:#fff;--fg:#1d2127;--mute:#59616e;--line:#dcdfe4;\n"
    "--panel:#f6f7f9;--bar:#f5962c;--stage:#fbfbfc}\n"
    "@media (prefers-color-scheme:dark){:root{--bg:#101215;--fg:#f1f2f4;--mute:#a6adb8;\n"
    "--line:#33383f;--panel:#1b1e23;--bar:#a35f13;--stage:#16181c}}\n"
    "body{margin:0;background:var(--bg);color:var(--fg);\n"
    "font:14px/1.45 system-ui,'Segoe UI',Helvetica,Arial,sans-serif}\n"
    "header,main{padding:0 24px}h1{font-size:20px;margin:18px 0 4px}\n"
    "h2{font-size:15px;margin:22px 0 8px}\n"
    ".facts{display:flex;flex-wrap:wrap;gap:4px 26px;margin:8px 0 14px}\n"
    ".facts div{display:flex;flex-direction:column}.facts dt{color:var(--mute);"
    "font-size:12px}\n"
    ".facts dd{margin:0;font-weight:600;font-variant-numeric:tabular-nums}\n"
    ".stage{position:relative;background:var(--stage);border-block:1px solid "
    "var(--line);height:72vh;"
    "min-height:320px}\n"
    ".stage svg{width:100%;height:100%;display:block;cursor:grab;touch-action:none}\n"
    ".stage svg:active{cursor:grabbing}\n"
    ".keys{position:absolute;right:14px;top:12px;display:flex;gap:4px}\n"
    ".keys button{width:32px;height:32px;border:1px solid "
    "var(--line);border-radius:6px;\n"
    "background:var(--panel);color:var(--fg);font-size:15px;cursor:pointer}\n"
    ".legend{position:absolute;left:14px;bottom:12px;padding:6px 10px;font-size:12px;\n"
    "border:1px solid var(--line);border-radius:6px;background:var(--panel)}\n"
    ".legend svg{width:153px;height:12px;cursor:default;margin:4px 0}\n"
    ".wide{overflow-x:auto}table{border-collapse:collapse;font-size:13px;"
    "font-variant-numeric:tabular-nums}\n"
    "th,td{padding:3px 12px 3px 0;text-align:right;white-space:nowrap;"
    "border-bottom:1px solid var(--line)}\n"
    "th{color:var(--mute);font-weight:500;position:sticky;top:0;background:var(--bg)}\n"
    ".t{text-align:left}tbody tr{cursor:pointer}tbody tr:hover{background:var(--panel)}\n"
    "td i{display:inline-block;height:9px;background:var(--bar);margin-right:6px;"
    "border-radius:2px}\n"
    "footer{padding:18px 24px 30px;color:var(--mute)}\n"
    "</style>\n";

/* No "<" and no "&" in it, so that it needs no escapes. */
static const char script[] =
    "<script>\n"
    "(function () {\n"
    "  var svg = document.querySelector('.stage svg'), home = "
    "svg.getAttribute('viewBox');\n"
    "  var home_box = home.split(' ').map(Number), box = home_box.slice(), from = null;\n"
    "  function show() { svg.setAttribute('viewBox', box.join(' ')); }\n"
    "  function scale() {\n"
    "    return Math.max(box[2] / svg.clientWidth, box[3] / svg.clientHeight);\n"
    "  }\n"
    "  function zoom(by, x, y) {\n"
    "    if (box[2] * by > 40 * home_box[2] || 30 > box[2] * by) return;\n"
    "    box = [x + (box[0] - x) * by, y + (box[1] - y) * by, box[2] * by, box[3] * "
    "by];\n"
    "    show();\n"
    "  }\n"
    "  function at(e) {\n"
    "    var p = new DOMPoint(e.clientX, e.clientY);\n"
    "    return p.matrixTransform(svg.getScreenCTM().inverse());\n"
    "  }\n"
    "  function middle(by) { zoom(by, box[0] + box[2] / 2, box[1] + box[3] / 2); }\n"
    "  function whole() { box = home_box.slice(); show(); }\n"
    "  function start() { /* readable: as wide as the window, from the top */\n"
    "    var k = Math.min(1, home_box[2] / svg.clientWidth);\n"
    "    var w = svg.clientWidth * Math.max(k, 0.8), h = svg.clientHeight * Math.max(k, "
    "0.8);\n"
    "    box = [home_box[0] + home_box[2] / 2 - w / 2, home_box[1], w, h];\n"
    "    if (home_box[2] > w) box[0] = home_box[0];\n"
    "    show();\n"
    "  }\n"
    "  function move(x, y) { box[0] += x * box[2]; box[1] += y * box[3]; show(); }\n"
    "  svg.addEventListener('wheel', function (e) {\n"
    "    var p = at(e);\n"
    "    e.preventDefault();\n"
    "    zoom(Math.exp(Math.max(-60, Math.min(60, e.deltaY)) * 0.004), p.x, p.y);\n"
    "  }, { passive: false });\n"
    "  svg.addEventListener('pointerdown', function (e) {\n"
    "    from = [e.clientX, e.clientY];\n"
    "    svg.setPointerCapture(e.pointerId);\n"
    "  });\n"
    "  svg.addEventListener('pointermove', function (e) {\n"
    "    if (!from) return;\n"
    "    box[0] -= (e.clientX - from[0]) * scale();\n"
    "    box[1] -= (e.clientY - from[1]) * scale();\n"
    "    from = [e.clientX, e.clientY];\n"
    "    show();\n"
    "  });\n"
    "  svg.addEventListener('pointerup', function () { from = null; });\n"
    "  svg.addEventListener('pointercancel', function () { from = null; });\n"
    "  var keys = { '+': function () { middle(0.8); }, '=': function () { middle(0.8); "
    "},\n"
    "    '-': function () { middle(1.25); }, '0': whole, '1': start,\n"
    "    ArrowLeft: function () { move(-0.1, 0); }, ArrowRight: function () { move(0.1, "
    "0); } };\n"
    "  document.addEventListener('keydown', function (e) {\n"
    "    if (e.ctrlKey || e.metaKey || e.altKey || !keys[e.key]) return;\n"
    "    keys[e.key]();\n"
    "    e.preventDefault();\n"
    "  });\n"
    "  document.querySelectorAll('.keys button').forEach(function (b) {\n"
    "    b.addEventListener('click', function () { keys[b.value](); });\n"
    "  });\n"
    "  document.querySelectorAll('tbody tr[data-n]').forEach(function (row) {\n"
    "    row.addEventListener('click', function () {\n"
    "      var n = document.getElementById('n' + row.dataset.n), r = n.getBBox();\n"
    "      document.querySelectorAll('.on').forEach(function (o) { "
    "o.classList.remove('on'); });\n"
    "      n.classList.add('on');\n"
    "      box = [r.x + r.width / 2 - svg.clientWidth / 2, r.y + r.height / 2 - "
    "svg.clientHeight / 2,\n"
    "        svg.clientWidth, svg.clientHeight];\n"
    "      show();\n"
    "      svg.parentNode.scrollIntoView({ block: 'nearest' });\n"
    "    });\n"
    "  });\n"
    "  start();\n"
    "})();\n"
    "</script>\n";

static void put_fact(FILE *to, const char *name, const char *value, const char *unit)
{
    fprintf(to, "<div><dt>%s</dt><dd>%s%s</dd></div>\n", name, value, unit);
}

static void put_header(FILE *to, const reel_graph *g, const reel__totals *t,
                       const char *title)
{
    char text[64];
    fputs("<header>\n<h1>", to);
    reel__put_escaped(to, title);
    fputs("</h1>\n<dl class=\"facts\">\n", to);
    (void)snprintf(text, sizeof text, "%d", g->n_node);
    put_fact(to, "operators", text, "");
    if (g->batch) {
        (void)snprintf(text, sizeof text, "%" PRId64, g->batch);
        put_fact(to, "counted at batch", text, "");
    }
    put_fact(to, "work", SI(t->cost.flops), "FLOP");
    put_fact(to, "read", SI(t->cost.bytes_read), "B");
    put_fact(to, "written", SI(t->cost.bytes_written), "B");
    (void)reel__snprint(text, sizeof text, "%.2f", reel__intensity(&t->cost));
    put_fact(to, "intensity", text, " FLOP/B");
    (void)snprintf(text, sizeof text, "%" PRId64, t->params);
    put_fact(to, "parameters", text, "");
    put_fact(to, "in memory", SI((double)t->param_bytes), "B");
    put_fact(to, "peak activations", SI((double)t->peak_bytes), "B");
    if (t->timed) put_fact(to, "time bound", SI(t->seconds_bound), "s");
    fputs("</dl>\n</header>\n", to);
}

static void put_legend(FILE *to, const reel__totals *t)
{
    fprintf(to,
            "<div class=\"legend\">%s of one operator<br/>\n"
            "<svg class=\"reel\" viewBox=\"0 0 153 12\">",
            t->timed ? "time bound" : "operations");
    for (int i = 0; i < REEL__COST_STEPS; i++)
        fprintf(to, "<rect class=\"c%d\" x=\"%d\" y=\"0\" width=\"17\" height=\"12\"/>",
                i, 17 * i);
    fprintf(to, "</svg>0 to %s%s</div>\n", SI(t->most), t->timed ? "s" : "FLOP");
}

static void put_row(FILE *to, const reel_graph *g, const reel__totals *t, int i)
{
    const reel_node_cost *n = &t->node[i];
    const reel__gnode *node = &g->node[i];
    double share = t->weight > 0 ? reel__weight(t, i) / t->weight : 0;
    char shape[REEL__SHAPE_TEXT] = "";
    if (node->n_out && node->out[0] >= 0)
        (void)reel__value_shape_text(g, node->out[0], shape);
    fprintf(to, "<tr data-n=\"%d\"><td>%d</td><td class=\"t\">%s</td><td class=\"t\">", i,
            i, n->op);
    reel__put_escaped(to, n->where);
    reel__fprint(
        to, "</td><td class=\"t\">%s</td><td>%.3f</td><td>%.1f</td><td>%.1f</td>", shape,
        n->cost.flops * 1e-6, n->cost.bytes_read * 1e-3, n->cost.bytes_written * 1e-3);
    reel__fprint(to, "<td>%" PRId64 "</td><td>%.2f</td>", n->params, n->intensity);
    if (t->timed) reel__fprint(to, "<td>%.2f</td>", n->seconds_bound * 1e6);
    reel__fprint(to, "<td class=\"t\"><i style=\"width:%.0fpx\"></i>%.1f%%</td></tr>\n",
                 120 * (t->most > 0 ? reel__weight(t, i) / t->most : 0), 100 * share);
}

static void put_table(FILE *to, const reel_graph *g, const reel__totals *t)
{
    fputs("<h2>Every operator</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>node</th>"
          "<th class=\"t\">operator</th><th class=\"t\">where</th><th "
          "class=\"t\">result</th>"
          "<th>MFLOP</th><th>read kB</th><th>written kB</th><th>parameters</th>"
          "<th>FLOP/B</th>",
          to);
    if (t->timed) fputs("<th>bound \xc2\xb5s</th>", to);
    fputs("<th class=\"t\">share</th></tr></thead>\n<tbody>\n", to);
    for (int i = 0; i < g->n_node; i++) put_row(to, g, t, i);
    fputs("</tbody></table></div>\n", to);
}

static reel_status put_shares(FILE *to, const reel_graph *g, const reel__totals *t)
{
    enum { SHOWN = 10 };
    reel__share top[SHOWN];
    int n = reel__shares(g, t, top, SHOWN);
    if (n < 0) return reel_error_status();
    fputs("<h2>By operator</h2>\n<table>\n<tbody>\n", to);
    for (int i = 0; i < n; i++) {
        double share = t->weight > 0 ? top[i].weight / t->weight : 0;
        reel__fprint(to,
                     "<tr><td class=\"t\">%s</td><td>%d</td><td class=\"t\">"
                     "<i style=\"width:%.0fpx\"></i>%.1f%%</td></tr>\n",
                     top[i].op, top[i].nodes, 240 * share, 100 * share);
    }
    fputs("</tbody></table>\n", to);
    return REEL_OK;
}

reel_status reel__put_page(FILE *to, const reel__picture *p, const char *title)
{
    const reel_graph *g = p->g;
    const reel__totals *t = p->totals;
    fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n"
          "<meta name=\"viewport\" "
          "content=\"width=device-width,initial-scale=1\"/>\n<title>",
          to);
    reel__put_escaped(to, title);
    fputs("</title>\n", to);
    fputs(style, to);
    fputs("</head>\n<body>\n", to);
    put_header(to, g, t, title);
    fputs("<div class=\"stage\">\n", to);
    (void)reel__put_svg(to, p, title);
    fputs("<div class=\"keys\"><button value=\"+\" title=\"nearer: +\">+</button>"
          "<button value=\"-\" title=\"farther: -\">\xe2\x88\x92</button>"
          "<button value=\"0\" title=\"all of it: 0\">\xe2\xa4\xa2</button>"
          "<button value=\"1\" title=\"to the top: 1\">\xe2\x86\x91</button></div>\n",
          to);
    put_legend(to, t);
    fputs("</div>\n<main>\n", to);
    reel_status st = put_shares(to, g, t);
    put_table(to, g, t);
    fputs("</main>\n<footer>Drag or use the wheel in the picture; + \xe2\x88\x92 0 1 and "
          "arrow "
          "keys work too. A click on a row shows its operator.</footer>\n",
          to);
    fputs(script, to);
    fputs("</body>\n</html>\n", to);
    return st;
}
