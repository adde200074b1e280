#include "every_function.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *read_text(const char *source, const char *folder, const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s/%s", source, folder, name);
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot open %s", path);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    (void)fclose(f);
    return text;
}

void check_every_function(const char *source, const char *header, const char *test)
{
    char *declarations = read_text(source, "include/reel", header),
         *calls = read_text(source, "tests", test);
    int found = 0;
    for (char *at = declarations; (at = strstr(at, "\nREEL_API ")) != NULL;) {
        char name[64], call_form[80], table_form[80];
        char *end = strchr(at, '('), *start = end;
        while (start[-1] == '_' || (start[-1] >= 'a' && start[-1] <= 'z') ||
               (start[-1] >= '0' && start[-1] <= '9'))
            start--;
        snprintf(name, sizeof name, "%.*s", (int)(end - start), start);
        snprintf(call_form, sizeof call_form, "%s(", name);
        snprintf(table_form, sizeof table_form, "ONE(%s)", name + strlen("reel_"));
        if (!strstr(calls, call_form) && !strstr(calls, table_form))
            fail_msg("%s is not called wrongly in %s", name, test);
        found++;
        at = end;
    }
    assert_true(found > 1);
    free(declarations);
    free(calls);
}
