/* png.c: a picture as the simplest PNG there is: one IDAT chunk whose zlib stream only
 * stores.
 * Sources: RFC 2083 (PNG), RFC 1950 and 1951 (zlib, deflate). */
#include <reel/io.h>
#include <string.h>

#include "base/error.h"
#include "base/alloc.h"
#include "base/crc32.h"
#include "base/file.h"

#define MAX_SIDE 65535
#define MAX_BYTES (INT64_C(1) << 30) /* a chunk holds less than 2^31 */
#define STORED 65535                 /* bytes a deflate block can store */
#define BLOCK_HEADER 5

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* Source: RFC 1950. 5,552 bytes are what 32 bits hold without a modulo. */
static uint32_t adler32(const uint8_t *p, size_t n)
{
    uint32_t a = 1, b = 0;
    while (n > 0) {
        size_t k = n < 5552 ? n : 5552;
        for (size_t i = 0; i < k; i++) b += a += p[i];
        a %= 65521, b %= 65521;
        p += k, n -= k;
    }
    return b << 16 | a;
}

static reel_status write_chunk(reel__writer *w, const char *type, const uint8_t *data,
                               size_t n)
{
    uint8_t length[4], crc[4];
    put32(length, (uint32_t)n);
    put32(crc, reel__crc32(reel__crc32(0, type, 4), data, n));
    reel__writer_write(w, length, 4);
    reel__writer_write(w, type, 4);
    reel__writer_write(w, data, n);
    return reel__writer_write(w, crc, 4);
}

/* Rows with filter byte 0 -> zlib stream of stored blocks. Room: zlib_size(n). */
static size_t zlib_size(size_t n)
{
    return 2 + (n / STORED + 1) * BLOCK_HEADER + n + 4;
}

static size_t zlib_store(const uint8_t *raw, size_t n, uint8_t *out)
{
    uint8_t *p = out;
    *p++ = 0x78, *p++ = 0x01;
    for (size_t at = 0, k; at < n; at += k) {
        k = n - at < STORED ? n - at : STORED;
        *p++ = at + k == n; /* the last block */
        *p++ = (uint8_t)k, *p++ = (uint8_t)(k >> 8);
        *p++ = (uint8_t)~k, *p++ = (uint8_t)(~k >> 8);
        memcpy(p, raw + at, k);
        p += k;
    }
    put32(p, adler32(raw, n));
    return (size_t)(p + 4 - out);
}

static reel_status write_png(const char *path, const uint8_t *zlib, size_t n, int height,
                             int width, int channels)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
    static const uint8_t color_type[5] = {0, 0, 4, 2, 6};
    uint8_t header[13] = {0};
    put32(header, (uint32_t)width);
    put32(header + 4, (uint32_t)height);
    header[8] = 8; /* bits */
    header[9] = color_type[channels];

    reel__writer *w = reel__writer_open(path);
    if (!w) return reel_error_status();
    reel__writer_write(w, signature, sizeof signature);
    write_chunk(w, "IHDR", header, sizeof header);
    write_chunk(w, "IDAT", zlib, n);
    write_chunk(w, "IEND", header, 0);
    return reel__writer_commit(w); /* which fails if a write did */
}

reel_status reel_png_save(const uint8_t *pixels, int height, int width, int channels,
                          const char *path)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!path || !pixels)
        return reel_fail(REEL_ERR_ARG, "png_save: %s is NULL",
                         path ? "pixels" : "the path");
    if (height < 1 || width < 1 || channels < 1 || height > MAX_SIDE ||
        width > MAX_SIDE || channels > 4 ||
        (int64_t)height * width * channels > MAX_BYTES)
        return reel_fail(
            REEL_ERR_ARG,
            "png_save: %dx%d with %d channels, expected sides of 1 to %d, 1 to 4 "
            "channels and at most 2^30 bytes",
            width, height, channels, MAX_SIDE);
    size_t row = (size_t)width * (size_t)channels, n = (size_t)height * (row + 1);
    uint8_t *raw = reel__malloc(n), *zlib = reel__malloc(zlib_size(n));
    if (raw && zlib) {
        for (size_t y = 0; y < (size_t)height; y++) {
            raw[y * (row + 1)] = 0; /* filter: none */
            memcpy(raw + y * (row + 1) + 1, pixels + y * row, row);
        }
        write_png(path, zlib, zlib_store(raw, n, zlib), height, width, channels);
    }
    reel__free(raw);
    reel__free(zlib);
    return reel_error_status();
}
