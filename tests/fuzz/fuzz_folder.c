/* fuzz_folder.c: any folder of images gives samples, or an error. The input lists files: a byte
 * for the class, one for the length of the name, the name, two for the length of the content,
 * the content. */
#include "fuzz.h"

#include <sys/stat.h>

enum { CLASSES = 3, MOST_FILES = 16 };

typedef struct input {
    const uint8_t *at, *end;
} input;

static unsigned take(input *in)
{
    return in->at < in->end ? *in->at++ : 0;
}

static size_t take_bytes(input *in, size_t n, const uint8_t **bytes)
{
    size_t left = (size_t)(in->end - in->at);
    *bytes = in->at;
    if (n > left) n = left;
    in->at += n;
    return n;
}

/* Writes one file; its path, "" for none. */
static void write_one(input *in, char *path, size_t room)
{
    const uint8_t *name, *content;
    unsigned class = take(in) % CLASSES;
    size_t n = take_bytes(in, take(in) % 32, &name);
    char text[33] = "";
    for (size_t i = 0; i < n; i++)
        text[i] = (char)(name[i] == '/' || name[i] == 0 ? '_' : name[i]);
    size_t size = take(in);
    size = take_bytes(in, size | (size_t)take(in) << 8, &content);
    snprintf(path, room, "%s/%c/%s", fuzz_folder(), 'a' + (int)class, text);
    FILE *f = n ? fopen(path, "wb") : NULL; /* "." and ".." are no files */
    if (!f)
        *path = '\0';
    else if (fwrite(content, 1, size, f) != size || fclose(f))
        abort();
}

static void read_back(const reel_image_opts *opts)
{
    reel_scope s = reel_scope_begin();
    reel_dataset *ds = reel_image_folder(fuzz_folder(), opts);
    if (!ds && reel_error_status() == REEL_ERR_SHAPE)
        reel_error_clear(); /* images of unequal size, each of which is right */
    else
        fuzz_verdict(ds != NULL);
    for (int64_t i = 0; i < reel_dataset_length(ds); i++) {
        reel_sample sample = {0};
        fuzz_verdict(!reel_dataset_get(ds, i, &sample));
        reel_sample_free(&sample);
    }
    for (int64_t k = 0; k < reel_dataset_classes(ds); k++)
        if (!*reel_dataset_class_name(ds, k)) __builtin_trap();
    reel_dataset_free(ds);
    fuzz_end(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[MOST_FILES][512];
    char class[512];
    input in = {data, data + size};
    int n = 0;
    for (int i = 0; i < CLASSES; i++) {
        snprintf(class, sizeof class, "%s/%c", fuzz_folder(), 'a' + i);
        (void)mkdir(class, 0700);
    }
    while (in.at < in.end && n < MOST_FILES) write_one(&in, path[n++], sizeof path[0]);
    read_back(&(reel_image_opts){.max_pixels = 1 << 16, .skip_corrupt = true});
    read_back(&(reel_image_opts){
        .height = 5, .width = 7, .channels = 1, .max_pixels = 1 << 16, .max_memory = 1});
    while (n--)
        if (*path[n]) (void)unlink(path[n]);
    return 0;
}
