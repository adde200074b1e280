/* fail.h: errors of files. */
#ifndef REEL_ONNX_FAIL_H
#define REEL_ONNX_FAIL_H

#include <reel/base.h>

/* Fails with "file: byte N: <text>". The text has names from the file in it, which may hold
 * anything: control characters, which a terminal would obey, become '?'. */
reel_status reel__onnx_fail(reel_status status, const char *file, uint64_t offset,
                            const char *format, ...) REEL_PRINTF(4, 5);

#endif
