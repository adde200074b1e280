/* attention.h: what the forward and the backward of blocked attention share.
 *
 * Queries and keys are cut into blocks of at most QUERIES and KEYS; only one block of
 * scores exists at a time, in the scratch memory of a worker (Dao et al. 2022,
 * arXiv:2205.14135). */
#ifndef REEL_CPU_ATTENTION_H
#define REEL_CPU_ATTENTION_H

#include "backend/cpu/gemm/gemm.h"
#include "backend/cpu/isa/rows.h"
#include "backend/cpu/kernels.h"

enum { REEL__QUERIES = 128, REEL__KEYS = 256 };
/* Distance of rows of scores: a cache line more than a block of keys, so that a column of
 * them does not fall into one cache set. */
enum {
    REEL__SCORE_ROW = REEL__KEYS + 16,
    REEL__SCORES = REEL__QUERIES * REEL__SCORE_ROW
};

/* One matrix of every operand: rows `step` apart, elements of a row contiguous. */
typedef struct reel__attention_mat {
    float *data;
    const reel__meta *meta;
    int64_t step;
} reel__attention_mat;

typedef struct reel__attention {
    const reel__rows_isa *isa;
    const reel__attention_attrs *attrs;
    float scale;
    int64_t batches, lq, lk, d, dv;
    int64_t query_block, key_block;
    reel__attention_mat q, k, v;
    const reel__karg *mask; /* NULL: none */
    int64_t mask_row,
        mask_col; /* steps in it from query to query, key to key; 0: repeated */
} reel__attention;

/* Scratch memory of one worker. */
typedef struct reel__attention_room {
    float *pack;      /* REEL__GEMM_ROOM                                */
    float *scores;    /* [queries, keys], rows REEL__SCORE_ROW apart    */
    float *slopes;    /* the same, backward                             */
    float *add;       /* [keys] what the mask adds to a row of scores   */
    float *factor;    /* [keys] what dropout makes of a row             */
    uint32_t *words;  /* [keys + 16] random words of a row              */
    float *max, *sum; /* [queries] forward: running maximum and sum     */
} reel__attention_room;
enum {
    REEL__ATTENTION_ROOM =
        (int)REEL__GEMM_ROOM + 2 * REEL__SCORES + 3 * REEL__KEYS + 16 + 2 * REEL__QUERIES
};
/* `base`: REEL__ATTENTION_ROOM floats. */
reel__attention_room reel__attention_room_at(float *base);

/* Reads q k v mask? from in[first ..]; false if shapes or strides are the reference's. */
bool reel__attention_take(const reel__kcall *call, int first, reel__attention *out);
/* An f32 operand with contiguous rows; false otherwise. */
bool reel__attention_operand(const reel__karg *arg, reel__attention_mat *out);
/* Matrix `batch` of an operand. */
float *reel__attention_at(const reel__attention_mat *m, int64_t batch);

/* Keys that query i sees of the block [k0, k0 + kn). */
int64_t reel__attention_seen(const reel__attention *t, int64_t i, int64_t k0, int64_t kn);
/* What the mask adds to the n scores s of query i from key k0 on; NULL: nothing. May use
 * room->add. A bool mask makes scores infinite instead: -inf when they are scaled. */
const float *reel__attention_mask(const reel__attention *t, int64_t batch, int64_t i,
                                  int64_t k0, int64_t n, float *s,
                                  const reel__attention_room *room);
/* room->factor[j]: 0 for a dropped probability, else 1 / (1 - dropout). */
void reel__attention_dropout(const reel__attention *t, int64_t batch, int64_t i,
                             int64_t k0, int64_t n, const reel__attention_room *room);

/* ---- the gradient of an added mask ------------------------------------------------- */

/* The sum over all pairs that an element of the mask was added to. Tasks that may run side
 * by side add to slabs of their own, as many as the sizes say, and the slabs are added in
 * order: so there is one order of the sum on any number of threads, and only a few matrices
 * more than the result itself. A batch is known by the matrix of the mask that it reads and
 * by its place among those that read it. */
typedef struct reel__mask_sums {
    float *out;            /* like the mask, dense; NULL: not wanted */
    float *more;           /* [slabs - 1, size]; the first slab is the result */
    int64_t size, matrix;  /* elements of the result, and of one matrix of it */
    int64_t groups, group; /* matrices of the mask, batches that read each */
    int64_t slabs, length; /* at most `length` batches of a group add to a slab */
    int64_t row, col;      /* steps in a matrix; 0: repeated */
    const reel__meta *mask, *q;
} reel__mask_sums;

/* For a call whose output 3 is wanted or not: without it each batch is a group. False if it
 * is the reference's. */
bool reel__mask_sums_take(const reel__kcall *call, const reel__attention *t,
                          reel__mask_sums *out);
/* Cuts each group into pieces for at least `tasks` tasks in all, or one for each batch, and
 * clears the slabs. */
reel_status reel__mask_sums_begin(reel__mask_sums *m, int64_t tasks);
/* Batch `i` of group `g`. */
int64_t reel__mask_sums_batch(const reel__mask_sums *m, int64_t g, int64_t i);
/* Where its slopes go: a matrix; NULL: not wanted. */
float *reel__mask_sums_at(const reel__mask_sums *m, int64_t g, int64_t i);
/* Adds n slopes of query i from key k0 on to a matrix. */
void reel__mask_sums_add(const reel__mask_sums *m, const reel__rows_isa *isa, float *to,
                         int64_t i, int64_t k0, const float *slopes, int64_t n);
/* Adds up the slabs. */
void reel__mask_sums_end(reel__mask_sums *m);

#endif
