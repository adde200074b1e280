/* fail.c: errors of files. */
#include "onnx/fail.h"

#include "base/decimal.h"
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>

reel_status reel__onnx_fail(reel_status status, const char *file, uint64_t offset,
                            const char *format, ...)
{
    char what[REEL__ERROR_TEXT];
    va_list args;
    va_start(args, format);
    reel__vsnprint(what, sizeof what, format, args);
    va_end(args);
    for (char *p = what; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = '?';
    return reel_fail(status, "%s: byte %ju: %s", file, (uintmax_t)offset, what);
}
