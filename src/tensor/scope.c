/* scope.c: a scope is a mark in one thread-local stack of results. Ending an outer scope ends
 * the inner ones that an early return lost. Idea: PostgreSQL's memory contexts, Objective-C's
 * autorelease pools. */
#include <pthread.h>

#include "base/alloc.h"
#include "base/shares.h"
#include "tensor/debug.h"
#include "tensor/tensor.h"

typedef struct pool {
    reel_tensor **item;
    size_t n, capacity;
    bool registered; /* the thread's end empties it */
} pool;
static _Thread_local pool results;

static pthread_key_t at_thread_end;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static bool has_key;

static void release_from(pool *p, size_t mark)
{
    while (p->n > mark) reel__tensor_release(p->item[--p->n]);
}

static void drop_pool(void *arg)
{
    pool *p = arg;
    release_from(p, 0);
    reel__free(p->item);
    *p = (pool){0};
}

static void end_thread(void *arg)
{
    drop_pool(arg);
    if (reel__debugging()) reel__drop_scopes();
}

static void make_key(void)
{
    has_key = pthread_key_create(&at_thread_end, end_thread) == 0;
}

/* The program unloads the library, or ends: no thread's end may call what is gone. */
static __attribute__((destructor)) void forget_key(void)
{
    if (has_key) (void)pthread_key_delete(at_thread_end);
}

static void register_thread(pool *p)
{
    if (p->registered) return;
    (void)pthread_once(&key_once, make_key);
    (void)pthread_setspecific(at_thread_end, p);
    p->registered = true;
}

static bool grow(pool *p)
{
    size_t capacity = p->capacity ? 2 * p->capacity : 64;
    reel_tensor **item = reel__realloc(p->item, capacity * sizeof *item);
    if (!item) return false;
    p->item = item;
    p->capacity = capacity;
    register_thread(p);
    return true;
}

reel_tensor *reel__autorelease(reel_tensor *t)
{
    pool *p = &results;
    if (!t) return NULL;
    if (p->n == p->capacity && !grow(p)) {
        reel__tensor_release(t);
        return NULL;
    }
    return p->item[p->n++] = t;
}

/* ---- scopes --------------------------------------------------------------------------------- */

REEL__DEBUG_ONLY
static reel_scope begin_watched(void)
{
    register_thread(&results);
    return reel__open_scope(results.n);
}

reel_scope reel_scope_begin(void)
{
    return reel__debugging() ? begin_watched() : results.n;
}

static inline void end_at(size_t mark)
{
    release_from(&results, mark);
    if (mark == 0 && results.item) drop_pool(&results);
}

/* False with an error of `who` if the scope is not open. */
REEL__DEBUG_ONLY
static bool end_watched(const char *who, reel_scope s)
{
    size_t mark;
    if (!reel__close_scope(who, s, results.n, results.item, &mark)) return false;
    reel__death was = reel__debug_cause(REEL__SCOPE_ENDED);
    end_at(mark);
    (void)reel__debug_cause(was);
    return true;
}

void reel_scope_end(reel_scope s)
{
    if (!reel__debugging())
        end_at(s);
    else
        (void)end_watched("scope_end", s);
}

REEL__DEBUG_ONLY
static reel_tensor *return_watched(reel_scope s, reel_tensor *t)
{
    bool there = reel__debug_alive("scope_return", t);
    if (there) reel__tensor_retain(t);
    if (end_watched("scope_return", s)) return there ? reel__autorelease(t) : NULL;
    if (there) reel__tensor_release(t);
    return NULL;
}

reel_tensor *reel_scope_return(reel_scope s, reel_tensor *t)
{
    if (reel__debugging()) return return_watched(s, t);
    reel__tensor_retain(t);
    end_at(s);
    return reel__autorelease(t);
}

/* ---- shares --------------------------------------------------------------------------------- */

reel_tensor *reel__hold(reel_tensor *t)
{
    return reel__alive("keep", t) ? reel__tensor_retain(t) : NULL;
}

void reel__let_go(reel_tensor *t)
{
    reel__tensor_release(t);
}

REEL__DEBUG_ONLY
static reel_tensor *keep_watched(reel_tensor *t)
{
    t = reel__hold(t);
    if (t) reel__debug_keep(t);
    return t;
}

reel_tensor *reel_keep(reel_tensor *t)
{
    return reel__debugging() ? keep_watched(t) : reel__tensor_retain(t);
}

REEL__DEBUG_ONLY
static void release_watched(reel_tensor *t)
{
    if (!t || !reel__debug_give_back(t)) return;
    reel__death was = reel__debug_cause(REEL__GIVEN_BACK);
    reel__tensor_release(t);
    (void)reel__debug_cause(was);
}

void reel_release(reel_tensor *t)
{
    if (reel__debugging())
        release_watched(t);
    else
        reel__tensor_release(t);
}
