/* read.c: ModelProto and GraphProto; files and bytes. */
#include "onnx/file.h"

#include "base/alloc.h"
#include "base/log.h"
#include "onnx/arena.h"
#include "onnx/reader.h"

#include <inttypes.h>
#include <stdalign.h>
#include <string.h>

/* ---- the graph --------------------------------------------------------------------- */

static const reel__onnx_schema graph_schema = {
    8,
    {
        {GRAPH_NODE, "node", WIRE_BYTES, REPEATED},
        {GRAPH_NAME, "name", WIRE_BYTES, LAST_COUNTS},
        {GRAPH_INITIALIZER, "initializer", WIRE_BYTES, REPEATED},
        {GRAPH_DOC, "doc_string", WIRE_BYTES, LAST_COUNTS},
        {GRAPH_INPUT, "input", WIRE_BYTES, REPEATED},
        {GRAPH_OUTPUT, "output", WIRE_BYTES, REPEATED},
        {GRAPH_VALUE_INFO, "value_info", WIRE_BYTES, REPEATED},
        {GRAPH_SPARSE_INITIALIZER, "sparse_initializer", WIRE_BYTES, REPEATED},
    },
};

/* A list of pointers at the size that it will have. */
#define MAKE_LIST(r, list, count)                                                        \
    ((list)->room = (count),                                                             \
     (list)->at = reel__onnx_array(r, (list)->room, sizeof(void *), alignof(void *)))

static bool make_lists(reel__onnx_reader *r, const reel__onnx_message *msg,
                       reel__onnx_graph *g)
{
    size_t nodes = reel__onnx_count(msg, GRAPH_NODE);
    if (nodes > REEL__ONNX_NODES_MAX)
        return reel__onnx_beyond(r, "has %zu nodes, must have at most %d", nodes,
                                 REEL__ONNX_NODES_MAX);
    MAKE_LIST(r, &g->node, nodes);
    MAKE_LIST(r, &g->initializer,
              reel__onnx_count(msg, GRAPH_INITIALIZER) +
                  reel__onnx_count(msg, GRAPH_SPARSE_INITIALIZER));
    MAKE_LIST(r, &g->input, reel__onnx_count(msg, GRAPH_INPUT));
    MAKE_LIST(r, &g->output, reel__onnx_count(msg, GRAPH_OUTPUT));
    MAKE_LIST(r, &g->value_info, reel__onnx_count(msg, GRAPH_VALUE_INFO));
    return !r->failed;
}

static void *one(reel__onnx_reader *r, size_t size)
{
    return reel__onnx_array(r, 1, size, alignof(max_align_t));
}

static void read_node(reel__onnx_reader *r, reel__onnx_span bytes, reel__onnx_graph *g)
{
    reel__onnx_node *n = one(r, sizeof *n);
    if (n && reel__onnx_read_node(r, bytes, n)) g->node.at[g->node.n++] = n;
}

static void read_initializer(reel__onnx_reader *r, reel__onnx_span bytes, bool sparse,
                             reel__onnx_graph *g)
{
    reel__onnx_tensor *t = one(r, sizeof *t);
    if (!t || !(sparse ? reel__onnx_read_sparse(r, bytes, t)
                       : reel__onnx_read_tensor(r, bytes, t)))
        return;
    g->initializer.at[g->initializer.n++] = t;
    if (!*t->name) reel__onnx_bad(r, "an initializer has no name");
}

/* NULL if it failed. */
static reel__onnx_value *read_value(reel__onnx_reader *r, reel__onnx_span bytes)
{
    reel__onnx_value *v = one(r, sizeof *v);
    return v && reel__onnx_read_value(r, bytes, v) ? v : NULL;
}

static void read_input(reel__onnx_reader *r, reel__onnx_span bytes, reel__onnx_graph *g)
{
    reel__onnx_value *v = read_value(r, bytes);
    if (!v) return;
    g->input.at[g->input.n++] = v;
    if (v->dtype == REEL_ONNX_UNDEFINED && !v->lack)
        reel__onnx_bad(r, "input \"%s\" has no element type", v->name);
}

static void read_graph_field(reel__onnx_reader *r, const reel__onnx_field *f,
                             reel__onnx_graph *g)
{
    reel__onnx_value *v;
    switch (f->number) {
    case GRAPH_NODE: read_node(r, f->bytes, g); break;
    case GRAPH_NAME: g->name = reel__onnx_read_string(r, f, REEL__ONNX_NAME_MAX); break;
    case GRAPH_INITIALIZER: read_initializer(r, f->bytes, false, g); break;
    case GRAPH_DOC: g->doc = reel__onnx_read_string(r, f, SIZE_MAX); break;
    case GRAPH_INPUT: read_input(r, f->bytes, g); break;
    case GRAPH_OUTPUT:
        v = read_value(r, f->bytes);
        if (v) g->output.at[g->output.n++] = v;
        break;
    case GRAPH_VALUE_INFO:
        v = read_value(r, f->bytes);
        if (v) g->value_info.at[g->value_info.n++] = v;
        break;
    default: read_initializer(r, f->bytes, true, g); break;
    }
}

