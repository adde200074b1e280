/* indices.c: see indices.h. */
#include "backend/cpu/indices.h"

#include "backend/cpu/walk.h"
#include "base/alloc.h"

static reel_status check(const reel__indices *x, const char *who, int64_t dim,
                         int64_t size)
{
    bool ok = true;
    for (int64_t i = 0; i < x->n; i++) /* no early exit: it vectorizes */
        ok &= (uint64_t)x->at[i] < (uint64_t)size;
    for (int64_t i = 0; !ok && i < x->n; i++)
        if ((uint64_t)x->at[i] >= (uint64_t)size)
            return reel_fail(
                REEL_ERR_ARG,
                "%s: index %lld at position %lld is out of range for dimension "
                "%lld of size %lld",
                who, (long long)x->at[i], (long long)i, (long long)dim, (long long)size);
    return REEL_OK;
}

/* i32 in the second half of the room becomes i64 in all of it: from the front, an element
 * is read before its place is overwritten. */
static void widen(int64_t *room, int64_t n)
{
    typedef int32_t narrow_index __attribute__((may_alias));
    const narrow_index *narrow = (const narrow_index *)room + n;
    for (int64_t i = 0; i < n; i++) {
        int32_t value = narrow[i];
        room[i] = value;
    }
}

reel_status reel__indices_load(reel__indices *out, const reel__karg *index,
                               const char *who, int64_t dim, int64_t size)
{
    const reel__meta *m = index->meta;
    reel__axis axis[REEL_MAX_RANK];
    int n_axes = reel__axes(m, NULL, axis);
    *out = (reel__indices){.at = index->data, .n = reel__numel(m)};
    if (m->dtype != REEL_I64 && m->dtype != REEL_I32)
        return reel_fail(REEL_ERR_DTYPE, "%s: index is %s, must be i64 or i32", who,
                         reel_dtype_name(m->dtype));
    if (m->dtype != REEL_I64 || n_axes > 1 || axis[0].a != 1) {
        reel__walk w = reel__match_walk(axis, n_axes, 0);
        bool narrow = m->dtype == REEL_I32;
        out->owned = reel__scratch((size_t)out->n * sizeof *out->owned);
        if (!out->owned) return reel_error_status();
        reel__walk_gather(narrow ? (void *)((int32_t *)out->owned + out->n) : out->owned,
                          index->data, &w, out->n, reel_dtype_size(m->dtype));
        if (narrow) widen(out->owned, out->n);
        out->at = out->owned;
    }
    reel_status status = check(out, who, dim, size);
    if (status != REEL_OK) reel__indices_free(out);
    return status;
}

void reel__indices_free(reel__indices *indices)
{
    reel__scratch_free(indices->owned);
    indices->owned = NULL;
}
