/* shape.c: checked shape arithmetic, memory orders, broadcasting. */
#include "base/shape.h"

#include <inttypes.h>
#include <stdio.h>

/* ---- arithmetic -------------------------------------------------------------------- */

bool reel__checked_mul(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool reel__checked_add(int64_t a, int64_t b, int64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

int64_t reel__numel(const reel__meta *m)
{
    int64_t n = 1;
    for (int i = 0; i < m->rank; i++) n *= m->dim[i];
    return n;
}

reel_status reel__meta_check(const char *who, const reel__meta *m)
{
    char text[REEL__META_TEXT];
    if (reel_dtype_size(m->dtype) == 0)
        return reel_fail(REEL_ERR_DTYPE, "%s: %d is not a dtype", who, (int)m->dtype);
    if (m->rank < 0 || m->rank > REEL_MAX_RANK)
        return reel_fail(REEL_ERR_SHAPE, "%s: rank %d, must be 0 to %d", who, m->rank,
                         REEL_MAX_RANK);
    /* A zero counts as one here: strides are products of the other dimensions. */
    int64_t bytes = (int64_t)reel_dtype_size(m->dtype);
    for (int i = 0; i < m->rank; i++) {
        if (m->dim[i] < 0)
            return reel_fail(REEL_ERR_SHAPE,
                             "%s: shape %s, dimension %d must not be negative", who,
                             reel__dims_text(m, text), i);
        if (!reel__checked_mul(bytes, m->dim[i] > 0 ? m->dim[i] : 1, &bytes))
            return reel_fail(REEL_ERR_SHAPE, "%s: %s has more than 2^63 - 1 bytes", who,
                             reel__meta_text(m, text));
    }
    return REEL_OK;
}

/* ---- making ------------------------------------------------------------------------ */

reel__meta reel__meta_of(reel_shape shape, reel_dtype dtype, reel_device device)
{
    reel__meta m = {.dtype = dtype, .device = device, .rank = shape.rank};
    for (int i = 0; i < shape.rank && i < REEL_MAX_RANK; i++) m.dim[i] = shape.dim[i];
    reel__set_contiguous(&m);
    return m;
}

reel_shape reel__shape(const reel__meta *m)
{
    reel_shape s = {.rank = m->rank};
    for (int i = 0; i < m->rank && i < REEL_MAX_RANK; i++) s.dim[i] = m->dim[i];
    return s;
}

bool reel__same_shape(const reel__meta *a, const reel__meta *b)
{
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i]) return false;
    return true;
}

bool reel__same_look(const reel__meta *a, const reel__meta *b)
{
    if (a->dtype != b->dtype || a->offset != b->offset || !reel__same_shape(a, b))
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] > 1 && a->stride[i] != b->stride[i]) return false;
    return true;
}

/* Dense strides when memory runs through order[0] (outermost) .. order[rank-1]. Unsigned,
 * because a meta may come here before reel__meta_check() has seen it. */
static void set_order(reel__meta *m, const int *order)
{
    uint64_t step = 1;
    for (int k = m->rank - 1; k >= 0; k--) {
        int64_t n = m->dim[order[k]];
        m->stride[order[k]] = (int64_t)step;
        step *= n > 0 ? (uint64_t)n : 1;
    }
}

