/* model.c: making models by hand. */
#include "onnx/model.h"

#include "base/alloc.h"
#include "onnx/arena.h"

#include <stdalign.h>
#include <string.h>

/* ---- a model ----------------------------------------------------------------------- */

static const reel__onnx_graph no_graph = {.name = "", .doc = ""};

reel__onnx_model *reel__onnx_model_new(void)
{
    reel__onnx_model *m = reel__malloc(sizeof *m);
    struct reel__onnx_owned *owned = m ? reel__calloc(1, sizeof *owned) : NULL;
    if (!owned) {
        reel__free(m);
        return NULL;
    }
    *m = (reel__onnx_model){
        .ir_version = 8,
        .opset = 17,
        .producer_name = "",
        .producer_version = "",
        .doc = "",
        .graph = no_graph,
        .owned = owned,
    };
    return m;
}

void reel__onnx_model_free(reel__onnx_model *m)
{
    if (!m) return;
    for (reel__onnx_file *f = m->owned->files; f; f = f->next) reel__file_unmap(&f->map);
    reel__onnx_arena_free(&m->owned->arena);
    reel__free(m->owned);
    reel__free(m);
}

/* ---- memory ------------------------------------------------------------------------ */

static void *alloc(reel__onnx_model *m, size_t size)
{
    return m ? reel__onnx_alloc(&m->owned->arena, size, alignof(max_align_t)) : NULL;
}

void *reel__onnx_copy(reel__onnx_model *m, const void *data, size_t bytes)
{
    void *copy = alloc(m, bytes);
    if (copy && bytes) memcpy(copy, data, bytes);
    return copy;
}

const char *reel__onnx_text(reel__onnx_model *m, const char *text)
{
    if (!m) return NULL;
    if (!text || !*text) return "";
    size_t size = strlen(text) + 1;
    char *copy = reel__onnx_alloc(&m->owned->arena, size, 1);
    return copy ? memcpy(copy, text, size) : NULL;
}

/* Makes room for one more in a list, whose array pointer is at `at`; the old array stays
 * behind in the arena, which doubling keeps below half of it. */
static bool reserve(reel__onnx_model *m, void *at, size_t n, size_t *room, size_t size)
{
    if (n < *room) return true;
    size_t more = *room ? 2 * *room : 4;
    void *old, *copy = alloc(m, more * size);
    if (!copy) return false;
    memcpy(&old, at, sizeof old);
    if (n) memcpy(copy, old, n * size);
    memcpy(at, &copy, sizeof copy);
    *room = more;
    return true;
}

/* True if `item` is there and could be appended. */
#define APPEND(m, list, item)                                                            \
    ((item) && reserve(m, &(list)->at, (list)->n, &(list)->room, sizeof *(list)->at) &&  \
     ((list)->at[(list)->n++] = (item), true))

/* ---- parts ------------------------------------------------------------------------- */

bool reel__onnx_add_metadata(reel__onnx_model *m, const char *key, const char *value)
{
    const reel__onnx_prop made = {reel__onnx_text(m, key), reel__onnx_text(m, value)};
    if (!made.key || !made.value) return false;
    reel__onnx_prop *p = reel__onnx_copy(m, &made, sizeof made);
    return APPEND(m, &m->metadata, p);
}

reel__onnx_node *reel__onnx_add_node(reel__onnx_model *m, const char *op_type,
                                     const char *name)
{
    const reel__onnx_node made = {.op_type = reel__onnx_text(m, op_type),
                                  .name = reel__onnx_text(m, name),
                                  .domain = "",
                                  .doc = ""};
    if (!made.op_type || !made.name) return NULL;
    reel__onnx_node *node = reel__onnx_copy(m, &made, sizeof made);
    return APPEND(m, &m->graph.node, node) ? node : NULL;
}

bool reel__onnx_set_domain(reel__onnx_model *m, reel__onnx_node *node, const char *domain)
{
    for (size_t i = 0; node && i < m->domain.n; i++)
        if (strcmp(m->domain.at[i], domain) == 0) {
            node->domain = m->domain.at[i];
            return true;
        }
    const char *text = node ? reel__onnx_text(m, domain) : NULL;
    if (!APPEND(m, &m->domain, text)) return false;
    node->domain = text;
    return true;
}

bool reel__onnx_add_input(reel__onnx_model *m, reel__onnx_node *node, const char *name)
{
    const char *text = node ? reel__onnx_text(m, name) : NULL;
    return APPEND(m, &node->input, text);
}

bool reel__onnx_add_output(reel__onnx_model *m, reel__onnx_node *node, const char *name)
{
    const char *text = node ? reel__onnx_text(m, name) : NULL;
    return APPEND(m, &node->output, text);
}

static reel__onnx_tensor *tensor_new(reel__onnx_model *m, const char *name,
                                     reel__onnx_dtype dtype, reel_shape shape,
                                     const void *data)
{
    reel__onnx_tensor made = {.dtype = dtype, .shape = shape, .data = data};
    if (!reel__onnx_bytes(shape, dtype, &made.bytes)) {
        reel_fail(
            REEL_ERR_ARG,
            "onnx: tensor \"%s\" of type %s: must be of a type with a size, at most "
            "%d dimensions of 0 or more, and fewer than 2^60 bytes",
            name ? name : "", reel__onnx_dtype_name(dtype), REEL_MAX_RANK);
        return NULL;
    }
    if (!data && made.bytes) {
        reel_fail(REEL_ERR_ARG, "onnx: tensor \"%s\": its data are NULL",
                  name ? name : "");
        return NULL;
    }
    made.name = reel__onnx_text(m, name);
    return made.name ? reel__onnx_copy(m, &made, sizeof made) : NULL;
}

