/* scope.c: a scope is a mark in one thread-local stack of results. Ending an outer scope ends
 * the inner ones that an early return lost. Idea: PostgreSQL's memory contexts, Objective-C's
 * autorelease pools. */
#include <pthread.h>

#include "base/alloc.h"
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

static void make_key(void)
{
    has_key = pthread_key_create(&at_thread_end, drop_pool) == 0;
}

/* The program unloads the library, or ends: no thread's end may call what is gone. */
static __attribute__((destructor)) void forget_key(void)
{
    if (has_key) (void)pthread_key_delete(at_thread_end);
}

static bool grow(pool *p)
{
    size_t capacity = p->capacity ? 2 * p->capacity : 64;
    reel_tensor **item = reel__realloc(p->item, capacity * sizeof *item);
    if (!item) return false;
    p->item = item;
    p->capacity = capacity;
    if (!p->registered) {
        (void)pthread_once(&key_once, make_key);
        (void)pthread_setspecific(at_thread_end, p);
        p->registered = true;
    }
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

reel_scope reel_scope_begin(void)
{
    return results.n;
}

void reel_scope_end(reel_scope s)
{
    release_from(&results, s);
    if (s == 0 && results.item) drop_pool(&results);
}

reel_tensor *reel_scope_return(reel_scope s, reel_tensor *t)
{
    reel__tensor_retain(t);
    reel_scope_end(s);
    return reel__autorelease(t);
}

reel_tensor *reel_keep(reel_tensor *t)
{
    return reel__tensor_retain(t);
}

void reel_release(reel_tensor *t)
{
    reel__tensor_release(t);
}
