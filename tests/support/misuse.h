/* misuse.h: what tests of wrong calls share. Include after cmocka.h. */
#ifndef TESTS_SUPPORT_MISUSE_H
#define TESTS_SUPPORT_MISUSE_H

#include <reel/base.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "headers.h"

/* All that is wrong is shown; misuse_ended(), in the teardown, fails the test. */
static int misuse_failures;

static inline int misuse_ended(void)
{
    int n = misuse_failures;
    misuse_failures = 0;
    return n != 0;
}

#define COMPLAIN(...)                                                                    \
    do {                                                                                 \
        print_error(__VA_ARGS__);                                                        \
        misuse_failures++;                                                               \
    } while (0)

/* The pending error must be there and name `who`; it is cleared. */
static inline void refused_by(const char *who, int line)
{
    if (!reel_failed())
        COMPLAIN("line %d: %s reports no error\n", line, who);
    else if (!strstr(reel_error_message(), who))
        COMPLAIN("line %d: no \"%s\" in \"%s\"\n", line, who, reel_error_message());
    reel_error_clear();
}

/* The message begins with `name`, that of the function that was called. */
static inline void begins_with(const char *name, int line)
{
    size_t n = strlen(name);
    const char *message = reel_error_message();
    if (reel_failed() && (strncmp(message, name, n) != 0 || message[n] != ':'))
        COMPLAIN("line %d: \"%s\" does not begin with %s\n", line, message, name);
}

/* The function is read off the text of the call; what is not a call of ours is let off. */
static inline void names_called(const char *call, int line)
{
    char name[64];
    size_t n = strcspn(call, "(");
    if (strncmp(call, "reel_", 5) != 0 || n - 5 >= sizeof name) return;
    snprintf(name, sizeof name, "%.*s", (int)n - 5, call + 5);
    begins_with(name, line);
}

/* An error that begins with `name` is pending; it is cleared. For calls whose result is a value. */
static inline void refused_as(const char *name, int line)
{
    begins_with(name, line);
    refused_by(name, line);
}

/* A function that makes something, and one that does something. */
#define NONE(who, call)                                                                  \
    do {                                                                                 \
        if ((call) != NULL) COMPLAIN("line %d: a result\n", __LINE__);                   \
        names_called(#call, __LINE__);                                                   \
        refused_by(who, __LINE__);                                                       \
    } while (0)
#define BAD(who, call)                                                                   \
    do {                                                                                 \
        if ((call) == REEL_OK) COMPLAIN("line %d: no error\n", __LINE__);                \
        names_called(#call, __LINE__);                                                   \
        refused_by(who, __LINE__);                                                       \
    } while (0)

/* Every function that `header` declares, as each_header() gives it, stands in tests/`test`, as
 * reel_name( or ONE(name). */
static inline void check_all_called(const char *header, char *declarations,
                                    const char *test)
{
    char path[1024], name[64], call_form[80], table_form[80];
    snprintf(path, sizeof path, "%s/tests/%s", REEL_SOURCE_DIR, test);
    char *calls = read_text(path);
    for (char *at = declarations; (at = next_function(at)) != NULL;) {
        at = declared_name(at, name, sizeof name);
        snprintf(call_form, sizeof call_form, "%s(", name);
        snprintf(table_form, sizeof table_form, "ONE(%s)", name + strlen("reel_"));
        if (!strstr(calls, call_form) && !strstr(calls, table_form))
            COMPLAIN("%s of %s is not called wrongly in %s\n", name, header, test);
    }
    free(calls);
}

#endif
