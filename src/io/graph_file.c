/* graph_file.c: graphs as safetensors files: the text of the graph is metadata, its state the
 * tensors, by name. */
#include "base/error.h"
#include <reel/io.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <reel/autograd.h>

#define TEXT "reel.graph"
#define VERSION "reel.graph.version"
#define CURRENT "1"

/* ---- writing ---------------------------------------------------------------------------- */

static reel_status put(void *user, const char *name, reel_tensor *t, reel_state_kind kind)
{
    (void)kind;
    return reel_tensor_map_set(user, name, t);
}

static reel_tensor *get(void *user, const char *name)
{
    return reel_tensor_map_get(user, name);
}

static reel_status fill(reel_tensor_map *map, const reel_graph *g, const char *text)
{
    reel_status st = reel_graph_each_state(g, put, map);
    if (!st) st = reel_tensor_map_set_text(map, VERSION, CURRENT);
    if (!st) st = reel_tensor_map_set_text(map, TEXT, text);
    if (st) return st;
    /* What cannot be read must not be written. */
    reel_graph *again = reel_graph_parse(text, get, map);
    reel_graph_free(again);
    return again ? REEL_OK : reel_error_status();
}

reel_status reel_graph_save(const reel_graph *g, const char *path)
{
    REEL__CALLED;
    if (!g || !path)
        return reel_fail(REEL_ERR_ARG, "graph_save: the %s is NULL",
                         g ? "path" : "graph");
    if (reel_failed()) return reel_error_status();
    reel_graph *named = reel_graph_copy(g);
    char *text = NULL;
    if (named && !reel_graph_name_state(named)) text = reel_graph_to_string(named);
    reel_tensor_map *map = text ? reel_tensor_map_new() : NULL;
    reel_status st = map ? fill(map, named, text) : reel_error_status();
    if (!st) st = reel_safetensors_save(map, path);
    reel_tensor_map_free(map);
    reel_graph_free(named);
    free(text);
    return st;
}

/* ---- reading ---------------------------------------------------------------------------- */

/* The pending error again, with the file's name before it. */
static reel_graph *fail_in(const char *path)
{
    char cause[900];
    reel_status st = reel_error_status();
    if (st == REEL_ERR_MEMORY) return NULL;
    (void)snprintf(cause, sizeof cause, "%s", reel__error_said());
    reel_error_clear();
    reel_fail(st, "graph_load: %s: %s", path, cause);
    return NULL;
}

static reel_status ask_gradient(void *user, const char *name, reel_tensor *t,
                                reel_state_kind kind)
{
    (void)user, (void)name;
    if (kind == REEL_STATE_PARAM && reel_dtype_is_float(reel_dtype_of(t)))
        return reel_requires_grad(t, true) ? REEL_OK : reel_error_status();
    return REEL_OK;
}

static reel_graph *from_map(const char *path, reel_tensor_map *map)
{
    const char *text = reel_tensor_map_text(map, TEXT);
    const char *version = reel_tensor_map_text(map, VERSION);
    if (!text || !version || strcmp(version, CURRENT) != 0) {
        reel_fail(REEL_ERR_FORMAT, "graph_load: %s holds %s%.40s", path,
                  text && version ? "a graph of version "
                                  : "no graph (metadata " TEXT ")",
                  text && version ? version : "");
        return NULL;
    }
    reel_graph *g = reel_graph_parse(text, get, map);
    if (!g) return fail_in(path);
    if (!reel_graph_each_state(g, ask_gradient, NULL)) return g;
    reel_graph_free(g);
    return NULL;
}

reel_graph *reel_graph_load(const char *path)
{
    REEL__CALLED;
    if (!path) reel_fail(REEL_ERR_ARG, "graph_load: the path is NULL");
    if (reel_failed()) return NULL;
    reel_tensor_map *map = reel_safetensors_load(path);
    reel_graph *g = map ? from_map(path, map) : NULL;
    reel_tensor_map_free(map);
    return g;
}
