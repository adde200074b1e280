/* shape.h: what a tensor looks like, without its memory; checked shape arithmetic. */
#ifndef REEL_BASE_SHAPE_H
#define REEL_BASE_SHAPE_H

#include <reel/base.h>

/* Shape, strides (in elements), place in the storage. Logical order is the order of dim;
 * memory order is what the strides say (an NCHW shape with channels-last memory). */
typedef struct reel__meta {
    reel_dtype dtype;
    reel_device device;
    int rank;
    int64_t offset; /* elements from the start of the storage */
    uint64_t
        look; /* of a view in a capture that holds views apart (trace/capture.c); or 0 */
    int64_t dim[REEL_MAX_RANK];
    int64_t stride[REEL_MAX_RANK];
} reel__meta;

/* Overflow-checked arithmetic on non-negative sizes: false on overflow. */
bool reel__checked_mul(int64_t a, int64_t b, int64_t *out);
bool reel__checked_add(int64_t a, int64_t b, int64_t *out);

/* Number of elements; a meta that passed reel__meta_check cannot overflow. */
int64_t reel__numel(const reel__meta *m);
/* Rank, dims, dtype in range and total bytes representable; else an error naming `who`. */
reel_status reel__meta_check(const char *who, const reel__meta *m);
/* Fills dtype, device and dims (strides contiguous). */
reel__meta reel__meta_of(reel_shape shape, reel_dtype dtype, reel_device device);
reel_shape reel__shape(const reel__meta *m);
bool reel__same_shape(const reel__meta *a, const reel__meta *b);
/* In one storage, the same elements in the same order. */
bool reel__same_look(const reel__meta *a, const reel__meta *b);
/* Sets strides for row-major, or for the memory order that `like` has (same rank). */
void reel__set_contiguous(reel__meta *m);
void reel__set_channels_last(reel__meta *m);
void reel__set_strides_like(reel__meta *m, const reel__meta *like);
bool reel__is_contiguous(const reel__meta *m);
bool reel__is_channels_last(const reel__meta *m);
/* Elements without gaps or overlap, in any order of dimensions. */
bool reel__is_dense(const reel__meta *m);
/* Negative dims count from the end; -1 if out of range. */
int reel__wrap_dim(int dim, int rank);
/* NumPy broadcasting of two shapes into out->rank/dim; false if they do not fit. */
bool reel__broadcast(const reel__meta *a, const reel__meta *b, reel__meta *out);
/* Text such as "f32[8,3,32,32]"; buf of REEL__META_TEXT bytes. Returns buf. */
#define REEL__META_TEXT 128
char *reel__meta_text(const reel__meta *m, char *buf);
/* Text such as "[8,3,32,32]". */
char *reel__dims_text(const reel__meta *m, char *buf);

#endif
