/* ref.h: what the reference kernels share.
 *
 * A reference kernel takes any strides, in f32 and f64, and is as plain as its
 * definition: the specification beside the fast kernels, and what runs where no fast
 * kernel takes the call. One template (a .inc file) serves both types; template.h
 * includes it twice. Sums and transcendental functions are computed in double whatever
 * the type: loads widen, stores round once. Work is cut by outputs, so each sum has one
 * owner and one order. */
#ifndef REEL_CPU_REF_H
#define REEL_CPU_REF_H

#include "backend/cpu/kernels.h"
#include "base/alloc.h"
#include "base/parallel.h"

/* Defines reel__ref_<name>, which the template's instance for the dtype of input 0. */
#define REEL_REF_KERNEL(name)                                                            \
    reel_status reel__ref_##name(const reel__kcall *call)                                \
    {                                                                                    \
        switch (call->in[0].meta->dtype) {                                               \
        case REEL_F32: return name##_f32(call);                                          \
        case REEL_F64: return name##_f64(call);                                          \
        default: return reel__ref_bad_dtype(call);                                       \
        }                                                                                \
    }

/* Fails: input 0 is neither f32 nor f64. */
reel_status reel__ref_bad_dtype(const reel__kcall *call);

/* Memory of an operand, NULL where it is absent. */
static inline void *reel__ref_in(const reel__kcall *call, int i)
{
    return i < call->n_in ? call->in[i].data : NULL;
}

static inline void *reel__ref_out(const reel__kcall *call, int i)
{
    return i < call->n_out ? call->out[i].data : NULL;
}

/* Position of element (i, j, k, l) of a tensor of rank 4. */
static inline int64_t reel__ref_at4(const reel__meta *m, int64_t i, int64_t j, int64_t k,
                                    int64_t l)
{
    return i * m->stride[0] + j * m->stride[1] + k * m->stride[2] + l * m->stride[3];
}

/* Sets of dimensions, as bits. */
static inline uint32_t reel__ref_all_dims(const reel__meta *m)
{
    return (1u << m->rank) - 1u;
}

static inline uint32_t reel__ref_dim_bit(int64_t dim)
{
    return 1u << (uint32_t)dim;
}

/* Number of elements in the dimensions of the set. */
int64_t reel__ref_count(const reel__meta *m, uint32_t dims);
/* Position of element `index`, in row-major order over the dimensions of the set; the
 * other dimensions are at 0. */
int64_t reel__ref_offset(const reel__meta *m, uint32_t dims, int64_t index);
/* Position of matrix `index` of the result `out` in the operand `m`: all dimensions but
 * the last two, aligned from the right, where one that is missing or of size 1 is
 * repeated. */
int64_t reel__ref_matrix(const reel__meta *m, const reel__meta *out, int64_t index);

/* Runs fn(call, begin, end) over [0, n) in parallel; each item costs about `cost` simple
 * operations. */
void reel__ref_parallel(const reel__kcall *call, int64_t n, int64_t cost,
                        reel__range_fn fn);

#endif
