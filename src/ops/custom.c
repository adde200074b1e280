/* custom.c: operators of the user's own, from the options to a record and to a call of it. */
#include "ops/custom.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/counts.h"
#include "base/error.h"
#include "base/option.h"

_Static_assert(REEL_CUSTOM_MAX_IN == 16, "`saves` has 16 bits of inputs");
_Static_assert(REEL_CUSTOM_MAX_OUT == REEL_OP_MAX_OUT, "a record has as many results");

/* ---- names ------------------------------------------------------------------------------------ */

static bool is_word(const char *s, size_t most)
{
    size_t n = s ? strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789_") : 0;
    return n > 0 && n <= most && !s[n] && islower((unsigned char)s[0]);
}

/* Words that the records' own attributes have. */
static bool is_reserved(const char *s)
{
    return strcmp(s, "needs") == 0 || strcmp(s, "operands") == 0 ||
           strcmp(s, "per") == 0 || strncmp(s, "result", 6) == 0;
}

/* ---- options ------------------------------------------------------------------------------------ */

static reel_status bad_option(const char *name, const char *what)
{
    return reel_fail(REEL_ERR_ARG, "custom_op_new: %s: %s", name, what);
}

static reel_status check_attrs(const char *name, const reel_custom_op_opts *o)
{
    if (o->n_attrs < 0 || o->n_attrs > REEL_CUSTOM_MAX_ATTRS || (o->n_attrs && !o->attrs))
        return bad_option(name, "0 to 32 attributes are possible");
    for (int i = 0; i < o->n_attrs; i++) {
        const char *attr = o->attrs[i].name;
        if (!REEL__KNOWN("custom_op_new", &o->attrs[i])) return reel_error_status();
        if (!is_word(attr, 32) || is_reserved(attr))
            return bad_option(name,
                              "an attribute's name is a small letter, then up to 31 "
                              "small letters, digits and _; and not needs, operands, "
                              "per or result...");
        for (int k = 0; k < i; k++)
            if (strcmp(attr, o->attrs[k].name) == 0)
                return bad_option(name, "two attributes have one name");
    }
    return REEL_OK;
}

static reel_status check_options(const char *name, const reel_custom_op_opts *o)
{
    if (!is_word(name, 48))
        return reel_fail(
            REEL_ERR_ARG,
            "custom_op_new: the name %.80s; it is a small letter, then up to 47 "
            "small letters, digits and _",
            name ? name : "is NULL");
    if (!o->forward) return bad_option(name, "the forward is NULL");
    if (o->n_in < REEL_CUSTOM_ANY || o->n_in > REEL_CUSTOM_MAX_IN)
        return bad_option(name, "n_in is 0 to 16, or REEL_CUSTOM_ANY");
    if (o->n_out < 1 || o->n_saved < 0 || o->n_saved > REEL_CUSTOM_MAX_OUT ||
        o->n_out + o->n_saved > REEL_CUSTOM_MAX_OUT)
        return bad_option(name, "n_out is 1 to 8, and so is n_out + n_saved");
    if (o->n_in >= 0 && o->n_in < 8 && o->optional >> o->n_in)
        return bad_option(name, "an input that it has not is optional");
    if (o->optional && o->n_in < 0)
        return bad_option(name, "REEL_CUSTOM_ANY has no optional inputs");
    if (o->backward && !o->backward_in_operators && o->n_in > REEL_CUSTOM_MAX_OUT)
        return bad_option(name, "a backward that is not written in operators gives the "
                                "gradients of at most 8 inputs");
    return check_attrs(name, o);
}

/* ---- records ---------------------------------------------------------------------------------- */

static void add_field(reel__custom_record *r, const char *name, reel__attr_type type,
                      int count)
{
    reel__attr_field *f = &r->field[r->schema.n_fields++];
    *f = (reel__attr_field){.name = name,
                            .type = type,
                            .offset = (uint16_t)r->schema.size,
                            .count = (uint16_t)count};
    r->schema.size += 8 * (size_t)count;
}

static void add_types(reel__custom_record *r, int n)
{
    static const char *const names[REEL_CUSTOM_MAX_OUT] = {
        "result0", "result1", "result2", "result3",
        "result4", "result5", "result6", "result7"};
    r->types = (int)r->schema.size;
    for (int k = 0; k < n; k++)
        add_field(r, names[k], REEL_ATTR_INT, (int)sizeof(reel__custom_result) / 8);
}

