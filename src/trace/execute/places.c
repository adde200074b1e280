/* places.c: where every value lies. Values that the caller or a state tensor holds lie there;
 * the others get a block of the arena each, for as long as anybody looks at its memory. A
 * pointwise kernel writes over an operand that it is the last to read. */
#include <string.h>

#include "base/alloc.h"
#include "trace/execute/plan.h"

#define NO_BLOCK (-1)

/* ---- what lies outside of the arena --------------------------------------------------------- */

static void place_outside(reel__plan *p)
{
    const reel__program *r = p->program;
    const reel_graph *g = r->graph;
    for (int s = 0; s < p->n_slot; s++) p->place[s].base = -1;
    for (int i = 0; i < r->n_state; i++)
        p->place[r->state[i]].base = reel__base_state(g, i);
    for (int i = 0; i < g->n_input; i++) {
        p->place[reel__slot_input(g, i)].base = reel__base_input(i);
        if (!p->copied[i]) p->place[g->input[i]].base = reel__base_input(i);
    }
    for (int i = 0; i < g->n_output; i++) {
        p->place[reel__slot_output(g, i)].base = reel__base_output(g, i);
        if (!p->copied[g->n_input + i])
            p->place[r->owner[g->output[i]]].base = reel__base_output(g, i);
    }
}

/* ---- how long values live ------------------------------------------------------------------- */

static size_t bytes_of(const reel__meta *m)
{
    size_t bytes = (size_t)reel__numel(m) * reel_dtype_size(m->dtype);
    return (bytes + 63) & ~(size_t)63;
}

/* The block of a slot in the arena, made at its first use in a step. */
static void use(reel__plan *p, int slot, int step)
{
    if (slot < 0) return;
    int owner = reel__slot_owner(p->program, slot);
    if (p->place[owner].base >= 0) return;
    int b = p->block_of[owner];
    if (b == NO_BLOCK) {
        b = p->block_of[owner] = p->n_block++;
        p->block[b] = (reel__block){bytes_of(&p->meta[owner]), step, step, 0};
        p->values += p->block[b].bytes;
        p->n_values++;
    }
    p->block[b].last = step;
}

static void find_lives(reel__plan *p)
{
    for (int s = 0; s < p->n_slot; s++) p->block_of[s] = NO_BLOCK;
    for (int i = 0; i < p->n_step; i++) {
        const reel__plan_step *s = &p->step[i];
        for (int a = 0; a < s->call.n_in + s->call.n_out; a++)
            use(p, p->arg_slot[s->first_arg + a], i);
    }
}

/* ---- results in the place of an operand ------------------------------------------------------ */

/* Exactly in one place: the same elements at the same distances. */
static bool lies_alike(const reel__plan *p, int a, int b)
{
    const reel__meta *x = &p->meta[a], *y = &p->meta[b];
    const reel__program *r = p->program;
    int64_t from_x = x->offset - p->meta[reel__slot_owner(r, a)].offset;
    int64_t from_y = y->offset - p->meta[reel__slot_owner(r, b)].offset;
    return x->dtype == y->dtype && from_x == from_y && reel__same_shape(x, y) &&
           memcmp(x->stride, y->stride, (size_t)x->rank * sizeof *x->stride) == 0;
}

/* Blocks that were merged into others: into[b] is b or the block that it went into. */
static int block_at(const reel__plan *p, const int *into, int slot)
{
    int b = slot < 0 ? NO_BLOCK : p->block_of[reel__slot_owner(p->program, slot)];
    while (b != NO_BLOCK && into[b] != b) b = into[b];
    return b;
}

/* True if result y of a step may lie over its input k, whose block dies with it. */
static bool may_replace(const reel__plan *p, const int *into, int step, int k, int y)
{
    const reel__plan_step *s = &p->step[step];
    const int *slot = &p->arg_slot[s->first_arg];
    bool pointwise = p->program->graph->node[s->node].op->traits & REEL_OP_POINTWISE;
    int b = block_at(p, into, slot[k]);
    if (b == NO_BLOCK || p->block[b].last != step || !lies_alike(p, slot[k], slot[y]) ||
        p->block[b].bytes != bytes_of(&p->meta[slot[y]]))
        return false;
    for (int i = 0; i < s->call.n_in + s->call.n_out; i++)
        if (i != k && i != y && block_at(p, into, slot[i]) == b &&
            !(pointwise && lies_alike(p, slot[i], slot[y])))
            return false;
    return true;
}

