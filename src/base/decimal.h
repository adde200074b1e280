/* decimal.h: numbers in texts have a point, whatever the program's locale says. Everything that
 * prints or reads one comes through here (tools/check_decimal.sh sees to it), so there is no
 * text, file or message of ours that another machine reads otherwise. */
#ifndef REEL_BASE_DECIMAL_H
#define REEL_BASE_DECIMAL_H

#include <stdarg.h>
#include <stdio.h>

#include <reel/base.h>

/* snprintf(), vsnprintf(), fprintf() and strtod() as in the C locale. */
int reel__snprint(char *buf, size_t size, const char *format, ...) REEL_PRINTF(3, 4);
int reel__vsnprint(char *buf, size_t size, const char *format, va_list args);
int reel__fprint(FILE *to, const char *format, ...) REEL_PRINTF(2, 3);
double reel__strtod(const char *text, char **end);

#endif
