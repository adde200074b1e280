/* custom_kernel.c: running the functions of an operator of the user's own. They see tensors that
 * look at the memory of the call, and give tensors whose values are copied there, unless they lie
 * there already. */
#include "base/debug.h"
#include "base/error.h"
#include "ops/custom.h"

#include <string.h>

#include "ops/recorder.h"

/* ---- lending -------------------------------------------------------------------------------- */

/* First and one behind the last element, from where the data of the argument begin. */
static void span(const reel__meta *m, int64_t *low, int64_t *high)
{
    *low = 0;
    *high = reel__numel(m) ? 1 : 0;
    for (int d = 0; d < m->rank && *high; d++) {
        int64_t way = (m->dim[d] - 1) * m->stride[d];
        *(way < 0 ? low : high) += way;
    }
}

/* What stands for operand i in place of a result's number, and back. */
#define OPERAND(i) (-1 - (i))

/* A tensor over the memory of an argument, of the innermost scope. NULL with an error. */
static reel_tensor *lend(reel__lent *l, const reel__karg *a, int result)
{
    int64_t low, high, size = (int64_t)reel_dtype_size(a->meta->dtype);
    reel__meta m = *a->meta;
    span(&m, &low, &high);
    m.offset = -low;
    reel__storage *s = reel__storage_borrow(m.device, (char *)a->data + low * size,
                                            (size_t)((high - low) * size));
    if (!s) return NULL;
    l->at[l->n].storage = s;
    l->at[l->n++].result = result;
    return reel__autorelease(reel__tensor_new(&m, s));
}

/* Somebody keeps a tensor that was lent: it gets memory of its own. */
static reel_status part_with(reel__storage *s)
{
    void *data = reel__device_alloc(s->device, s->bytes);
    if (!data) return reel_error_status();
    if (s->bytes) memcpy(data, s->data, s->bytes);
    s->data = data;
    s->borrowed = false;
    return REEL_OK;
}

/* After the scope of the call. `changed`: the first operand that has another version; -1: none. */
static reel_status take_back(reel__lent *l, int *changed)
{
    reel_status st = REEL_OK;
    *changed = -1;
    for (int i = 0; i < l->n; i++) {
        reel__storage *s = l->at[i].storage;
        if (l->at[i].result < 0 && s->version && *changed < 0)
            *changed = OPERAND(l->at[i].result);
        if (atomic_load(&s->refs) > 1 && part_with(s)) st = reel_error_status();
        reel__storage_release(s);
    }
    return st;
}

reel_tensor *reel_custom_result(reel_custom_call *c, int k)
{
    REEL__CALLED;
    if (!c || k < 0 || k >= c->n_result) {
        reel_fail(REEL_ERR_ARG, "custom_result: %s",
                  c ? "there is no result of that number" : "c is NULL");
        return NULL;
    }
    const char *name = c->record->of->forward.name;
    if (!c->lent || !c->result || !c->result[k].meta) {
        reel_fail(REEL_ERR_STATE,
                  "%s: the shape of result %d is not known here; a forward needs a shape "
                  "rule, a backward one that is not written in operators and an input "
                  "whose gradient is needed",
                  name, k);
        return NULL;
    }
    const reel__meta *m = c->result[k].meta;
    int lent = 0;
    for (int i = 0; i < c->lent->n; i++) lent += c->lent->at[i].result >= 0;
    if (reel__is_contiguous(m) && lent < REEL_OP_MAX_IN)
        return lend(c->lent, &c->result[k], k);
    return reel_empty(reel__shape(m), m->dtype);
}

/* ---- calling ---------------------------------------------------------------------------------- */

static reel_status failed(const reel_custom_call *c, reel_status st)
{
    if (!st && !reel_failed()) return REEL_OK;
    return reel_fail(st ? st : reel_error_status(), "%s: its function failed with %s",
                     c->record->name, reel_status_name(st));
}

