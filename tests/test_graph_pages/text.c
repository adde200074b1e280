/* text.c: texts in memory and in files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pages.h"

void text_begin(text *t)
{
    *t = (text){0};
    t->to = open_memstream(&t->at, &t->n);
    assert_non_null(t->to);
}

char *read_file(const char *path)
{
    text t;
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot read %s", path);
    text_begin(&t);
    for (int c; (c = getc(f)) != EOF;) putc(c, t.to);
    (void)fclose(f);
    (void)fclose(t.to);
    return t.at;
}

void no_error(void)
{
    if (reel_failed()) fail_msg("%s", reel_error_message());
}
