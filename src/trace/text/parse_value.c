/* parse_value.c: what values are called in a text, and what they are. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "trace/text/parse.h"

/* FNV-1a. */
static size_t hash_of(int64_t number, const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    if (number >= 0)
        return (size_t)((uint64_t)number * UINT64_C(0x9e3779b97f4a7c15) >> 20);
    for (; *name; name++) h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return (size_t)(h ^ h >> 32);
}

static size_t slot_of(const reel__parser *p, int64_t number, const char *name)
{
    size_t i = hash_of(number, name) & p->mask;
    for (; p->slot[i]; i = (i + 1) & p->mask) {
        int v = p->slot[i] - 1;
        if (p->value[v].number != number) continue;
        if (number >= 0 || strcmp(p->g->value[v].name, name) == 0) break;
    }
    return i;
}

bool reel__parse_rehash(reel__parser *p, size_t size)
{
    int *slot = reel__calloc(size, sizeof *slot);
    if (!slot) return false;
    reel__free(p->slot);
    p->slot = slot;
    p->mask = size - 1;
    for (int v = 0; v < p->g->n_value; v++)
        p->slot[slot_of(p, p->value[v].number, p->g->value[v].name)] = v + 1;
    return true;
}

int reel__parse_lookup(const reel__parser *p, const reel__text_ref *r)
{
    return p->slot[slot_of(p, r->number, r->name)] - 1;
}

bool reel__parse_ref(reel__parser *p, reel__text_ref *r)
{
    *r = (reel__text_ref){.number = -1, .place = p->s};
    if (*p->s.at == '-' && !reel__bare_char((unsigned char)p->s.at[1])) {
        p->s.at++;
        r->absent = true;
        return true;
    }
    if (!reel__scan_is(&p->s, "%"))
        return reel__scan_name(&p->s, r->name, sizeof r->name);
    if (!reel__scan_int(&p->s, &r->number)) return false;
    if (r->number < 0) return reel__scan_fail(&r->place, "a number below 0");
    (void)snprintf(r->name, sizeof r->name, "%%%" PRId64, r->number);
    return true;
}

bool reel__parse_value(reel__parser *p, int *v)
{
    reel__text_ref r;
    if (!reel__parse_ref(p, &r)) return false;
    *v = r.absent ? REEL_NO_VALUE : reel__parse_lookup(p, &r);
    return r.absent || *v >= 0 ||
           reel__scan_fail(&r.place, "nothing is called %.80s here", r.name);
}

int reel__parse_define(reel__parser *p, const reel__text_ref *r, reel__value_kind kind,
                       const reel__meta *m, const int64_t *grow, reel_tensor *tensor)
{
    void *list = p->value;
    int n = p->g->n_value;
    if (r->absent || reel__parse_lookup(p, r) >= 0) {
        reel__scan_fail(&r->place,
                        r->absent ? "a name should stand here" : "%.80s is there already",
                        r->name);
        return -1;
    }
    if (!reel__grow(&list, n, &p->cap_value, sizeof *p->value)) return -1;
    p->value = list;
    if ((size_t)n * 2 > p->mask && !reel__parse_rehash(p, 2 * p->mask + 2)) return -1;
    p->value[n] = (reel__known){r->number, n, r->place};
    const char *name = r->number < 0 ? r->name : NULL;
    int v = reel__graph_add_value(p->g, kind, m, name, tensor);
    if (v < 0) return -1;
    memcpy(p->g->value[v].grow, grow, sizeof p->g->value[v].grow);
    p->slot[slot_of(p, r->number, r->name)] = v + 1;
    return v;
}

bool reel__parse_shape(reel__parser *p, reel__meta *m, int64_t *grow)
{
    const reel__scan begin = p->s;
    if (!reel__scan_shape(&p->s, p->g->batch, m, grow)) return false;
    for (int d = 0; d < m->rank; d++)
        if (grow[d] > REEL__MOST_BATCH || grow[d] < -REEL__MOST_BATCH ||
            m->dim[d] > INT64_MAX / 4)
            return reel__scan_fail(&begin, "a size that grows too fast");
    return true;
}
