/* import_lacks.c: the list of what a file needs and we have not. */
#include "trace/onnx/import_lacks.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "base/error.h"

void reel__lacks(reel__import_lacks *l, const char *where, const char *format, ...)
{
    char what[sizeof l->row->what];
    va_list args;
    va_start(args, format);
    int length = reel__vsnprint(what, sizeof what, format, args);
    va_end(args);
    if (length < 0) what[0] = '\0';
    int k = 0;
    while (k < l->n && strcmp(l->row[k].what, what) != 0) k++;
    if (k == REEL__LACKS_MAX) {
        l->others++;
        return;
    }
    if (k == l->n) {
        l->n++;
        memcpy(l->row[k].what, what, sizeof what);
        (void)snprintf(l->row[k].where, sizeof l->row[k].where, "%s", where);
    }
    l->row[k].count++;
}

/* "operator TopK (2 times, first node 3 "sort")" */
static int row_text(const reel__import_lacks *l, int k, char *to, size_t room)
{
    const int64_t n = l->row[k].count;
    if (n == 1)
        return snprintf(to, room, "%s%s (%s)", k ? "; " : "", l->row[k].what,
                        l->row[k].where);
    return snprintf(to, room, "%s%s (%" PRId64 " times, first %s)", k ? "; " : "",
                    l->row[k].what, n, l->row[k].where);
}

reel_status reel__lacks_refuse(const reel__import_lacks *l, const char *file,
                               int64_t opset)
{
    /* behind the list, and before it: the file's name */
    char text[REEL__ERROR_TEXT - 512], rest[64] = "";
    size_t used = 0;
    int64_t left = l->others;
    if (!l->n) return REEL_OK;
    for (int k = 0; k < l->n; k++) {
        int n = row_text(l, k, text + used, sizeof text - used);
        if (n < 0 || (size_t)n >= sizeof text - used) {
            text[used] = '\0';
            left += l->n - k;
            break;
        }
        used += (size_t)n;
    }
    if (left) (void)snprintf(rest, sizeof rest, "; and %" PRId64 " more", left);
    for (char *p = text; *p; p++) /* names from the file, which a terminal would obey */
        if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = '?';
    return reel_fail(REEL_ERR_UNSUPPORTED,
                     "onnx_load: %.200s: at opset %" PRId64
                     " it needs what there is not: "
                     "%s%s",
                     file, opset, text, rest);
}
