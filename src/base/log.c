/* log.c: the one log callback of the process. */
#include "base/decimal.h"
#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static reel_log_fn log_fn;
static void *log_user;

void reel_set_log(reel_log_fn fn, void *user)
{
    pthread_mutex_lock(&lock);
    log_fn = fn;
    log_user = user;
    pthread_mutex_unlock(&lock);
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
    pthread_mutex_lock(&lock);
    if (log_fn) log_fn(log_user, level, line);
    pthread_mutex_unlock(&lock);
}
