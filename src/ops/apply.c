/* apply.c: THE path. Every call of every operator comes through here:
 *   1 a NULL input?          -> error, NULL (the first error already says why)
 *   2 record->infer          -> shapes and dtypes of the outputs, or a clear error
 *   3 outputs: allocate, make the view, or take input 0
 *   4 the backend runs the kernel
 *   5 tape and recorders listen
 *   6 the innermost scope owns the outputs */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/debug.h"
#include "base/decimal.h"
#include "base/error.h"
#include "ops/call.h"
#include "ops/records.h"
#include "ops/recorder.h"
#include "tensor/debug.h"

/* Who listens to this thread, and what it is led to. */
static _Thread_local struct {
    reel__recorder *recorders;
    reel__detour *detour;
    bool silent; /* the tape does not record */
} here;
static _Atomic(const reel__tape *) the_tape;

void reel__tape_install(const reel__tape *tape)
{
    atomic_store(&the_tape, tape);
}

const reel__tape *reel__tape_now(void)
{
    return here.silent ? NULL : atomic_load_explicit(&the_tape, memory_order_acquire);
}

bool reel__tape_enabled(void)
{
    return !here.silent;
}

bool reel__tape_enable(bool on)
{
    bool was = !here.silent;
    here.silent = !on;
    return was;
}

bool reel__recorded(const char *who, reel_tensor *x)
{
    const reel__tape *tape = reel__tape_now();
    return tape && !tape->renew(who, x) && x->node;
}

void reel__recorder_push(reel__recorder *r)
{
    r->next = here.recorders;
    here.recorders = r;
}

void reel__recorder_remove(reel__recorder *r)
{
    for (reel__recorder **p = &here.recorders; *p; p = &(*p)->next)
        if (*p == r) {
            *p = r->next;
            return;
        }
}

reel__detour *reel__detour_set(reel__detour *d)
{
    reel__detour *was = here.detour;
    here.detour = d;
    return was;
}

void reel__silence_begin(reel__silence *s)
{
    *s = (reel__silence){here.recorders, here.detour, here.silent, reel__heard_by,
                         reel__watched_listen(NULL)};
    here.recorders = NULL;
    here.detour = NULL;
    here.silent = true;
    reel__heard_by = NULL;
}

void reel__silence_end(const reel__silence *s)
{
    here.recorders = s->recorders;
    here.detour = s->detour;
    here.silent = s->silent;
    reel__heard_by = s->heard_by;
    (void)reel__watched_listen(s->watched);
}

reel_status reel__bad(const reel__call *c, reel_status status, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)reel__vsnprint(text, sizeof text, fmt, ap);
    va_end(ap);
    return reel_fail(status, "%s: %s", c->op->name, text);
}

/* A vjp reads nothing but what its record saves. */
static reel_status check_values(const reel__call *c)
{
    for (int i = 0; i < c->n_in; i++)
        REQUIRE(c, !c->in[i] || c->in[i]->storage, REEL_ERR_INTERNAL,
                "input %d has no value: a vjp reads what its record does not save", i);
    return REEL_OK;
}

/* Histories of inputs whose memory was changed by way of another view. */
static reel_status renew_inputs(const reel__tape *tape, const reel__call *c)
{
    if (c->op->traits & REEL_OP_NO_GRAD) return REEL_OK;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i] && reel__is_old(c->in[i]) && tape->renew(c->op->name, c->in[i]))
            return reel_error_status();
    return REEL_OK;
}

/* A view of input 0; but if it looks as something did that this came from, at most eight views
 * back, it is a view of that: a loop that turns a tensor to and fro makes no chain that grows. */
static reel_tensor *make_view(const reel__call *c, const reel__meta *m)
{
    reel_tensor *alike = NULL, *up = c->in[0];
    if (here.silent) return reel__tensor_new(m, up->storage);
    for (int i = 0; up && i < 8; i++, up = reel__viewed(up))
        if (reel__same_look(&up->meta, m)) alike = up;
    if (!alike)
        return reel__tensor_view(m, c->in[0], c->op, c->attrs, c->op->attrs->size);
    reel__shape_attrs same = {.rank = m->rank};
    memcpy(same.dim, m->dim, (size_t)same.rank * sizeof *same.dim);
    return reel__tensor_view(m, alike, &reel__reshape, &same, sizeof same);
}

static reel_tensor *make_output(const reel__call *c, int i, const reel__meta *m)
{
    const reel__op *op = c->op;
    if (m->rank < 0) return NULL;
    if (i == 0 && (op->traits & REEL_OP_INPLACE)) return reel__tensor_retain(c->in[0]);
    if (i == 0 && (op->traits & REEL_OP_VIEW)) return make_view(c, m);
    if (reel__meta_check(op->name, m)) return NULL;
    return reel__tensor_new(m, NULL);
}

/* The inputs of an in-place kernel; what it would overwrite before it has read it is copied. The
 * tape keeps what it needs by itself. */
static reel_status part_inputs(const reel__call *c, reel_tensor *in[])
{
    for (int i = 0; i < c->n_in; i++) {
        in[i] = c->in[i];
        if (!in[i] || !reel__call_parts(c->op, i, in[0]->storage == in[i]->storage,
                                        IN_META(c, 0), IN_META(c, i)))
            continue;
        bool was = reel__tape_enable(false);
        in[i] = reel_copy(in[i]);
        (void)reel__tape_enable(was);
        if (!in[i]) return reel_error_status();
    }
    return REEL_OK;
}

