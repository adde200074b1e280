/* debug.c: tensors under REEL_DEBUG=1. Each has a note behind it; one that dies gives its
 * memory back but leaves its struct, so that a use of it is found and can be named. The newest
 * LEFT of them are left, then the memory is used again. */
#include "tensor/debug.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/lock.h"

enum { LEFT = 1 << 16, MADE = 32, NAME = 64 };

typedef struct note {
    atomic_int death;  /* enum reel__death; 0: it lives */
    atomic_int shares; /* of the program: reel_keep() */
    atomic_int kept;   /* how often that was called */
    /* under the lock */
    const void *trainer; /* a mark of the thread; NULL: none */
    unsigned depth;      /* how often it said so */
    unsigned forks; /* of the process then: a child does not have its other threads */
    const char *doing;
    char name[NAME]; /* as part of a module */
    /* of its maker's thread alone */
    char made[MADE];  /* the operator; "" */
    char where[NAME]; /* the module in which that was called; "" */
} note;

/* Where it begins, whether the tensor is a view or not. */
enum { BEHIND = (sizeof(reel_tensor) + 15) / 16 * 16 + sizeof(reel__view) };

static reel__lock lock = REEL__LOCK; /* guards what follows, and training */
static struct {
    reel_tensor *oldest, *newest;
    int n;
} left;
static _Thread_local reel__death cause;

static note *note_of(const reel_tensor *t)
{
    return (note *)(void *)((char *)(uintptr_t)t + BEHIND);
}

static void copy_text(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%.*s", (int)size - 1, text ? text : "");
}

/* ---- birth and death ------------------------------------------------------------------------ */

reel_tensor *reel__debug_new(void)
{
    reel_tensor *t = reel__malloc(BEHIND + sizeof(note));
    if (!t) return NULL;
    note *n = note_of(t);
    memset(n, 0, sizeof *n);
    copy_text(n->where, sizeof n->where, reel__error_where());
    return t;
}

reel__death reel__debug_cause(reel__death of)
{
    reel__death was = cause;
    cause = of;
    return was;
}

void reel__debug_bury(reel_tensor *t)
{
    reel_tensor *oldest = NULL;
    int death = cause ? (int)cause : REEL__LET_GO;
    t->storage = NULL;
    t->node = NULL;
    t->view = NULL;
    t->grad = NULL;
    t->next_free = NULL;
    atomic_store_explicit(&note_of(t)->death, death, memory_order_release);
    reel__lock_take(&lock);
    if (left.newest)
        left.newest->next_free = t;
    else
        left.oldest = t;
    left.newest = t;
    if (++left.n > LEFT) {
        oldest = left.oldest;
        left.oldest = oldest->next_free;
        left.n--;
    }
    reel__lock_give(&lock);
    reel__free(oldest);
}

void reel__debug_close(void)
{
    reel__lock_take(&lock);
    reel_tensor *list = left.oldest;
    left.oldest = left.newest = NULL;
    left.n = 0;
    reel__lock_give(&lock);
    for (reel_tensor *next; list; list = next) {
        next = list->next_free;
        reel__free(list);
    }
    reel__forget_scopes();
}

/* So that who looks for leaks at the end finds none. An allocator of the program may be gone. */
static __attribute__((destructor)) void close_at_end(void)
{
    if (!reel__hosted()) reel__debug_close();
}

/* ---- what it is ------------------------------------------------------------------------------ */

void reel__debug_made(reel_tensor *t, const char *by)
{
    note *n = note_of(t);
    if (!n->made[0]) copy_text(n->made, sizeof n->made, by);
}

char *reel__debug_text(const reel_tensor *t, char *text)
{
    char meta[REEL__META_TEXT];
    const note *n = note_of(t);
    const char *name = n->name[0] ? n->name : NULL;
    snprintf(text, REEL__DEBUG_TEXT, "%s%s%s%s%s%s%s%s", name ? "\"" : "",
             name ? name : "", name ? "\" " : "", reel__meta_text(&t->meta, meta),
             n->made[0] ? " made by " : "", n->made, n->where[0] ? " in " : "", n->where);
    return text;
}

