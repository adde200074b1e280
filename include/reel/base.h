/* reel/base.h: status codes, the sticky error, dtypes, devices, shapes, logging, threads.
 *
 * Conventions of the whole library:
 *  - Functions that make something return a pointer; NULL means "failed", and NULL in gives
 *    NULL out, so calls nest without a check between them.
 *  - Results in an array (y, n_y) are all NULL after an error.
 *  - Options are a struct, the last argument: a member that is 0 means the default, and NULL for
 *    the struct means that all do.
 *  - Functions that change something return reel_status and refuse to run while an error is
 *    pending: a failed forward pass never touches the weights. Reading still works.
 *  - The first error of a thread stays until reel_error_clear(): it is the cause.
 *  - The library never aborts, exits or prints on its own, but where the environment asks for
 *    it: REEL_ABORT_ON_ERROR=1 stops at the first error, under a debugger. */
#ifndef REEL_BASE_H
#define REEL_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define REEL_API __declspec(dllexport)
#elif defined(__GNUC__)
#define REEL_API __attribute__((visibility("default")))
#else
#define REEL_API
#endif

#if defined(__GNUC__)
#define REEL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define REEL_PRINTF(fmt, args)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define REEL_VERSION_MAJOR 0
#define REEL_VERSION_MINOR 1
#define REEL_VERSION_PATCH 0

/** Version of the library that is linked, such as "0.1.0". Static storage. */
REEL_API const char *reel_version(void);

/* ---- errors ------------------------------------------------------------------------ */

/** What went wrong, by kind. The message of reel_error_message() says the rest. */
typedef enum reel_status {
    REEL_OK = 0,
    REEL_ERR_ARG,         /* a value out of its range, a NULL where none is allowed */
    REEL_ERR_SHAPE,       /* shapes that do not fit together                        */
    REEL_ERR_DTYPE,       /* a dtype that the operator does not take                */
    REEL_ERR_DEVICE,      /* tensors on different devices, or no such device        */
    REEL_ERR_MEMORY,      /* out of memory                                          */
    REEL_ERR_IO,          /* the operating system refused to read or write          */
    REEL_ERR_FORMAT,      /* a file that is not what it should be                   */
    REEL_ERR_STATE,       /* right call, wrong moment (backward twice, ...)         */
    REEL_ERR_UNSUPPORTED, /* declared missing: no kernel, gradient or rule          */
    REEL_ERR_NUMERIC,     /* values that a check found wrong: NaN, a gradient       */
    REEL_ERR_INTERNAL     /* a defect in reel; please report                        */
} reel_status;

/** True while an error of this thread is pending. */
REEL_API bool reel_failed(void);
/** Status of the pending error; REEL_OK when there is none. */
REEL_API reel_status reel_error_status(void);
/** Message of the pending error; "" when there is none. It begins with the function that you
 *  called, without reel_, or the operator; an error in a module's forward ends with the module's
 *  place: "forward: linear: ... (in layer1.0.fc)". Valid until the next reel_error_clear() of
 *  this thread. Never NULL. */
REEL_API const char *reel_error_message(void);
/** Forgets the pending error of this thread. */
REEL_API void reel_error_clear(void);
/** Name of a status, such as "shape". Static storage, never NULL. */
REEL_API const char *reel_status_name(reel_status status);
/** Sets this thread's error unless one is pending (the first stays), and returns the
 *  pending status. For callbacks and modules of your own. `status` REEL_OK is an error too
 *  (REEL_ERR_INTERNAL): there is no such failure. */
REEL_API reel_status reel_fail(reel_status status, const char *format, ...)
    REEL_PRINTF(2, 3);

/* ---- dtypes ------------------------------------------------------------------------ */

/** Element types. Zero is the default, f32. */
typedef enum reel_dtype {
    REEL_DTYPE_NONE = -1, /* of what has none, such as NULL */
    REEL_F32 = 0,
    REEL_F64,
    REEL_F16,  /* IEEE binary16; arithmetic is done in f32 */
    REEL_BF16, /* bfloat16; arithmetic is done in f32      */
    REEL_I64,
    REEL_I32,
    REEL_I8,
    REEL_U8,
    REEL_BOOL /* one byte, 0 or 1 */
} reel_dtype;

