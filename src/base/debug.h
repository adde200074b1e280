/* debug.h: the mode of REEL_DEBUG=1, in which mistakes that C leaves silent are errors: a tensor
 * used after its end, a share given back that nobody took, a scope ended twice, two threads in
 * the training of one module. Off, every question here is one branch on a plain number.
 *
 * The questions about tensors are answered by tensor/debug.c. */
#ifndef REEL_BASE_DEBUG_H
#define REEL_BASE_DEBUG_H

#include <reel/base.h>
#include <stdatomic.h>

struct reel_tensor;

/* What is done in the mode alone: laid out apart from what runs without it. */
#define REEL__DEBUG_ONLY __attribute__((cold, noinline))

extern atomic_int
    reel__debug_state; /* 0: off; below 0: the environment was not asked yet */
REEL__DEBUG_ONLY bool reel__debug_ask(void);

static inline bool reel__debugging(void)
{
    int s = atomic_load_explicit(&reel__debug_state, memory_order_relaxed);
    return __builtin_expect(s != 0, 0) && (s > 0 || reel__debug_ask());
}

/* ---- is it there? ------------------------------------------------------------------------- */

/* True if x lives, or is NULL; else an error of `who`: "who: the tensor, f32[3] made by mul, is
 * used after ...". Every public function that looks at a tensor before it gives it to another one
 * asks. */
REEL__DEBUG_ONLY bool reel__debug_alive(const char *who, const struct reel_tensor *x);
static inline bool reel__alive(const char *who, const struct reel_tensor *x)
{
    return !reel__debugging() || reel__debug_alive(who, x);
}
/* The same of a list, of which it says which: "who: input 2, ...". NULL is a list of none. */
REEL__DEBUG_ONLY bool reel__debug_all_alive(const char *who, const char *what,
                                            struct reel_tensor *const x[], int n);
static inline bool reel__all_alive(const char *who, const char *what,
                                   struct reel_tensor *const x[], int n)
{
    return !reel__debugging() || reel__debug_all_alive(who, what, x, n);
}

/* ---- who trains it? ----------------------------------------------------------------------- */

/* This thread is in the training of t until the innermost scope ends: it runs a module that t is
 * part of, adds to its gradient, or changes it. `doing` says which ("forward"; static storage).
 * False with an error of `doing` if another thread is. name: what t is called, "0.weight of
 * sequential"; NULL if that is not known. */
REEL__DEBUG_ONLY bool reel__debug_trains(const char *doing, struct reel_tensor *t,
                                         const char *name);

/* Frees what is left of tensors that are gone. */
void reel__debug_close(void);

#endif
