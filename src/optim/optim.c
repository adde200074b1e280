/* optim.c: groups of parameters, and a step over all of them. What a step does to one
 * parameter is what its kind says: sgd.c, adam.c, or a program's own. */
#include "optim/optim.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/option.h"
#include "base/shares.h"
#include "base/watched.h"

/* What decides what a step does: options, parameters, which of them have state already. */
static uint64_t says(const void *object)
{
    const reel_optim *o = object;
    const int counts[] = {o->n_group, o->n_param};
    uint64_t h = reel__says_mix(0, counts, sizeof counts);
    for (int i = 0; i < o->n_group; i++) {
        h = reel__says_mix(h, o->group[i].opts, o->kind->opts_size);
        h = reel__says_mix(h, &o->group[i].lr, sizeof o->group[i].lr);
    }
    for (int i = 0; i < o->n_param; i++) {
        const reel__opt_param *p = &o->param[i];
        h = reel__says_mix(h, &p->param, sizeof p->param);
        h = reel__says_mix(h, p->state, sizeof p->state);
        h = reel__says_mix(h, &p->fresh, sizeof p->fresh);
    }
    return h;
}

void reel__optim_drop_state(reel__opt_param *p)
{
    for (int k = 0; k < REEL_OPTIM_MOST_STATES; k++) {
        reel__let_go(p->state[k]);
        p->state[k] = NULL;
    }
    p->fresh = false;
}

static void free_param(reel__opt_param *p)
{
    reel__optim_drop_state(p);
    reel__let_go(p->param);
    reel__free(p->name);
}

static void free_group(reel__opt_group *g)
{
    reel__let_go(g->lr);
    reel__free(g->opts);
}

void reel_optim_free(reel_optim *optim)
{
    if (!optim) return;
    reel__watched_free(optim->watched);
    for (int i = 0; i < optim->n_param; i++) free_param(&optim->param[i]);
    for (int i = 0; i < optim->n_group; i++) free_group(&optim->group[i]);
    reel__free(optim->param);
    reel__free(optim->group);
    reel__let_go(optim->one);
    reel__free(optim);
}

/* ---- groups -------------------------------------------------------------------------- */

static bool fits(const reel_optim *o, const reel__opt_param *p)
{
    reel_dtype dtype = reel_dtype_of(p->param);
    if (dtype != REEL_F32 && dtype != REEL_F64) {
        reel_fail(REEL_ERR_DTYPE, "%s: parameter \"%.80s\" is %s, expected f32 or f64",
                  o->kind->name, p->name, reel_dtype_name(dtype));
        return false;
    }
    for (const reel__opt_param *q = o->param; q < p; q++)
        if (q->param == p->param || strcmp(q->name, p->name) == 0) {
            reel_fail(REEL_ERR_ARG, "%s: the %s of parameter \"%.80s\" comes twice",
                      o->kind->name, q->param == p->param ? "tensor" : "name", p->name);
            return false;
        }
    return true;
}

static bool add_param(reel_optim *o, reel_tensor *t, const char *name)
{
    char number[24];
    snprintf(number, sizeof number, "param.%d", o->n_param);
    if (!t) {
        reel_fail(REEL_ERR_ARG, "%s: parameter \"%.80s\" is NULL", o->kind->name,
                  name ? name : number);
        return false;
    }
    reel__opt_param *p = &o->param[o->n_param];
    *p = (reel__opt_param){.param = t, .group = o->n_group};
    p->name = reel__strdup(name ? name : number);
    if (!p->name) return false;
    if (!fits(o, p)) {
        reel__free(p->name);
        return false;
    }
    reel__hold(t);
    o->n_param++;
    return true;
}

static bool add_params(reel_optim *o, reel_params params)
{
    reel__opt_param *list =
        reel__realloc(o->param, (size_t)(o->n_param + params.n) * sizeof *list);
    if (!list) return false;
    o->param = list;
    int before = o->n_param;
    for (int i = 0; i < params.n; i++)
        if (!add_param(o, params.tensor[i], params.name ? params.name[i] : NULL)) {
            while (o->n_param > before) free_param(&o->param[--o->n_param]);
            return false;
        }
    return true;
}

