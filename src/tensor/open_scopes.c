/* open_scopes.c: the scopes of a thread under REEL_DEBUG=1. reel_scope_begin() hands out a number
 * that is never used again, so that one which has ended is told from one that is open; and what
 * is to last as long as a scope ends with it, however it ends. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tensor/debug.h"

/* Numbers have the top bit; a plain mark, of a scope that there was no memory to note, has not. */
#define NUMBERED (~(SIZE_MAX >> 1))

enum { REMEMBERED = 256, HELD = 160 };

typedef struct open_scope {
    size_t number, mark;
    size_t trained; /* how many of the list were there before it */
} open_scope;

typedef struct ended_scope {
    size_t number;
    size_t around; /* the one whose end ended it; itself */
    char held[HELD];
} ended_scope;

typedef struct scopes {
    open_scope *open;
    reel_tensor **trained; /* retained */
    size_t n_open, room, n_trained, trained_room;
    size_t n_ended;
    ended_scope ended[REMEMBERED]; /* the last of them, by number of end */
} scopes;

static atomic_size_t numbers;
static _Thread_local scopes *mine;

static bool grow(void **list, size_t *room, size_t size)
{
    size_t more = *room ? 2 * *room : 32;
    void *larger = reel__realloc(*list, more * size);
    if (!larger) return false;
    *list = larger;
    *room = more;
    return true;
}

static scopes *of_this_thread(void)
{
    if (!mine) mine = reel__calloc(1, sizeof *mine);
    return mine;
}

reel_scope reel__open_scope(size_t mark)
{
    scopes *s = of_this_thread();
    if (!s ||
        (s->n_open == s->room && !grow((void **)&s->open, &s->room, sizeof *s->open)))
        return mark;
    size_t number = atomic_fetch_add_explicit(&numbers, 1, memory_order_relaxed) + 1;
    s->open[s->n_open++] = (open_scope){number | NUMBERED, mark, s->n_trained};
    return number | NUMBERED;
}

bool reel__debug_until_end(reel_tensor *t)
{
    scopes *s = of_this_thread();
    if (!s || (s->n_trained == s->trained_room &&
               !grow((void **)&s->trained, &s->trained_room, sizeof(reel_tensor *))))
        return false;
    s->trained[s->n_trained++] = reel__tensor_retain(t);
    return true;
}

/* ---- ending --------------------------------------------------------------------------------- */

static void end_training(scopes *s, size_t down_to)
{
    while (s->n_trained > down_to) {
        reel_tensor *t = s->trained[--s->n_trained];
        reel__debug_trained(t);
        reel__tensor_release(t);
    }
}

static void remember(scopes *s, const open_scope *o, size_t around, size_t n,
                     reel_tensor *const result[])
{
    char text[REEL__DEBUG_TEXT];
    ended_scope *e = &s->ended[s->n_ended++ % REMEMBERED];
    *e = (ended_scope){.number = o->number, .around = around};
    if (n > o->mark)
        snprintf(e->held, sizeof e->held, "held %zu results, the last one %.100s",
                 n - o->mark, reel__debug_text(result[n - 1], text));
    else
        snprintf(e->held, sizeof e->held, "held no results");
}

static const ended_scope *find_ended(const scopes *s, size_t number)
{
    for (size_t i = 0; s && i < REMEMBERED && i < s->n_ended; i++)
        if (s->ended[i].number == number) return &s->ended[i];
    return NULL;
}

static void fail_ended(const char *who, const scopes *s, size_t number)
{
    const ended_scope *e = find_ended(s, number);
    if (!e)
        reel_fail(REEL_ERR_STATE,
                  "%s: scope %zu is not open in this thread: it was ended long ago, or "
                  "another thread began it",
                  who, number & ~NUMBERED);
    else if (e->around == number)
        reel_fail(REEL_ERR_STATE, "%s: scope %zu was ended before; it %s", who,
                  number & ~NUMBERED, e->held);
    else
        reel_fail(
            REEL_ERR_STATE,
            "%s: scope %zu, which %s, ended when scope %zu around it was ended; end "
            "the inner one first",
            who, number & ~NUMBERED, e->held, e->around & ~NUMBERED);
}

/* How many scopes stay open when the one of this number ends; false if it is not open itself. A
 * plain mark ends those that have results behind it, and 0 ends all. */
static bool stays_open(const scopes *s, reel_scope number, size_t *n)
{
    bool plain = !(number & NUMBERED);
    for (*n = s ? s->n_open : 0; *n > 0; --*n) {
        const open_scope *o = &s->open[*n - 1];
        if (plain && number > 0 && o->mark <= number) break;
        if (o->number != number) continue;
        --*n;
        return true;
    }
    return plain;
}

bool reel__close_scope(const char *who, reel_scope number, size_t n_results,
                       reel_tensor *const result[], size_t *mark)
{
    scopes *s = mine;
    size_t n;
    if (!stays_open(s, number, &n)) {
        fail_ended(who, s, number);
        return false;
    }
    *mark = number & NUMBERED ? s->open[n].mark : number;
    size_t trained = s && n < s->n_open ? s->open[n].trained : SIZE_MAX;
    while (s && s->n_open > n) {
        s->n_open--;
        remember(s, &s->open[s->n_open], number, n_results, result);
    }
    if (s && trained < s->n_trained) end_training(s, trained);
    return true;
}

void reel__forget_scopes(void)
{
    if (mine && mine->n_open == 0) reel__drop_scopes();
}

void reel__drop_scopes(void)
{
    scopes *s = mine;
    if (!s) return;
    end_training(s, 0);
    reel__free(s->open);
    reel__free(s->trained);
    reel__free(s);
    mine = NULL;
}