reel__onnx_tensor *reel__onnx_new_tensor(reel__onnx_model *m, const char *name,
                                         reel__onnx_dtype dtype, reel_shape shape,
                                         const void *data)
{
    return m ? tensor_new(m, name, dtype, shape, data) : NULL;
}

reel__onnx_tensor *reel__onnx_add_initializer(reel__onnx_model *m, const char *name,
                                              reel__onnx_dtype dtype, reel_shape shape,
                                              const void *data)
{
    reel__onnx_tensor *t = reel__onnx_new_tensor(m, name, dtype, shape, data);
    return APPEND(m, &m->graph.initializer, t) ? t : NULL;
}

/* ---- values ------------------------------------------------------------------------ */

static const reel__onnx_dim *copy_dims(reel__onnx_model *m, int rank,
                                       const reel__onnx_dim *dim)
{
    reel__onnx_dim *copy = reel__onnx_copy(m, dim, (size_t)rank * sizeof *dim);
    for (int i = 0; copy && i < rank; i++) {
        copy[i].param = reel__onnx_text(m, dim[i].param);
        if (!copy[i].param) return NULL;
    }
    return copy;
}

reel__onnx_value *reel__onnx_add_value(reel__onnx_model *m, reel__onnx_place place,
                                       const char *name, reel__onnx_dtype dtype, int rank,
                                       const reel__onnx_dim *dim)
{
    if (!m) return NULL;
    if (rank < -1 || rank > REEL_MAX_RANK) {
        reel_fail(REEL_ERR_ARG,
                  "onnx: value \"%s\" of rank %d: must be 0 to %d, or -1 for unknown",
                  name ? name : "", rank, REEL_MAX_RANK);
        return NULL;
    }
    reel__onnx_value made = {
        .name = reel__onnx_text(m, name), .dtype = dtype, .rank = rank};
    if (!made.name) return NULL;
    if (rank > 0 && !(made.dim = copy_dims(m, rank, dim))) return NULL;
    reel__onnx_value *v = reel__onnx_copy(m, &made, sizeof made);
    reel__onnx_graph *g = &m->graph;
    bool added = place == REEL_ONNX_INPUT    ? APPEND(m, &g->input, v)
                 : place == REEL_ONNX_OUTPUT ? APPEND(m, &g->output, v)
                                             : APPEND(m, &g->value_info, v);
    return added ? v : NULL;
}

/* ---- attributes -------------------------------------------------------------------- */

/* Copies `made`, names it, and gives it to the node. */
static bool add(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                reel__onnx_attribute made)
{
    if (!m || !node) return false;
    made.name = reel__onnx_text(m, name);
    if (!made.name) return false;
    reel__onnx_attribute *a = reel__onnx_copy(m, &made, sizeof made);
    return APPEND(m, &node->attribute, a);
}

bool reel__onnx_add_float(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                          float f)
{
    return add(m, node, name, (reel__onnx_attribute){.kind = REEL_ONNX_A_FLOAT, .f = f});
}

bool reel__onnx_add_int(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                        int64_t i)
{
    return add(m, node, name, (reel__onnx_attribute){.kind = REEL_ONNX_A_INT, .i = i});
}

bool reel__onnx_add_string(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                           const char *s)
{
    const char *copy = reel__onnx_text(m, s);
    return copy && add(m, node, name,
                       (reel__onnx_attribute){.kind = REEL_ONNX_A_STRING, .s = copy});
}

bool reel__onnx_add_tensor(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                           const reel__onnx_tensor *t)
{
    return t &&
           add(m, node, name, (reel__onnx_attribute){.kind = REEL_ONNX_A_TENSOR, .t = t});
}

bool reel__onnx_add_floats(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                           const float *floats, size_t n)
{
    const float *copy = reel__onnx_copy(m, floats, n * sizeof *floats);
    return copy && add(m, node, name,
                       (reel__onnx_attribute){
                           .kind = REEL_ONNX_A_FLOATS, .n = n, .floats = copy});
}

bool reel__onnx_add_ints(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                         const int64_t *ints, size_t n)
{
    const int64_t *copy = reel__onnx_copy(m, ints, n * sizeof *ints);
    return copy &&
           add(m, node, name,
               (reel__onnx_attribute){.kind = REEL_ONNX_A_INTS, .n = n, .ints = copy});
}

bool reel__onnx_add_strings(reel__onnx_model *m, reel__onnx_node *node, const char *name,
                            const char *const *strings, size_t n)
{
    const char **copy = alloc(m, n * sizeof *copy);
    if (!copy) return false;
    for (size_t i = 0; i < n; i++)
        if (!(copy[i] = reel__onnx_text(m, strings[i]))) return false;
    return add(
        m, node, name,
        (reel__onnx_attribute){.kind = REEL_ONNX_A_STRINGS, .n = n, .strings = copy});
}

const reel__onnx_attribute *reel__onnx_find_attribute(const reel__onnx_node *node,
                                                      const char *name)
{
    for (size_t i = 0; i < node->attribute.n; i++)
        if (strcmp(node->attribute.at[i]->name, name) == 0) return node->attribute.at[i];
    return NULL;
}
