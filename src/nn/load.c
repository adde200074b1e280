/* load.c: parameters and buffers from a map of names. Every name and shape is looked at before
 * anything changes, and all that does not fit is said at once. */
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "nn/module.h"
#include "nn/text.h"

/* ---- the report ---------------------------------------------------------------------- */

enum { KINDS = REEL_LOAD_OTHER_SHAPE + 1 };

typedef struct names {
    char **name;
    int n;
} names;

struct reel_load_report {
    names of[KINDS]; /* by reel_load_kind */
};

reel_load_report *reel_load_report_new(void)
{
    REEL__CALLED;
    return reel_failed() ? NULL : reel__calloc(1, sizeof(reel_load_report));
}

static void clear_report(reel_load_report *r)
{
    for (int kind = 0; kind < KINDS; kind++) {
        for (int i = 0; i < r->of[kind].n; i++) reel__free(r->of[kind].name[i]);
        reel__free(r->of[kind].name);
    }
    *r = (reel_load_report){0};
}

void reel_load_report_free(reel_load_report *r)
{
    if (r) clear_report(r);
    reel__free(r);
}

int reel_load_report_count(const reel_load_report *r, reel_load_kind kind)
{
    return r && (unsigned)kind < KINDS ? r->of[kind].n : 0;
}

const char *reel_load_report_name(const reel_load_report *r, reel_load_kind kind, int i)
{
    return i >= 0 && i < reel_load_report_count(r, kind) ? r->of[kind].name[i] : NULL;
}

static bool note(reel_load_report *r, reel_load_kind kind, const char *name)
{
    names *list = &r->of[kind];
    char *copy = reel__strdup(name);
    char **grown =
        copy ? reel__realloc(list->name, (size_t)(list->n + 1) * sizeof *grown) : NULL;
    if (!grown) {
        reel__free(copy);
        return false;
    }
    list->name = grown;
    list->name[list->n++] = copy;
    return true;
}

/* ---- what goes where ------------------------------------------------------------------- */

/* A name of the module, and what the map has for it: under that name, under what a text says
 * that it is the same as (reel_module_save), or under another name of the same tensor. */
typedef struct target {
    char *path;
    reel_tensor *tensor, *src; /* src NULL: it is missing */
    bool fits;                 /* src has its shape */
} target;

typedef struct loading {
    const reel_tensor_map *map;
    target *target;
    int n;
    reel_load_report *report;
} loading;

static reel_status add_target(void *user, const char *path, reel_tensor *t, bool is_param)
{
    loading *l = user;
    (void)is_param;
    char *copy = reel__strdup(path);
    target *list =
        copy ? reel__realloc(l->target, (size_t)(l->n + 1) * sizeof *list) : NULL;
    if (!list) {
        reel__free(copy);
        return reel_error_status();
    }
    l->target = list;
    list[l->n++] = (target){.path = copy, .tensor = t};
    return REEL_OK;
}

/* The first of the other names of t's tensor that the map has. */
static reel_tensor *by_other_name(const loading *l, const target *t)
{
    reel_tensor *src = NULL;
    for (int i = 0; i < l->n && !src; i++)
        if (l->target[i].tensor == t->tensor)
            src = reel_tensor_map_get(l->map, l->target[i].path);
    return src;
}

static void find_sources(loading *l)
{
    for (int i = 0; i < l->n; i++) {
        target *t = &l->target[i];
        const char *same = reel_tensor_map_text(l->map, t->path);
        t->src = reel_tensor_map_get(l->map, t->path);
        if (!t->src && same) t->src = reel_tensor_map_get(l->map, same);
        if (!t->src) t->src = by_other_name(l, t);
        t->fits =
            t->src && reel__shapes_equal(reel_shape_of(t->src), reel_shape_of(t->tensor));
    }
}

/* Notes every name of either side; false if there is no memory. */
static bool sort_names(loading *l, reel_module *m)
{
    for (int i = 0; i < l->n; i++) {
        const target *t = &l->target[i];
        reel_load_kind kind = t->fits  ? REEL_LOAD_LOADED
                              : t->src ? REEL_LOAD_OTHER_SHAPE
                                       : REEL_LOAD_MISSING;
        if (!note(l->report, kind, t->path)) return false;
    }
    for (int64_t i = 0; i < reel_tensor_map_count(l->map); i++) {
        const char *name = reel_tensor_map_name(l->map, i);
        if (!reel_module_find(m, name) && !note(l->report, REEL_LOAD_UNEXPECTED, name))
            return false;
    }
    return true;
}

/* ---- what does not fit ------------------------------------------------------------------ */

enum { LISTED = 6 };

static const target *target_of(const loading *l, const char *path)
{
    int i = 0;
    while (strcmp(l->target[i].path, path) != 0) i++;
    return &l->target[i];
}

