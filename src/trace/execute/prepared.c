/* prepared.c: weights as the kernels like them, made once for operands that no node changes.
 * Blobs are never changed, only replaced: executors of other threads may be reading them. Two
 * plans for which a kernel makes the same bytes share one blob. */
#include <string.h>

#include "base/alloc.h"
#include "trace/execute/plan.h"

/* ---- which steps ------------------------------------------------------------------------------ */

/* Inputs of a step that are state which the graph leaves alone. */
static unsigned constants(const reel__plan *p, const reel__plan_step *s)
{
    const reel__program *r = p->program;
    unsigned mask = 0;
    for (int k = 0; k < s->call.n_in && k < REEL__PREPARED_IN; k++) {
        int slot = p->arg_slot[s->first_arg + k];
        if (slot < 0 || slot >= r->graph->n_value) continue;
        if (r->state_of[r->owner[slot]] >= 0 && !r->changes[slot]) mask |= 1u << k;
    }
    return mask;
}

static void search(reel__plan *p)
{
    if (p->searched) return;
    p->searched = true;
    reel_device d = p->program->device;
    const reel__backend *backend = reel__backend_of(d.type);
    for (int i = 0; i < p->n_step && backend->prepare_size; i++) {
        reel__plan_step *s = &p->step[i];
        unsigned mask = s->node < 0 ? 0 : constants(p, s);
        if (mask && backend->prepare_size(d.index, &s->call, mask)) s->constant = mask;
    }
}

/* ---- blobs ---------------------------------------------------------------------------------------- */

static void blob_free(reel__program *r, reel__blob *b)
{
    if (!b) return;
    for (int k = 0; k < REEL__PREPARED_IN; k++) reel__storage_release(b->of[k].storage);
    reel__device_free(r->device, b->data, b->bytes);
    reel__free(b);
}

/* The tensor behind input k of a step. */
static const reel_tensor *state_of(const reel__plan *p, const reel__plan_step *s, int k)
{
    const reel__program *r = p->program;
    return r->graph->value[r->owner[p->arg_slot[s->first_arg + k]]].tensor;
}

/* Whether b was made of the values that the step's operands have now. */
static bool fresh(const reel__plan *p, const reel__plan_step *s, const reel__blob *b)
{
    for (int k = 0; b && s->constant >> k; k++) {
        if (!(s->constant >> k & 1)) continue;
        const reel__storage *now = state_of(p, s, k)->storage;
        if (b->of[k].storage != now || b->of[k].version != now->version ||
            b->of[k].lent != now->lent || b->of[k].data != s->call.in[k].data)
            return false;
    }
    return b != NULL;
}

static reel__blob *blob_new(const reel__plan *p, const reel__plan_step *s)
{
    reel_device d = p->program->device;
    const reel__backend *backend = reel__backend_of(d.type);
    reel__blob *b = reel__calloc(1, sizeof *b);
    if (!b) return NULL;
    b->node = s->node;
    for (int k = 0; s->constant >> k; k++) {
        if (!(s->constant >> k & 1)) continue;
        b->of[k].storage = reel__storage_retain(state_of(p, s, k)->storage);
        b->of[k].version = b->of[k].storage->version;
        b->of[k].lent = b->of[k].storage->lent;
        b->of[k].data = s->call.in[k].data;
    }
    b->bytes = backend->prepare_size(d.index, &s->call, s->constant);
    b->data = reel__device_alloc(d, b->bytes);
    if (b->data && !backend->prepare(d.index, &s->call, s->constant, b->data)) return b;
    blob_free(p->program, b);
    return NULL;
}

/* Takes the step off its blob; the last one frees it. */
static void let_go(reel__program *r, reel__plan_step *s)
{
    reel__blob *b = s->blob;
    s->blob = NULL;
    if (!b) return;
    s->call.prepared = NULL;
    reel__lock_take(&r->lock);
    bool last = --b->uses == 0;
    for (reel__blob **at = &r->blobs; last && *at; at = &(*at)->next)
        if (*at == b) {
            *at = b->next;
            break;
        }
    reel__lock_give(&r->lock);
    if (last) blob_free(r, b);
}

/* Adds b to the list, or finds the one there that holds the same. */
static reel__blob *share(const reel__plan *p, const reel__plan_step *s, reel__blob *b)
{
    reel__program *r = p->program;
    reel__lock_take(&r->lock);
    reel__blob *o = r->blobs;
    while (o && !(o->node == b->node && o->bytes == b->bytes && fresh(p, s, o) &&
                  memcmp(o->data, b->data, b->bytes) == 0))
        o = o->next;
    if (!o) {
        b->next = r->blobs;
        r->blobs = b;
    }
    reel__blob *kept = o ? o : b;
    kept->uses++;
    reel__lock_give(&r->lock);
    if (o) blob_free(r, b);
    return kept;
}

reel_status reel__prepared_refresh(reel__plan *p)
{
    search(p);
    for (int i = 0; i < p->n_step; i++) {
        reel__plan_step *s = &p->step[i];
        if (!s->constant || fresh(p, s, s->blob)) continue;
        let_go(p->program, s);
        reel__blob *b = blob_new(p, s);
        if (!b) return reel_error_status();
        s->blob = share(p, s, b);
        s->call.prepared = s->blob->data;
    }
    return REEL_OK;
}

void reel__prepared_drop(reel__plan *p)
{
    for (int i = 0; p->step && i < p->n_step; i++) let_go(p->program, &p->step[i]);
}

size_t reel__prepared_bytes(reel__program *r)
{
    size_t bytes = 0;
    reel__lock_take(&r->lock);
    for (const reel__blob *b = r->blobs; b; b = b->next) bytes += b->bytes;
    reel__lock_give(&r->lock);
    return bytes;
}
