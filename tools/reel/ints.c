/* ints.c: how much of a graph is in integers, and how far its results are from another's. */
#include "cli.h"

#include <math.h>
#include <string.h>

/* ---- distance ---------------------------------------------------------------------------------- */

static double sum_of_squares(reel_tensor *x)
{
    return reel_numel(x) ? reel_item(reel_sum(reel_square(x), REEL_ALL, false)) : 0;
}

/* Rows whose largest number is at the same place. */
static int64_t same_places(reel_tensor *a, reel_tensor *b)
{
    reel_tensor *same =
        reel_cast(reel_eq(reel_argmax(a, 1, false), reel_argmax(b, 1, false)), REEL_F64);
    return reel_failed() ? 0 : (int64_t)reel_item(reel_sum(same, REEL_ALL, false));
}

void fidelity_add(fidelity *f, reel_tensor *want, reel_tensor *is)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *a = reel_cast(want, REEL_F64), *b = reel_cast(is, REEL_F64);
    f->signal += sum_of_squares(a);
    f->noise += sum_of_squares(reel_sub(a, b));
    const reel_shape shape = reel_shape_of(want);
    if (shape.rank == 2 && shape.dim[1] > 1) {
        f->rows += shape.dim[0];
        f->agree += same_places(a, b);
    }
    reel_scope_end(s);
}

double fidelity_db(const fidelity *f)
{
    return f->noise == 0 ? INFINITY : 10 * log10(f->signal / f->noise);
}

const char *db_text(double db, char to[16])
{
    if (isinf(db) && db > 0)
        snprintf(to, 16, "exact");
    else
        snprintf(to, 16, "%.1f dB", db);
    return to;
}

void put_fidelity(json *j, const fidelity *f)
{
    const double db = fidelity_db(f);
    json_bool(j, "exact", f->noise == 0);
    json_number(j, "snr_db", db);
    if (f->rows) json_number(j, "top1_agreement", (double)f->agree / (double)f->rows);
}

/* ---- integers ---------------------------------------------------------------------------------- */

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

bool is_layer(const char *op)
{
    static const char *const names[] = {"conv2d",       "linear",       "matmul",
                                        "conv2d_fused", "linear_fused", "conv2d_int8",
                                        "linear_int8"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(op, names[i]) == 0) return true;
    return false;
}

bool is_int8(const char *op)
{
    const char *end = strrchr(op, '_');
    return end && begins(end, "_int8");
}

bool has_integers(const reel_graph *g)
{
    for (int i = 0; i < reel_graph_nodes(g); i++) {
        const char *op = reel_graph_node_op(g, i);
        if (is_int8(op) || strcmp(op, "quantize") == 0 || strcmp(op, "dequantize") == 0)
            return true;
    }
    return false;
}

reel_status count_integers(const reel_graph *g, integers *out)
{
    reel_node_cost c;
    *out = (integers){0};
    for (int i = 0; i < reel_graph_nodes(g); i++) {
        if (reel_graph_node_cost(g, i, NULL, &c)) return reel_error_status();
        if (!is_layer(c.op)) continue;
        out->layers++;
        out->ints += is_int8(c.op);
        if (is_int8(c.op)) out->share += c.cost.flops;
    }
    const double all = reel_graph_cost(g).flops;
    out->share = all > 0 ? out->share / all : 0;
    return reel_error_status();
}

reel_status count_lowered(const reel_graph *g, integers *out)
{
    reel_graph *fast = reel_graph_copy(g);
    if (fast && !reel_graph_optimize(fast, NULL)) (void)count_integers(fast, out);
    reel_graph_free(fast);
    return reel_error_status();
}
