/* error.h: what the error room offers to the rooms above it. */
#ifndef REEL_BASE_ERROR_H
#define REEL_BASE_ERROR_H

#include <reel/base.h>
#include <stddef.h>

/* Longest message, with its terminator; longer ones are cut. */
#define REEL__ERROR_TEXT 4096

/* Sets what tells this thread's place in a model, such as "layer1.0.conv1"; it is appended
 * to the message of the next error as " (in layer1.0.conv1)" unless it returns NULL or "".
 * NULL switches it off. Returns the earlier one. */
typedef const char *(*reel__where_fn)(void);
reel__where_fn reel__set_error_where(reel__where_fn where);
/* That place now; NULL when nothing tells it. */
const char *reel__error_where(void);

/* An error begins with the function that the program called: "mse_loss: squared_error: ...". Of
 * functions of ours that call one another the outermost counts; it is named where it begins,
 * before anything in it can fail:
 *
 *     REEL__CALLED;
 *
 * The name is that of the function in which this stands, without reel_. */
#define REEL__CALLED REEL__CALLED_AS(&__func__[sizeof "reel_" - 1])
/* The same of a function that does the work of `name`, on another thread. */
#define REEL__CALLED_AS(name)                                                            \
    __attribute__((cleanup(reel__callers_end), unused))                                  \
    const reel__callers_then called_before = reel__caller_named(name)

/* From here to the end of the block the library calls code of the program: a forward function,
 * a data set, a hook. What that code calls is named too, after what the program called first:
 * "trace: mse_loss: squared_error: ...". */
#define REEL__CALLS_BACK REEL__CALLS_BACK_AS(NULL)

/* Both at once, for a function that is little more than the call of the program's. What it
 * says itself must begin with its name. */
#define REEL__CALLS_BACK_AS(name)                                                        \
    __attribute__((cleanup(reel__callers_end), unused))                                  \
    const reel__callers_then called_back_before = reel__called_back(name)

/* The message without the names that were put before it, to be told by another message. */
const char *reel__error_said(void);

/* The want of memory that is pending, if nobody was named with it, is that of `name`: for
 * operators, which are too many and too quick to be named before they fail. */
void reel__memory_wanted_by(const char *name);

/* Who was called last by the program, and by code of the program that is called back from
 * there; NULL: nobody. */
typedef struct reel__callers {
    const char *outer, *inner;
} reel__callers;
extern _Thread_local reel__callers reel__callers_now
    __attribute__((visibility("hidden")));

/* What they were, and where that stands: every operator comes here, and asking for the address
 * of what is a thread's own costs more than all else. */
typedef struct reel__callers_then {
    reel__callers *now, was;
} reel__callers_then;

/* Compilers would ask again where they need the address again; this hides from them whose it is. */
static inline reel__callers *reel__callers_here(void)
{
    reel__callers *now = &reel__callers_now;
    __asm__("" : "+r"(now));
    return now;
}

static inline reel__callers_then reel__caller_named(const char *name)
{
    reel__callers *now = reel__callers_here();
    reel__callers_then then = {now, *now};
    if (!then.was.inner) now->inner = name;
    return then;
}

static inline reel__callers_then reel__called_back(const char *name)
{
    reel__callers *now = reel__callers_here();
    reel__callers_then then = {now, *now};
    if (!now->outer) now->outer = now->inner ? now->inner : name;
    now->inner = NULL;
    return then;
}

static inline void reel__callers_end(const reel__callers_then *then)
{
    *then->now = then->was;
}

struct reel_tensor;
/* What a function with several results does first: on an error, also one that was pending before,
 * every one of them is NULL. */
static inline void reel__no_results(struct reel_tensor *y[], int n)
{
    for (int i = 0; y && i < n; i++) y[i] = NULL;
}

#endif