static void read_graph(reel__onnx_reader *r, reel__onnx_span bytes, reel__onnx_graph *g)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    if (!reel__onnx_open(r, &msg, bytes, &graph_schema)) return;
    if (!make_lists(r, &msg, g)) return;
    while (reel__onnx_next(r, &msg, &f)) read_graph_field(r, &f, g);
    reel__onnx_close(r, &msg);
}

/* ---- the model --------------------------------------------------------------------- */

static const reel__onnx_schema model_schema = {
    10,
    {
        {MODEL_IR_VERSION, "ir_version", WIRE_VARINT, LAST_COUNTS},
        {MODEL_PRODUCER_NAME, "producer_name", WIRE_BYTES, LAST_COUNTS},
        {MODEL_PRODUCER_VERSION, "producer_version", WIRE_BYTES, LAST_COUNTS},
        {MODEL_MODEL_VERSION, "model_version", WIRE_VARINT, LAST_COUNTS},
        {MODEL_DOC, "doc_string", WIRE_BYTES, LAST_COUNTS},
        {MODEL_GRAPH, "graph", WIRE_BYTES, ONLY_ONCE},
        {MODEL_OPSET_IMPORT, "opset_import", WIRE_BYTES, REPEATED},
        {MODEL_METADATA, "metadata_props", WIRE_BYTES, REPEATED},
        {MODEL_TRAINING, "training_info", WIRE_BYTES, REPEATED},
        {MODEL_FUNCTIONS, "functions", WIRE_BYTES, REPEATED},
    },
};

static const reel__onnx_schema opset_schema = {
    2,
    {
        {OPSET_DOMAIN, "domain", WIRE_BYTES, LAST_COUNTS},
        {OPSET_VERSION, "version", WIRE_VARINT, LAST_COUNTS},
    },
};

/* Versions of other domains matter to nobody: their operators are not read. */
static void read_opset(reel__onnx_reader *r, reel__onnx_span bytes, reel__onnx_model *m)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    const char *domain = "";
    uint64_t version = 0;
    if (!reel__onnx_open(r, &msg, bytes, &opset_schema)) return;
    while (reel__onnx_next(r, &msg, &f)) {
        if (f.number == OPSET_DOMAIN)
            domain = reel__onnx_read_string(r, &f, REEL__ONNX_NAME_MAX);
        else
            version = f.value;
    }
    if (!reel__onnx_close(r, &msg)) return;
    if (*domain && strcmp(domain, "ai.onnx") != 0) return;
    if (m->opset)
        reel__onnx_bad(r, "the opset comes a second time, must come once");
    else if (version < 1 || version > INT32_MAX)
        reel__onnx_bad(r, "is opset %jd, must be 1 or more", (intmax_t)version);
    m->opset = (int64_t)version;
}

static void read_metadata(reel__onnx_reader *r, reel__onnx_span bytes,
                          reel__onnx_model *m)
{
    reel__onnx_prop *p = one(r, sizeof *p);
    if (p && reel__onnx_read_prop(r, bytes, SIZE_MAX, p))
        m->metadata.at[m->metadata.n++] = p;
}

static void read_model_field(reel__onnx_reader *r, const reel__onnx_field *f,
                             reel__onnx_model *m)
{
    switch (f->number) {
    case MODEL_IR_VERSION:
        m->ir_version = (int64_t)f->value;
        if (m->ir_version < 1)
            reel__onnx_bad(r, "is %" PRId64 ", must be 1 or more", m->ir_version);
        break;
    case MODEL_PRODUCER_NAME:
        m->producer_name = reel__onnx_read_string(r, f, REEL__ONNX_NAME_MAX);
        break;
    case MODEL_PRODUCER_VERSION:
        m->producer_version = reel__onnx_read_string(r, f, REEL__ONNX_NAME_MAX);
        break;
    case MODEL_MODEL_VERSION: m->model_version = (int64_t)f->value; break;
    case MODEL_DOC: m->doc = reel__onnx_read_string(r, f, SIZE_MAX); break;
    case MODEL_GRAPH: read_graph(r, f->bytes, &m->graph); break;
    case MODEL_OPSET_IMPORT: read_opset(r, f->bytes, m); break;
    case MODEL_METADATA: read_metadata(r, f->bytes, m); break;
    case MODEL_FUNCTIONS: m->n_functions++; break;
    default: break; /* training is told by a line in the log */
    }
}

