/* no_cuda.c: what links where there is no CUDA. */
#include "backend/registry.h"

const reel__backend reel__cuda_backend = {.name = "cuda"};