/* The arguments as the functions see them: contiguous; NULL where there is nothing. */
static reel_status lend_inputs(reel__lent *l, int n, const reel__karg in[],
                               reel_tensor *x[])
{
    for (int i = 0; i < n; i++) {
        x[i] = NULL;
        if (!in[i].meta) continue;
        x[i] = reel_contiguous(lend(l, &in[i], OPERAND(i)));
        if (!x[i]) return reel_error_status();
    }
    return REEL_OK;
}

/* Operands of the backward, one behind the other, to their places. */
static reel_status call_backward(reel_custom_call *c, reel_tensor *const given[],
                                 int n_given, reel_tensor *gx[])
{
    const reel_custom_op *op = c->record->of;
    const int64_t *mask = reel__custom_masks(c->record, c->attrs);
    reel_tensor *at[48] = {NULL}; /* x, then y from 16 on, then gy from 32 on */
    c->needs = (uint64_t)mask[0];
    for (int i = 0, k = 0; i < 48 && k < n_given; i++)
        if (mask[1] >> i & 1) at[i] = given[k++];
    for (c->n_in = REEL_CUSTOM_MAX_IN; c->n_in > 0; c->n_in--)
        if (at[c->n_in - 1] || (mask[0] >> (c->n_in - 1) & 1)) break;
    if (op->opts.n_in >= 0) c->n_in = op->opts.n_in;
    REEL__CALLS_BACK_AS(op->forward.name);
    return failed(c, op->opts.backward(op->opts.user, c, at, at + 16, at + 32, gx));
}

/* Fills y[n_result] with what the function gives. */
static reel_status compute(reel_custom_call *c, int n, const reel__karg in[],
                           reel_tensor *y[])
{
    const reel_custom_op *op = c->record->of;
    reel_tensor *x[REEL_OP_MAX_IN];
    for (int k = 0; k < c->n_result; k++) y[k] = NULL;
    if (reel_failed() || lend_inputs(c->lent, n, in, x)) return reel_error_status();
    if (c->record->is_backward) return call_backward(c, x, n, y);
    REEL__CALLS_BACK_AS(op->forward.name);
    return failed(c, op->opts.forward(op->opts.user, c, x, y));
}

/* ---- results ----------------------------------------------------------------------------------- */

static const char *word(const reel_custom_call *c)
{
    return c->record->is_backward ? "gradient of input" : "output";
}

static reel_status check_result(const reel_custom_call *c, const reel_tensor *y, int k,
                                const reel__meta *want)
{
    const reel__custom_record *r = c->record;
    const char *name = r->of->forward.name,
               *what = r->is_backward ? "backward" : "forward";
    if (!y)
        return reel_fail(REEL_ERR_STATE, "%s: the %s did not set the %s %d", name, what,
                         word(c), k);
    if (!reel__alive(name, y)) return reel_error_status();
    if (y->meta.device.type != REEL_CPU || !y->storage)
        return reel_fail(REEL_ERR_DEVICE, "%s: the %s %d is not on the CPU", name,
                         word(c), k);
    if (!want || (reel__same_shape(&y->meta, want) && y->meta.dtype == want->dtype))
        return REEL_OK;
    return reel_fail(y->meta.dtype == want->dtype ? REEL_ERR_SHAPE : REEL_ERR_DTYPE,
                     "%s: the %s gives %s as the %s %d; %s %s", name, what,
                     SHOW(&y->meta), word(c), k,
                     r->is_backward  ? "like the input it is"
                     : r->types >= 0 ? "in this graph it is"
                                     : "the shape rule says",
                     SHOW(want));
}

/* The lent result that y lies in; -1: in none. */
static int lies_in(const reel__lent *l, const reel_tensor *y)
{
    for (int i = 0; i < l->n; i++)
        if (l->at[i].storage == y->storage) return l->at[i].result;
    return -1;
}

