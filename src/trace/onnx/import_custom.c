/* import_custom.c: nodes of other domains that operators of the user's own stand for. */
#include <string.h>

#include "ops/custom.h"
#include "trace/onnx/import.h"

bool reel__im_custom_has(const reel__op *op, const char *attribute)
{
    const reel_custom_op_opts *o = &reel__custom_record_of(op)->of->opts;
    for (int i = 0; i < o->n_attrs; i++)
        if (strcmp(o->attrs[i].name, attribute) == 0) return true;
    return false;
}

static void read_attrs(reel__import *im, const reel_custom_op_opts *o, int64_t *attrs)
{
    for (int i = 0; i < o->n_attrs; i++) {
        const char *name = o->attrs[i].name;
        double real = o->attrs[i].real;
        if (!reel__im_has(im, name)) continue;
        if (o->attrs[i].is_real) {
            real = reel__im_float(im, name, real);
            memcpy(&attrs[i], &real, sizeof real);
        } else {
            attrs[i] = reel__im_int(im, name, o->attrs[i].whole);
        }
    }
}

/* An operator without a shape rule cannot be planned from a file, which runs nothing. */
static void custom(reel__import *im)
{
    const reel__custom_record *r = reel__custom_record_of(im->custom);
    const reel_custom_op_opts *o = &r->of->opts;
    int64_t attrs[REEL__CUSTOM_BYTES / 8];
    int in[REEL_OP_MAX_IN], out[REEL_OP_MAX_OUT];
    int n = o->n_in < 0 ? (int)im->node->input.n : o->n_in;
    if (r->types >= 0)
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "%s has no shape rule, so that a file does not say what it gives",
                  r->name);
    if (n > REEL_CUSTOM_MAX_IN || im->node->input.n > (size_t)n ||
        im->node->output.n > (size_t)o->n_out)
        reel_fail(REEL_ERR_FORMAT, "%zu inputs and %zu outputs; %s has %d and %d",
                  im->node->input.n, im->node->output.n, r->name, n, o->n_out);
    if (reel_failed()) return;
    reel__custom_defaults(r->of, attrs);
    read_attrs(im, o, attrs);
    for (int k = 0; k < n; k++) in[k] = reel__im_in(im, k);
    reel__im_emit_all(im, im->custom, attrs, n, in, out);
    for (int k = 0; k < o->n_out && !reel_failed(); k++)
        if (reel__im_wants_out(im, k)) reel__im_out(im, k, out[k]);
}

const reel__import_row reel__import_custom = {
    .since = 1, .max_in = -1, .max_out = -1, .attributes = "", .rule = custom};
