/* draw.c: pictures as the caller asks for them: an SVG, a page, a page in a file. */
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/file.h"
#include "base/option.h"
#include "trace/view/picture.h"

typedef reel_status (*put_fn)(FILE *to, const reel__picture *p, const char *title);

/* Lays the graph out and writes it with `put`. */
static reel_status draw(const char *who, put_fn put, const reel_graph *g, FILE *to,
                        const reel_view_opts *opts)
{
    if (reel_failed()) return reel_error_status();
    const reel_view_opts *o = REEL__OPTS(who, reel_view_opts, opts);
    if (!o) return reel_error_status();
    reel__totals t;
    reel__picture p;
    if (!g || !to)
        return reel_fail(REEL_ERR_ARG, "%s: %s is NULL", who, g ? "to" : "the graph");
    reel_graph *r = reel__graph_as_run(g);
    if (!r || reel__totals_of(r, g, who, o->peaks, &t)) {
        reel_graph_free(r);
        return reel_error_status();
    }
    reel_status st = reel__picture_make(r, &t, &p);
    if (!st) st = put(to, &p, o->title ? o->title : "graph");
    if (!st && ferror(to)) st = reel_fail(REEL_ERR_IO, "%s: cannot write", who);
    reel__picture_free(&p);
    reel__totals_free(&t);
    reel_graph_free(r);
    return st;
}

reel_status reel_graph_write_svg(const reel_graph *g, FILE *to,
                                 const reel_view_opts *opts)
{
    REEL__CALLED;
    return draw("graph_write_svg", reel__put_svg, g, to, opts);
}

reel_status reel_graph_write_html(const reel_graph *g, FILE *to,
                                  const reel_view_opts *opts)
{
    REEL__CALLED;
    return draw("graph_write_html", reel__put_page, g, to, opts);
}

reel_status reel_graph_save_html(const reel_graph *g, const char *path,
                                 const reel_view_opts *opts)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    char *text = NULL;
    size_t size = 0;
    if (!g || !path)
        return reel_fail(REEL_ERR_ARG, "graph_save_html: the %s is NULL",
                         g ? "path" : "graph");
    FILE *to = open_memstream(&text, &size);
    reel_status st = to ? reel_graph_write_html(g, to, opts) : REEL_OK;
    if (!to || (fclose(to) && !st))
        st = reel_fail(REEL_ERR_MEMORY, "graph_save_html: no memory for the page");
    reel__writer *w = st ? NULL : reel__writer_open(path);
    if (w) (void)reel__writer_write(w, text, size);
    if (!st) st = w ? reel__writer_commit(w) : reel_error_status();
    free(text);
    return st;
}
