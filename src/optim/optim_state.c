/* optim_state.c: the state of an optimizer by name, in and out. */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "optim/optim.h"

const char *reel__state_name(const reel_optim *o, const reel__opt_param *p, int k,
                             char text[REEL__STATE_NAME])
{
    snprintf(text, REEL__STATE_NAME, "%s.%s", p->name, o->kind->state[k].name);
    return text;
}

static const char *rate_name(int group, char text[REEL__STATE_NAME])
{
    snprintf(text, REEL__STATE_NAME, "group.%d.lr", group);
    return text;
}

reel_status reel_optim_state(reel_optim *optim, reel_tensor_map *map)
{
    REEL__CALLED;
    if (!optim || !map)
        return reel_fail(REEL_ERR_ARG, "optim_state: the %s is NULL",
                         optim ? "map" : "optimizer");
    if (reel_failed()) return reel_error_status();
    char name[REEL__STATE_NAME];
    reel_status st = REEL_OK;
    for (int i = 0; i < optim->n_group && !st; i++)
        st = reel_tensor_map_set(map, rate_name(i, name), optim->group[i].lr);
    for (int i = 0; i < optim->n_param && !st; i++) {
        const reel__opt_param *p = &optim->param[i];
        for (int k = 0; k < optim->kind->n_state && !st && !p->fresh; k++)
            if (p->state[k])
                st = reel_tensor_map_set(map, reel__state_name(optim, p, k, name),
                                         p->state[k]);
    }
    return st;
}

/* ---- loading ------------------------------------------------------------------------- */

/* How many states of `p` the map has; -1 if one does not fit. */
static int states_there(const reel_optim *o, const reel__opt_param *p,
                        const reel_tensor_map *map)
{
    int there = 0;
    for (int k = 0; k < o->kind->n_state; k++) {
        char name[REEL__STATE_NAME];
        reel_tensor *t = reel_tensor_map_get(map, reel__state_name(o, p, k, name));
        if (!t) continue;
        there++;
        if (o->kind->state[k].scalar ? reel_numel(t) == 1 : reel__same_sizes(t, p->param))
            continue;
        reel_fail(REEL_ERR_SHAPE,
                  "optim_load_state: \"%.200s\" does not have the shape of "
                  "its parameter",
                  name);
        return -1;
    }
    return there;
}

static bool is_known(const reel_optim *o, const char *name)
{
    char text[REEL__STATE_NAME];
    for (int i = 0; i < o->n_group; i++)
        if (strcmp(name, rate_name(i, text)) == 0) return true;
    for (int i = 0; i < o->n_param; i++)
        for (int k = 0; k < o->kind->n_state; k++)
            if (strcmp(name, reel__state_name(o, &o->param[i], k, text)) == 0)
                return true;
    return false;
}

static reel_status name_unexpected(const reel_optim *o, const reel_tensor_map *map)
{
    for (int64_t i = 0; i < reel_tensor_map_count(map); i++)
        if (!is_known(o, reel_tensor_map_name(map, i)))
            return reel_fail(REEL_ERR_ARG,
                             "optim_load_state: \"%.200s\" is not a state of this "
                             "%s",
                             reel_tensor_map_name(map, i), o->kind->name);
    return REEL_OK;
}

static reel_status check(const reel_optim *o, const reel_tensor_map *map)
{
    char name[REEL__STATE_NAME];
    int64_t known = o->n_group;
    for (int i = 0; i < o->n_group; i++)
        if (reel_numel(reel_tensor_map_get(map, rate_name(i, name))) != 1)
            return reel_fail(REEL_ERR_ARG,
                             "optim_load_state: \"%s\" is missing, or not one "
                             "number",
                             name);
    for (int i = 0; i < o->n_param; i++) {
        const reel__opt_param *p = &o->param[i];
        int there = states_there(o, p, map);
        if (there < 0) return reel_error_status();
        known += there;
        bool wanted = reel__optim_has_state(o, p);
        if (there && (!wanted || there != o->kind->n_state))
            return reel_fail(REEL_ERR_ARG,
                             "optim_load_state: %d states of \"%.200s\", "
                             "expected %d or none",
                             there, p->name, wanted ? o->kind->n_state : 0);
    }
    return known == reel_tensor_map_count(map) ? REEL_OK : name_unexpected(o, map);
}

static bool is_saved(const reel_optim *o, const reel__opt_param *p,
                     const reel_tensor_map *map)
{
    char name[REEL__STATE_NAME];
    return reel_tensor_map_get(map, reel__state_name(o, p, 0, name)) != NULL;
}

static reel_status copy_in(reel_optim *o, const reel_tensor_map *map)
{
    char name[REEL__STATE_NAME];
    for (int i = 0; i < o->n_group; i++)
        if (!reel_copy_(
                o->group[i].lr,
                reel_reshape(reel_tensor_map_get(map, rate_name(i, name)), REEL_SCALAR)))
            return reel_error_status();
    for (int i = 0; i < o->n_param; i++) {
        reel__opt_param *p = &o->param[i];
        if (!is_saved(o, p, map)) {
            reel__optim_drop_state(p);
            continue;
        }
        for (int k = 0; k < o->kind->n_state; k++) {
            reel_tensor *t = reel_tensor_map_get(map, reel__state_name(o, p, k, name));
            if (o->kind->state[k].scalar) t = reel_reshape(t, REEL_SCALAR);
            if (!reel_copy_(p->state[k], t)) return reel_error_status();
        }
        p->fresh = false;
    }
    return REEL_OK;
}

reel_status reel_optim_load_state(reel_optim *optim, const reel_tensor_map *map)
{
    REEL__CALLED;
    if (!optim || !map)
        return reel_fail(REEL_ERR_ARG, "optim_load_state: the %s is NULL",
                         optim ? "map" : "optimizer");
    if (reel_failed()) return reel_error_status();
    reel_status st = check(optim, map);
    for (int i = 0; i < optim->n_param && !st; i++)
        if (is_saved(optim, &optim->param[i], map))
            st = reel__optim_make_state(optim, &optim->param[i]);
    if (st) return st;
    reel__quiet q = reel__quiet_begin();
    st = copy_in(optim, map);
    reel__quiet_end(q);
    return st;
}