static const int row_major[REEL_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
static const int nhwc[4] = {0, 2, 3, 1};

void reel__set_contiguous(reel__meta *m)
{
    if (m->rank >= 0 && m->rank <= REEL_MAX_RANK) set_order(m, row_major);
}

void reel__set_channels_last(reel__meta *m)
{
    set_order(m, m->rank == 4 ? nhwc : row_major);
}

/* Dimensions from outermost to innermost in memory. Of two with the same stride the one of
 * size 1 is the inner: outer stride = inner stride * inner size. */
static void memory_order(const reel__meta *m, int *order)
{
    for (int i = 0; i < m->rank; i++) {
        int k = i;
        for (; k > 0; k--) {
            int j = order[k - 1];
            bool outer =
                m->stride[i] > m->stride[j] ||
                (m->stride[i] == m->stride[j] && m->dim[j] == 1 && m->dim[i] != 1);
            if (!outer) break;
            order[k] = j;
        }
        order[k] = i;
    }
}

void reel__set_strides_like(reel__meta *m, const reel__meta *like)
{
    int order[REEL_MAX_RANK];
    /* A broadcast or reversed operand says nothing about the order of memory. */
    bool ordered = m->rank == like->rank;
    for (int i = 0; ordered && i < like->rank; i++)
        ordered = like->stride[i] > 0 || like->dim[i] == 1;
    if (!ordered) {
        reel__set_contiguous(m);
        return;
    }
    memory_order(like, order);
    set_order(m, order);
}

/* ---- asking ------------------------------------------------------------------------ */

/* Dense in this order of memory; strides of dimensions of size 1 do not matter. */
static bool has_order(const reel__meta *m, const int *order)
{
    int64_t step = 1;
    bool fits = true;
    for (int k = m->rank - 1; k >= 0; k--) {
        int i = order[k];
        if (m->dim[i] == 0) return true;
        if (m->dim[i] != 1 && m->stride[i] != step) fits = false;
        step *= m->dim[i];
    }
    return fits;
}

bool reel__is_contiguous(const reel__meta *m)
{
    return has_order(m, row_major);
}

bool reel__is_channels_last(const reel__meta *m)
{
    return m->rank == 4 && has_order(m, nhwc);
}

bool reel__is_dense(const reel__meta *m)
{
    /* Sizes of 1 out of the way first: their strides are arbitrary. */
    reel__meta s = {.rank = 0};
    for (int i = 0; i < m->rank; i++) {
        if (m->dim[i] == 1) continue;
        s.dim[s.rank] = m->dim[i];
        s.stride[s.rank++] = m->stride[i];
    }
    int order[REEL_MAX_RANK];
    memory_order(&s, order);
    return has_order(&s, order);
}

int reel__wrap_dim(int dim, int rank)
{
    if (dim >= rank || dim < -rank) return -1;
    return dim < 0 ? dim + rank : dim;
}

bool reel__broadcast(const reel__meta *a, const reel__meta *b, reel__meta *out)
{
    int rank = a->rank > b->rank ? a->rank : b->rank;
    int64_t dim[REEL_MAX_RANK];
    for (int i = 1; i <= rank; i++) { /* from the last dimension on */
        int64_t da = i <= a->rank ? a->dim[a->rank - i] : 1;
        int64_t db = i <= b->rank ? b->dim[b->rank - i] : 1;
        if (da != db && da != 1 && db != 1) return false;
        dim[rank - i] = da == 1 ? db : da;
    }
    out->rank = rank;
    for (int i = 0; i < rank; i++) out->dim[i] = dim[i];
    return true;
}

/* ---- text -------------------------------------------------------------------------- */

/* Eight dimensions of 19 digits do not fit: the text is cut, never overrun. */
static void put_dims(const reel__meta *m, char *buf, size_t size)
{
    size_t used = 0;
    int rank = m->rank < 0 ? 0 : m->rank > REEL_MAX_RANK ? REEL_MAX_RANK : m->rank;
    for (int i = 0; i <= rank && used < size; i++) {
        int n = i < rank ? snprintf(buf + used, size - used, "%s%" PRId64, i ? "," : "[",
                                    m->dim[i])
                         : snprintf(buf + used, size - used, rank ? "]" : "[]");
        if (n < 0) return;
        used += (size_t)n;
    }
}

char *reel__dims_text(const reel__meta *m, char *buf)
{
    put_dims(m, buf, REEL__META_TEXT);
    return buf;
}

char *reel__meta_text(const reel__meta *m, char *buf)
{
    int n = snprintf(buf, REEL__META_TEXT, "%s", reel_dtype_name(m->dtype));
    if (n > 0) put_dims(m, buf + n, REEL__META_TEXT - (size_t)n);
    return buf;
}
