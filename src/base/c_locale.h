/* c_locale.h: numbers in files have a point, whatever the program's locale says: between these
 * two calls this thread prints and reads numbers as C does. Calls must not nest. */
#ifndef REEL_BASE_C_LOCALE_H
#define REEL_BASE_C_LOCALE_H

#include <locale.h>
#if defined(__APPLE__)
#include <xlocale.h>
#endif

#include <reel/base.h>

typedef struct reel__locale {
    locale_t c, before; /* c (locale_t)0: nothing was changed */
} reel__locale;

/* An error only without memory. */
static inline reel_status reel__c_locale(reel__locale *l)
{
    *l = (reel__locale){.c = newlocale(LC_ALL_MASK, "C", (locale_t)0)};
    if (!l->c) return reel_fail(REEL_ERR_MEMORY, "locale: out of memory");
    l->before = uselocale(l->c);
    return REEL_OK;
}

static inline void reel__c_locale_end(reel__locale *l)
{
    if (!l->c) return;
    uselocale(l->before);
    freelocale(l->c);
}

#endif
