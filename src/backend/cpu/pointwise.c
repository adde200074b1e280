/* pointwise.c: the one driver of all pointwise rows. Operands that lie alike and in the
 * compute type go to the row's loop as they are. All others are walked block by block, as a
 * program of one step (pointwise_walk.c). */
#include "backend/cpu/cpu.h"
#include "backend/cpu/elem.h"
#include "backend/cpu/isa/isa.h"
#include "backend/cpu/program.h"
#include "base/parallel.h"

#include <string.h>

REEL_ISA_DECLARE(reel__pw_rows, pw_rows);

const reel__pw_rows *reel__pw_rows_of_isa(void)
{
    return REEL_ISA_PICK(pw_rows);
}

/* ---- all operands alike ------------------------------------------------------------ */

typedef struct dense {
    reel__pw_fn fn;
    const void *in[3];
    void *out;
    const reel__number *a;
    int n_in;
    int64_t in_size, out_size; /* bytes of an element */
} dense;

static void dense_range(void *ctx, int64_t begin, int64_t end)
{
    const dense *d = ctx;
    const void *x[3] = {NULL, NULL, NULL};
    for (int i = 0; i < d->n_in; i++) x[i] = (const char *)d->in[i] + begin * d->in_size;
    d->fn(end - begin, x, (char *)d->out + begin * d->out_size, d->a);
}

static bool lies_like(const reel__meta *m, const reel__meta *out)
{
    size_t bytes = (size_t)out->rank * sizeof(int64_t);
    return m->rank == out->rank && memcmp(m->dim, out->dim, bytes) == 0 &&
           memcmp(m->stride, out->stride, bytes) == 0;
}

/* True if every operand has the output's strides, these leave no gap, and all are stored
 * in the compute type. */
static bool is_dense(const reel__kcall *call, reel_dtype computed, bool out_bool)
{
    const reel__meta *out = call->out[0].meta;
    if (out->dtype != (out_bool ? REEL_BOOL : computed)) return false;
    for (int i = 0; i < call->n_in; i++)
        if (call->in[i].meta->dtype != computed || !lies_like(call->in[i].meta, out))
            return false;
    return reel__is_contiguous(out) || reel__is_dense(out);
}

static void run_dense(const reel__pw_program *p, const reel__kcall *call)
{
    const reel__pw_step *row = &p->step[0];
    int64_t n = reel__numel(call->out[0].meta), size = (int64_t)reel__pw_size(p->type);
    dense d = {.fn = row->fn, .out = call->out[0].data, .a = row->a, .n_in = call->n_in};
    d.in_size = size;
    d.out_size = row->info->out_bool ? 1 : size;
    for (int i = 0; i < call->n_in; i++) d.in[i] = call->in[i].data;
    int64_t task = reel__program_task(p, n);
    if (task == n)
        d.fn(n, d.in, d.out, d.a);
    else
        reel__parallel_range(n, task, dense_range, &d);
}

/* ---- driver ------------------------------------------------------------------------ */

reel_status reel__cpu_pointwise(const reel__kcall *call)
{
    static const reel__number none[2] = {{.is_real = 0}, {.is_real = 0}};
    const reel__pw_info *info = reel__pw_info_of(call->kernel);
    bool fits = info && call->n_in == info->n_in;
    reel_dtype by = call->in[fits ? info->typed_by : 0].meta->dtype;
    reel__pw_type type = reel__pw_type_of(by);
    reel__pw_fn fn = fits ? reel__pw_rows_of_isa()->row[call->kernel][type] : NULL;
    if (!fn)
        return reel_fail(REEL_ERR_UNSUPPORTED, "%s: no kernel for %s on the CPU",
                         info ? info->name : "pointwise", reel_dtype_name(by));
    reel__pw_program
        p; /* only what one step needs is set: small calls come through here */
    p.type = type;
    p.n_in = call->n_in;
    p.n_step = p.n_out = 1;
    p.out[0] = 0;
    p.step[0] = (reel__pw_step){.info = info, .fn = fn, .src = {0, 1, 2}};
    p.step[0].a = call->attrs ? ((const reel__scalar_attrs *)call->attrs)->a : none;
    if (is_dense(call, reel__pw_dtype(type), info->out_bool))
        run_dense(&p, call);
    else
        reel__program_run(&p, call);
    return REEL_OK;
}
