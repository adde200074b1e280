/* names.c: which operators a list of patterns names. */
#include "quantize/quantize.h"

#include <stdio.h>
#include <string.h>

void reel__node_name(const reel__gnode *n, char out[REEL__QUANTIZE_NAME])
{
    (void)snprintf(out, REEL__QUANTIZE_NAME, "%s%s%s", n->where ? n->where : "",
                   n->where ? "." : "", n->op->name);
}

/* Whether p[0..n-1], in which * is any text, is `name` or a module above it. */
static bool fits(const char *p, size_t n, const char *name)
{
    if (n == 0) return *name == '\0' || *name == '.';
    if (*p == '*') {
        for (const char *rest = name;; rest++) {
            if (fits(p + 1, n - 1, rest)) return true;
            if (!*rest) return false;
        }
    }
    return *p == *name && fits(p + 1, n - 1, name + 1);
}

/* The pattern at `list` or behind it: its length; *list is set to where it begins. */
static size_t next_pattern(const char **list)
{
    *list += strspn(*list, ", ");
    return strcspn(*list, ", ");
}

bool reel__pattern_fits(const char *list, const char *name)
{
    bool any = false;
    for (size_t n; list && !any && (n = next_pattern(&list)) > 0; list += n)
        any = fits(list, n, name);
    return any;
}

bool reel__pattern_at(const char *list, int i, char out[REEL__QUANTIZE_NAME])
{
    for (size_t n; list && (n = next_pattern(&list)) > 0; i--, list += n) {
        if (i) continue;
        (void)snprintf(out, REEL__QUANTIZE_NAME, "%.*s", (int)n, list);
        return true;
    }
    return false;
}