/** Bytes of one element; 0 for a value that is not a dtype. */
REEL_API size_t reel_dtype_size(reel_dtype dtype);
/** Short name such as "f32"; "?" for a value that is not a dtype. Static storage. */
REEL_API const char *reel_dtype_name(reel_dtype dtype);
/** True for f32, f64, f16 and bf16. */
REEL_API bool reel_dtype_is_float(reel_dtype dtype);

/* ---- losses ------------------------------------------------------------------------ */

/** What becomes of the losses of single elements. Zero is the default, the mean. */
typedef enum reel_reduction { REEL_MEAN = 0, REEL_SUM, REEL_NONE } reel_reduction;

/* ---- options ----------------------------------------------------------------------- */

/** The number 0, said in an option struct: plain 0 means the default there, as does a field that
 *  is not written. `{.beta1 = REEL_ZERO}` is beta1 = 0. For every option that is a double. */
#define REEL_ZERO 2.2250738585072014e-308
/** The same for options that are integers. */
#define REEL_ZERO_INT (-2147483647 - 1)

/** The last member of structs that a later version may give more members: of options, results and
 *  functions. They take this room, so the size stays, and a program runs with a library of
 *  another version. Zero in what you fill, as in every member that is not written; a member set
 *  here is one that this version does not know, which is an error (REEL_ERR_UNSUPPORTED). */
#define REEL_FUTURE uint64_t future[4]

/* ---- devices ----------------------------------------------------------------------- */

typedef enum reel_device_type {
    REEL_DEVICE_NONE = -1, /* where NULL lies */
    REEL_CPU = 0,
    REEL_CUDA
} reel_device_type;

/** Where a tensor lives. All zero is the CPU. */
typedef struct reel_device {
    reel_device_type type;
    int index; /* which one of that type */
} reel_device;

/** The fastest device that this build and this machine have; the CPU otherwise. */
REEL_API reel_device reel_best_device(void);
/** True if this build and this machine have the device. */
REEL_API bool reel_device_available(reel_device device);

/* ---- shapes ------------------------------------------------------------------------ */

/** Highest number of dimensions of a tensor. */
#define REEL_MAX_RANK 8

/** A shape, or a list of dimensions. Rank 0 is a scalar; as a list it means "all". */
typedef struct reel_shape {
    int rank;
    int64_t dim[REEL_MAX_RANK];
} reel_shape;

#define REEL_COUNT_(...) ((int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
/** REEL_SHAPE(8, 3, 32, 32): a shape written in place (C only). */
#define REEL_SHAPE(...)                                                                  \
    ((reel_shape){.rank = REEL_COUNT_(__VA_ARGS__), .dim = {__VA_ARGS__}})
/** REEL_DIMS(0, -1): a list of dimensions written in place (C only); -1 is the last. */
#define REEL_DIMS(...) REEL_SHAPE(__VA_ARGS__)
/** The shape of a scalar (C only). */
#define REEL_SCALAR ((reel_shape){.rank = 0})
/** Every dimension, where a list is asked for (C only). */
#define REEL_ALL ((reel_shape){.rank = 0})

/* ---- log --------------------------------------------------------------------------- */

typedef enum reel_log_level {
    REEL_LOG_DEBUG = 0,
    REEL_LOG_INFO,
    REEL_LOG_WARN
} reel_log_level;

/** Called with each line that the library has to say; `message` has no newline.
 *  May be called from any thread, one at a time. It must not call the library. */
typedef void (*reel_log_fn)(void *user, reel_log_level level, const char *message);
/** Sets the one log callback of the process; NULL (the default) is silence. */
REEL_API void reel_set_log(reel_log_fn fn, void *user);

/* ---- computing --------------------------------------------------------------------- */

/** Sets how many threads the CPU kernels use. 0: as many as the machine has. Not while another
 *  thread computes. Results do not depend on it, bit for bit. */
REEL_API reel_status reel_set_threads(int n);
/** How many threads the CPU kernels use. */
REEL_API int reel_threads(void);
/** Instruction set of the CPU kernels in use: "baseline", "avx2" or "avx512". The
 *  environment variable REEL_ISA lowers it. Static storage. */
