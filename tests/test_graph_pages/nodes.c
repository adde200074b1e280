/* nodes.c: the nodes of a graph, short enough to be compared by eye. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pages.h"

enum { MOST_VALUES = 256 };

/* Values get new numbers in the order in which the text names them, so that two graphs that
 * differ in numbers alone have one text. */
static void put_value(FILE *to, const char **at, long number[], int *n)
{
    char *end;
    long v = strtol(*at + 1, &end, 10);
    int k = 0;
    while (k < *n && number[k] != v) k++;
    if (k == *n) number[(*n)++] = v;
    assert_true(*n < MOST_VALUES);
    fprintf(to, "%%%d", k + 1);
    *at = end;
}

/* A node: its first result, operator, operands and module. Pictures have the attributes. */
static void put_node(FILE *to, const char *line, long number[], int *n)
{
    const char *first = strchr(line, ']') + 1, *call = strstr(line, " = ");
    const char *end = strchr(call, ')') + 1, *where = strstr(end, "  # ");
    for (const char *c = line; c < end;) {
        if (c == first) c = call;
        if (*c == '%')
            put_value(to, &c, number, n);
        else
            putc(*c++, to);
    }
    fprintf(to, "%s\n", where ? where : "");
}

char *nodes_of(const reel_graph *g)
{
    text t;
    long number[MOST_VALUES];
    int n = 0;
    char *all = reel_graph_to_string(g);
    no_error();
    text_begin(&t);
    for (char *line = strtok(all, "\n"); line; line = strtok(NULL, "\n"))
        if (line[0] == '%') put_node(t.to, line, number, &n);
    assert_int_equal(fclose(t.to), 0);
    free(all);
    return t.at;
}
