/* headers.h: what include/reel declares, for tests that must forget nothing of it. The folder is
 * read, so a header that is new is not forgotten either. */
#ifndef REEL_TESTS_HEADERS_H
#define REEL_TESTS_HEADERS_H

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline char *read_text(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot open %s", path);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    (void)fclose(f);
    return text;
}

/* "reel_relu" of the declaration that begins at `at`, and where its arguments begin. */
static inline char *declared_name(char *at, char *name, size_t size)
{
    char *end = strchr(at, '('), *start = end;
    assert_non_null(end);
    while (start[-1] == '_' || (start[-1] >= 'a' && start[-1] <= 'z') ||
           (start[-1] >= '0' && start[-1] <= '9'))
        start--;
    snprintf(name, size, "%.*s", (int)(end - start), start);
    return end;
}

/* Calls fn with the name and the text of each header; it may write in the text. */
static inline void each_header(void (*fn)(const char *header, char *text))
{
    DIR *folder = opendir(REEL_SOURCE_DIR "/include/reel");
    assert_non_null(folder);
    for (struct dirent *e; (e = readdir(folder)) != NULL;) {
        char path[1024];
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%s/include/reel/%s", REEL_SOURCE_DIR, e->d_name);
        char *text = read_text(path);
        fn(e->d_name, text);
        free(text);
    }
    (void)closedir(folder);
}

/* The next declaration of a function in a header, from what it returns on; NULL: no more. */
static inline char *next_function(char *text)
{
    static const char mark[] = "\nREEL_API ";
    char *at = strstr(text, mark);
    return at ? at + strlen(mark) : NULL;
}

#endif
