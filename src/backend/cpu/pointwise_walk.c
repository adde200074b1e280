/* pointwise_walk.c: a program of pointwise rows, block by block. What does not lie contiguous
 * in the compute type is brought into L1 first; results that a later step reads stay there,
 * in as few buffers as are alive at once; only outputs are written to memory. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/elem.h"
#include "backend/cpu/grid.h"
#include "backend/cpu/program.h"
#include "base/parallel.h"

/* Elements of a block, at most: a row's loop is long beside the call. Bytes of all buffers
 * together: half of L1, the other half is for what comes straight from memory. */
#define BLOCK 1024
#define ROOM 16384
/* Additions from which a second thread pays, and that a task has at least. */
#define PARALLEL_FROM 32768
#define TASK 16384
/* Elements of a task, at least, however heavy the rows. */
#define SMALLEST_TASK 1024

#define NO_BUFFER (-1)

int64_t reel__program_task(const reel__pw_program *p, int64_t n)
{
    if (n < SMALLEST_TASK) return n;
    int64_t weight = 0;
    for (int s = 0; s < p->n_step; s++) weight += reel__pw_weight(p->step[s].info);
    if (p->type != REEL_PW_F32) weight *= 2;
    int64_t task = TASK / weight > SMALLEST_TASK ? TASK / weight : SMALLEST_TASK;
    return n < task * (PARALLEL_FROM / TASK) ? n : task;
}

/* ---- what a walk knows ---------------------------------------------------------------- */

/* An operand in memory: argument `arg` of the grid. Direct: its blocks need no buffer. */
typedef struct operand {
    char *data;
    int64_t size; /* bytes of an element */
    int arg;
    bool direct;
} operand;

typedef struct input {
    operand from;
    reel__load_fn load;
    int buffer;
} input;

/* Where the result of a step goes. The rows of comparisons write bytes: to the output or to
 * the spare buffer, from where later steps have them converted to the compute type. */
typedef struct result {
    const operand *to; /* the output that it is; NULL: none */
    int buffer;        /* NO_BUFFER: straight to the output, or nobody reads it */
    int bytes;         /* the spare buffer, where a comparison needs one */
} result;

typedef struct walk {
    const reel__pw_program *program;
    reel__cells blocks;
    int n_buffer;
    int64_t buffer_size; /* bytes */
    input in[REEL_STEP_INS];
    operand out[REEL_STEP_OUTS];
    reel__store_fn store[REEL_STEP_OUTS]; /* of a result in the compute type */
    result result[REEL_STEPS];
} walk;

/* ---- running ------------------------------------------------------------------------ */

/* The block that an input's buffer holds: it stays while the input is repeated. */
typedef struct held {
    const char *from;
    int64_t cols, rows;
} held;

static bool holds(const held *h, const char *from, const reel__cell *b, bool constant)
{
    return h->from == from && b->rows <= h->rows &&
           (b->cols == h->cols || (constant && b->cols < h->cols));
}

/* Element of an operand where a block starts. */
static char *start_of(const operand *o, const reel__cell *b)
{
    return o->data + b->at[o->arg] * o->size;
}

static void take_inputs(const walk *w, const reel__cell *b, char *memory, held *in_buffer,
                        char *value[])
{
    const reel__grid *p = w->blocks.grid;
    for (int k = 0; k < w->program->n_in; k++) {
        const input *in = &w->in[k];
        char *from = start_of(&in->from, b);
        value[k] = in->from.direct ? from : memory + in->buffer * w->buffer_size;
        const int64_t *step = p->step[in->from.arg];
        if (in->from.direct ||
            holds(&in_buffer[k], from, b, b->rows == 1 && step[0] == 0))
            continue;
        in->load(b->rows, b->cols, value[k], from, step[1], step[0]);
        in_buffer[k] = (held){from, b->cols, b->rows};
    }
}

/* One step of comparisons: bytes 0 or 1, and what later steps read. */
static void run_bytes(const walk *w, const reel__cell *b, int s, const void *const x[3],
                      char *memory, char *y)
{
    const reel__pw_step *step = &w->program->step[s];
    const result *r = &w->result[s];
    int64_t n = b->rows * b->cols;
    char *to = r->to ? start_of(r->to, b) : NULL;
    bool direct = r->to && r->to->direct;
    char *bytes = direct ? to : memory + r->bytes * w->buffer_size;
    step->fn(n, x, bytes, step->a);
    if (to && !direct) {
        const int64_t *by = w->blocks.grid->step[r->to->arg];
        reel__elem_rows_of_isa()->move[1](b->rows, b->cols, to, by[1], by[0], bytes,
                                          b->cols, 1);
    }
    if (r->buffer != NO_BUFFER)
        reel__elem_rows_of_isa()->load[w->program->type][REEL_BOOL](1, n, y, bytes, n, 1);
}

