#include "nn/text.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/decimal.h"

static bool make_room(reel__text *t, size_t more)
{
    if (t->n + more + 1 <= t->room) return true;
    size_t room = 2 * (t->n + more + 1);
    char *s = reel__realloc(t->s, room);
    if (!s) return false;
    t->s = s;
    t->room = room;
    return true;
}

bool reel__text_add(reel__text *t, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int more = reel__vsnprint(NULL, 0, format, args);
    bool ok = more >= 0 && make_room(t, (size_t)more);
    if (ok) {
        reel__vsnprint(t->s + t->n, (size_t)more + 1, format, again);
        t->n += (size_t)more;
    }
    va_end(again);
    va_end(args);
    return ok;
}

void reel__text_cut(reel__text *t, size_t n)
{
    if (n >= t->n) return;
    t->n = n;
    t->s[n] = '\0';
}

void reel__text_free(reel__text *t)
{
    reel__free(t->s);
    *t = (reel__text){0};
}

const char *reel__shape_text(reel_shape shape, char text[REEL__SHAPE_TEXT])
{
    size_t n = 0;
    text[n++] = '[';
    for (int i = 0; i < shape.rank && i < REEL_MAX_RANK; i++)
        n += (size_t)snprintf(text + n, REEL__SHAPE_TEXT - n, "%s%lld", i ? "," : "",
                              (long long)shape.dim[i]);
    snprintf(text + n, REEL__SHAPE_TEXT - n, "]");
    return text;
}

bool reel__shapes_equal(reel_shape a, reel_shape b)
{
    bool same = a.rank == b.rank;
    for (int i = 0; same && i < a.rank; i++) same = a.dim[i] == b.dim[i];
    return same;
}