/* Puts result y of a step over one of its inputs, if that can be. */
static void replace(reel__plan *p, int *into, int step, int y)
{
    const reel__plan_step *s = &p->step[step];
    const int *slot = &p->arg_slot[s->first_arg];
    int b = block_at(p, into, slot[y]);
    for (int k = 0; k < s->call.n_in && b != NO_BLOCK; k++) {
        if (!may_replace(p, into, step, k, y)) continue;
        int to = block_at(p, into, slot[k]);
        p->block[to].last = p->block[b].last;
        into[b] = to;
        return;
    }
}

static void reuse_operands(reel__plan *p, int *into)
{
    for (int i = 0; i < p->n_step; i++) {
        const reel__plan_step *s = &p->step[i];
        unsigned traits = s->node < 0 ? 0 : p->program->graph->node[s->node].op->traits;
        if (!(traits & (REEL_OP_POINTWISE | REEL_OP_REPLACES)) ||
            (traits & REEL_OP_INPLACE))
            continue;
        for (int y = 0; y < s->call.n_out; y++) replace(p, into, i, s->call.n_in + y);
    }
}

/* Drops the blocks that were merged into others. */
static void compact(reel__plan *p, int *into)
{
    int n = 0;
    for (int s = 0; s < p->n_slot; s++)
        if (p->block_of[s] != NO_BLOCK) p->block_of[s] = block_at(p, into, s);
    for (int b = 0; b < p->n_block; b++) {
        bool keep = into[b] == b;
        into[b] = n; /* its number from now on */
        if (keep) p->block[n++] = p->block[b];
    }
    for (int s = 0; s < p->n_slot; s++)
        if (p->block_of[s] != NO_BLOCK) p->block_of[s] = into[p->block_of[s]];
    p->n_block = n;
}

static reel_status reuse(reel__plan *p)
{
    int *into = reel__malloc(((size_t)p->n_block + 1) * sizeof *into);
    if (!into) return reel_error_status();
    for (int b = 0; b < p->n_block; b++) into[b] = b;
    reuse_operands(p, into);
    compact(p, into);
    reel__free(into);
    return REEL_OK;
}

/* ---- all together ------------------------------------------------------------------------------ */

static void place_inside(reel__plan *p)
{
    for (int s = 0; s < p->n_slot; s++)
        if (p->block_of[s] != NO_BLOCK)
            p->place[s] = (reel__place){0, (ptrdiff_t)p->block[p->block_of[s]].offset};
    for (int v = 0; v < p->program->graph->n_value; v++) {
        int owner = p->program->owner[v];
        if (owner == v || p->place[owner].base < 0) continue;
        int64_t elements = p->meta[v].offset - p->meta[owner].offset;
        p->place[v] = p->place[owner];
        p->place[v].offset +=
            (ptrdiff_t)elements * (ptrdiff_t)reel_dtype_size(p->meta[v].dtype);
    }
}

static void find_moving(reel__plan *p)
{
    for (int a = 0; a < p->n_arg; a++)
        if (p->arg_slot[a] >= 0 && p->place[p->arg_slot[a]].base > 0)
            p->moving[p->n_moving++] = a;
}

reel_status reel__plan_places(reel__plan *p)
{
    place_outside(p);
    find_lives(p);
    reel_status st = reuse(p);
    if (!st) st = reel__plan_offsets(p->block, p->n_block, &p->arena);
    if (!st)
        st = reel__plan_lower_bound(p->block, p->n_block, p->n_step, &p->lower_bound);
    if (st) return st;
    place_inside(p);
    find_moving(p);
    return REEL_OK;
}
