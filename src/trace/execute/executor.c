/* executor.c: running plans. A run checks what it was given, points the arguments at it, and
 * calls the kernels one after the other: each of them uses all threads. Independent branches
 * side by side would gain little: in ResNet-18 at batch 1 all shortcuts that a branch could
 * hide take 1.5 % of the time. */
#include "trace/execute/executor.h"

#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/debug.h"
#include "base/error.h"
#include "base/option.h"

/* ---- making and freeing ------------------------------------------------------------------------ */

/* Plans and prepares before there are inputs: any address that is not NULL stands for them. */
static reel_status first_plan(reel_executor *e)
{
    const reel_graph *g = e->program->graph;
    e->mine = e->copied + g->n_input + g->n_output;
    if (reel__program_settle(e->program) || reel__executor_state(e))
        return reel_error_status();
    reel__plan *p = reel__executor_plan(e, e->opts.batch, NULL, NULL);
    if (!p) return reel_error_status();
    for (int i = 0; i < g->n_input; i++) e->base[reel__base_input(i)] = e->base[0];
    for (int i = 0; i < g->n_output; i++) e->base[reel__base_output(g, i)] = e->base[0];
    reel__plan_bind(p, e->base);
    return e->opts.plain ? REEL_OK : reel__prepared_refresh(p);
}

static reel_executor *executor_new(reel__program *program, const reel_executor_opts *opts)
{
    const reel_graph *g = program->graph;
    size_t ends = (size_t)(g->n_input + g->n_output);
    reel_executor *e = reel__calloc(1, sizeof *e);
    if (!e) {
        reel__program_release(program);
        return NULL;
    }
    e->program = program;
    e->opts = *opts;
    reel__live_add(1);
    e->base = reel__calloc(1 + ends + (size_t)program->n_state, sizeof *e->base);
    e->copied = reel__calloc(2 * ends + 1, sizeof *e->copied);
    if (e->base && e->copied && !first_plan(e)) return e;
    reel_executor_free(e);
    return NULL;
}

reel_executor *reel_executor_new(const reel_graph *g, const reel_executor_opts *opts)
{
    REEL__CALLED;
    const reel_executor_opts *given =
        REEL__OPTS("executor_new", reel_executor_opts, opts);
    if (!given) return NULL;
    reel_executor_opts o = *given;
    if (reel_failed()) return NULL;
    bool batch = o.batch >= 0 && o.batch <= REEL__MOST_BATCH;
    if (!g || !batch || (o.batch && !g->batch)) {
        reel_fail(REEL_ERR_ARG, "executor_new: %s",
                  !g       ? "the graph is NULL"
                  : !batch ? "a batch size is 1 to 2^31, 0 for the graph's"
                           : "the graph has no batch dimension");
        return NULL;
    }
    if (!o.batch) o.batch = g->batch;
    if (reel_graph_check(g)) return NULL;
    reel__program *program = reel__program_new(g, true);
    return program ? executor_new(program, &o) : NULL;
}

reel_executor *reel__executor_once(const reel_graph *g)
{
    reel__program *program = reel__program_new(g, false);
    return program ? executor_new(program, &(reel_executor_opts){.plain = true}) : NULL;
}

reel_executor *reel_executor_clone(const reel_executor *e)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    if (e) return executor_new(reel__program_retain(e->program), &e->opts);
    reel_fail(REEL_ERR_ARG, "executor_clone: e is NULL");
    return NULL;
}

void reel_executor_free(reel_executor *e)
{
    if (!e) return;
    for (int i = 0; i < REEL__PLANS; i++) reel__plan_free(e->plan[i]);
    if (e->base) reel__device_free(e->program->device, e->base[0], e->arena);
    reel__scratch_room_free(&e->scratch);
    reel__free(e->base);
    reel__free(e->copied);
    reel__free(e->seconds);
    reel__program_release(e->program);
    reel__free(e);
    reel__live_add(-1);
}

/* ---- inputs and outputs -------------------------------------------------------------------------- */

