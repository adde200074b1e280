/* one_node.c: graphs of one node. */
#include "one_node.h"

#include <reel/onnx.h>
#include <stdio.h>
#include <stdlib.h>

#include "ops/onnx.h"

/* The sample's call, with inputs named. False without an error if there is no such call. */
static bool run(const sample *s, reel_tensor *const in[], int most, one_node *made)
{
    reel_tensor *out[REEL_OP_MAX_OUT] = {NULL};
    char name[16];
    for (int i = 0, k = 0; i < s->n_in; i++) {
        if (!in[i]) continue;
        snprintf(name, sizeof name, "x%d", k++);
        if (reel_capture_input(in[i], name)) return false;
    }
    if (reel__apply(s->op, s->attrs, s->n_in, in, out)) return false;
    for (int i = 0; i < s->op->n_out && made->n_out < most; i++)
        if (out[i]) made->out[made->n_out++] = out[i];
    return made->n_out > 0;
}

bool one_node_make(const sample *s, reel_dtype dtype, int n_out, one_node *made)
{
    static const char *const names[] = {"y0", "y1", "y2", "y3"};
    reel_tensor *in[SAMPLE_MAX_IN] = {NULL};
    *made = (one_node){0};
    for (int i = 0; i < s->n_in; i++) {
        in[i] = sample_base(s, i, SAMPLE_CONTIGUOUS, dtype, 1);
        if (in[i])
            made->in[made->n_in++] = reel_copy(in[i]); /* as it is before the call */
    }
    if (reel_capture_begin()) return false;
    if (run(s, in, n_out, made))
        made->graph = reel_capture_end(made->out, made->n_out, names);
    else
        reel_capture_cancel();
    reel_error_clear();
    return made->graph != NULL;
}

/* What is missing at this opset, with all results as outputs or with the first alone: the
 * others are of training. "" if nothing. free() it; NULL if there is no such call. */
static char *missing(const sample *s, int opset)
{
    char *text = NULL;
    for (int most = REEL_OP_MAX_OUT; most >= 1; most -= REEL_OP_MAX_OUT - 1) {
        one_node made;
        free(text);
        text = NULL;
        if (!one_node_make(s, REEL_F32, most, &made)) return NULL;
        text = reel_onnx_missing(made.graph, opset);
        reel_graph_free(made.graph);
        if (text && !*text) break;
    }
    return text;
}

int one_node_opset(const reel__op *op)
{
    const char *text = sample_text(op);
    for (int opset = REEL__ONNX_OPSET_FIRST; opset <= REEL__ONNX_OPSET_LAST; opset++)
        for (int line = 0; line < sample_lines(text); line++) {
            sample s;
            reel_scope scope = reel_scope_begin();
            char *left = sample_parse(op, text, line, &s) ? missing(&s, opset) : NULL;
            bool can = left && !*left;
            free(left);
            reel_scope_end(scope);
            if (can) return opset;
        }
    return 0;
}
