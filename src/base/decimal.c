/* decimal.c: the C locale, for this thread, while a call lasts. */
#include "base/decimal.h"

#include <locale.h>
#include <pthread.h>
#include <stdlib.h>
#if defined(__APPLE__)
#include <xlocale.h>
#endif

static locale_t c_locale;

/* glibc and musl have it ready: nothing is allocated, and nothing can fail. */
static void find(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* The locale of before; uselocale() takes it back. */
static locale_t enter(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find);
    return uselocale(c_locale);
}

int reel__vsnprint(char *buf, size_t size, const char *format, va_list args)
{
    locale_t before = enter();
    int n = vsnprintf(buf, size, format, args);
    uselocale(before);
    return n;
}

int reel__snprint(char *buf, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int n = reel__vsnprint(buf, size, format, args);
    va_end(args);
    return n;
}

int reel__fprint(FILE *to, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    locale_t before = enter();
    int n = vfprintf(to, format, args);
    uselocale(before);
    va_end(args);
    return n;
}

double reel__strtod(const char *text, char **end)
{
    locale_t before = enter();
    double number = strtod(text, end);
    uselocale(before);
    return number;
}
