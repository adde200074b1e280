/* export.c: writing graphs as ONNX files, and asking whether that can be. */
#include <reel/autograd.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/option.h"
#include "onnx/file.h"
#include "trace/onnx/export.h"

static reel_status check_arguments(const char *who, const reel_graph *g, int opset)
{
    if (reel_failed()) return reel_error_status();
    if (!g) return reel_fail(REEL_ERR_ARG, "%s: the graph is NULL", who);
    if (opset && (opset < REEL__ONNX_OPSET_FIRST || opset > REEL__ONNX_OPSET_LAST))
        return reel_fail(REEL_ERR_ARG, "%s: opset %d; %d to %d can be written", who,
                         opset, REEL__ONNX_OPSET_FIRST, REEL__ONNX_OPSET_LAST);
    return REEL_OK;
}

static reel_status check_opts(const reel_onnx_opts *o)
{
    if (o->n_metadata < 0 || (o->n_metadata && !o->metadata) || o->external_from < 0)
        return reel_fail(REEL_ERR_ARG,
                         "onnx_export: %d pairs of metadata%s, external_from %lld; both "
                         "must be 0 or more",
                         o->n_metadata, o->metadata ? "" : " (NULL)",
                         (long long)o->external_from);
    return REEL_OK;
}

/* What was read may have decided what ran, and a file says nothing of that. */
static reel_status check_reads(const reel_graph *g, const reel_onnx_opts *o)
{
    const char *reads = reel_graph_reads(g);
    if (!*reads || o->allow_reads) return REEL_OK;
    return reel_fail(
        REEL_ERR_STATE,
        "onnx_export: values were read while the graph was captured, and what "
        "depends on them is frozen: %.*s; compute it with operators, or set "
        "`allow_reads`",
        (int)strcspn(reads, "\n"), reads);
}

typedef struct judged {
    reel_graph *g;
    const char *path;
    const reel_onnx_opts *opts;
} judged;

static reel_status judge(void *user, const char *file, const char *data)
{
    const judged *j = user;
    return reel__onnx_compare(j->g, j->path, file, data, j->opts);
}

reel_status reel_onnx_export(reel_graph *g, const char *path, const reel_onnx_opts *opts)
{
    REEL__CALLED;
    const reel_onnx_opts *o = REEL__OPTS("onnx_export", reel_onnx_opts, opts);
    if (!o) return reel_error_status();
    if (check_arguments("onnx_export", g, o->opset) || check_opts(o) || check_reads(g, o))
        return reel_error_status();
    if (!path) return reel_fail(REEL_ERR_ARG, "onnx_export: the path is NULL");
    bool grad = reel_grad_enabled();
    (void)reel_set_grad_enabled(false);
    reel_scope s = reel_scope_begin();
    reel_graph *written = reel__graph_as_filed(g);
    reel__onnx_model *m = written ? reel__onnx_model_of(written, o, NULL) : NULL;
    judged j = {g, path, o};
    const reel__onnx_write_opts write = {
        .max_bytes = o->external_from, .check = judge, .user = &j};
    if (m) (void)reel__onnx_write(m, path, &write);
    reel__onnx_model_free(m);
    reel_graph_free(written);
    reel_scope_end(s);
    (void)reel_set_grad_enabled(grad);
    return reel_error_status();
}

char *reel_onnx_missing(const reel_graph *g, int opset)
{
    REEL__CALLED;
    char *text = NULL;
    size_t size = 0;
    if (check_arguments("onnx_missing", g, opset)) return NULL;
    FILE *to = open_memstream(&text, &size);
    if (!to) {
        reel_fail(REEL_ERR_MEMORY, "onnx_missing: out of memory");
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    reel_graph *written = reel__graph_as_filed(g);
    const reel_onnx_opts opts = {.opset = opset};
    if (written) reel__onnx_model_free(reel__onnx_model_of(written, &opts, to));
    reel_graph_free(written);
    reel_scope_end(s);
    if (fclose(to) != 0) reel_fail(REEL_ERR_MEMORY, "onnx_missing: out of memory");
    if (!reel_failed()) return text;
    free(text);
    return NULL;
}
