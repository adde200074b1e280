/* fuzz_graph.c: any text gives a graph that is right, or an error: its own text is read back as
 * the same graph, at another batch size as well, and the passes leave it a graph. */
#include "fuzz.h"

enum { MOST_ELEMENTS = 4096, LONGEST_TEXT = 8192 };

/* The state that the text says, as far as it is small: zeros of the first "NAME f32[...]". */
static reel_tensor *find(void *user, const char *name)
{
    const char *at = strstr(user, name);
    at = at ? strstr(at, " f32[") : NULL;
    reel_shape s = {.rank = 0};
    int64_t n = 1;
    for (char *p = at ? (char *)(uintptr_t)at + 5 : NULL; p && *p && *p != ']';) {
        char *end;
        int64_t size = strtoll(p, &end, 10);
        if (end == p || size < 0 || size > MOST_ELEMENTS || s.rank == REEL_MAX_RANK ||
            (n *= size) > MOST_ELEMENTS)
            return NULL;
        s.dim[s.rank++] = size;
        p = end + (*end == ',');
    }
    return at ? reel_zeros(s, REEL_F32) : NULL;
}

/* The same text again. */
static void check_text(reel_graph *g)
{
    char *text = reel_graph_to_string(g);
    reel_graph *again = text ? reel_graph_parse(text, find, text) : NULL;
    char *second = again ? reel_graph_to_string(again) : NULL;
    if (again && (!second || strcmp(text, second) != 0)) __builtin_trap();
    reel_error_clear(); /* state is found otherwise in our text than in theirs */
    free(second);
    free(text);
    reel_graph_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > LONGEST_TEXT) return 0;
    char *text = calloc(1, size + 1);
    if (!text) abort();
    if (size) memcpy(text, data, size);
    reel_scope s = reel_scope_begin();
    reel_graph *g = reel_graph_parse(text, find, text);
    fuzz_verdict_of_graph(g);
    if (g) {
        if (reel_graph_check(g)) __builtin_trap();
        check_text(g);
        if (reel_graph_batch(g)) (void)reel_graph_set_batch(g, 3);
        reel_error_clear();
        if (reel_graph_check(g)) __builtin_trap();
        (void)reel_graph_optimize(g, NULL);
        reel_error_clear();
        if (reel_graph_check(g)) __builtin_trap();
    }
    reel_graph_free(g);
    free(text);
    fuzz_end(s);
    return 0;
}