/* What forward and backward have in common. */
static void start_record(reel_custom_op *op, reel__custom_record *r, const char *suffix,
                         const char *name)
{
    (void)snprintf(r->name, sizeof r->name, "%s%s", name, suffix);
    r->of = op;
    r->types = -1;
    r->host.run = reel__custom_kernel;
    r->schema.field = r->field;
    for (int i = 0; i < op->opts.n_attrs; i++)
        add_field(r, op->opts.attrs[i].name,
                  op->opts.attrs[i].is_real ? REEL_ATTR_REAL : REEL_ATTR_INT, 1);
    r->op = (reel__op){.name = r->name,
                       .kernel = K_HOST,
                       .infer = reel__custom_infer,
                       .host = &r->host,
                       .made = &op->made,
                       .attrs = &r->schema,
                       .traits = op->opts.pure ? 0 : REEL_OP_EFFECT};
}

static uint32_t saves_of(const reel_custom_op *op)
{
    const reel_custom_op_opts *o = &op->opts;
    uint32_t in = o->n_in < 0 ? 0xffff : (1u << o->n_in) - 1;
    uint32_t all = in | ((1u << op->n_all) - 1) << 16;
    if (!o->backward) return 0;
    return o->saves ? o->saves & all : all;
}

static void make_forward(reel_custom_op *op, const char *name)
{
    reel__custom_record *r = &op->forward;
    start_record(op, r, "", name);
    if (!op->opts.shape) add_types(r, op->n_all);
    r->op.n_in = (int8_t)op->opts.n_in;
    r->op.n_out = (int8_t)op->n_all;
    r->op.optional = op->opts.optional;
    r->op.saves = saves_of(op);
    r->op.vjp = op->opts.backward ? reel__custom_vjp : NULL;
    r->op.no_vjp = op->opts.backward ? NULL : "it was made without a backward";
    r->op.onnx = reel__custom_to_onnx;
    r->op.onnx_grows = true;
    if (!r->schema.n_fields) r->op.attrs = NULL;
}

static void make_backward(reel_custom_op *op, const char *name)
{
    reel__custom_record *r = &op->backward;
    start_record(op, r, "_backward", name);
    r->is_backward = true;
    add_field(r, "needs", REEL_ATTR_INT, 1);
    add_field(r, "operands", REEL_ATTR_INT, 1);
    r->op.n_in = REEL_OP_VARIADIC;
    r->op.n_out = (int8_t)(op->opts.n_in < 0 ? REEL_CUSTOM_MAX_OUT : op->opts.n_in);
    add_types(r, r->op.n_out);
    r->op.no_vjp = "its backward is not written in operators";
    r->op.no_onnx = "of training alone; files hold inference";
}

static void free_op(reel__made *made)
{
    reel_custom_op *op = (reel_custom_op *)(void *)made;
    reel_custom_op_opts *o = &op->opts;
    if (o->free_user) o->free_user(o->user);
    for (int i = 0; o->attrs && i < o->n_attrs; i++)
        reel__free((void *)(uintptr_t)o->attrs[i].name);
    reel__free((void *)(uintptr_t)o->attrs);
    reel__free((void *)(uintptr_t)o->onnx_domain);
    reel__free((void *)(uintptr_t)o->onnx_op_type);
    reel__free(op);
    reel__live_add(-1);
}

/* Names and attributes become the operator's own. */
static bool copy_options(reel_custom_op *op, const char *name,
                         const reel_custom_op_opts *o)
{
    op->opts.attrs = NULL;
    const char *domain = o->onnx_domain ? o->onnx_domain : "reel.custom";
    op->opts.onnx_domain = reel__strdup(domain);
    op->opts.onnx_op_type = reel__strdup(o->onnx_op_type ? o->onnx_op_type : name);
    reel_custom_attr *attrs = reel__calloc((size_t)o->n_attrs + 1, sizeof *attrs);
    op->opts.attrs = attrs;
    if (!op->opts.onnx_domain || !op->opts.onnx_op_type || !attrs) return false;
    for (int i = 0; i < o->n_attrs; i++) {
        attrs[i] = o->attrs[i];
        attrs[i].name = reel__strdup(o->attrs[i].name);
        if (attrs[i].is_real)
            memcpy(&op->defaults[i], &attrs[i].real, sizeof(double));
        else
            op->defaults[i] = attrs[i].whole;
        if (!attrs[i].name) return false;
    }
    return true;
}