REEL_API const char *reel_cpu_isa(void);
/** Exact mode: convolutions use no Winograd transform. Off by default; per process.
 *
 *  Without it, 3x3 convolutions of stride 1 in f32 with whole sixteens of channels use one
 *  where it is faster. Their worst error against sums in f64 is, measured
 *  up to 512 channels, or 512 images of 12x12 by weight,
 *
 *                 error below, in sizes of a result    direct sums, so in exact mode
 *      forward    5e-6 sqrt(channels) + 5e-7 ratio     1e-6 sqrt(channels)
 *      by input   5e-6 sqrt(channels) + 5e-7 ratio     1e-6 sqrt(channels)
 *      by weight  5e-5 + 5e-7 ratio                    1e-5 + 1e-7 ratio
 *
 *  where channels are those that a result sums over, the size of a result is the root of
 *  their mean square, and ratio is that of the largest of the activations (or, for a
 *  gradient, of the output's gradients) to their typical size. So 2e-5 at 16 and 1e-4 at
 *  512 channels up to ratios of about 100, as they are behind a norm; one value 10,000 times
 *  the others costs its neighbours half a percent: a transform spreads the rounding of a
 *  large value over the results of a tile of 4x4 that do not see it. Where that matters,
 *  use exact mode. NaN, infinities and overflow reach no further than by the direct sum: a
 *  tile, or a gradient by weight, that comes out not finite is summed directly.
 *
 *  `./run bench conv error` prints the figures, tests/test_conv_error.c holds them. */
REEL_API void reel_set_exact(bool on);
/** True in exact mode. */
REEL_API bool reel_exact(void);
/** Whether kernels flush denormal floats to zero while they compute (default true):
 *  saturated training otherwise slows tenfold. Per process. */
REEL_API void reel_set_flush_denormals(bool on);

/* ---- memory statistics ------------------------------------------------------------- */

/** What the tensor allocator holds for one device, in bytes. */
typedef struct reel_memory_stats {
    size_t in_use;        /* handed out to live storages      */
    size_t peak;          /* highest in_use since the reset   */
    size_t reserved;      /* taken from the system            */
    size_t peak_reserved; /* highest reserved since the reset */
    uint64_t allocations; /* requests served since the start  */
    REEL_FUTURE;
} reel_memory_stats;

/** Fills `out` for `device`. */
REEL_API reel_status reel_memory(reel_device device, reel_memory_stats *out);
/** Sets the two peaks to the present values. */
REEL_API void reel_memory_reset_peak(reel_device device);
/** Gives cached free memory back to the system; of blocks that lie among used ones the pages,
 *  while `reserved` still counts them. */
REEL_API void reel_memory_trim(reel_device device);
/** Waits until all that was begun on `device` is done; on the CPU nothing is left to wait for.
 *  Errors: REEL_ERR_DEVICE if this build or this machine does not have the device. */
REEL_API reel_status reel_synchronize(reel_device device);
/** Memory functions of the program's own. Each gets `user` first. `alloc` and `resize` give
 *  memory for any type, or NULL if there is none, which becomes an error of the call that
 *  needed it; `resize` is realloc(), `release` is free() and gets no NULL. They are called from
 *  any thread, many at a time, and must not call the library. */
typedef struct reel_allocator {
    void *(*alloc)(void *user, size_t bytes);
    void *(*resize)(void *user, void *p, size_t bytes);
    void (*release)(void *user, void *p);
    void *user;
    REEL_FUTURE;
} reel_allocator;
/** All memory of the library comes from these functions from now on, tensors on the CPU
 *  included (they are aligned within it); NULL: malloc() and pages of the system, as in the
 *  beginning. Copied. Before anything else of the library is called: memory that was taken from
 *  one allocator is not given to another.
 *
 *  Not theirs: texts that a caller free()s by itself, such as reel_to_string()'s; what the C
 *  library takes for files and threads; what jansson takes while the head of a safetensors file
 *  is read or written, because its functions are those of the whole process.
 *  Errors: REEL_ERR_ARG if a function is missing; REEL_ERR_STATE if memory was taken before. */
REEL_API reel_status reel_set_allocator(const reel_allocator *a);
/** Ends and joins every thread of the library (kernels', loaders') and gives back what memory it
 *  keeps for later, so that dlclose() of it is safe once the program has freed its objects and
 *  ended its scopes. Objects that live stay valid, and any later call works again: threads are
 *  started at need. While it runs no other thread may be in the library; not from a callback.
 *  Never fails; an error that is pending stays. */
REEL_API void reel_shutdown(void);
/** Number of live tensors, storages, tape nodes and modules of the whole process.
 *  0 after everything is released: what a leak test asks. */
REEL_API int64_t reel_live_objects(void);

#ifdef __cplusplus
}
#endif
#endif
