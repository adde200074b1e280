/* crc32.h: the checksum of PNG, zip and our checkpoints (polynomial 0xEDB88320). */
#ifndef REEL_BASE_CRC32_H
#define REEL_BASE_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* Goes on from `crc`; begin with 0. reel__crc32(reel__crc32(0, a), b) is that of a and
 * b. */
uint32_t reel__crc32(uint32_t crc, const void *data, size_t n);

#endif
