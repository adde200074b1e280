/* pointwise.c: the one driver of all pointwise rows. Operands that lie alike and in the
 * compute type go to the row's loop as they are. All others are walked block by block:
 * what does not lie contiguous in the compute type is brought into L1 first. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/elem.h"
#include "backend/cpu/isa/isa.h"
#include "backend/cpu/plan.h"
#include "backend/cpu/pw.h"
#include "base/parallel.h"

#include <string.h>

/* Elements of a block that passes through L1: at most four buffers of 8 bytes each. */
#define BLOCK 512
/* Additions from which a second thread pays, and that a task has at least. */
#define PARALLEL_FROM 32768
#define TASK 16384
/* Elements of a task, at least, however heavy the row. */
#define SMALLEST_TASK 1024

REEL_ISA_DECLARE(reel_pw_rows, pw_rows);

const reel_pw_rows *reel__pw_rows(void)
{
    return REEL_ISA_PICK(pw_rows);
}

/* Elements of a task of n; n, where one thread does all. */
static int64_t task_size(int64_t n, const reel_pw_info *info, reel_pw_type type)
{
    if (n < SMALLEST_TASK) return n;
    int64_t weight = reel__pw_weight(info) * (type == REEL_PW_F32 ? 1 : 2);
    int64_t task = TASK / weight > SMALLEST_TASK ? TASK / weight : SMALLEST_TASK;
    return n < task * (PARALLEL_FROM / TASK) ? n : task;
}

/* ---- all operands alike ------------------------------------------------------------ */

