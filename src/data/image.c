/* image.c: pixels from the bytes of a JPEG or PNG file, through stb_image.
 *
 * The framing of the file is checked first, by the rules by which stb_image reads it.
 * That finds what it lets pass (a file that was cut short is filled up, PNG checksums are
 * not looked at), and keeps from it what some of its releases do not survive. */
#include "data/image.h"

#include <limits.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32.h"

#ifdef REEL_HAVE_STB

#include "data/stb.h"

static const uint8_t png_signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Chunks of length, type, data, checksum, up to IEND. */
static const char *png_problem(const uint8_t *bytes, size_t n)
{
    size_t at = sizeof png_signature;
    for (;;) {
        if (n - at < 12) return "the PNG is cut short";
        size_t length = be32(bytes + at);
        if (length > n - at - 12) return "the PNG is cut short";
        const uint8_t *type = bytes + at + 4;
        if (reel__crc32(0, type, length + 4) != be32(type + 4 + length))
            return "the PNG is damaged: wrong checksum";
        if (memcmp(type, "IEND", 4) == 0) return NULL;
        at += length + 12;
    }
}

static const char jpeg_cut[] = "the JPEG is cut short";
static const char jpeg_damaged[] = "the JPEG is damaged";

/* Huffman tables: a byte, 16 counts, as many values as the counts say, at most 256.
 * Releases of stb_image before 2.28 write past their table for more. */
static bool huffman_tables_fit(const uint8_t *p, size_t n)
{
    while (n > 0) {
        if (n < 17) return false;
        size_t values = 0;
        for (int i = 1; i <= 16; i++) values += p[i];
        if (values > 256 || values > n - 17) return false;
        p += 17 + values;
        n -= 17 + values;
    }
    return true;
}

/* The next marker from `at` on, past pixel data or bytes that belong to no segment (some files
 * have a few, and stb_image passes over them before the frame header): FF and a byte that is
 * neither 00 (FF as a value), FF (padding) nor D0 to D7 (restart). n if there is none. */
static size_t next_marker(const uint8_t *bytes, size_t n, size_t at)
{
    for (; at + 1 < n; at++) {
        uint8_t after = bytes[at + 1];
        bool restart = after >= 0xD0 && after <= 0xD7;
        if (bytes[at] == 0xFF && after != 0x00 && after != 0xFF && !restart) return at;
    }
    return n;
}

/* Segments of marker, length and content, with pixel data after starts of scans, up to the
 * end of the image (D9). */
static const char *jpeg_problem(const uint8_t *bytes, size_t n)
{
    for (size_t at = next_marker(bytes, n, 2);; at = next_marker(bytes, n, at)) {
        if (n - at < 2) return jpeg_cut;
        uint8_t marker = bytes[at + 1];
        if (marker == 0xD9) return NULL;
        if (n - at < 4) return jpeg_cut;
        size_t length = (size_t)bytes[at + 2] << 8 | bytes[at + 3];
        if (length < 2) return jpeg_damaged;
        if (length > n - at - 2) return jpeg_cut;
        if (marker == 0xC4 && !huffman_tables_fit(bytes + at + 4, length - 2))
            return jpeg_damaged;
        at += 2 + length;
    }
}

static const char *framing_problem(const uint8_t *bytes, size_t n)
{
    if (n == 0) return "the file is empty";
    if (n > INT_MAX) return "the file is too large";
    if (n > sizeof png_signature && memcmp(bytes, png_signature, 8) == 0)
        return png_problem(bytes, n);
    if (n > 4 && bytes[0] == 0xFF && bytes[1] == 0xD8) return jpeg_problem(bytes, n);
    return "neither a JPEG nor a PNG";
}

reel_status reel__image_size(const char *path, const uint8_t *bytes, size_t n,
                             int64_t *height, int64_t *width)
{
    const char *problem = framing_problem(bytes, n);
    int w = 0, h = 0, channels;
    if (!problem && !stbi_info_from_memory(bytes, (int)n, &w, &h, &channels))
        problem = stbi_failure_reason();
    if (reel_failed()) return reel_error_status();
    if (!problem && (w < 1 || h < 1)) problem = "it has no pixels";
    if (problem) return reel_fail(REEL_ERR_FORMAT, "%s: %s", path, problem);
    *height = h;
    *width = w;
    return REEL_OK;
}

uint8_t *reel__image_decode(const char *path, const uint8_t *bytes, size_t n,
                            int channels, int64_t max_pixels, int64_t *height,
                            int64_t *width)
{
    if (reel__image_size(path, bytes, n, height, width)) return NULL;
    if (*height * *width > max_pixels) {
        reel_fail(REEL_ERR_FORMAT, "%s: %lldx%lld pixels, expected at most %lld", path,
                  (long long)*width, (long long)*height, (long long)max_pixels);
        return NULL;
    }
    int w, h, in_file;
    uint8_t *pixels = stbi_load_from_memory(bytes, (int)n, &w, &h, &in_file, channels);
    if (pixels && w == *width && h == *height) return pixels;
    reel__free(pixels);
    const char *why =
        stbi_failure_reason(); /* an error of the allocator stays the first */
    reel_fail(REEL_ERR_FORMAT, "%s: %s", path, why ? why : "it does not decode");
    return NULL;
}

#else /* no stb_image */

reel_status reel__image_size(const char *path, const uint8_t *bytes, size_t n,
                             int64_t *height, int64_t *width)
{
    (void)bytes, (void)n, (void)height, (void)width;
    return reel_fail(REEL_ERR_UNSUPPORTED,
                     "%s: this reel was built without stb_image (libstb-dev)", path);
}

uint8_t *reel__image_decode(const char *path, const uint8_t *bytes, size_t n,
                            int channels, int64_t max_pixels, int64_t *height,
                            int64_t *width)
{
    (void)channels, (void)max_pixels;
    reel__image_size(path, bytes, n, height, width);
    return NULL;
}

#endif