static reel_custom_op *make(const char *name, const reel_custom_op_opts *o)
{
    reel_custom_op *op = reel__calloc(1, sizeof *op);
    if (!op) return NULL;
    reel__live_add(1);
    op->opts = *o;
    op->opts.free_user = NULL; /* the caller's until it is made */
    op->n_all = o->n_out + o->n_saved;
    op->made.free_fn = free_op;
    op->made.op[0] = &op->forward.op;
    if (o->backward && !o->backward_in_operators) op->made.op[1] = &op->backward.op;
    if (copy_options(op, name, o)) {
        make_forward(op, name);
        make_backward(op, name);
        if (!reel__made_add(&op->made)) {
            op->opts.free_user = o->free_user;
            return op;
        }
    }
    free_op(&op->made);
    return NULL;
}

reel_custom_op *reel_custom_op_new(const char *name, const reel_custom_op_opts *opts)
{
    REEL__CALLED;
    reel_custom_op *op = NULL;
    if (!opts) reel_fail(REEL_ERR_ARG, "custom_op_new: opts is NULL");
    if (!opts || !REEL__KNOWN("custom_op_new", opts)) return NULL;
    if (!reel_failed() && !check_options(name, opts)) op = make(name, opts);
    if (!op && opts->free_user) opts->free_user(opts->user);
    return op;
}

reel_custom_op *reel_custom_op_keep(reel_custom_op *op)
{
    if (op) reel__made_retain(&op->made);
    return op;
}

void reel_custom_op_free(reel_custom_op *op)
{
    if (op) reel__made_release(&op->made);
}

const char *reel_custom_op_name(const reel_custom_op *op)
{
    return op ? op->forward.name : "";
}

/* ---- attributes ----------------------------------------------------------------------------------- */

void reel__custom_defaults(const reel_custom_op *op, void *attrs)
{
    memset(attrs, 0, REEL__CUSTOM_BYTES);
    memcpy(attrs, op->defaults, 8 * (size_t)op->opts.n_attrs);
    if (op->forward.types < 0) return;
    reel__custom_result *t = reel__custom_types(&op->forward, attrs);
    for (int k = 0; k < op->n_all; k++) t[k].dtype = -1;
}

static int find_attr(const reel_custom_op *op, const char *name)
{
    for (int i = 0; name && i < op->opts.n_attrs; i++)
        if (strcmp(op->opts.attrs[i].name, name) == 0) return i;
    return -1;
}

static reel_status set_attrs(const reel_custom_op *op, const reel_custom_args *args,
                             int64_t *attrs)
{
    int n = args ? args->n_attrs : 0;
    if (n < 0 || (n && !args->attrs))
        return reel_fail(REEL_ERR_ARG, "%s: %d attributes%s", op->forward.name, n,
                         n < 0 ? "" : ", attrs is NULL");
    if (args && !REEL__KNOWN(op->forward.name, args)) return reel_error_status();
    for (int i = 0; i < n; i++) {
        const reel_custom_attr *a = &args->attrs[i];
        if (!REEL__KNOWN(op->forward.name, a)) return reel_error_status();
        int at = find_attr(op, a->name);
        if (at < 0)
            return reel_fail(REEL_ERR_ARG, "%s: it has no attribute \"%s\"",
                             op->forward.name, a->name ? a->name : "");
        if (a->is_real != op->opts.attrs[at].is_real)
            return reel_fail(REEL_ERR_ARG, "%s: attribute \"%s\" is %s", op->forward.name,
                             a->name, a->is_real ? "a whole number" : "a real one");
        if (a->is_real)
            memcpy(&attrs[at], &a->real, sizeof(double));
        else
            attrs[at] = a->whole;
    }
    return REEL_OK;
}

static const void *attr_of(const reel_custom_call *c, const char *name, bool is_real)
{
    int at = c ? find_attr(c->record->of, name) : -1;
    if (at >= 0 && c->record->of->opts.attrs[at].is_real == is_real)
        return (const char *)c->attrs + 8 * at;
    reel_fail(REEL_ERR_ARG, "%s: it has no %s attribute \"%s\"",
              c ? c->record->name : "custom_op", is_real ? "real" : "whole",
              name ? name : "");
    return NULL;
}