/* What is read, but not wholly. */
static void warn(const reel__onnx_reader *r, const reel__onnx_message *msg)
{
    if (r->m->ir_version > REEL__ONNX_IR_SILENT)
        reel__log_line(REEL_LOG_WARN,
                       "%s: IR version %" PRId64
                       " is newer than this reader: what it may "
                       "have added is not seen",
                       r->file, r->m->ir_version);
    if (reel__onnx_count(msg, MODEL_TRAINING))
        reel__log_line(REEL_LOG_WARN,
                       "%s: the model's training_info is left out: the graph is read as "
                       "for inference",
                       r->file);
}

static void read_model(reel__onnx_reader *r, reel__onnx_span bytes)
{
    reel__onnx_message msg;
    reel__onnx_field f;
    reel__onnx_model *m = r->m;
    m->ir_version = m->opset = 0;
    if (!reel__onnx_open(r, &msg, bytes, &model_schema)) return;
    MAKE_LIST(r, &m->metadata, reel__onnx_count(&msg, MODEL_METADATA));
    while (reel__onnx_next(r, &msg, &f)) read_model_field(r, &f, m);
    if (!reel__onnx_close(r, &msg)) return;
    if (m->ir_version == 0)
        reel__onnx_bad(r, "has no ir_version: no ONNX model");
    else if (m->opset == 0 && m->ir_version >= 3)
        reel__onnx_bad(r, "imports no opset of the domain \"ai.onnx\"");
    else if (reel__onnx_count(&msg, MODEL_GRAPH) == 0)
        reel__onnx_bad(r, "has no graph");
    if (m->opset == 0) m->opset = 1; /* before IR 3 nothing said so */
    if (!r->failed) warn(r, &msg);
}

/* ---- files and bytes --------------------------------------------------------------- */

/* Reads into r->m, which is freed if it fails. */
static reel__onnx_model *read_all(reel__onnx_reader *r, reel__onnx_span bytes)
{
    r->start = r->here = bytes.p;
    if (__builtin_mul_overflow(bytes.n, (size_t)REEL__ONNX_MEMORY_FACTOR, &r->budget) ||
        __builtin_add_overflow(r->budget, REEL__ONNX_MEMORY_FLOOR, &r->budget))
        r->budget = SIZE_MAX;
    read_model(r, bytes);
    if (!r->failed && reel__onnx_check(r->m, r->file) == REEL_OK) return r->m;
    reel__onnx_model_free(r->m);
    return NULL;
}

reel__onnx_model *reel__onnx_read_bytes(const char *name, const void *bytes, size_t n)
{
    if (reel_failed()) return NULL;
    if (!name || (!bytes && n)) {
        reel_fail(REEL_ERR_ARG, "onnx: the %s is NULL", name ? "bytes" : "name");
        return NULL;
    }
    reel__onnx_reader r = {.file = name, .m = reel__onnx_model_new()};
    return r.m ? read_all(&r, (reel__onnx_span){n ? bytes : "", n}) : NULL;
}

/* "a/b" -> "a/", "b" -> "./". */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = reel__strdup(slash ? path : "./");
    if (folder && slash) folder[slash + 1 - path] = '\0';
    return folder;
}

/* Maps the file; the model owns the mapping, as it does those of external data. */
static bool map_model(reel__onnx_model *m, const char *path, int64_t max, reel__map *map)
{
    reel__onnx_file *own =
        reel__onnx_alloc(&m->owned->arena, sizeof *own, alignof(reel__onnx_file));
    reel__file f;
    if (!own || reel__file_open(&f, path, max) != REEL_OK) return false;
    reel_status status = reel__file_map(&f, map);
    reel__file_close(&f);
    if (status != REEL_OK) return false;
    /* No location is empty, so no tensor finds the model itself by it. */
    *own = (reel__onnx_file){.location = "", .map = *map, .next = m->owned->files};
    m->owned->files = own;
    return true;
}

reel__onnx_model *reel__onnx_read(const char *path, const reel__onnx_read_opts *opts)
{
    if (reel_failed()) return NULL;
    int64_t max = opts && opts->max_bytes ? opts->max_bytes : REEL__ONNX_FILE_MAX;
    if (!path || max < 0) {
        reel_fail(REEL_ERR_ARG,
                  "onnx: the path is %s, max_bytes is %" PRId64 ", must be 0 or more",
                  path ? path : "NULL", max);
        return NULL;
    }
    char *folder = folder_of(path);
    reel__onnx_reader r = {.file = path,
                           .folder = folder,
                           .data = opts ? opts->data : NULL,
                           .max_bytes = max,
                           .m = reel__onnx_model_new()};
    reel__map map;
    reel__onnx_model *m = NULL;
    if (folder && r.m && map_model(r.m, path, max, &map))
        m = read_all(&r, (reel__onnx_span){map.data, map.size});
    else
        reel__onnx_model_free(r.m);
    reel__free(folder);
    return m;
}
