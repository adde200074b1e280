/* export.c: from the prepared module to a file in one call, which says how it was made. */
#include <reel/onnx.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "quantize/quantize.h"

/* "ort: 22 weights min_max, 33 activations moving_average": kinds of one sort that are the most. */
static const char *usual_kind(const reel__quantized *q, bool weights, int *count)
{
    const char *usual = "none";
    int most = 0;
    *count = 0;
    for (int i = 0; i < q->n_quantizer; i++) {
        const char *kind = q->quantizer[i].observer->type;
        int same = 0;
        if (q->quantizer[i].weight != weights) continue;
        for (int k = i; k < q->n_quantizer; k++)
            same += q->quantizer[k].weight == weights &&
                    strcmp(q->quantizer[k].observer->type, kind) == 0;
        ++*count;
        if (same > most) {
            most = same;
            usual = kind;
        }
    }
    return usual;
}

static void describe(const reel__quantized *q, char *out, size_t size)
{
    int weights, activations;
    const char *by_weight = usual_kind(q, true, &weights);
    const char *by_activation = usual_kind(q, false, &activations);
    (void)snprintf(out, size, "%s; %d weights: %s; %d activations: %s%s",
                   q->profile->name, weights, by_weight, activations, by_activation,
                   q->n_quantizer > 0 && q->quantizer[0].learned ? "; learned scales"
                                                                 : "");
}

/* Nothing that the target does not take. */
static reel_status check(const reel_graph *g, reel_quantize_target target)
{
    char *found = reel_quantize_lint(g, target);
    if (found && *found)
        reel_fail(REEL_ERR_STATE, "quantize_export: not for %s: %.*s",
                  reel_quantize_target_name(target), (int)strcspn(found, "\n"), found);
    free(found);
    return reel_error_status();
}

static reel_status export_graph(const reel__quantized *q, reel_graph *g, const char *path,
                                const reel_onnx_opts *opts)
{
    char made[REEL__QUANTIZE_NAME];
    reel_onnx_opts o = *opts;
    const char *(*pair)[2] = reel__calloc((size_t)o.n_metadata + 1, sizeof *pair);
    if (!pair) return reel_error_status();
    for (int i = 0; i < o.n_metadata; i++) {
        pair[i][0] = o.metadata[i][0];
        pair[i][1] = o.metadata[i][1];
    }
    describe(q, made, sizeof made);
    pair[o.n_metadata][0] = "quantization";
    pair[o.n_metadata++][1] = made;
    o.metadata = (const char *const(*)[2])pair;
    reel_status st = reel_onnx_export(g, path, &o);
    reel__free(pair);
    return st;
}

reel_status reel_quantize_export(reel_module *m, const char *path,
                                 const reel_onnx_opts *opts)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    const reel_onnx_opts *o = REEL__OPTS("quantize_export", reel_onnx_opts, opts);
    reel__quantized *q = o ? reel__quantized_of("quantize_export", m) : NULL;
    if (!q) return reel_error_status();
    if (!path || o->n_metadata < 0 || (o->n_metadata > 0 && !o->metadata))
        return reel_fail(REEL_ERR_ARG, "quantize_export: the %s is NULL",
                         path ? "metadata" : "path");
    reel_graph *g = reel_quantize_convert(m);
    if (g && !check(g, q->target)) (void)export_graph(q, g, path, o);
    reel_graph_free(g);
    return reel_error_status();
}