/* The inputs by way of the detour, which runs without one. */
static reel_status redirect(int n, reel_tensor *const asked[], reel_tensor *in[])
{
    reel__detour *d = reel__detour_set(NULL);
    bool good = true;
    for (int i = 0; i < n && good; i++) {
        in[i] = asked[i] && asked[i]->storage ? d->instead(d, asked[i]) : asked[i];
        good = in[i] || !asked[i];
    }
    (void)reel__detour_set(d);
    return good ? REEL_OK : reel_error_status();
}

static reel_status announce(const reel__call *c, reel_tensor *const asked[])
{
    reel_status st = REEL_OK;
    for (reel__recorder *r = here.recorders, *next; r && !st; r = next) {
        next = r->next;
        if (r->before) st = r->before(r, c, asked);
    }
    return st;
}

static reel_status listen(const reel__call *c)
{
    reel_status st = REEL_OK;
    for (reel__recorder *r = here.recorders, *next; r && !st; r = next) {
        next = r->next;
        st = r->record(r, c);
    }
    return st;
}

/* Steps 4 and 5. The tape records the inputs as they were before an in-place kernel. */
static reel_status run(const reel__call *c, const reel__tape *tape, reel_device device,
                       bool mutates)
{
    reel__call before, parted;
    const reel__call *recorded = c, *computed = c;
    reel_tensor *kept[REEL_OP_MAX_IN], *apart[REEL_OP_MAX_IN];
    reel_scope s = reel_scope_begin();
    reel_status st = REEL_OK;
    if (tape && (c->op->traits & REEL_OP_INPLACE)) {
        st = tape->keep(c, kept);
        before = *c;
        before.in = kept;
        recorded = &before;
    }
    if (!st && (c->op->traits & REEL_OP_INPLACE)) {
        st = part_inputs(c, apart);
        parted = *c;
        parted.in = apart;
        computed = &parted;
    }
    if (!st && !(c->op->traits & REEL_OP_VIEW)) st = reel__call_launch(computed, device);
    if (!st && mutates) reel__call_changed(c);
    if (!st && tape) st = tape->record(recorded);
    if (!st && here.recorders) st = listen(c);
    reel_scope_end(s);
    return st;
}

/* Step 6. On failure nothing is handed out. */
static reel_status hand_out(const reel__op *op, reel_tensor *out[], reel_status st)
{
    if (st) reel__memory_wanted_by(op->name);
    for (int i = 0; i < op->n_out; i++) {
        if (!out[i]) continue;
        if (st || (i == 0 && (op->traits & REEL_OP_INPLACE))) {
            reel__tensor_release(out[i]); /* in place: borrowed, as it came */
            if (st) out[i] = NULL;
        } else if (!(out[i] = reel__autorelease(out[i]))) {
            st = reel_error_status();
        }
    }
    return st;
}

static reel_status apply(const reel__op *op, const void *attrs, int n_in,
                         reel_tensor *const asked[], reel_tensor *out[])
{
    reel_tensor *other[REEL_OP_MAX_IN];
    reel__call c = {op, n_in, op->n_out, asked, out, attrs, 0, false};
    bool mutates = reel__op_mutates(op);
    reel__meta meta[REEL_OP_MAX_OUT];
    for (int i = 0; i < op->n_out; i++) out[i] = NULL;
    /* A command never acts on what a failed expression left behind. */
    if (mutates && reel_failed()) return reel_error_status();
    reel_status st = REEL_OK;
    if (here.detour && n_in <= REEL_OP_MAX_IN) {
        st = redirect(n_in, asked, other);
        c.in = other;
    }
    if (st || (st = reel__call_check(&c)) || (st = check_values(&c))) return st;

    reel_device device = n_in && c.in[0] ? c.in[0]->meta.device : reel_default_device();
    const reel__tape *tape = reel__tape_now();
    if (tape && (st = renew_inputs(tape, &c))) return st;
    if ((st = reel__call_infer(&c, device, meta))) return st;
    if (mutates && tape && (st = tape->check(&c))) return st;
    if (here.recorders && (st = announce(&c, asked))) return st;
    for (int i = 0; i < op->n_out && !st; i++)
        if (!(out[i] = make_output(&c, i, &meta[i])) && meta[i].rank >= 0)
            st = reel_error_status();
    if (!st) st = run(&c, tape, device, mutates);
    return hand_out(op, out, st);
}

/* REEL_DEBUG=1: what is used must live; what is made remembers what made it. */
REEL__DEBUG_ONLY
static reel_status apply_watched(const reel__op *op, const void *attrs, int n_in,
                                 reel_tensor *const asked[], reel_tensor *out[])
{
    if (!reel__debug_all_alive(op->name, "input", asked, n_in)) {
        for (int i = 0; i < op->n_out; i++) out[i] = NULL;
        return reel_error_status();
    }
    reel_status st = apply(op, attrs, n_in, asked, out);
    for (int i = 0; i < op->n_out; i++)
        if (out[i] && (i > 0 || !(op->traits & REEL_OP_INPLACE)))
            reel__debug_made(out[i], op->name);
    return st;
}

reel_status reel__apply(const reel__op *op, const void *attrs, int n_in,
                        reel_tensor *const asked[], reel_tensor *out[])
{
    return reel__debugging() ? apply_watched(op, attrs, n_in, asked, out)
                             : apply(op, attrs, n_in, asked, out);
}

reel_tensor *reel__apply1(const reel__op *op, const void *attrs, int n_in,
                          reel_tensor *const in[])
{
    reel_tensor *out[REEL_OP_MAX_OUT];
    return reel__apply(op, attrs, n_in, in, out) ? NULL : out[0];
}
