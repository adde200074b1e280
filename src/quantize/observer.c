/* observer.c: an observer as a module around its kind. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/option.h"
#include "quantize/quantize.h"

typedef struct observer {
    reel_module m;
    const reel_observer_kind *kind;
    void *opts;
    reel_tensor *state[REEL_OBSERVER_MOST_STATES];
    int64_t channels;
    int axis;
    reel_quantize_grid grid;
} observer;

/* ---- reading ----------------------------------------------------------------------------------- */

reel_status reel__peek(reel_tensor *x, double *out)
{
    if (!x) return reel_error_status();
    const reel__listener *was = reel__heard_by;
    reel__heard_by = NULL;
    reel_status st = reel__read("read", x, out, REEL_F64);
    reel__heard_by = was;
    return st;
}

reel_status reel__peek_smallest(reel_tensor *x, double *out)
{
    int64_t n = reel_numel(x);
    double *all = reel__calloc((size_t)n + 1, sizeof *all);
    reel_status st = all ? reel__peek(x, all) : reel_error_status();
    for (int64_t i = 0; !st && i < n; i++)
        if (i == 0 || !(all[i] >= *out)) *out = all[i];
    reel__free(all);
    return st;
}

/* ---- seeing ------------------------------------------------------------------------------------ */

/* All dimensions, or all but the channels'. */
static reel_shape dims_of(const observer *o, int rank)
{
    reel_shape dims = {.rank = 0};
    for (int d = 0; o->channels && d < rank; d++)
        if (d != o->axis) dims.dim[dims.rank++] = d;
    return dims;
}

static reel_observer_slot slot_of(const observer *o, int rank)
{
    return (reel_observer_slot){.state = o->state,
                                .channels = o->channels,
                                .dims = dims_of(o, rank),
                                .grid = o->grid};
}

static reel_status check_seen(const observer *o, reel_tensor *x)
{
    reel_shape s = reel_shape_of(x);
    if (!reel_dtype_is_float(reel_dtype_of(x)))
        return reel_fail(REEL_ERR_DTYPE, "%s: x is %s; observers see floats",
                         o->kind->name, reel_dtype_name(reel_dtype_of(x)));
    if (o->channels && (o->axis >= s.rank || s.dim[o->axis] != o->channels))
        return reel_fail(REEL_ERR_SHAPE,
                         "%s: x of rank %d does not have %lld channels in dimension %d",
                         o->kind->name, s.rank, (long long)o->channels, o->axis);
    if (o->kind->reads && reel_capturing())
        return reel_fail(REEL_ERR_STATE,
                         "%s: it looks at values, which a captured step cannot; observe "
                         "with min_max or moving_average, or freeze the observers",
                         o->kind->name);
    return REEL_OK;
}

static reel_tensor *forward(reel_module *self, reel_tensor *x)
{
    const observer *o = (const observer *)self;
    if (check_seen(o, x)) return NULL;
    if (reel_numel(x) == 0) return x;
    reel_observer_slot slot = slot_of(o, reel_rank(x));
    bool was = reel_set_grad_enabled(false);
    REEL__CALLS_BACK;
    reel_status st = o->kind->see(o->opts, &slot, x);
    (void)reel_set_grad_enabled(was);
    return st ? NULL : x;
}

static void destroy(reel_module *self)
{
    reel__free(((observer *)self)->opts);
}

/* ---- making ------------------------------------------------------------------------------------ */

static reel_status check_kind(const reel_observer_kind *k)
{
    if (!k || !k->name || !k->see || !k->range)
        return reel_fail(REEL_ERR_ARG, "observer_new: the kind%s is NULL",
                         !k         ? ""
                         : !k->name ? "'s name"
                         : !k->see  ? "'s see"
                                    : "'s range");
    if (!REEL__KNOWN("observer_new", k)) return reel_error_status();
    if (k->n_state < 0 || k->n_state > REEL_OBSERVER_MOST_STATES)
        return reel_fail(REEL_ERR_ARG, "%s: %d states, expected 0 to %d", k->name,
                         k->n_state, REEL_OBSERVER_MOST_STATES);
    for (int i = 0; i < k->n_state; i++)
        if (!k->state[i].name || k->state[i].size < 0)
            return reel_fail(REEL_ERR_ARG, "%s: state %d has no name or a size below 0",
                             k->name, i);
    for (int i = 0; i < k->n_state; i++)
        if (!REEL__KNOWN("observer_new", &k->state[i])) return reel_error_status();
    return REEL_OK;
}

static reel_status check_opts(const observer *o)
{
    const int most = 1 << 23;
    if (o->channels < 0 || o->axis < 0 || o->axis >= REEL_MAX_RANK)
        return reel_fail(REEL_ERR_ARG, "%s: %lld channels in dimension %d", o->kind->name,
                         (long long)o->channels, o->axis);
    if (o->grid.low >= o->grid.high || o->grid.low < -most || o->grid.high > most ||
        (o->grid.symmetric && (o->grid.low >= 0 || o->grid.high <= 0)))
        return reel_fail(REEL_ERR_ARG,
                         "%s: a grid of %d .. %d, expected low < high within -2^23 .. "
                         "2^23, and 0 between them if it is symmetric",
                         o->kind->name, o->grid.low, o->grid.high);
    return REEL_OK;
}