int64_t reel_custom_int(const reel_custom_call *c, const char *name)
{
    REEL__CALLED;
    const int64_t *at = attr_of(c, name, false);
    return at ? *at : 0;
}

double reel_custom_real(const reel_custom_call *c, const char *name)
{
    REEL__CALLED;
    const double *at = attr_of(c, name, true);
    return at ? *at : 0;
}

int reel_custom_inputs(const reel_custom_call *c)
{
    return c ? c->n_in : 0;
}

bool reel_custom_needs(const reel_custom_call *c, int i)
{
    return c && i >= 0 && i < REEL_CUSTOM_MAX_IN && (c->needs >> i & 1);
}

/* ---- shapes ------------------------------------------------------------------------------------------ */

reel_status reel_custom_same(void *user, const reel_custom_call *c,
                             const reel_custom_type x[], reel_custom_type y[])
{
    REEL__CALLED;
    (void)user, (void)c, (void)x, (void)y; /* they come so */
    return reel_error_status();
}

/* A result as attributes say it; a file may say anything. */
static reel_status from_type(const reel__call *c, int k, const reel__custom_result *t,
                             reel__meta *out)
{
    REQUIRE(c,
            t->dtype >= 0 && t->dtype < REEL__DTYPE_COUNT && t->rank >= -1 &&
                t->rank <= REEL_MAX_RANK,
            REEL_ERR_ARG,
            "the type of result %d is not known: the operator has no shape rule", k);
    out->dtype = (reel_dtype)t->dtype;
    out->rank = (int)t->rank;
    for (int d = 0; d < out->rank; d++) {
        REQUIRE(c, t->dim[d] >= 0, REEL_ERR_SHAPE,
                "size %lld of dimension %d of result %d", (long long)t->dim[d], d, k);
        out->dim[d] = t->dim[d];
    }
    if (out->rank >= 0) reel__set_contiguous(out);
    return REEL_OK;
}

static void to_type(const reel__meta *m, reel__custom_result *t)
{
    *t = (reel__custom_result){.dtype = m->dtype, .rank = m->rank};
    memcpy(t->dim, m->dim, (size_t)m->rank * sizeof *t->dim);
}

/* The forward runs now; the kernel hands over what it gave. */
static reel_status ask_forward(const reel__call *c)
{
    const reel__custom_record *r = reel__custom_record_of(c->op);
    reel__custom_found *found = reel__custom_find(c->attrs);
    reel__custom_result *t = reel__custom_types(r, c->attrs);
    if (!found || found->there || t->dtype >= 0) return REEL_OK;
    if (reel__custom_forward(c, found->y)) return reel_error_status();
    found->there = true;
    for (int k = 0; k < c->n_out; k++) to_type(&found->y[k]->meta, &t[k]);
    return REEL_OK;
}

static reel_status ask_rule(const reel__call *c, reel__meta *out)
{
    const reel__custom_record *r = reel__custom_record_of(c->op);
    const reel_custom_op_opts *o = &r->of->opts;
    const reel_custom_call call = {.record = r, .attrs = c->attrs, .n_in = c->n_in};
    reel_custom_type x[REEL_CUSTOM_MAX_IN + 1] = {{.shape = {.rank = -1}}},
                                            y[REEL_OP_MAX_OUT];
    for (int i = 0; i < c->n_in; i++) {
        x[i].shape.rank = -1;
        if (c->in[i])
            x[i] = (reel_custom_type){reel__shape(IN_META(c, i)), IN_META(c, i)->dtype};
    }
    for (int k = 0; k < c->n_out; k++) y[k] = x[0];
    if (reel_failed()) return reel_error_status();
    REEL__CALLS_BACK_AS(c->op->name);
    reel_status st = o->shape(o->user, &call, x, y);
    if (st || reel_failed())
        return reel__bad(c, st ? st : reel_error_status(), "its shape rule failed");
    for (int k = 0; k < c->n_out; k++) {
        reel__custom_result t = {.dtype = y[k].dtype, .rank = y[k].shape.rank};
        REQUIRE(c, t.rank >= 0, REEL_ERR_SHAPE, "the shape rule gives output %d rank %d",
                k, y[k].shape.rank);
        memcpy(t.dim, y[k].shape.dim, sizeof t.dim);
        if (from_type(c, k, &t, &out[k])) return reel_error_status();
    }
    return REEL_OK;
}

