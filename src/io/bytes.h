/* bytes.h: tensors as the plain bytes that lie in files: row-major, little endian. */
#ifndef REEL_IO_BYTES_H
#define REEL_IO_BYTES_H

#include <reel/tensor.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "files hold little endian numbers, and this machine does not"
#endif

/* Bytes of all elements. */
size_t reel__byte_count(reel_tensor *t);
/* The elements of `t`: its own memory where it is contiguous on the CPU, else a copy in
 * *scratch, which the caller frees with reel__free() either way. NULL on failure. */
const void *reel__byte_view(reel_tensor *t, void **scratch);
/* reel_empty() on the CPU, whatever the default device is. */
reel_tensor *reel__host_empty(reel_shape shape, reel_dtype dtype);
/* Number of elements times element size; false if it overflows or a dimension is
 * negative. */
bool reel__shape_bytes(reel_shape shape, size_t element, uint64_t *bytes);
/* Index of the first byte that is neither 0 nor 1; -1 if there is none. */
int64_t reel__find_non_bool(const uint8_t *bytes, size_t n);

#endif
