/* gemm.h: inside the matrix products: the serial product that other blocked kernels build
 * on, batches, and products with an operand that was packed before. */
#ifndef REEL_CPU_GEMM_H
#define REEL_CPU_GEMM_H

#include "backend/cpu/cpu.h"
#include "backend/cpu/epilogue.h"

/* Elements of room that reel__gemm_serial packs into. */
#define REEL__GEMM_ROOM ((size_t)256 * 256)

/* The product in the calling thread; room: REEL__GEMM_ROOM elements, 64-byte
 * aligned. */
void reel__gemm_serial(const reel__gemm *g, void *room);

/* Where the products of a batch lie: steps, in elements, of each dimension of the
 * batch. */
typedef struct reel__batch {
    int rank; /* 0: one product */
    int64_t dim[REEL_MAX_RANK];
    int64_t a[REEL_MAX_RANK], b[REEL_MAX_RANK], c[REEL_MAX_RANK];
} reel__batch;
int64_t reel__batch_count(const reel__batch *batch);
/* Offsets of the operands of product i. */
typedef struct reel__batch_at {
    int64_t a, b, c;
} reel__batch_at;
reel__batch_at reel__batch_offset(const reel__batch *batch, int64_t i);

/* reel__gemm_batched() for batches of several dimensions. */
reel_status reel__gemm_batch(const reel__gemm *g, const reel__batch *batch);

/* ---- ready.c: B packed once for many products, f32 ----------------------------------- */

/* Whether a product of these sizes and strides is computed from packed blocks of B; if so
 * reel__gemm_ready() gives what reel__run_gemm() gives, bit for bit. */
bool reel__gemm_may_be_ready(const reel__gemm *g);
/* Floats of a packed B, and the packing; `to` is 64-byte aligned. */
int64_t reel__gemm_ready_size(const reel__gemm *g);
void reel__gemm_make_ready(const reel__gemm *g, float *to);
/* g->b is not read. `end` (NULL: none) is applied, less its bias, to tiles in cache. */
void reel__gemm_ready(const reel__gemm *g, const float *packed,
                      const reel__epilogue *end);
/* The same end, on a result that is stored. */
void reel__gemm_end(const reel__gemm *g, const reel__epilogue *end);

#endif
