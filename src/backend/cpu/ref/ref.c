/* ref.c: index arithmetic and work sharing of the reference kernels. */
#include "backend/cpu/ref/ref.h"

/* Simple operations that make a task worth handing to a thread. */
enum { TASK_COST = 16384 };

reel_status reel__ref_bad_dtype(const reel__kcall *call)
{
    return reel_fail(
        REEL_ERR_UNSUPPORTED, "%s: no CPU kernel for %s; f32 and f64 have one",
        reel__kernel_name(call->kernel), reel_dtype_name(call->in[0].meta->dtype));
}

int64_t reel__ref_count(const reel__meta *m, uint32_t dims)
{
    int64_t n = 1;
    for (int d = 0; d < m->rank; d++)
        if (dims >> d & 1) n *= m->dim[d];
    return n;
}

int64_t reel__ref_offset(const reel__meta *m, uint32_t dims, int64_t index)
{
    int64_t offset = 0;
    for (int d = m->rank - 1; d >= 0 && index > 0; d--) {
        if (!(dims >> d & 1)) continue;
        offset += index % m->dim[d] * m->stride[d];
        index /= m->dim[d];
    }
    return offset;
}

/* Whether matrices follow one another at one distance, as they mostly do. */
static bool evenly_spaced(const reel__meta *m, const reel__meta *out)
{
    if (m->rank != out->rank || m->rank < 3) return false;
    for (int d = 0; d < m->rank - 2; d++)
        if (m->dim[d] != out->dim[d]) return false;
    for (int d = 0; d < m->rank - 3; d++)
        if (m->stride[d] != m->dim[d + 1] * m->stride[d + 1]) return false;
    return true;
}

int64_t reel__ref_matrix(const reel__meta *m, const reel__meta *out, int64_t index)
{
    if (index == 0) return 0;
    if (evenly_spaced(m, out)) return index * m->stride[m->rank - 3];
    int64_t offset = 0;
    for (int d = out->rank - 3, e = m->rank - 3; d >= 0 && index > 0; d--, e--) {
        if (e >= 0 && m->dim[e] != 1) offset += index % out->dim[d] * m->stride[e];
        index /= out->dim[d];
    }
    return offset;
}

void reel__ref_parallel(const reel__kcall *call, int64_t n, int64_t cost,
                        reel__range_fn fn)
{
    int64_t grain = cost >= TASK_COST ? 1 : TASK_COST / (cost > 0 ? cost : 1);
    if (n > 0) reel__parallel_range(n, grain, fn, (void *)call);
}
