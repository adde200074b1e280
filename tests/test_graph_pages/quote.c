/* quote.c: sections of programs. A section begins below a heading, a comment that begins with
 * four hyphens and its name, and ends at the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pages.h"

enum { PATH_SIZE = 512, LINE_SIZE = 1024 };

/* A heading of a section of a source file; `name` gets what it says. */
static bool is_heading(const char *line, char name[LINE_SIZE])
{
    line += strspn(line, " ");
    if (strncmp(line, "/* ---- ", 8) != 0) return false;
    line += 8;
    const char *end = strstr(line, " --");
    snprintf(name, LINE_SIZE, "%.*s", end ? (int)(end - line) : 0, line);
    return true;
}

/* `make quote FILE SECTION`: the lines below `/\* ---- SECTION ---` up to the next heading, moved
 * left by the indentation of the heading. */
void make_quote(FILE *to, const char *from)
{
    char path[PATH_SIZE], heading[LINE_SIZE];
    const char *section = strchr(from, ' ');
    assert_non_null(section);
    snprintf(path, sizeof path, REEL_SOURCE_DIR "/%.*s", (int)(section - from), from);
    char *source = read_file(path), *begin = NULL, *end = NULL;
    size_t indent = 0;
    for (char *line = source; line && !end; line = strchr(line, '\n')) {
        line += *line == '\n';
        bool found = is_heading(line, heading);
        if (found && begin) end = line;
        if (!found || begin || strcmp(heading, section + 1) != 0) continue;
        indent = strspn(line, " ");
        begin = strchr(line, '\n');
    }
    if (!begin) fail_msg("%s has no section \"%s\"", path, section + 1);
    if (!end) end = begin + strlen(begin);
    begin += strspn(begin, "\n");
    while (end > begin && strchr(" \n", end[-1])) end--;
    *end = '\0';

    fputs("```c\n", to);
    for (char *line = begin; line;) {
        char *next = strchr(line, '\n');
        if (next) *next++ = '\0';
        size_t blank = strspn(line, " ");
        fprintf(to, "%s\n", line + (blank < indent ? blank : indent));
        line = next;
    }
    fputs("```\n", to);
    free(source);
}