static void run_steps(const walk *w, const reel__cell *b, char *memory, char *value[])
{
    const reel__pw_program *p = w->program;
    for (int s = 0; s < p->n_step; s++) {
        const reel__pw_step *step = &p->step[s];
        const result *r = &w->result[s];
        const void *x[3] = {NULL, NULL, NULL};
        for (int k = 0; k < step->info->n_in; k++) x[k] = value[step->src[k]];
        char *y = r->buffer != NO_BUFFER ? memory + r->buffer * w->buffer_size
                  : r->to                ? start_of(r->to, b)
                                         : NULL;
        value[p->n_in + s] = y;
        if (step->info->out_bool)
            run_bytes(w, b, s, x, memory, y);
        else
            step->fn(b->rows * b->cols, x, y, step->a);
    }
}

/* Outputs that could not be written at once: because of their layout or dtype, or because
 * they lie where a later step still read an input. */
static void put_outputs(const walk *w, const reel__cell *b, char *const value[])
{
    const reel__pw_program *p = w->program;
    for (int i = 0; i < p->n_out; i++) {
        int s = p->out[i];
        if (p->step[s].info->out_bool || w->result[s].buffer == NO_BUFFER) continue;
        const int64_t *by = w->blocks.grid->step[w->out[i].arg];
        w->store[i](b->rows, b->cols, start_of(&w->out[i], b), by[1], by[0],
                    value[p->n_in + s]);
    }
}

static void walk_blocks(void *ctx, int64_t begin, int64_t end)
{
    const walk *w = ctx;
    _Alignas(64) char memory[ROOM];
    char *value[REEL_PROGRAM_VALUES];
    held in_buffer[REEL_STEP_INS];
    for (int k = 0; k < w->program->n_in; k++) in_buffer[k] = (held){NULL, 0, 0};
    reel__cell b;
    reel__cell_first(&w->blocks, begin, &b);
    for (int64_t i = begin; i < end; i++) {
        take_inputs(w, &b, memory, in_buffer, value);
        run_steps(w, &b, memory, value);
        put_outputs(w, &b, value);
        if (i + 1 < end) reel__cell_next(&w->blocks, &b);
    }
}

/* ---- buffers ------------------------------------------------------------------------ */

/* The last step that reads each value; -1: none. */
static void last_reads(const reel__pw_program *p, int last[REEL_PROGRAM_VALUES])
{
    for (int v = 0; v < p->n_in + p->n_step; v++) last[v] = -1;
    for (int s = 0; s < p->n_step; s++)
        for (int k = 0; k < p->step[s].info->n_in; k++) last[p->step[s].src[k]] = s;
}

/* A step's result must not be written over an input that a later step reads in place. */
static bool overwrites(const walk *w, const operand *to, int s, const int last[])
{
    for (int k = 0; k < w->program->n_in; k++)
        if (w->in[k].from.direct && w->in[k].from.data == to->data && last[k] > s)
            return true;
    return false;
}

static int take_buffer(walk *w, uint32_t *unused)
{
    int b = __builtin_ctz(*unused); /* there is one for every value */
    *unused &= *unused - 1;
    if (b >= w->n_buffer) w->n_buffer = b + 1;
    return b;
}

/* Buffers of the operands that step s is the last to read, but for outputs that are still to
 * be stored. */
static void free_operands(const walk *w, int s, const int last[], uint32_t *unused)
{
    const reel__pw_program *p = w->program;
    for (int k = 0; k < p->step[s].info->n_in; k++) {
        int from = p->step[s].src[k] - p->n_in;
        if (from < 0 || last[p->n_in + from] != s) continue;
        const result *r = &w->result[from];
        bool is_stored = r->to && !p->step[from].info->out_bool;
        if (r->buffer != NO_BUFFER && !is_stored) *unused |= UINT32_C(1) << r->buffer;
    }
}

/* Gives each step's result its place: a linear scan over lifetimes. A row may write over one
 * of its inputs, so buffers that it is the last to read are free for its result. */