static bool lies_there(const reel_tensor *y, const reel__karg *to)
{
    return reel__ptr(y) == to->data && reel__is_contiguous(&y->meta) &&
           reel__is_contiguous(to->meta);
}

/* Results to where the call wants them. What lies in the place of another is copied first. */
static reel_status hand_over(reel_custom_call *c, reel_tensor *y[],
                             const reel__karg out[])
{
    for (int k = 0; k < c->n_result; k++) {
        if (!out[k].meta) continue;
        if (check_result(c, y[k], k, out[k].meta)) return reel_error_status();
        int in = lies_in(c->lent, y[k]);
        if (in >= 0 && in != k && !(y[k] = reel_copy(y[k]))) return reel_error_status();
    }
    for (int k = 0; k < c->n_result; k++) {
        if (!out[k].meta || lies_there(y[k], &out[k])) continue;
        reel__lent here = {.n = 0};
        reel_tensor *to = lend(&here, &out[k], k);
        if (to) (void)reel_copy_(to, y[k]);
        for (int i = 0; i < here.n; i++) reel__storage_release(here.at[i].storage);
        if (reel_failed()) return reel_error_status();
    }
    return REEL_OK;
}

/* ---- with nobody listening ------------------------------------------------------------------- */

typedef struct quiet {
    reel__silence silence;
    reel_scope scope;
    reel__lent lent;
} quiet;

static void begin(quiet *q)
{
    q->lent.n = 0;
    reel__silence_begin(&q->silence);
    q->scope = reel_scope_begin();
}

static reel_status end(quiet *q, const reel_custom_call *c, reel_status st)
{
    int changed;
    reel_scope_end(q->scope);
    reel_status taken = take_back(&q->lent, &changed);
    reel__silence_end(&q->silence);
    if (!st && changed >= 0)
        st = reel_fail(REEL_ERR_STATE,
                       "%s: its function changed operand %d in place, which is lent; "
                       "use reel_copy()",
                       c->record->name, changed);
    return st ? st : taken;
}

reel_status reel__custom_kernel(const reel__host *self, const reel__kcall *k)
{
    const reel__custom_record *r =
        (const reel__custom_record *)(const void *)((const char *)self -
                                                    offsetof(reel__custom_record, host));
    reel__custom_found *found = reel__custom_find(k->attrs);
    reel_tensor *y[REEL_OP_MAX_OUT];
    quiet q;
    begin(&q);
    reel_custom_call c = {.record = r,
                          .attrs = k->attrs,
                          .n_in = k->n_in,
                          .lent = &q.lent,
                          .result = k->out,
                          .n_result = k->n_out};
    reel_status st = REEL_OK;
    if (found && found->there)
        memcpy(y, found->y, (size_t)k->n_out * sizeof *y);
    else
        st = compute(&c, k->n_in, k->in, y);
    if (!st) st = hand_over(&c, y, k->out);
    return end(&q, &c, st);
}

reel_status reel__custom_forward(const reel__call *call, reel_tensor *y[])
{
    reel__karg in[REEL_OP_MAX_IN];
    quiet q;
    for (int i = 0; i < call->n_in; i++) {
        const reel_tensor *x = call->in[i];
        in[i] = x ? (reel__karg){reel__ptr(x), &x->meta} : (reel__karg){NULL, NULL};
    }
    begin(&q);
    reel_custom_call c = {.record = reel__custom_record_of(call->op),
                          .attrs = call->attrs,
                          .n_in = call->n_in,
                          .lent = &q.lent,
                          .n_result = call->n_out};
    reel_status st = compute(&c, call->n_in, in, y);
    for (int k = 0; k < call->n_out && !st; k++) st = check_result(&c, y[k], k, NULL);
    for (int k = 0; k < call->n_out; k++) y[k] = st ? NULL : reel__tensor_retain(y[k]);
    st = end(&q, &c, st);
    if (!st) return REEL_OK;
    for (int k = 0; k < call->n_out; k++) reel__tensor_release(y[k]);
    return st;
}
