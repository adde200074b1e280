/* log.h: what the library has to say, to the callback of reel_set_log(). */
#ifndef REEL_BASE_LOG_H
#define REEL_BASE_LOG_H

#include <reel/base.h>

/* One line without newline; silence when no callback is set. Lines are cut at 1 KiB. The
 * callback runs under a lock, so lines do not mix; it must not log itself. */
void reel__log_line(reel_log_level level, const char *format, ...) REEL_PRINTF(2, 3);

#endif