static reel_status check_masks(const reel__call *c, const reel__custom_record *r)
{
    const int64_t *mask = reel__custom_masks(r, c->attrs);
    int n = 0;
    for (int i = 0; i < 48; i++) n += mask[1] >> i & 1;
    REQUIRE(c, mask[1] >> 48 == 0 && n == c->n_in, REEL_ERR_ARG,
            "%d operands, and %d by its attributes", c->n_in, n);
    const reel__custom_result *t = reel__custom_types(r, c->attrs);
    int64_t there = 0;
    for (int k = 0; k < c->op->n_out; k++)
        if (t[k].rank >= 0) there |= INT64_C(1) << k;
    REQUIRE(c, there == mask[0], REEL_ERR_ARG,
            "it has gradients of the inputs %#llx (bits), and %#llx are needed",
            (unsigned long long)there, (unsigned long long)mask[0]);
    return REEL_OK;
}

reel_status reel__custom_infer(const reel__call *c, reel__meta *out)
{
    const reel__custom_record *r = reel__custom_record_of(c->op);
    for (int i = 0; i < c->n_in; i++)
        REQUIRE(c, !c->in[i] || IN_META(c, i)->device.type == REEL_CPU,
                REEL_ERR_UNSUPPORTED, "input %d is not on the CPU", i);
    REQUIRE(c, r->is_backward || c->n_in <= REEL_CUSTOM_MAX_IN, REEL_ERR_ARG,
            "%d inputs; at most %d are possible", c->n_in, REEL_CUSTOM_MAX_IN);
    for (int k = 0; k < c->op->n_out; k++) out[k].device = (reel_device){REEL_CPU, 0};
    if (r->types < 0) return ask_rule(c, out);
    if (r->is_backward ? check_masks(c, r) : ask_forward(c)) return reel_error_status();
    const reel__custom_result *t = reel__custom_types(r, c->attrs);
    for (int k = 0; k < c->op->n_out; k++)
        if (from_type(c, k, &t[k], &out[k])) return reel_error_status();
    return REEL_OK;
}

/* ---- a call --------------------------------------------------------------------------------------------- */

static _Thread_local reel__custom_found *calls;

reel__custom_found *reel__custom_find(const void *attrs)
{
    reel__custom_found *f = calls;
    while (f && f->attrs != attrs) f = f->outer;
    return attrs ? f : NULL;
}

static reel_status apply(reel_custom_op *op, reel_tensor *const x[], int n_x,
                         reel_tensor *y[], const reel_custom_args *args)
{
    int64_t attrs[REEL__CUSTOM_BYTES / 8];
    reel__custom_found found = {.attrs = attrs, .outer = calls};
    reel__custom_defaults(op, attrs);
    reel_status st = set_attrs(op, args, attrs);
    if (st) return st;
    calls = &found;
    st = reel__apply(&op->forward.op, attrs, n_x, x, y);
    calls = found.outer;
    for (int k = 0; found.there && k < op->n_all; k++) reel__tensor_release(found.y[k]);
    return st;
}

reel_status reel_custom_run(reel_custom_op *op, reel_tensor *const x[], int n_x,
                            reel_tensor *y[], int n_y, const reel_custom_args *args)
{
    reel_tensor *all[REEL_OP_MAX_OUT];
    reel__no_results(y, n_y);
    if (reel_failed()) return reel_error_status();
    if (!op || !y || n_y != op->opts.n_out || n_x < 0 || (n_x && !x))
        return reel_fail(REEL_ERR_ARG, "%s: %s", op ? op->forward.name : "custom_run",
                         !op  ? "op is NULL"
                         : !y ? "y is NULL"
                         : n_x < 0 || (n_x && !x)
                             ? "x is NULL"
                             : "another number of outputs than it has");
    reel_status st = apply(op, x, n_x, all, args);
    for (int k = 0; k < n_y && !st; k++) y[k] = all[k];
    return st;
}

reel_tensor *reel_custom(reel_custom_op *op, reel_tensor *const x[], int n_x,
                         const reel_custom_args *args)
{
    reel_tensor *y[REEL_OP_MAX_OUT];
    return reel_custom_run(op, x, n_x, y, op ? op->opts.n_out : 1, args) ? NULL : y[0];
}
