/* reel/tensor.h: make, read, copy, keep tensors; scopes.
 *
 * Ownership, three rules. Arguments are borrowed. Results belong to the innermost scope.
 * reel_keep() makes one yours until reel_release().
 *
 *     reel_scope s = reel_scope_begin();
 *     reel_tensor *y = reel_relu(reel_randn(REEL_SHAPE(4, 4), REEL_F32));
 *     reel_scope_end(s);                        // y and the temporaries are gone
 *
 * Without a scope of your own, results live until reel_scope_end(0) or the thread's end.
 * Distinct tensors may be used by several threads at once; one tensor by one at a time.
 *
 * With REEL_DEBUG=1 in the environment mistakes are errors that name function and tensor: a tensor
 * used after its scope, reel_release() without reel_keep(), a scope ended twice or out of order,
 * two threads in the training of one module. What is right gives the same results. */
#ifndef REEL_TENSOR_H
#define REEL_TENSOR_H

#include <reel/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A strided view of reference-counted memory, of one dtype, on one device. Opaque. */
typedef struct reel_tensor reel_tensor;

/* ---- scopes ------------------------------------------------------------------------ */

/** A mark in this thread's stack of results. */
typedef size_t reel_scope;

/** Begins a scope: results from here on belong to it. Never fails. */
REEL_API reel_scope reel_scope_begin(void);
/** Ends `s` and every scope begun after it; releases what they own.
 *  Tensors kept with reel_keep() survive. Never fails. O(tensors owned). */
REEL_API void reel_scope_end(reel_scope s);
/** Ends `s` but hands `t` to the scope around it. Returns `t`. NULL ends `s` all the same. */
REEL_API reel_tensor *reel_scope_return(reel_scope s, reel_tensor *t);
/** Takes a share of `t` that outlives its scope; give it back with reel_release().
 *  Returns `t`. NULL in, NULL out. */
REEL_API reel_tensor *reel_keep(reel_tensor *t);
/** Gives one share back; the last one frees. NULL is allowed. */
REEL_API void reel_release(reel_tensor *t);

/* ---- making ------------------------------------------------------------------------ */

/** Device on which this thread makes tensors; the CPU unless set. */
REEL_API reel_device reel_default_device(void);
/** Sets it. Errors: REEL_ERR_DEVICE if there is no such device. */
REEL_API reel_status reel_set_default_device(reel_device device);

/** Uninitialized memory of a shape. Errors: REEL_ERR_SHAPE for a negative dimension, a rank
 *  above 8 or a size that overflows; REEL_ERR_MEMORY. The same holds for all that follow. */
REEL_API reel_tensor *reel_empty(reel_shape shape, reel_dtype dtype);
/** Zeros. */
REEL_API reel_tensor *reel_zeros(reel_shape shape, reel_dtype dtype);
/** Ones. */
REEL_API reel_tensor *reel_ones(reel_shape shape, reel_dtype dtype);
/** Every element `value`, converted to `dtype`. */
REEL_API reel_tensor *reel_full(reel_shape shape, double value, reel_dtype dtype);
/** The same of an integer, exactly: a double holds those up to 2^53 only. All functions whose
 *  name has _i64 are such twins. Outside of an integer dtype it is the nearest inside. */
REEL_API reel_tensor *reel_full_i64(reel_shape shape, int64_t value, reel_dtype dtype);
/** A scalar (rank 0). */
REEL_API reel_tensor *reel_scalar(double value, reel_dtype dtype);
/** A scalar (rank 0) of an integer. */
REEL_API reel_tensor *reel_scalar_i64(int64_t value, reel_dtype dtype);
/** Same shape, dtype, device and memory format as `x`, zeros. */
REEL_API reel_tensor *reel_zeros_like(reel_tensor *x);
/** Same shape, dtype, device and memory format as `x`, ones. */
REEL_API reel_tensor *reel_ones_like(reel_tensor *x);
/** start, start + step, ... below `end` (above, when step < 0); [n]. step must not be 0. */
REEL_API reel_tensor *reel_arange(double start, double end, double step,
                                  reel_dtype dtype);
/** The same of integers, exactly. */
REEL_API reel_tensor *reel_arange_i64(int64_t start, int64_t end, int64_t step,
                                      reel_dtype dtype);
/** `n` points from `start` to `end`, both included; [n]. */
REEL_API reel_tensor *reel_linspace(double start, double end, int64_t n,
                                    reel_dtype dtype);
/** Identity matrix [n, m]. */
REEL_API reel_tensor *reel_eye(int64_t n, int64_t m, reel_dtype dtype);

/** Copies a C array in row-major order; `data` holds the whole shape. */
REEL_API reel_tensor *reel_from(const void *data, reel_shape shape, reel_dtype dtype);
/** Uses a C array without copying it. `data` must stay valid until `free_fn(user, data)` is
 *  called, when the last tensor on it goes, or on an error at once; free_fn may be NULL. CPU. */
REEL_API reel_tensor *reel_from_borrowed(void *data, reel_shape shape, reel_dtype dtype,
                                         void (*free_fn)(void *user, void *data),
                                         void *user);