/* First and last byte of a tensor; false if it has none. */
static bool span(const reel_tensor *t, uintptr_t *first, uintptr_t *last)
{
    intptr_t low = 0, high = 0, size = (intptr_t)reel_dtype_size(t->meta.dtype);
    for (int d = 0; d < t->meta.rank; d++) {
        intptr_t way = (intptr_t)((t->meta.dim[d] - 1) * t->meta.stride[d]);
        *(way < 0 ? &low : &high) += way;
    }
    *first = (uintptr_t)reel__ptr(t) + (uintptr_t)(low * size);
    *last = (uintptr_t)reel__ptr(t) + (uintptr_t)(high * size + size - 1);
    return reel__numel(&t->meta) > 0;
}

static bool overlap(const reel_tensor *a, const reel_tensor *b)
{
    uintptr_t a0, a1, b0, b1;
    return span(a, &a0, &a1) && span(b, &b0, &b1) && a0 <= b1 && b0 <= a1;
}

/* What output i shares memory with; NULL: nothing. */
static const char *shared_with(const reel__program *r, reel_tensor *const x[],
                               reel_tensor *const y[], int i)
{
    const reel_graph *g = r->graph;
    for (int k = 0; k < g->n_input; k++)
        if (overlap(y[i], x[k])) return g->value[g->input[k]].name;
    for (int k = 0; k < i; k++)
        if (y[k] && overlap(y[i], y[k])) return g->output_name[k];
    for (int k = 0; k < r->n_state; k++) {
        const reel__value *v = &g->value[r->state[k]];
        if (overlap(y[i], v->tensor)) return v->name ? v->name : "a constant";
    }
    return NULL;
}

static reel_status check_outputs(const reel_executor *e, const reel__plan *p,
                                 reel_tensor *const x[], reel_tensor *const y[])
{
    const reel_graph *g = e->program->graph;
    for (int i = 0; i < g->n_output; i++) {
        const reel__meta *want = &p->meta[g->output[i]];
        if (!y[i]) continue;
        if (!reel__same_shape(&y[i]->meta, want) || y[i]->meta.dtype != want->dtype)
            return reel_fail(REEL_ERR_SHAPE,
                             "executor_run: output %s is given as %s, the graph gives %s",
                             g->output_name[i], SHOW(&y[i]->meta), SHOW(want));
        if (reel__is_expanded(&y[i]->meta))
            return reel_fail(REEL_ERR_ARG,
                             "executor_run: output %s is given as an expanded tensor, "
                             "whose elements share memory",
                             g->output_name[i]);
        const char *other = shared_with(e->program, x, y, i);
        if (other)
            return reel_fail(REEL_ERR_ARG,
                             "executor_run: output %s is given memory of %s; it needs "
                             "memory of its own",
                             g->output_name[i], other);
    }
    return REEL_OK;
}

static reel_status check_device(const reel_executor *e, reel_tensor *const t[], int n,
                                const char *what)
{
    reel_device d = e->program->device;
    for (int i = 0; i < n; i++)
        if (t[i] &&
            (t[i]->meta.device.type != d.type || t[i]->meta.device.index != d.index))
            return reel_fail(REEL_ERR_DEVICE,
                             "executor_run: %s %d is on another device than the graph",
                             what, i);
    return REEL_OK;
}

/* Makes the outputs that were not given; `mine` marks them. */
static reel_status make_outputs(const reel__plan *p, reel_tensor *y[], bool *mine)
{
    const reel_graph *g = p->program->graph;
    for (int i = 0; i < g->n_output; i++) {
        reel__meta m = p->meta[g->output[i]];
        if (y[i]) continue;
        m.offset = 0;
        if (!reel__is_dense(&m)) reel__set_strides_like(&m, &p->meta[g->output[i]]);
        if (!(y[i] = reel__tensor_new(&m, NULL))) return reel_error_status();
        mine[i] = true;
    }
    return REEL_OK;
}

/* ---- a run ------------------------------------------------------------------------------------------ */

/* Base addresses, and the metas of what is copied, which may differ from run to run. */
static void point(reel_executor *e, reel__plan *p, reel_tensor *const x[],
                  reel_tensor *const y[])
{
    const reel_graph *g = e->program->graph;
    for (int i = 0; i < g->n_input; i++) {
        e->base[reel__base_input(i)] = reel__ptr(x[i]);
        p->meta[reel__slot_input(g, i)] = x[i]->meta;
    }
    for (int i = 0; i < g->n_output; i++) {
        e->base[reel__base_output(g, i)] = reel__ptr(y[i]);
        p->meta[reel__slot_output(g, i)] = y[i]->meta;
    }
    reel__plan_bind(p, e->base);
}

