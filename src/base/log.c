/* log.c: the one log callback of the process. */
#include "base/decimal.h"
#include "base/lock.h"
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static reel__lock lock = REEL__LOCK;
static reel_log_fn log_fn;
static void *log_user;

void reel_set_log(reel_log_fn fn, void *user)
{
    reel__lock_take(&lock);
    log_fn = fn;
    log_user = user;
    reel__lock_give(&lock);
}

void reel__log_line(reel_log_level level, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    int n = reel__vsnprint(line, sizeof line, format, args);
    va_end(args);
    if (n < 0) return;
    /* Held during the call: after reel_set_log() returns, the old callback runs no more. */
    reel__lock_take(&lock);
    if (log_fn) log_fn(log_user, level, line);
    reel__lock_give(&lock);
}
