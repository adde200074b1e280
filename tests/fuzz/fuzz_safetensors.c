/* fuzz_safetensors.c: any file gives all its tensors and texts, or an error: plain, and as a
 * checkpoint and as a graph, which are such files. */
#include "fuzz.h"

static void read_all(reel_tensor_map *map)
{
    for (int64_t i = 0; i < reel_tensor_map_count(map); i++)
        fuzz_touch(reel_tensor_map_at(map, i));
    for (int64_t i = 0; i < reel_tensor_map_text_count(map); i++)
        if (!reel_tensor_map_text(map, reel_tensor_map_text_key(map, i)))
            __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = fuzz_file("f", data, size);
    reel_scope s = reel_scope_begin();
    reel_tensor_map *map = reel_safetensors_load(path);
    fuzz_verdict(map != NULL);
    read_all(map);
    reel_tensor_map_free(map);
    map = reel_tensor_map_load(path);
    fuzz_verdict(map != NULL);
    reel_tensor_map_free(map);
    reel_graph *g = reel_graph_load(path);
    fuzz_verdict_of_graph(g);
    reel_graph_free(g);
    fuzz_end(s);
    return 0;
}
