/* pages.h: what the files of test_graph_pages share. */
#ifndef REEL_TEST_GRAPH_PAGES_H
#define REEL_TEST_GRAPH_PAGES_H

#include <reel/reel.h>
#include <stdio.h>

/* A text that grows. */
typedef struct text {
    FILE *to;
    char *at;
    size_t n;
} text;

void text_begin(text *t);
/* The caller frees it. */
char *read_file(const char *path);

/* Fails the test with the message of a pending error. */
void no_error(void);

/* The nodes of the graph, a line each. The caller frees them. */
char *nodes_of(const reel_graph *g);
/* Writes the section that `from`, "FILE SECTION", names as a block of code. */
void make_quote(FILE *to, const char *from);

#endif
