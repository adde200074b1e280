/* cpu_backend.c: the CPU backend: its raw memory, and the way of a call to its kernel. */
#include "backend/cpu/half_operands.h"
#include "backend/cpu/kernels.h"
#include "backend/poison.h"
#include "backend/registry.h"
#include "base/alloc.h"
#include "base/denormals.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20)

/* ---- memory ------------------------------------------------------------------------ */

static int cpu_count(void)
{
    return 1;
}

static void *map(size_t bytes)
{
    void *p =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* Aligned to huge pages by mapping one more and cutting both ends off. */
static void *map_huge(size_t bytes)
{
    if (bytes > SIZE_MAX - HUGE_PAGE) return NULL;
    char *p = map(bytes + HUGE_PAGE);
    if (!p) return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;
    if (before) munmap(p, before);
    munmap(p + before + bytes, HUGE_PAGE - before);
#ifdef MADV_HUGEPAGE
    madvise(p + before, bytes, MADV_HUGEPAGE); /* a wish: no page is lost if refused */
#endif
    return p + before;
}

static void *cpu_alloc(int device, size_t bytes)
{
    (void)device;
    void *p = reel__hosted()                                 ? reel__hosted_alloc(bytes)
              : bytes >= HUGE_PAGE && bytes % HUGE_PAGE == 0 ? map_huge(bytes)
                                                             : map(bytes);
    if (p) reel__poison(p, bytes);
    return p;
}

static void cpu_free(int device, void *p, size_t bytes)
{
    (void)device;
    reel__unpoison(p, bytes);
    if (reel__hosted())
        reel__hosted_free(p);
    else
        munmap(p, bytes);
}

static void cpu_discard(int device, void *p, size_t bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)p + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)p + bytes) / page * page;
    (void)device;
    if (begin < end && !reel__hosted())
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static reel_status cpu_copy_bytes(int device, void *dst, const void *src, size_t bytes,
                                  reel__copy_kind kind)
{
    (void)device;
    (void)kind;
    if (bytes) memcpy(dst, src, bytes);
    return REEL_OK;
}

static reel_status cpu_synchronize(int device)
{
    (void)device;
    return REEL_OK;
}

/* ---- kernels ----------------------------------------------------------------------- */

/* Which dtypes a pointwise row takes, as bits; 0 for the other rows. */
#define FLOATS (1u << REEL_F32 | 1u << REEL_F64 | 1u << REEL_F16 | 1u << REEL_BF16)
#define INTS                                                                             \
    (1u << REEL_I64 | 1u << REEL_I32 | 1u << REEL_I8 | 1u << REEL_U8 | 1u << REEL_BOOL)
#define TYPES_F FLOATS
#define TYPES_I INTS
#define TYPES_FI (FLOATS | INTS)
static const uint16_t pointwise_types[K_COUNT] = {
#define PW(ID, n_in, types, out, ...) [K_##ID] = TYPES_##types,
#define KERNEL(ID, name, cpu, takes)
#include "backend/kernel.def"
#undef PW
#undef KERNEL
};

static reel_status unsupported(const reel__kcall *call)
{
    const reel__karg *first = call->n_in > 0 ? call->in : call->out;
    const reel__meta *m = call->n_in + call->n_out > 0 ? first->meta : NULL;
    return reel_fail(REEL_ERR_UNSUPPORTED, "%s: no kernel for %s on the CPU",
                     reel__kernel_name(call->kernel),
                     m ? reel_dtype_name(m->dtype) : "?");
}

/* Pointwise rows have one driver. Of the others the fast kernel goes first, where it takes
 * the call; the reference takes all. */
static reel_status dispatch(const reel__kcall *call)
{
    reel__kernel_id k = call->kernel;
    if (k <= K_NONE || k >= K_COUNT) return unsupported(call);
    if (pointwise_types[k]) return reel__cpu_pointwise(call);
    if (reel__needs_f32(call)) return reel__run_in_f32(call, dispatch);
    reel_status status = REEL_OK;
    if (reel__cpu_fast[k] && reel__cpu_fast[k](call, &status)) return status;
    return reel__cpu_ref[k] ? reel__cpu_ref[k](call) : unsupported(call);
}

/* Denormals are flushed around the whole kernel, so that its result does not depend on
 * which part of it ran in a parallel region. */
static reel_status cpu_launch(int device, const reel__kcall *call)
{
    (void)device;
    uint64_t control = reel__flush_begin();
    reel_status status = dispatch(call);
    reel__flush_end(control);
    return status;
}

static bool cpu_supports(reel__kernel_id kernel, reel_dtype dtype)
{
    if (kernel <= K_NONE || kernel >= K_COUNT || reel_dtype_size(dtype) == 0)
        return false;
    if (pointwise_types[kernel]) return pointwise_types[kernel] >> dtype & 1;
    if (!reel__cpu_ref[kernel] && !reel__cpu_fast[kernel]) return false;
    return reel_dtype_is_float(dtype) || reel__takes_ints(kernel);
}

static size_t cpu_prepare_size(int device, const reel__kcall *call, unsigned constant)
{
    (void)device;
    reel__kernel_id k = call->kernel;
    if (k <= K_NONE || k >= K_COUNT || !reel__cpu_prepare[k].size) return 0;
    return reel__needs_f32(call) ? 0 : reel__cpu_prepare[k].size(call, constant);
}

static reel_status cpu_prepare(int device, const reel__kcall *call, unsigned constant,
                               void *to)
{
    if (cpu_prepare_size(device, call, constant) == 0)
        return reel_fail(REEL_ERR_INTERNAL, "%s: nothing to prepare for this call",
                         reel__kernel_name(call->kernel));
    uint64_t control = reel__flush_begin();
    reel_status status = reel__cpu_prepare[call->kernel].fill(call, to);
    reel__flush_end(control);
    return status;
}

const reel__backend reel__cpu_backend = {
    .name = "cpu",
    .count = cpu_count,
    .alloc = cpu_alloc,
    .free = cpu_free,
    .discard = cpu_discard,
    .copy = cpu_copy_bytes,
    .synchronize = cpu_synchronize,
    .launch = cpu_launch,
    .supports = cpu_supports,
    .prepare_size = cpu_prepare_size,
    .prepare = cpu_prepare,
};

/* ---- exact mode -------------------------------------------------------------------- */

static atomic_bool exact;

void reel_set_exact(bool on)
{
    atomic_store(&exact, on);
}

bool reel_exact(void)
{
    return atomic_load_explicit(&exact, memory_order_relaxed);
}