/* Places in the random stream move with this thread's generator, as in reel_graph_run(). */
static void draw(reel__plan *p)
{
    const reel_graph *g = p->program->graph;
    reel_rng_state rng = reel__rng_take((int64_t)g->rng_blocks);
    for (int i = 0; i < p->n_drawing; i++) {
        const reel__plan_step *s = &p->step[p->drawing[i]];
        (void)reel__attrs_now(g, &g->node[s->node], p->batch, rng,
                              (void *)(uintptr_t)s->call.attrs);
    }
}

/* What this thread is running, for error messages. */
static _Thread_local struct running {
    const reel__plan *plan;
    int step;
} now;

static const char *where_now(void)
{
    int node = now.plan->step[now.step].node;
    return node < 0 ? NULL : now.plan->program->graph->node[node].where;
}

static double seconds(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void poison(const reel__plan *p, char *arena, int step)
{
    for (int b = 0; b < p->n_block; b++)
        if (p->block[b].last == step)
            memset(arena + p->block[b].offset, 0xff, p->block[b].bytes);
}

/* One step with somebody looking. */
static reel_status run_watched(reel_executor *e, const reel__plan *p, int i)
{
    const reel__plan_step *s = &p->step[i];
    double start = e->seconds ? seconds() : 0;
    reel_status st = reel__launch(e->program->device, &s->call);
    if (e->seconds && s->node >= 0)
        e->seconds[reel__node_of(e->program, s->node)] += seconds() - start;
    if (e->opts.poison) poison(p, e->base[0], i);
    return st;
}

static reel_status run_steps(reel_executor *e, const reel__plan *p)
{
    reel_device device = e->program->device;
    bool watched = e->seconds || e->opts.poison;
    reel_status st = REEL_OK;
    if (e->opts.poison) memset(e->base[0], 0xff, e->arena);
    now.plan = p;
    for (int i = 0; i < p->n_step && !st; i++) {
        now.step = i;
        st = watched ? run_watched(e, p, i) : reel__launch(device, &p->step[i].call);
    }
    return st;
}

/* As apply() does for what an operator changes: the tape and what was prepared can tell. */
static void bump_versions(const reel__program *r)
{
    for (int i = 0; i < r->n_state; i++)
        if (r->changes[r->state[i]])
            r->graph->value[r->state[i]].tensor->storage->version++;
}

static reel_status run(reel_executor *e, reel__plan *p, reel_tensor *const x[],
                       reel_tensor *const y[])
{
    point(e, p, x, y);
    if (!e->opts.plain && reel__prepared_refresh(p)) return reel_error_status();
    draw(p);
    const struct running outer = now; /* a kernel of the user's own may run a graph */
    reel__where_fn was = reel__set_error_where(where_now);
    reel__scratch_room *lent = reel__scratch_lend(&e->scratch);
    reel_status st = run_steps(e, p);
    (void)reel__scratch_lend(lent);
    (void)reel__set_error_where(was);
    now = outer;
    bump_versions(e->program);
    return st ? st : reel__scratch_fit(&e->scratch);
}

/* REEL_DEBUG=1: no other thread may be in the training of state that changes. */
REEL__DEBUG_ONLY
static reel_status run_debugged(reel_executor *e, reel__plan *p, reel_tensor *const x[],
                                reel_tensor *const y[])
{
    const reel__program *r = e->program;
    reel_scope s = reel_scope_begin();
    bool may = true;
    for (int i = 0; i < r->n_state && may; i++)
        may =
            !r->changes[r->state[i]] ||
            reel__debug_trains("executor_run", r->graph->value[r->state[i]].tensor, NULL);
    reel_status st = may ? run(e, p, x, y) : reel_error_status();
    reel_scope_end(s);
    return st;
}

/* Hands out the outputs that were made here; on an error there are none. */
static reel_status hand_out(reel_tensor *y[], const bool *mine, int n, reel_status st)
{
    for (int i = 0; i < n; i++) {
        if (!mine[i]) continue;
        if (!st && !(y[i] = reel__autorelease(y[i])))
            st = reel_error_status();
        else if (st) {
            reel__tensor_release(y[i]);
            y[i] = NULL;
        }
    }
    return st;
}

/* Makes the outputs that are NULL in y. */
static reel_status run_to(reel_executor *e, reel_tensor *const x[], int n_x,
                          reel_tensor *y[], int n_y)
{
    const reel_graph *g = e ? e->program->graph : NULL;
    reel_status st = reel__check_run(g, "executor_run", x, n_x, y, n_y);
    if (!st && reel_capturing())
        st = reel_fail(REEL_ERR_STATE,
                       "executor_run: a capture of this thread is under way "
                       "and would not hear it; use reel_graph_run()");
    if (st) return st;
    int64_t batch = reel__batch_of(g, "executor_run", x);
    if (batch < 0 || check_device(e, x, n_x, "input") ||
        check_device(e, y, n_y, "output") || reel__program_settle(e->program) ||
        reel__executor_state(e))
        return reel_error_status();
    reel__plan *p = reel__executor_plan(e, batch, x, y);
    if (!p || check_outputs(e, p, x, y)) return reel_error_status();
    memset(e->mine, 0, (size_t)n_y * sizeof *e->mine);
    st = make_outputs(p, y, e->mine);
    if (!st) st = reel__debugging() ? run_debugged(e, p, x, y) : run(e, p, x, y);
    return hand_out(y, e->mine, n_y, st);
}

reel_status reel_executor_run(reel_executor *e, reel_tensor *const x[], int n_x,
                              reel_tensor *y[], int n_y)
{
    REEL__CALLED;
    reel__no_results(y, n_y);
    return run_to(e, x, n_x, y, n_y);
}

reel_status reel_executor_run_into(reel_executor *e, reel_tensor *const x[], int n_x,
                                   reel_tensor *const y[], int n_y)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    for (int i = 0; i < n_y; i++)
        if (!y || !y[i])
            return reel_fail(REEL_ERR_ARG, "executor_run_into: output %d is NULL", i);
    if (!reel__all_alive("executor_run_into", "output", y, n_y))
        return reel_error_status();
    return run_to(e, x, n_x, (reel_tensor **)(uintptr_t)y, n_y); /* none is made */
}

