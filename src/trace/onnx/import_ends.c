/* import_ends.c: inputs and outputs of the graph that is imported. All sizes that a file leaves
 * open are one, the batch, wherever they stand: a graph has one number that is chosen when it
 * runs. What leaves two open is refused here, before anything is built. */
#include "trace/onnx/import.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- the size that is open ---------------------------------------------------------------- */

/* An input that has an initializer of its name is none: its default is taken. */
static bool is_input(const reel__import *im, size_t i)
{
    const char *name = im->model->graph.input.at[i]->name;
    int64_t number = reel__onnx_names_find(im->names, name);
    return number < 0 || !im->data[number];
}

/* Dimension `dim` of input i, which has no size. */
typedef struct open_size {
    size_t i;
    int dim;
    const reel__onnx_value *v;
    const char *name; /* "": none */
} open_size;

/* The next one, in order; the first after {.dim = -1}. */
static bool next_open(const reel__import *im, open_size *s)
{
    const reel__onnx_graph *g = &im->model->graph;
    for (; s->i < g->input.n; s->i++, s->dim = -1) {
        s->v = g->input.at[s->i];
        if (s->dim < 0 && (!is_input(im, s->i) || s->v->lack)) continue;
        while (++s->dim < s->v->rank)
            if (s->v->dim[s->dim].size < 0) {
                s->name = s->v->dim[s->dim].param;
                return true;
            }
    }
    return false;
}

/* Which of two is the batch: the one that comes first in its input, then the one with a name. */
static bool before(const open_size *a, const open_size *b)
{
    if ((a->dim == 0) != (b->dim == 0)) return a->dim == 0;
    return *a->name && !*b->name;
}

/* Whether both are one size: of one name, or both first and not of two names. */
static bool is_same(const open_size *a, const open_size *b)
{
    if (a->v == b->v && a->dim == b->dim) return true;
    if (*a->name && *b->name) return strcmp(a->name, b->name) == 0;
    return a->dim == 0 && b->dim == 0;
}

/* The input is lacking: at which size it would have to be built, nobody knows. */
static void note_second(reel__import *im, const open_size *batch, const open_size *s)
{
    char where[REEL__ONNX_WHERE];
    int64_t number = reel__onnx_names_find(im->names, s->v->name);
    if (number >= 0) im->value[number] = REEL__IM_LACKING;
    (void)snprintf(where, sizeof where, "dimension %d of input %.40s", s->dim,
                   s->v->name);
    reel__lacks(im->lacks, where,
                "a second open size, \"%.40s\" beside \"%.40s\" (dimension %d of input "
                "%.40s), where one can be open",
                *s->name ? s->name : "?", *batch->name ? batch->name : "?", batch->dim,
                batch->v->name);
}

bool reel__im_open(reel__import *im)
{
    open_size batch = {.dim = -1};
    if (!next_open(im, &batch)) return false;
    for (open_size s = batch; next_open(im, &s);)
        if (before(&s, &batch)) batch = s;
    for (open_size s = {.dim = -1}; next_open(im, &s);)
        if (!is_same(&batch, &s)) note_second(im, &batch, &s);
    return true;
}

/* ---- inputs --------------------------------------------------------------------------------- */

/* What the file says of an input that a graph cannot have; false: nothing. */
static bool lacking_input(const reel__import *im, const reel__onnx_value *v)
{
    char where[REEL__ONNX_WHERE];
    reel_dtype dtype;
    (void)snprintf(where, sizeof where, "input %.60s", v->name);
    if (v->lack)
        reel__lacks(im->lacks, where, "an input that %s", v->lack);
    else if (!reel__onnx_dtype_back(v->dtype, &dtype))
        reel__lacks(im->lacks, where, "an input of %s", reel__onnx_dtype_name(v->dtype));
    else if (v->rank < 0)
        reel__lacks(im->lacks, where, "an input of unknown shape");
    else
        return false;
    return true;
}

static reel_status add_input(reel__import *im, const char *file,
                             const reel__onnx_value *v)
{
    reel_shape s = {.rank = v->rank};
    reel_dtype dtype = REEL_F32;
    int64_t number = reel__onnx_names_find(im->names, v->name);
    if (number < 0) return reel_error_status();
    if (reel__im_lacking(im, number) || (!im->twin && lacking_input(im, v))) {
        im->value[number] = REEL__IM_LACKING;
        return REEL_OK;
    }
    (void)reel__onnx_dtype_back(v->dtype, &dtype);
    for (int d = 0; d < v->rank; d++) {
        s.dim[d] = v->dim[d].size < 0 ? im->batch : v->dim[d].size;
        if (s.dim[d] > INT64_C(1) << 40)
            return reel_fail(REEL_ERR_UNSUPPORTED,
                             "onnx_load: %.200s: dimension %d of input %.100s is too "
                             "large: %" PRId64,
                             file, d, v->name, s.dim[d]);
    }
    const reel__meta m = reel__meta_of(s, dtype, (reel_device){REEL_CPU, 0});
    if (reel__meta_check("input", &m)) {
        reel_error_clear();
        return reel_fail(
            REEL_ERR_UNSUPPORTED,
            "onnx_load: %.200s: input %.100s, %s, has more than 2^63 - 1 bytes", file,
            v->name, SHOW(&m));
    }
    int value = reel__graph_add_value(im->g, REEL_VALUE_INPUT, &m, v->name, NULL);
    if (value < 0) return reel_error_status();
    im->value[number] = value;
    return reel__graph_add_input(im->g, value);
}

reel_status reel__im_add_inputs(reel__import *im, const char *file)
{
    const reel__onnx_graph *g = &im->model->graph;
    reel_status st = REEL_OK;
    for (size_t i = 0; i < g->input.n && !st; i++)
        if (is_input(im, i)) st = add_input(im, file, g->input.at[i]);
    return st;
}

/* ---- outputs -------------------------------------------------------------------------------- */

/* What the file says of an output must be so, as far as it says it. */
static reel_status add_output(reel__import *im, const char *file,
                              const reel__onnx_value *v)
{
    int64_t number = reel__onnx_names_find(im->names, v->name);
    if (reel__im_lacking(im, number)) return REEL_OK;
    int value = reel__im_value(im, number, REEL_VALUE_PARAM);
    if (value < 0)
        return reel_fail(REEL_ERR_FORMAT,
                         "onnx_load: %.200s: output %.100s is made nowhere", file,
                         v->name);
    const reel__meta *m = reel__im_meta(im, value);
    if (v->lack ||
        (v->dtype != REEL_ONNX_UNDEFINED && v->dtype != reel__onnx_dtype_of(m->dtype)) ||
        (v->rank >= 0 && v->rank != m->rank))
        return reel_fail(
            REEL_ERR_FORMAT,
            "onnx_load: %.200s: output %.100s is %s; the file says %s of rank "
            "%d%s%s",
            file, v->name, SHOW(m), reel__onnx_dtype_name(v->dtype), v->rank,
            v->lack ? ": it " : "", v->lack ? v->lack : "");
    return reel__graph_add_output(im->g, value, v->name);
}

reel_status reel__im_add_outputs(reel__import *im, const char *file)
{
    const reel__onnx_graph *g = &im->model->graph;
    reel_status st = REEL_OK;
    for (size_t i = 0; i < g->output.n && !st; i++)
        st = add_output(im, file, g->output.at[i]);
    return st;
}
