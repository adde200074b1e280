/* denormals.c: the floating-point control register of each processor. */
#include "base/denormals.h"

#include <reel/base.h>
#include <stdatomic.h>

#if defined(__SSE2__)
#include <immintrin.h>
#define FLUSH_BITS 0x8040u /* MXCSR: flush to zero, denormals are zero */
static uint64_t control_get(void)
{
    return _mm_getcsr();
}
static void control_set(uint64_t v)
{
    _mm_setcsr((unsigned)v);
}
#elif defined(__aarch64__)
#define FLUSH_BITS (UINT64_C(1) << 24) /* FPCR.FZ */
static uint64_t control_get(void)
{
    uint64_t v;
    __asm__ volatile("mrs %0, fpcr" : "=r"(v));
    return v;
}
static void control_set(uint64_t v)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(v));
}
#else /* a processor without such a mode: denormals are computed */
#define FLUSH_BITS 0u
static uint64_t control_get(void)
{
    return 0;
}
static void control_set(uint64_t v)
{
    (void)v;
}
#endif

static atomic_bool keep_denormals; /* inverted, so that all zero is the default */

void reel_set_flush_denormals(bool on)
{
    atomic_store(&keep_denormals, !on);
}

uint64_t reel__flush_begin(void)
{
    uint64_t before = control_get();
    if ((before & FLUSH_BITS) != FLUSH_BITS &&
        !atomic_load_explicit(&keep_denormals, memory_order_relaxed))
        control_set(before | FLUSH_BITS);
    return before;
}

/* Flags of exceptions (low bits of MXCSR) that were raised meanwhile are dropped with it. */
void reel__flush_end(uint64_t before)
{
    if ((before & FLUSH_BITS) != FLUSH_BITS) control_set(before);
}