static reel_status add_states(observer *o)
{
    for (int i = 0; i < o->kind->n_state; i++) {
        const reel_observer_state_row *row = &o->kind->state[i];
        reel_shape s = {.rank = 0};
        if (o->channels) s.dim[s.rank++] = o->channels;
        if (row->size) s.dim[s.rank++] = row->size;
        reel_tensor *t = reel_full(s, row->initial, row->wide ? REEL_F64 : REEL_F32);
        o->state[i] = reel_module_buffer(&o->m, row->name, t);
        if (!o->state[i]) return reel_error_status();
    }
    return REEL_OK;
}

static reel_status take_opts(observer *o, const void *opts)
{
    o->opts = reel__calloc(1, o->kind->opts_size + 1);
    if (!o->opts) return reel_error_status();
    if (opts && o->kind->opts_size) memcpy(o->opts, opts, o->kind->opts_size);
    REEL__CALLS_BACK;
    return o->kind->check ? o->kind->check(o->opts) : REEL_OK;
}

reel_module *reel_observer_new(const reel_observer_kind *kind,
                               const reel_observer_opts *opts)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    const reel_observer_opts *given =
        REEL__OPTS("observer_new", reel_observer_opts, opts);
    if (!given || check_kind(kind)) return NULL;
    observer *o = reel_module_new(sizeof *o, kind->name, forward);
    if (!o) return NULL;
    o->m.destroy = destroy;
    o->kind = kind;
    o->channels = given->channels;
    o->axis = given->axis;
    o->grid = given->grid;
    if (!o->grid.low && !o->grid.high) o->grid.high = 255;
    reel_scope s = reel_scope_begin();
    if (!check_opts(o) && !take_opts(o, given->kind_opts)) (void)add_states(o);
    reel_scope_end(s);
    return reel_module_done(&o->m);
}

/* ---- asking ------------------------------------------------------------------------------------ */

static observer *observer_of(const char *who, reel_module *m)
{
    if (m && m->destroy == destroy) return (observer *)m;
    reel_fail(REEL_ERR_ARG, "%s: %s%s; reel_observer_new() makes one", who,
              m ? "a module that does not observe: " : "the module is NULL",
              m ? m->type : "");
    return NULL;
}

static reel_status range_of(const observer *o, reel_tensor **low, reel_tensor **high)
{
    reel_observer_slot slot = slot_of(o, o->axis + 1);
    *low = *high = NULL;
    REEL__CALLS_BACK;
    if (o->kind->range(o->opts, &slot, low, high)) return reel_error_status();
    int64_t n = o->channels ? o->channels : 1;
    if (*low && *high && reel_numel(*low) == n && reel_numel(*high) == n) return REEL_OK;
    return reel_fail(REEL_ERR_STATE,
                     "%s: its range gave no low and high of %lld elements", o->kind->name,
                     (long long)n);
}

reel_status reel__observer_range(reel_module *m, reel_observed *out)
{
    const observer *o = (const observer *)m;
    *out = (reel_observed){0};
    bool was = reel_set_grad_enabled(false);
    reel_status st = range_of(o, &out->low, &out->high);
    if (!st)
        st = reel__range_parameters(out->low, out->high, o->grid, &out->scale,
                                    &out->zero_point);
    (void)reel_set_grad_enabled(was);
    if (st) *out = (reel_observed){0};
    return st;
}

bool reel__has_seen(const reel_observed *seen)
{
    double least = -1;
    bool was = reel_set_grad_enabled(false);
    (void)reel__peek_smallest(reel_sub(seen->high, seen->low), &least);
    (void)reel_set_grad_enabled(was);
    return !reel_failed() && least >= 0;
}

reel_status reel_observer_range(reel_module *m, reel_observed *out)
{
    REEL__CALLED;
    if (out) *out = (reel_observed){0};
    if (reel_failed()) return reel_error_status();
    const observer *o = observer_of("observer_range", m);
    if (!o) return reel_error_status();
    if (!out) return reel_fail(REEL_ERR_ARG, "observer_range: out is NULL");
    if (!reel__observer_range(m, out) && reel__has_seen(out)) return REEL_OK;
    *out = (reel_observed){0};
    return reel_failed()
               ? reel_error_status()
               : reel_fail(REEL_ERR_STATE, "observer_range: this %s has seen nothing yet",
                           o->kind->name);
}

reel_status reel_observer_reset(reel_module *m)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    const observer *o = observer_of("observer_reset", m);
    bool was = reel_set_grad_enabled(false);
    for (int i = 0; o && i < o->kind->n_state; i++)
        reel_fill_(o->state[i], o->kind->state[i].initial);
    (void)reel_set_grad_enabled(was);
    return reel_error_status();
}