static bool is_dead(const reel_tensor *t)
{
    return atomic_load_explicit(&note_of(t)->death, memory_order_acquire) != 0;
}

static void fail_dead(const char *who, const char *which, const reel_tensor *t)
{
    static const char *const after[] = {
        [REEL__LET_GO] =
            "used after what held it was freed or changed: a module, an "
            "optimizer, a batch, a map of tensors; reel_keep() it to have it "
            "longer",
        [REEL__SCOPE_ENDED] = "used after its scope ended; reel_keep() it or hand it out "
                              "with reel_scope_return()",
        [REEL__GIVEN_BACK] = "used after reel_release() gave its last share back"};
    char text[REEL__DEBUG_TEXT];
    int death = atomic_load_explicit(&note_of(t)->death, memory_order_acquire);
    reel_fail(REEL_ERR_STATE, "%s: %s, %s, is %s", who, which, reel__debug_text(t, text),
              after[death]);
}

bool reel__debug_alive(const char *who, const reel_tensor *x)
{
    if (!x || !is_dead(x)) return true;
    fail_dead(who, "the tensor", x);
    return false;
}

bool reel__debug_all_alive(const char *who, const char *what, reel_tensor *const x[],
                           int n)
{
    for (int i = 0; x && i < n; i++) {
        if (!x[i] || !is_dead(x[i])) continue;
        char which[48];
        snprintf(which, sizeof which, "%.20s %d", what, i);
        fail_dead(who, which, x[i]);
        return false;
    }
    return true;
}

/* ---- shares ----------------------------------------------------------------------------------- */

void reel__debug_keep(reel_tensor *t)
{
    atomic_fetch_add(&note_of(t)->shares, 1);
    atomic_fetch_add(&note_of(t)->kept, 1);
}

bool reel__debug_give_back(reel_tensor *t)
{
    char text[REEL__DEBUG_TEXT];
    note *n = note_of(t);
    if (!reel__debug_alive("release", t)) return false;
    int shares = atomic_load(&n->shares), kept = atomic_load(&n->kept);
    while (shares > 0)
        if (atomic_compare_exchange_weak(&n->shares, &shares, shares - 1)) return true;
    if (kept)
        reel_fail(REEL_ERR_STATE,
                  "release: the tensor, %s, was released already as often as it was kept "
                  "(%d); its scope, or what holds it, has the share that is left",
                  reel__debug_text(t, text), kept);
    else
        reel_fail(
            REEL_ERR_STATE,
            "release: the tensor, %s, is borrowed: its scope, or what holds it, such "
            "as a module, releases it; reel_keep() takes a share that is yours to "
            "give back",
            reel__debug_text(t, text));
    return false;
}

/* ---- training --------------------------------------------------------------------------------- */

static const void *me(void)
{
    return (const void *)(uintptr_t)pthread_self();
}

/* Under the lock: whether a thread that is there, and is not this one, trains it. */
static bool is_anothers(const note *n)
{
    return n->trainer && n->trainer != me() && n->forks == reel__forks();
}

bool reel__debug_trains(const char *doing, reel_tensor *t, const char *name)
{
    char text[REEL__DEBUG_TEXT];
    const char *other = NULL;
    if (!t || !reel__debug_alive(doing, t)) return !t;
    note *n = note_of(t);
    reel__lock_take(&lock);
    if (name) copy_text(n->name, sizeof n->name, name);
    if (is_anothers(n)) {
        other = n->doing;
        reel__debug_text(t, text);
    } else {
        if (n->trainer != me()) n->depth = 0;
        if (n->depth++ == 0) n->doing = doing;
        n->trainer = me();
        n->forks = reel__forks();
    }
    reel__lock_give(&lock);
    if (other)
        reel_fail(REEL_ERR_STATE,
                  "%s: %s is in the training of another thread just now, which runs %s; "
                  "one thread at a time trains a module",
                  doing, text, other);
    else if (!reel__debug_until_end(t))
        reel__debug_trained(t); /* not watched, for want of memory */
    return !other;
}

void reel__debug_trained(reel_tensor *t)
{
    note *n = note_of(t);
    reel__lock_take(&lock);
    if (n->trainer == me() && --n->depth == 0) n->trainer = NULL;
    reel__lock_give(&lock);
}
