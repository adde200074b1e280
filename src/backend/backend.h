/* backend.h: what a backend fills. Backends know no tensors: a kernel sees pointers, dtypes,
 * shapes, strides and attributes. */
#ifndef REEL_BACKEND_BACKEND_H
#define REEL_BACKEND_BACKEND_H

#include "backend/attrs.h"
#include "base/shape.h"

typedef enum reel__kernel_id {
    K_NONE = 0, /* views and composites have none */
#define PW(ID, n_in, types, out, ...) K_##ID,
#define KERNEL(ID, name, cpu, takes) K_##ID,
#include "backend/kernel.def"
#undef PW
#undef KERNEL
    K_COUNT
} reel__kernel_id;

/* One operand: its first element (offset applied) and its shape. An optional operand that
 * is absent has both NULL. */
typedef struct reel__karg {
    void *data;
    const reel__meta *meta;
} reel__karg;

struct reel__kcall;
/* A kernel that no backend has: the record brings it along, and the row HOST runs it, which finds
 * it in `prepared`. */
typedef struct reel__host {
    reel_status (*run)(const struct reel__host *self, const struct reel__kcall *call);
} reel__host;

typedef struct reel__kcall {
    reel__kernel_id kernel;
    int n_in, n_out;
    const reel__karg *in, *out;
    const void *attrs;    /* the struct of attrs.h that kernel.def names */
    const void *prepared; /* what prepare() filled for this call; of HOST, its reel__host;
                           * NULL: nothing */
    uint8_t mutates;      /* bit i: it writes into input i, beside its outputs */
} reel__kcall;

/* Shapes have been checked by the record: a kernel trusts them. It may fail with
 * REEL_ERR_MEMORY, for scratch, or name a value out of range (an index). */
typedef reel_status (*reel__kernel_fn)(const reel__kcall *);

typedef enum reel__copy_kind { REEL_COPY_TO_DEVICE, REEL_COPY_TO_HOST } reel__copy_kind;

typedef struct reel__backend {
    const char *name;
    /* Number of devices on this machine. */
    int (*count)(void);
    /* Raw memory, which the caching allocator above it keeps; at least 64-byte aligned. */
    void *(*alloc)(int device, size_t bytes);
    void (*free)(int device, void *p, size_t bytes);
    /* What is there is needed no more, and the system may have the pages until they are written
     * again; the addresses stay taken. NULL: it has no such thing. */
    void (*discard)(int device, void *p, size_t bytes);
    /* Between host and device; returns when the bytes are there. */
    reel_status (*copy)(int device, void *dst, const void *src, size_t bytes,
                        reel__copy_kind kind);
    /* Waits for everything that was launched; reports an error found late. */
    reel_status (*synchronize)(int device);
    /* Runs one kernel: chooses the implementation, converts dtypes that it lacks. Called by
     * reel__launch() alone. */
    reel_status (*launch)(int device, const reel__kcall *call);
    /* Whether `launch` takes this kernel in this dtype: for the support table and for a clear
     * error before anything is allocated. */
    bool (*supports)(reel__kernel_id kernel, reel_dtype dtype);
    /* Work that is done once for many runs, such as packing a weight. `constant`: bit i,
     * input i keeps its value; its data must be there, other operands need only metas.
     * prepare_size: bytes that prepare() fills, 0 where there is nothing to gain. The result
     * serves every run with the same metas, attributes and values of those inputs, and
     * changes no bit of what launch() gives. It is read only: several threads may share it.
     * NULL in a backend that prepares nothing. */
    size_t (*prepare_size)(int device, const reel__kcall *call, unsigned constant);
    /* `to` is 64-byte aligned. */
    reel_status (*prepare)(int device, const reel__kcall *call, unsigned constant,
                           void *to);
} reel__backend;

/* Runs one kernel on a device that is there: the one way to a backend's kernels. */
reel_status reel__launch(reel_device device, const reel__kcall *call);

/* Backend of a device type; NULL if this build lacks it. */
const reel__backend *reel__backend_of(reel_device_type type);
/* Name of a kernel, such as "CONV2D". */
const char *reel__kernel_name(reel__kernel_id kernel);

/* Tensor memory: caching allocator over backend->alloc (caching_alloc.c). NULL and a pending
 * REEL_ERR_MEMORY on failure. bytes 0 gives a valid pointer. 64-byte aligned. */
void *reel__device_alloc(reel_device device, size_t bytes);
void reel__device_free(reel_device device, void *p, size_t bytes);
/* Gives back what is cached, on all devices, and the lists about it where nothing is in use. */
void reel__memory_close(void);

#endif
