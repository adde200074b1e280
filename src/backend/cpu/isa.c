/* isa.c: which instruction set the kernels use. */
#include "backend/cpu/cpu.h"
#include "base/log.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[REEL_ISA_COUNT] = {"baseline", "avx2", "avx512"};

/* The build holds all sets of its architecture, so the processor decides. */
static reel__isa best(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    /* F16C, which the AVX2 build uses too, cannot be asked for with every compiler; each
     * processor with AVX2 and FMA has it. */
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    bool avx512 =
        avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return avx512 ? REEL_ISA_AVX512 : avx2 ? REEL_ISA_AVX2 : REEL_ISA_BASELINE;
#else
    return REEL_ISA_BASELINE;
#endif
}

bool reel__has_vnni(void)
{
#if defined(__x86_64__)
    return reel__isa_now() == REEL_ISA_AVX512 && __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

/* REEL_ISA lowers the choice; it cannot raise it above what the processor has. */
static reel__isa choose(void)
{
    reel__isa isa = best();
    const char *env = getenv("REEL_ISA");
    if (!env || !*env) return isa;
    for (int i = 0; i < REEL_ISA_COUNT; i++)
        if (strcmp(env, names[i]) == 0) {
            if (i > (int)isa)
                reel__log_line(REEL_LOG_WARN, "REEL_ISA=%s: this processor has only %s",
                               env, names[isa]);
            return i < (int)isa ? (reel__isa)i : isa;
        }
    reel__log_line(REEL_LOG_WARN,
                   "REEL_ISA=%s: unknown, must be baseline, avx2 or avx512; using %s",
                   env, names[isa]);
    return isa;
}

reel__isa reel__isa_now(void)
{
    static atomic_int cached = -1;
    int isa = atomic_load_explicit(&cached, memory_order_relaxed);
    if (isa < 0) { /* two threads that race here choose the same */
        isa = (int)choose();
        atomic_store_explicit(&cached, isa, memory_order_relaxed);
    }
    return (reel__isa)isa;
}

const char *reel_cpu_isa(void)
{
    return names[reel__isa_now()];
}
