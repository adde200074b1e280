/* state.c: parameters and buffers by name, in and out. Loading looks at every name and shape
 * before it changes anything, and says all that does not fit at once. */
#include "nn/module.h"
#include "nn/text.h"

static reel_status put(void *user, const char *path, reel_tensor *t, bool is_param)
{
    (void)is_param;
    return reel_tensor_map_set(user, path, t);
}

reel_status reel_state_dict(reel_module *m, reel_tensor_map *map)
{
    if (!m || !map)
        return reel_fail(REEL_ERR_ARG, "state_dict: the %s is NULL",
                         m ? "map" : "module");
    if (reel_failed()) return reel_error_status();
    return reel_tensor_each(m, put, map);
}

/* ---- loading ------------------------------------------------------------------------- */

/* Names of one kind of trouble; the first few are listed. */
typedef struct trouble {
    reel__text names;
    int n;
} trouble;

enum { LISTED = 6 };

static bool list_name(trouble *t, const char *name)
{
    if (++t->n > LISTED) return true;
    return reel__text_add(&t->names, "%s%.80s", t->n > 1 ? ", " : "", name);
}

typedef struct loading {
    const reel_tensor_map *map;
    trouble missing, unexpected, shapes;
} loading;

static bool same_shape(reel_shape a, reel_shape b)
{
    bool same = a.rank == b.rank;
    for (int i = 0; same && i < a.rank; i++) same = a.dim[i] == b.dim[i];
    return same;
}

static reel_status compare(void *user, const char *path, reel_tensor *t, bool is_param)
{
    loading *l = user;
    (void)is_param;
    reel_tensor *src = reel_tensor_map_get(l->map, path);
    if (!src) return list_name(&l->missing, path) ? REEL_OK : reel_error_status();
    reel_shape have = reel_shape_of(src), want = reel_shape_of(t);
    if (same_shape(have, want)) return REEL_OK;
    char a[REEL__SHAPE_TEXT], b[REEL__SHAPE_TEXT];
    if (!list_name(&l->shapes, path)) return reel_error_status();
    if (l->shapes.n <= LISTED &&
        !reel__text_add(&l->shapes.names, " %s, expected %s", reel__shape_text(have, a),
                        reel__shape_text(want, b)))
        return reel_error_status();
    return REEL_OK;
}

static reel_status copy_in(void *user, const char *path, reel_tensor *t, bool is_param)
{
    const loading *l = user;
    (void)is_param;
    reel_tensor *src = reel_tensor_map_get(l->map, path);
    return src && !reel_copy_(t, src) ? reel_error_status() : REEL_OK;
}

static void say(reel__text *out, const trouble *t, const char *kind)
{
    if (t->n == 0) return;
    reel__text_add(out, "%s%d %s (%s", out->n ? "; " : "", t->n, kind, t->names.s);
    reel__text_add(out, t->n > LISTED ? ", and %d more)" : ")", t->n - LISTED);
}

static reel_status check(loading *l, reel_module *m, bool partial)
{
    if (reel_tensor_each(m, compare, l)) return reel_error_status();
    for (int64_t i = 0; i < reel_tensor_map_count(l->map); i++) {
        const char *name = reel_tensor_map_name(l->map, i);
        if (!reel_module_find(m, name) && !list_name(&l->unexpected, name))
            return reel_error_status();
    }
    if (partial) l->missing.n = l->unexpected.n = 0;
    if (l->missing.n + l->unexpected.n + l->shapes.n == 0) return REEL_OK;
    reel__text out = {0};
    say(&out, &l->missing, "missing");
    say(&out, &l->unexpected, "unexpected");
    say(&out, &l->shapes, "of another shape");
    bool only_shapes = l->missing.n + l->unexpected.n == 0;
    reel_status st = reel_fail(only_shapes ? REEL_ERR_SHAPE : REEL_ERR_ARG,
                               "load_state_dict: %s", out.s ? out.s : "");
    reel__text_free(&out);
    return st;
}

reel_status reel_load_state_dict(reel_module *m, const reel_tensor_map *map,
                                 const reel_load_opts *opts)
{
    if (!m || !map)
        return reel_fail(REEL_ERR_ARG, "load_state_dict: the %s is NULL",
                         m ? "map" : "module");
    if (reel_failed()) return reel_error_status();
    loading l = {.map = map};
    reel_status st = check(&l, m, opts && opts->partial);
    reel__text_free(&l.missing.names);
    reel__text_free(&l.unexpected.names);
    reel__text_free(&l.shapes.names);
    if (st) return st;
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    st = reel_tensor_each(m, copy_in, &l);
    reel_set_grad_enabled(was);
    reel_scope_end(s);
    return st;
}

/* ---- files --------------------------------------------------------------------------- */

reel_status reel_module_save(reel_module *m, const char *path)
{
    if (!m) return reel_fail(REEL_ERR_ARG, "module_save: the module is NULL");
    reel_tensor_map *map = reel_tensor_map_new();
    reel_status st = map ? reel_state_dict(m, map) : reel_error_status();
    if (!st) st = reel_safetensors_save(path, map);
    reel_tensor_map_free(map);
    return st;
}

reel_status reel_module_load(reel_module *m, const char *path, const reel_load_opts *opts)
{
    if (!m) return reel_fail(REEL_ERR_ARG, "module_load: the module is NULL");
    reel_tensor_map *map = reel_safetensors_load(path);
    reel_status st = map ? reel_load_state_dict(m, map, opts) : reel_error_status();
    reel_tensor_map_free(map);
    return st;
}
