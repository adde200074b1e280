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
    const reel_meta *meta;
    int64_t step;
} reel__attention_mat;

typedef struct reel__attention {
    const reel_rows_isa *isa;
    const reel_attention_attrs *attrs;
    float scale;
    int64_t batches, lq, lk, d, dv;
    int64_t query_block, key_block;
    reel__attention_mat q, k, v;
    const reel_karg *mask; /* NULL: none */
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
bool reel__attention_take(const reel_kcall *call, int first, reel__attention *out);
/* An f32 operand with contiguous rows; false otherwise. */
bool reel__attention_operand(const reel_karg *arg, reel__attention_mat *out);
/* Matrix `batch` of an operand. */
float *reel__attention_at(const reel__attention_mat *m, int64_t batch);

/* Keys that query i sees of the block [k0, k0 + kn). */
int64_t reel__attention_seen(const reel__attention *t, int64_t i, int64_t k0, int64_t kn);
/* What the mask adds to the n scores of query i from key k0 on; NULL: nothing. May use
 * room->add. */
const float *reel__attention_mask(const reel__attention *t, int64_t batch, int64_t i,
                                  int64_t k0, int64_t n,
                                  const reel__attention_room *room);
/* room->factor[j]: 0 for a dropped probability, else 1 / (1 - dropout). */
void reel__attention_dropout(const reel__attention *t, int64_t batch, int64_t i,
                             int64_t k0, int64_t n, const reel__attention_room *room);

#endif
