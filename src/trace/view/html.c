#include "trace/view/picture.h"
reel_status reel_graph_write_html(const reel_graph *g, FILE *to,
                                  const reel_view_opts *opts)
{
    return reel_graph_write_svg(g, to, opts);
}