static void place_results(walk *w)
{
    const reel__pw_program *p = w->program;
    int last[REEL_PROGRAM_VALUES], spare = NO_BUFFER;
    uint32_t unused = UINT32_MAX;
    w->n_buffer = 0;
    last_reads(p, last);
    for (int k = 0; k < p->n_in; k++)
        w->in[k].buffer = w->in[k].from.direct ? NO_BUFFER : take_buffer(w, &unused);
    for (int s = 0; s < p->n_step; s++) {
        result *r = &w->result[s];
        *r = (result){.to = NULL, .buffer = NO_BUFFER, .bytes = NO_BUFFER};
        for (int i = 0; i < p->n_out; i++)
            if (p->out[i] == s) r->to = &w->out[i];
        bool direct = r->to && r->to->direct, needs_buffer;
        if (p->step[s].info->out_bool) {
            if (!direct && spare == NO_BUFFER) spare = take_buffer(w, &unused);
            r->bytes = spare;
            needs_buffer = last[p->n_in + s] >= 0;
        } else {
            needs_buffer = !direct || overwrites(w, r->to, s, last);
        }
        free_operands(w, s, last, &unused);
        if (needs_buffer) r->buffer = take_buffer(w, &unused);
    }
}

/* ---- setting out -------------------------------------------------------------------- */

/* Whether several short rows make one block: yes if each operand then is one piece, or is
 * repeated along the rows or the columns; or if rows are too short to be worth a call. */
static bool joins_rows(const reel__grid *p, int64_t block)
{
    if (p->size[0] > block / 2) return false;
    if (p->size[0] < 64) return true;
    for (int k = 0; k < p->n_arg; k++) {
        bool one_piece = p->step[k][0] == 1 && p->step[k][1] == p->size[0];
        if (!one_piece && p->step[k][0] != 0 && p->step[k][1] != 0) return false;
    }
    return true;
}

static operand operand_of(const reel__grid *p, const reel__karg *a, int arg, int64_t rows,
                          reel_dtype stored)
{
    return (operand){.data = a->data,
                     .size = (int64_t)reel_dtype_size(a->meta->dtype),
                     .arg = arg,
                     .direct =
                         a->meta->dtype == stored && reel__grid_in_cells(p, arg, rows)};
}

static void find_operands(walk *w, const reel__grid *grid, const reel__kcall *call,
                          int64_t rows)
{
    const reel__pw_program *p = w->program;
    reel_dtype computed = reel__pw_dtype(p->type);
    const reel__elem_rows *elem = reel__elem_rows_of_isa();
    for (int i = 0; i < p->n_out; i++) {
        bool bytes = p->step[p->out[i]].info->out_bool;
        w->out[i] =
            operand_of(grid, &call->out[i], i, rows, bytes ? REEL_BOOL : computed);
        w->store[i] = elem->store[p->type][call->out[i].meta->dtype];
    }
    for (int k = 0; k < p->n_in; k++) {
        w->in[k].from = operand_of(grid, &call->in[k], p->n_out + k, rows, computed);
        w->in[k].load = elem->load[p->type][call->in[k].meta->dtype];
    }
}

void reel__program_run(const reel__pw_program *p, const reel__kcall *call)
{
    const reel__meta *meta[REEL_GRID_ARGS];
    for (int i = 0; i < p->n_out; i++) meta[i] = call->out[i].meta;
    for (int k = 0; k < p->n_in; k++) meta[p->n_out + k] = call->in[k].meta;
    reel__grid grid;
    reel__make_grid(&grid, p->n_out + p->n_in, meta);
    if (grid.n == 0) return;

    int64_t task = reel__program_task(p, grid.n), block = 2 * BLOCK, rows;
    walk w;
    w.program = p;
    do { /* the longest blocks whose buffers fit; a few elements always do */
        block /= 2;
        rows = joins_rows(&grid, block) ? block / grid.size[0] : 1;
        if (rows > grid.size[1]) rows = grid.size[1];
        find_operands(&w, &grid, call, rows);
        place_results(&w);
        w.buffer_size = block * (int64_t)reel__pw_size(p->type);
    } while (w.n_buffer * w.buffer_size > ROOM);
    /* One row straight from memory to memory gains nothing from small blocks. */
    bool in_one = p->n_step == 1 && w.n_buffer == 0;
    int64_t cols = rows > 1 ? grid.size[0] : in_one ? task : block;
    w.blocks = reel__cells_of(&grid, cols, rows);
    if (task == grid.n) {
        walk_blocks(&w, 0, w.blocks.n);
        return;
    }
    int64_t in_block = grid.n / w.blocks.n;
    reel__parallel_range(w.blocks.n, task / (in_block > 0 ? in_block : 1), walk_blocks,
                         &w);
}
