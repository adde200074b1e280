/* seeds.c: writes the files from which fuzzing begins into the folder that is named. */
#include "onnx/file.h"

#include "../onnx_sample.h"

#include <stdio.h>

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 2 ||
        snprintf(path, sizeof path, "%s/sample.onnx", argv[1]) >= (int)sizeof path) {
        fprintf(stderr, "usage: seeds FOLDER\n");
        return 2;
    }
    reel_onnx_model *m = sample_model();
    reel__onnx_write(m, path, NULL);
    reel__onnx_model_free(m);
    if (reel_failed()) fprintf(stderr, "seeds: %s\n", reel_error_message());
    return reel_failed() ? 1 : 0;
}