/* A group with its options checked; false with an error, and nothing of it left. */
static bool make_group(const reel_optim_kind *kind, const void *opts, reel__opt_group *g)
{
    double lr = 1e-3;
    *g = (reel__opt_group){.opts = reel__calloc(1, kind->opts_size)};
    if (g->opts && opts) memcpy(g->opts, opts, kind->opts_size);
    if (g->opts && kind->check && kind->check(g->opts, &lr) && !reel_failed())
        reel_fail(REEL_ERR_ARG, "%s: its options were refused", kind->name);
    if (!reel_failed() && !(lr >= 0))
        reel_fail(REEL_ERR_ARG, "%s: lr %g, expected 0 or more", kind->name, lr);
    if (!reel_failed()) {
        reel_scope s = reel_scope_begin();
        g->lr = reel__hold(reel_scalar(lr, REEL_F64));
        reel_scope_end(s);
    }
    if (g->lr) return true;
    free_group(g);
    return false;
}

reel_status reel_optim_add_group(reel_optim *optim, reel_params params, const void *opts)
{
    REEL__CALLED;
    if (!optim) return reel_fail(REEL_ERR_ARG, "optim_add_group: the optimizer is NULL");
    if (reel_failed()) return reel_error_status();
    if (params.n < 0 || (params.n > 0 && !params.tensor))
        return reel_fail(REEL_ERR_ARG, "the list of parameters is NULL");
    reel__opt_group *list =
        reel__realloc(optim->group, (size_t)(optim->n_group + 1) * sizeof *list);
    if (!list) return reel_error_status();
    optim->group = list;
    reel__opt_group *g = &list[optim->n_group];
    if (!make_group(optim->kind, opts, g)) return reel_error_status();
    if (!add_params(optim, params)) {
        free_group(g);
        return reel_error_status();
    }
    optim->n_group++;
    return REEL_OK;
}

reel_status reel__optim_add_as(const reel_optim_kind *kind, reel_optim *o,
                               reel_params params, const void *opts)
{
    if (o && o->kind == kind) return reel_optim_add_group(o, params, opts);
    return reel_fail(REEL_ERR_ARG, "the optimizer is %s, expected one of %s",
                     o ? o->kind->name : "NULL", kind->name);
}

/* ---- a new one ----------------------------------------------------------------------- */

/* Is state k named, and unlike those before it? */
static bool is_named(const reel_optim_kind *kind, int k)
{
    const char *name = kind->state[k].name;
    bool good = name && *name;
    for (int i = 0; i < k && good; i++) good = strcmp(kind->state[i].name, name) != 0;
    return good;
}

static bool is_kind(const reel_optim_kind *kind)
{
    if (!kind || !kind->name || !kind->update) {
        reel_fail(REEL_ERR_ARG, "optim_new: the %s is NULL",
                  !kind        ? "kind"
                  : kind->name ? "kind's update"
                               : "kind's name");
        return false;
    }
    if (!REEL__KNOWN("optim_new", kind)) return false;
    if (kind->n_state < 0 || kind->n_state > REEL_OPTIM_MOST_STATES) {
        reel_fail(REEL_ERR_ARG, "optim_new: %s has %d states, expected 0 to %d",
                  kind->name, kind->n_state, REEL_OPTIM_MOST_STATES);
        return false;
    }
    for (int k = 0; k < kind->n_state; k++) {
        if (!REEL__KNOWN("optim_new", &kind->state[k])) return false;
        if (!is_named(kind, k)) {
            reel_fail(REEL_ERR_ARG,
                      "optim_new: state %d of %s has no name, or another's name", k,
                      kind->name);
            return false;
        }
    }
    return true;
}

reel_optim *reel_optim_new(const reel_optim_kind *kind, reel_params params,
                           const void *opts)
{
    REEL__CALLED;
    if (!is_kind(kind) || reel_failed()) return NULL;
    reel_optim *o = reel__calloc(1, sizeof *o);
    if (!o) return NULL;
    reel_scope s = reel_scope_begin();
    o->kind = kind;
    o->one = reel__hold(reel_scalar(1, REEL_F64));
    o->watched = reel__watched_new(o, says);
    reel_scope_end(s);
    if (o->one && o->watched && !reel_optim_add_group(o, params, opts)) return o;
    reel_optim_free(o);
    return NULL;
}

const reel_optim_kind *reel_optim_kind_of(const reel_optim *optim)
{
    return optim ? optim->kind : NULL;
}

/* ---- rates --------------------------------------------------------------------------- */

int reel_optim_groups(const reel_optim *optim)
{
    return optim ? optim->n_group : 0;
}

static bool has_group(const char *who, const reel_optim *o, int group)
{
    if (o && group >= 0 && group < o->n_group) return true;
    reel_fail(REEL_ERR_ARG, "%s: there is no group %d, expected 0 to %d", who, group,
              reel_optim_groups(o) - 1);
    return false;
}

