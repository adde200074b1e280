/* watched.c: a table of the living objects, by number. */
#include "base/watched.h"

#include <string.h>

#include "base/alloc.h"
#include "base/lock.h"
#include "base/shutdown.h"

typedef struct row {
    uint64_t number; /* 0: free */
    const void *object;
    reel__says_fn says;
} row;

/* Open addressing by number. Rows that were freed keep GONE, so that searches go on. */
#define GONE UINT64_MAX

static reel__lock lock = REEL__LOCK; /* guards all of these */
static row *rows;
static size_t size, used; /* used: rows that are not free, those that are gone included */
static uint64_t latest;

static size_t place_of(const row *list, size_t n, uint64_t number)
{
    size_t i = (size_t)((number * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (n - 1);
    while (list[i].number && list[i].number != number) i = (i + 1) & (n - 1);
    return i;
}

/* Twice the living, at least 64. */
static bool make_room(void)
{
    if (used * 2 < size) return true;
    size_t living = 0, n = 64;
    for (size_t i = 0; i < size; i++) living += rows[i].number && rows[i].number != GONE;
    while (n < 4 * (living + 1)) n *= 2;
    row *list = reel__calloc(n, sizeof *list);
    if (!list) return false;
    for (size_t i = 0; i < size; i++)
        if (rows[i].number && rows[i].number != GONE)
            list[place_of(list, n, rows[i].number)] = rows[i];
    reel__free(rows);
    rows = list;
    size = n;
    used = living;
    return true;
}

uint64_t reel__watched_new(const void *object, reel__says_fn says)
{
    reel__lock_take(&lock);
    uint64_t number = make_room() ? ++latest : 0;
    if (number) {
        rows[place_of(rows, size, number)] = (row){number, object, says};
        used++;
    }
    reel__lock_give(&lock);
    return number;
}

void reel__watched_free(uint64_t number)
{
    if (!number) return;
    reel__lock_take(&lock);
    row *r = &rows[place_of(rows, size, number)];
    if (r->number == number) *r = (row){.number = GONE};
    reel__lock_give(&lock);
}

void reel__watched_close(void)
{
    reel__lock_take(&lock);
    size_t living = 0;
    for (size_t i = 0; i < size; i++) living += rows[i].number && rows[i].number != GONE;
    if (!living) {
        reel__free(rows);
        rows = NULL;
        size = used = 0;
    }
    reel__lock_give(&lock);
}

/* The caller holds the lock, so that the object stays. */
static bool ask(uint64_t number, uint64_t *says)
{
    row r = size ? rows[place_of(rows, size, number)] : (row){0};
    if (!number || r.number != number) return false;
    *says = r.says(r.object);
    return true;
}

bool reel__watched_says(uint64_t number, uint64_t *says)
{
    reel__lock_take(&lock);
    bool there = ask(number, says);
    reel__lock_give(&lock);
    return there;
}

bool reel__watched_agree(const reel__said *said, int n)
{
    uint64_t now;
    bool same = true;
    reel__lock_take(&lock);
    for (int i = 0; i < n && same; i++)
        same = ask(said[i].number, &now) && now == said[i].says;
    reel__lock_give(&lock);
    return same;
}

/* ---- who listens ------------------------------------------------------------------------ */

static _Thread_local reel__watched_fn listener;

reel__watched_fn reel__watched_listen(reel__watched_fn heard)
{
    reel__watched_fn was = listener;
    listener = heard;
    return was;
}

void reel__watched_used(uint64_t number)
{
    if (listener && number) listener(number);
}

/* The rounds of SplitMix64, eight bytes each: one that differs never gives the same number.
 * Source: Steele, Lea & Flood 2014. */
uint64_t reel__says_mix(uint64_t so_far, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    uint64_t h = so_far ^ n;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t eight = 0;
        memcpy(&eight, b + i, n - i < 8 ? n - i : 8);
        h = (h ^ eight) + UINT64_C(0x9e3779b97f4a7c15);
        h = (h ^ h >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        h = (h ^ h >> 27) * UINT64_C(0x94d049bb133111eb);
        h ^= h >> 31;
    }
    return h;
}