/* "2 missing (a, b)", of which the first few are listed. */
static void say(reel__text *out, const loading *l, reel_load_kind kind, const char *word)
{
    const names *list = &l->report->of[kind];
    char a[REEL__SHAPE_TEXT], b[REEL__SHAPE_TEXT];
    if (list->n == 0) return;
    reel__text_add(out, "%s%d %s (", out->n ? "; " : "", list->n, word);
    for (int i = 0; i < list->n && i < LISTED; i++) {
        reel__text_add(out, "%s%.80s", i ? ", " : "", list->name[i]);
        if (kind != REEL_LOAD_OTHER_SHAPE) continue;
        const target *t = target_of(l, list->name[i]);
        reel__text_add(out, " %s, expected %s",
                       reel__shape_text(reel_shape_of(t->src), a),
                       reel__shape_text(reel_shape_of(t->tensor), b));
    }
    reel__text_add(out, list->n > LISTED ? ", and %d more)" : ")", list->n - LISTED);
}

static reel_status check_names(const loading *l, const reel_load_opts *o)
{
    const names *of = l->report->of;
    int names_off = of[REEL_LOAD_MISSING].n + of[REEL_LOAD_UNEXPECTED].n;
    int shapes_off = of[REEL_LOAD_OTHER_SHAPE].n;
    bool nothing = of[REEL_LOAD_LOADED].n == 0 && names_off + shapes_off > 0;
    bool bad_names = !o->partial && names_off > 0;
    bool bad_shapes = !o->skip_other_shape && shapes_off > 0;
    if (!nothing && !bad_names && !bad_shapes) return REEL_OK;
    reel__text out = {0};
    if (nothing || bad_names) say(&out, l, REEL_LOAD_MISSING, "missing");
    if (nothing || bad_names) say(&out, l, REEL_LOAD_UNEXPECTED, "unexpected");
    if (nothing || bad_shapes) say(&out, l, REEL_LOAD_OTHER_SHAPE, "of another shape");
    bool only_shapes = bad_shapes && !bad_names && !(nothing && names_off > 0);
    reel_status st =
        reel_fail(only_shapes ? REEL_ERR_SHAPE : REEL_ERR_ARG, "load_state_dict: %s%s",
                  nothing ? "nothing fits: " : "", out.s ? out.s : "");
    reel__text_free(&out);
    return st;
}

static bool same_values(reel_tensor *a, reel_tensor *b, reel_dtype dtype)
{
    const reel_device cpu = {REEL_CPU, 0};
    size_t bytes = (size_t)reel_numel(a) * reel_dtype_size(dtype);
    a = reel_contiguous(reel_cast(reel_to(a, cpu), dtype));
    b = reel_contiguous(reel_cast(reel_to(b, cpu), dtype));
    return a && b && memcmp(reel_data(a), reel_data(b), bytes) == 0;
}

/* One tensor cannot take two values. */
static reel_status check_ties(const loading *l)
{
    for (int i = 0; i < l->n; i++)
        for (int j = 0; j < i; j++) {
            const target *a = &l->target[j], *b = &l->target[i];
            if (a->tensor != b->tensor || a->src == b->src || !a->fits || !b->fits)
                continue;
            if (!same_values(a->src, b->src, reel_dtype_of(a->tensor)))
                return reel_fail(REEL_ERR_ARG,
                                 "load_state_dict: %.80s and %.80s are one tensor of the "
                                 "module, and have different values in the map",
                                 a->path, b->path);
        }
    return REEL_OK;
}

/* ---- loading ------------------------------------------------------------------------- */

static reel_status load(loading *l, reel_module *m, const reel_load_opts *o)
{
    if (reel_tensor_each(m, add_target, l)) return reel_error_status();
    find_sources(l);
    if (!sort_names(l, m) || check_names(l, o) || check_ties(l))
        return reel_error_status();
    for (int i = 0; i < l->n; i++)
        if (l->target[i].fits && !reel_copy_(l->target[i].tensor, l->target[i].src))
            break;
    return reel_error_status();
}

reel_status reel_load_state_dict(reel_module *m, const reel_tensor_map *map,
                                 const reel_load_opts *opts)
{
    REEL__CALLED;
    if (!reel__module_there("load_state_dict", m)) return reel_error_status();
    if (!map) return reel_fail(REEL_ERR_ARG, "load_state_dict: the map is NULL");
    if (reel_failed()) return reel_error_status();
    const reel_load_opts *given = REEL__OPTS("load_state_dict", reel_load_opts, opts);
    if (!given) return reel_error_status();
    reel_load_opts o = *given;
    reel_load_report own = {0};
    loading l = {.map = map, .report = o.report ? o.report : &own};
    clear_report(l.report);
    reel_scope s = reel_scope_begin();
    bool was = reel_set_grad_enabled(false);
    reel_status st = load(&l, m, &o);
    reel_set_grad_enabled(was);
    reel_scope_end(s);
    for (int i = 0; i < l.n; i++) reel__free(l.target[i].path);
    reel__free(l.target);
    clear_report(&own);
    return st;
}