/** Makes x look at what `src` looks at, with src's shape, dtype and device: whoever holds x
 *  sees it. This is how a module moves or is converted while optimizers hold its tensors.
 *  Errors: REEL_ERR_STATE if x asks for a gradient, was computed from one that does, or has
 *  one. */
REEL_API reel_status reel_set_data(reel_tensor *x, reel_tensor *src);

/* ---- random numbers ---------------------------------------------------------------- */

/** Seeds this thread's generator: Philox4x32-10, whose numbers depend on the seed and their
 *  position alone, not on device or threads. Source: Salmon et al. 2011, "Parallel random
 *  numbers: as easy as 1, 2, 3". */
REEL_API void reel_seed(uint64_t seed);

/** State of a generator: what a checkpoint stores. */
typedef struct reel_rng_state {
    uint64_t seed;
    uint64_t offset; /* blocks of four 32-bit numbers drawn so far */
} reel_rng_state;
/** State of this thread's generator. */
REEL_API reel_rng_state reel_rng_get(void);
/** Sets it: the same numbers follow again. */
REEL_API void reel_rng_set(reel_rng_state state);

/** Uniform in [0, 1). Floating dtypes. */
REEL_API reel_tensor *reel_rand(reel_shape shape, reel_dtype dtype);
/** Standard normal (Box-Muller). Floating dtypes. */
REEL_API reel_tensor *reel_randn(reel_shape shape, reel_dtype dtype);
/** Uniform integers in [low, high). Any dtype but bool that holds all of them exactly. */
REEL_API reel_tensor *reel_randint(int64_t low, int64_t high, reel_shape shape,
                                   reel_dtype dtype);
/** A random permutation of 0 .. n-1; i64 [n]. */
REEL_API reel_tensor *reel_randperm(int64_t n);

/* ---- asking ------------------------------------------------------------------------ */

/** Number of dimensions; -1 for NULL. */
REEL_API int reel_rank(const reel_tensor *x);
/** Shape; of rank -1 for NULL. */
REEL_API reel_shape reel_shape_of(const reel_tensor *x);
/** Size of dimension `dim` (negative counts from the end); -1 for NULL or out of range. */
REEL_API int64_t reel_size(const reel_tensor *x, int dim);
/** Stride of dimension `dim` in elements; 0 for NULL or out of range. */
REEL_API int64_t reel_stride(const reel_tensor *x, int dim);
/** Number of elements; -1 for NULL. */
REEL_API int64_t reel_numel(const reel_tensor *x);
/** Element type; REEL_DTYPE_NONE for NULL. */
REEL_API reel_dtype reel_dtype_of(const reel_tensor *x);
/** Device; of type REEL_DEVICE_NONE for NULL. */
REEL_API reel_device reel_device_of(const reel_tensor *x);
/** True if elements lie in row-major order without gaps. */
REEL_API bool reel_is_contiguous(const reel_tensor *x);
/** True if rank is 4 and elements lie in NHWC order without gaps. */
REEL_API bool reel_is_channels_last(const reel_tensor *x);

/* ---- reading ----------------------------------------------------------------------- */

/** The value of a tensor with one element. Errors: REEL_ERR_SHAPE if it has more or none.
 *  NaN on an error or for NULL. */
REEL_API double reel_item(reel_tensor *x);
/** The same for integers; 0 on an error. */
REEL_API int64_t reel_item_i64(reel_tensor *x);
/** Pointer to the elements of a contiguous CPU tensor, valid as long as the tensor. Writing
 *  through it is seen by everyone who shares the memory but not by the tape's guards: prefer
 *  reel_copy_(). An executor that has prepared a weight notices this call and not the writing:
 *  ask for the address again before you write. A capture notes it as a read. Errors:
 *  REEL_ERR_STATE if x is not contiguous, REEL_ERR_DEVICE if it is not on the CPU. NULL for
 *  NULL. */
REEL_API void *reel_data(reel_tensor *x);
/** Copies the elements, in row-major order and converted to `dtype`, into `out`, which has
 *  room for reel_numel(x) of them. Any device, any strides. */
REEL_API reel_status reel_read(reel_tensor *x, void *out, reel_dtype dtype);

/** Options of reel_to_string. Zero is the default; REEL_ZERO_INT for a precision or
 *  threshold of 0. Errors: REEL_ERR_ARG below 0. */
typedef struct reel_print_opts {
    int precision; /* digits after the point; 0 means 4                       */
    int edge;      /* items shown at each end when summarized; 0 means 3      */
    int threshold; /* elements above which it is summarized; 0 means 1000     */
    REEL_FUTURE;
} reel_print_opts;
/** Text like NumPy's. The caller frees it with free(). NULL on an error or for NULL. */
REEL_API char *reel_to_string(reel_tensor *x, const reel_print_opts *opts);
/** Prints reel_to_string(x, NULL) and a newline on stdout. The one function that prints. */
REEL_API reel_status reel_print(reel_tensor *x);

#ifdef __cplusplus
}
#endif
#endif
