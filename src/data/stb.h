/* stb.h: stb_image, JPEG and PNG only, from memory only, memory from the shim. Included
 * by image.c alone. Its other decoders have open memory-safety reports. */
#ifndef REEL_DATA_STB_H
#define REEL_DATA_STB_H

#pragma GCC system_header /* warnings in it are not ours to mend */
/* gcc says at the end of a file, past any pop, that static functions were left out. */
#pragma GCC diagnostic ignored "-Wunused-function"

#include "base/alloc.h"

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS 16384
#define STBI_ASSERT(x) ((void)0) /* a file is never validated by assert */
/* Zeroed: a JPEG that leaves a Huffman table out makes releases before 2.28 read whatever
 * lay there as one. */
#define STBI_MALLOC(size) reel__calloc(1, size)
#define STBI_REALLOC(p, size) reel__realloc(p, size)
#define STBI_FREE(p) reel__free(p)
#include <stb/stb_image.h>

#endif
