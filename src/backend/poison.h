/* poison.h: under AddressSanitizer, free tensor memory is poisoned, so that uses after free
 * and overruns of tensors are found as they are for malloc. Host memory only. */
#ifndef REEL_BACKEND_POISON_H
#define REEL_BACKEND_POISON_H

#include <stddef.h>

#if defined(__SANITIZE_ADDRESS__)
#define REEL_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define REEL_POISON 1
#endif
#endif

#ifdef REEL_POISON
#include <sanitizer/asan_interface.h>
static inline void reel__poison(void *p, size_t n)
{
    __asan_poison_memory_region(p, n);
}
static inline void reel__unpoison(void *p, size_t n)
{
    __asan_unpoison_memory_region(p, n);
}
#else
static inline void reel__poison(void *p, size_t n)
{
    (void)p, (void)n;
}
static inline void reel__unpoison(void *p, size_t n)
{
    (void)p, (void)n;
}
#endif

#endif