typedef struct dense {
    reel_pw_fn fn;
    const void *in[3];
    void *out;
    const double *a;
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

static bool lies_like(const reel_meta *m, const reel_meta *out)
{
    size_t bytes = (size_t)out->rank * sizeof(int64_t);
    return m->rank == out->rank && memcmp(m->dim, out->dim, bytes) == 0 &&
           memcmp(m->stride, out->stride, bytes) == 0;
}

/* True if every operand has the output's strides, these leave no gap, and all are stored
 * in the compute type. */
static bool is_dense(const reel_kcall *call, reel_dtype computed, bool out_bool)
{
    const reel_meta *out = call->out[0].meta;
    if (out->dtype != (out_bool ? REEL_BOOL : computed)) return false;
    for (int i = 0; i < call->n_in; i++)
        if (call->in[i].meta->dtype != computed || !lies_like(call->in[i].meta, out))
            return false;
    return reel__is_contiguous(out) || reel__is_dense(out);
}

static void run_dense(const reel_kcall *call, reel_pw_fn fn, const double *a,
                      const reel_pw_info *info, reel_pw_type type)
{
    int64_t n = reel__numel(call->out[0].meta), size = (int64_t)reel__pw_size(type);
    dense d = {.fn = fn, .out = call->out[0].data, .a = a, .n_in = call->n_in};
    d.in_size = size;
    d.out_size = info->out_bool ? 1 : size;
    for (int i = 0; i < call->n_in; i++) d.in[i] = call->in[i].data;
    int64_t task = task_size(n, info, type);
    if (task == n)
        fn(n, d.in, d.out, a);
    else
        reel__parallel_range(n, task, dense_range, &d);
}

/* ---- the general walk -------------------------------------------------------------- */

typedef struct walk {
    reel_pw_fn fn;
    const double *a;
    reel_blocks blocks;
    int n_in;
    /* One an operand, the output first. Direct: its blocks need no buffer. */
    char *data[REEL_PLAN_ARGS];
    int64_t size[REEL_PLAN_ARGS];
    bool direct[REEL_PLAN_ARGS];
    reel_load_fn load[REEL_PLAN_ARGS];
    reel_store_fn store;
} walk;

/* What a BOOL row has written goes out as it is. */
static void store_bytes(int64_t rows, int64_t cols, void *dst, int64_t row, int64_t col,
                        const void *block)
{
    reel__elem_rows()->move[1](rows, cols, dst, row, col, block, cols, 1);
}

/* The block that an input's buffer holds: it stays while the input is repeated. */
typedef struct held {
    const char *from;
    int64_t cols, rows;
} held;

static bool holds(const held *h, const char *from, const reel_block *b, bool constant)
{
    return h->from == from && b->rows <= h->rows &&
           (b->cols == h->cols || (constant && b->cols < h->cols));
}

static void walk_blocks(void *ctx, int64_t begin, int64_t end)
{
    const walk *w = ctx;
    const reel_plan *p = w->blocks.plan;
    _Alignas(64) char buffer[REEL_PLAN_ARGS][BLOCK * sizeof(double)];
    held in_buffer[REEL_PLAN_ARGS] = {{NULL, 0, 0}};
    reel_block b;
    reel__block_first(&w->blocks, begin, &b);
    for (int64_t i = begin; i < end; i++) {
        const void *x[3] = {NULL, NULL, NULL};
        for (int k = 1; k <= w->n_in; k++) {
            const char *from = w->data[k] + b.at[k] * w->size[k];
            x[k - 1] = w->direct[k] ? from : buffer[k];
            if (w->direct[k] ||
                holds(&in_buffer[k], from, &b, b.rows == 1 && p->step[k][0] == 0))
                continue;
            w->load[k](b.rows, b.cols, buffer[k], from, p->step[k][1], p->step[k][0]);
            in_buffer[k] = (held){from, b.cols, b.rows};
        }
        char *to = w->data[0] + b.at[0] * w->size[0];
        w->fn(b.rows * b.cols, x, w->direct[0] ? to : buffer[0], w->a);
        if (!w->direct[0])
            w->store(b.rows, b.cols, to, p->step[0][1], p->step[0][0], buffer[0]);
        if (i + 1 < end) reel__block_next(&w->blocks, &b);
    }
}

/* Whether several short rows make one block: yes if each operand then is one piece, or is
 * repeated along the rows or the columns; or if rows are too short to be worth a call. */
static bool joins_rows(const reel_plan *p)
{
    if (p->size[0] > BLOCK / 2) return false;
    if (p->size[0] < 64) return true;
    for (int k = 0; k < p->n_arg; k++) {
        bool one_piece = p->step[k][0] == 1 && p->step[k][1] == p->size[0];
        if (!one_piece && p->step[k][0] != 0 && p->step[k][1] != 0) return false;
    }
    return true;
}

static void run_walk(const reel_kcall *call, reel_pw_fn fn, const double *a,
                     const reel_pw_info *info, reel_pw_type type, reel_dtype computed)
{
    const reel_meta *meta[REEL_PLAN_ARGS] = {call->out[0].meta};
    for (int i = 0; i < call->n_in; i++) meta[i + 1] = call->in[i].meta;
    reel_plan p;
    reel__plan(&p, call->n_in + 1, meta);
    if (p.n == 0) return;

    const reel_elem_rows *elem = reel__elem_rows();
    walk w = {.fn = fn, .a = a, .n_in = call->n_in};
    w.store = info->out_bool ? store_bytes : elem->store[type][meta[0]->dtype];
    int64_t task = task_size(p.n, info, type);
    int64_t rows = joins_rows(&p) ? BLOCK / p.size[0] : 1;
    if (rows > p.size[1]) rows = p.size[1];
    bool all_direct = true;
    for (int k = 0; k < p.n_arg; k++) {
        reel_dtype stored = k == 0 && info->out_bool ? REEL_BOOL : computed;
        w.data[k] = k == 0 ? call->out[0].data : call->in[k - 1].data;
        w.size[k] = (int64_t)reel_dtype_size(meta[k]->dtype);
        w.direct[k] = meta[k]->dtype == stored && reel__plan_in_blocks(&p, k, rows);
        w.load[k] = elem->load[type][meta[k]->dtype];
        all_direct = all_direct && w.direct[k];
    }
    int64_t cols = rows > 1 ? p.size[0] : all_direct ? task : BLOCK;
    w.blocks = reel__blocks(&p, cols, rows);
    if (task == p.n) {
        walk_blocks(&w, 0, w.blocks.n);
        return;
    }
    int64_t in_block = p.n / w.blocks.n;
    reel__parallel_range(w.blocks.n, task / (in_block > 0 ? in_block : 1), walk_blocks,
                         &w);
}

/* ---- driver ------------------------------------------------------------------------ */

static const reel_dtype dtype_of[REEL_PW_TYPES] = {REEL_F32, REEL_F64, REEL_I64};

reel_status reel__cpu_pointwise(const reel_kcall *call)
{
    static const double none[2] = {0, 0};
    const reel_pw_info *info = reel__pw_info(call->kernel);
    reel_dtype last = call->in[call->n_in - 1].meta->dtype;
    reel_pw_type type = reel__pw_type(last);
    reel_pw_fn fn = info ? reel__pw_rows()->row[call->kernel][type] : NULL;
    if (!fn || call->n_in != info->n_in)
        return reel_fail(REEL_ERR_UNSUPPORTED, "%s: no kernel for %s on the CPU",
                         info ? info->name : "pointwise", reel_dtype_name(last));
    const double *a = call->attrs ? ((const reel_scalar_attrs *)call->attrs)->a : none;
    if (is_dense(call, dtype_of[type], info->out_bool))
        run_dense(call, fn, a, info, type);
    else
        run_walk(call, fn, a, info, type, dtype_of[type]);
    return REEL_OK;
}