/* ---- asking ------------------------------------------------------------------------------------------ */

/* Bytes of the storages that state lies in, each once. */
static int64_t state_bytes(const reel__program *r)
{
    int64_t bytes = 0;
    for (int i = 0; i < r->n_state; i++) {
        const reel_tensor *t = r->graph->value[r->state[i]].tensor;
        bool first = true;
        for (int k = 0; k < i && first; k++)
            first = r->graph->value[r->state[k]].tensor->storage != t->storage;
        if (first) bytes += (int64_t)t->storage->bytes;
    }
    return bytes;
}

reel_status reel_executor_memory(const reel_executor *e, reel_plan_memory *out)
{
    REEL__CALLED;
    if (!e || !out)
        return reel_fail(REEL_ERR_ARG, "executor_memory: %s is NULL", e ? "out" : "e");
    const reel__plan *p = e->last;
    *out = (reel_plan_memory){
        .batch = p->batch,
        .arena = (int64_t)p->arena,
        .lower_bound = (int64_t)p->lower_bound,
        .values = (int64_t)p->values,
        .n_values = p->n_values,
        .scratch = (int64_t)e->scratch.bytes,
        .prepared = (int64_t)reel__prepared_bytes(e->program),
        .state = state_bytes(e->program),
    };
    return REEL_OK;
}

reel_status reel_executor_profile(reel_executor *e, bool on)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!e) return reel_fail(REEL_ERR_ARG, "executor_profile: e is NULL");
    reel__free(e->seconds);
    e->seconds = NULL;
    if (!on) return REEL_OK;
    size_t n = (size_t)e->program->n_node + 1;
    e->seconds = reel__calloc(n, sizeof *e->seconds);
    return e->seconds ? REEL_OK : reel_error_status();
}

reel_status reel_executor_time(const reel_executor *e, int node, double *out)
{
    REEL__CALLED;
    int n = e ? e->program->n_node : 0;
    if (!e || !out || node < 0 || node >= n)
        return reel_fail(REEL_ERR_ARG, "executor_time: node %d of a graph of %d%s", node,
                         n, e && out ? "" : "; an argument is NULL");
    if (!e->seconds)
        return reel_fail(REEL_ERR_STATE, "executor_time: nothing was measured; "
                                         "reel_executor_profile() begins");
    *out = e->seconds[node];
    return REEL_OK;
}