double reel_optim_lr(const reel_optim *optim, int group)
{
    REEL__CALLED;
    return has_group("optim_lr", optim, group) ? reel_item(optim->group[group].lr) : NAN;
}

reel_status reel_optim_set_lr(reel_optim *optim, int group, double lr)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (reel_capturing())
        return reel_fail(
            REEL_ERR_STATE,
            "optim_set_lr: a step is being captured as a graph, in which the "
            "rate %g would be frozen; set it outside of the step",
            lr);
    if (!(lr >= 0))
        return reel_fail(REEL_ERR_ARG, "optim_set_lr: rate %g, expected 0 or more", lr);
    bool all = group == -1;
    if (!has_group("optim_set_lr", optim, all ? 0 : group)) return reel_error_status();
    for (int i = all ? 0 : group; i < (all ? optim->n_group : group + 1); i++)
        if (!reel_fill_(optim->group[i].lr, lr)) return reel_error_status();
    return REEL_OK;
}

void reel_optim_zero_grad(reel_optim *optim)
{
    for (int i = 0; optim && i < optim->n_param; i++)
        reel_set_grad(optim->param[i].param, NULL);
}

/* ---- a step -------------------------------------------------------------------------- */

bool reel__optim_has_state(const reel_optim *o, const reel__opt_param *p)
{
    const reel_optim_kind *kind = o->kind;
    if (kind->n_state == 0) return false;
    return !kind->has_state || kind->has_state(o->group[p->group].opts);
}

reel_status reel__optim_make_state(const reel_optim *o, reel__opt_param *p)
{
    if (p->state[0] || !reel__optim_has_state(o, p)) return REEL_OK;
    reel_scope s = reel_scope_begin();
    for (int k = 0; k < o->kind->n_state; k++)
        p->state[k] =
            reel__hold(o->kind->state[k].scalar ? reel_zeros(REEL_SCALAR, REEL_F64)
                                                : reel_zeros_like(p->param));
    reel_scope_end(s);
    p->fresh = true;
    if (!reel_failed()) return REEL_OK;
    reel__optim_drop_state(p);
    return reel_error_status();
}

static reel_status step_one(const reel_optim *o, reel__opt_param *p, reel_tensor *grad)
{
    const reel__opt_group *g = &o->group[p->group];
    const reel_optim_slot slot = {.param = p->param,
                                  .grad = grad,
                                  .state = p->state,
                                  .lr = g->lr,
                                  .one = o->one,
                                  .first = p->fresh};
    REEL__CALLS_BACK;
    reel_status st = o->kind->update(g->opts, &slot);
    if (!st) st = reel_error_status();
    if (st) /* what the update said itself stays */
        return reel_fail(st, "%s: the update of \"%.80s\" failed", o->kind->name,
                         p->name);
    p->fresh = false;
    return REEL_OK;
}

/* All memory first: after that no step can fail half way for want of it. */
static reel_status step_all(reel_optim *o)
{
    reel_status st = REEL_OK;
    for (int i = 0; i < o->n_param && !st; i++)
        if (reel_grad_of(o->param[i].param)) st = reel__optim_make_state(o, &o->param[i]);
    for (int i = 0; i < o->n_param && !st; i++) {
        reel_tensor *grad = reel_grad_of(o->param[i].param);
        if (grad) st = step_one(o, &o->param[i], grad);
    }
    return st;
}

/* REEL_DEBUG=1: no other thread may be in the training of a parameter that changes. */
static bool train_all(const reel_optim *o)
{
    for (int i = 0; i < o->n_param; i++)
        if (!reel__debug_trains("optim_step", o->param[i].param, NULL)) return false;
    return true;
}

REEL__DEBUG_ONLY
static reel_status step_watched(reel_optim *o)
{
    reel_scope s = reel_scope_begin();
    reel_status st = train_all(o) ? step_all(o) : reel_error_status();
    reel_scope_end(s);
    return st;
}

reel_status reel_optim_step(reel_optim *optim)
{
    REEL__CALLED;
    if (!optim) return reel_fail(REEL_ERR_ARG, "optim_step: the optimizer is NULL");
    if (reel_failed()) return reel_error_status();
    reel__watched_used(optim->watched);
    reel__quiet q = reel__quiet_begin();
    reel_status st = reel__debugging() ? step_watched(optim) : step_all(optim);
    reel__quiet_end(q);
    return st;
}
