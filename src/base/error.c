/* error.c: the sticky error of each thread. Nothing here allocates, so that "out of memory"
 * can always be said. */
#include "base/decimal.h"
#include "base/error.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local reel_status pending;
static _Thread_local char text[REEL__ERROR_TEXT];
static _Thread_local reel__where_fn where_fn;
static _Thread_local const char *caller;

/* REEL_ABORT_ON_ERROR=1 stops at the first error, under a debugger. Read once; two threads
 * that race here read the same value. */
static bool abort_on_error(void)
{
    static atomic_int cached = -1;
    int on = atomic_load_explicit(&cached, memory_order_relaxed);
    if (on < 0) {
        const char *env = getenv("REEL_ABORT_ON_ERROR");
        on = env && strcmp(env, "1") == 0;
        atomic_store_explicit(&cached, on, memory_order_relaxed);
    }
    return on != 0;
}

const char *reel__error_where(void)
{
    return where_fn ? where_fn() : NULL;
}

reel__where_fn reel__set_error_where(reel__where_fn where)
{
    reel__where_fn old = where_fn;
    where_fn = where;
    return old;
}

const char *reel__caller_set(const char *name)
{
    const char *before = caller;
    if (!before) caller = name;
    return before;
}

void reel__caller_end(const char *const *before)
{
    caller = *before;
}

/* Whether the message is the caller's own. */
static bool names_caller(const char *message)
{
    size_t n = caller ? strlen(caller) : 0;
    return !n || (strncmp(message, caller, n) == 0 && message[n] == ':');
}

static void append_where(void)
{
    const char *where = where_fn ? where_fn() : NULL;
    if (!where || !*where) return;
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, " (in %s)", where);
}

reel_status reel_fail(reel_status status, const char *format, ...)
{
    if (pending != REEL_OK) return pending;
    /* OK is not a failure, and a failure it is: the caller mixed something up. */
    pending = status == REEL_OK ? REEL_ERR_INTERNAL : status;
    if (format) {
        /* Into a second buffer: an argument may be reel_error_message() itself. */
        char message[REEL__ERROR_TEXT];
        va_list args;
        va_start(args, format);
        if (reel__vsnprint(message, sizeof message, format, args) < 0) message[0] = '\0';
        va_end(args);
        size_t used = 0;
        if (!names_caller(message))
            used = (size_t)snprintf(text, sizeof text, "%.100s: ", caller);
        snprintf(text + used, sizeof text - used, "%s", message);
    } else {
        text[0] = '\0';
    }
    append_where();
    if (abort_on_error()) {
        fprintf(stderr, "reel: %s: %s\n", reel_status_name(pending), text);
        abort();
    }
    return pending;
}

bool reel_failed(void)
{
    return pending != REEL_OK;
}

reel_status reel_error_status(void)
{
    return pending;
}

const char *reel_error_message(void)
{
    return pending == REEL_OK ? "" : text;
}

void reel_error_clear(void)
{
    pending = REEL_OK;
    text[0] = '\0';
}

const char *reel_status_name(reel_status status)
{
    switch (status) {
    case REEL_OK: return "ok";
    case REEL_ERR_ARG: return "argument";
    case REEL_ERR_SHAPE: return "shape";
    case REEL_ERR_DTYPE: return "dtype";
    case REEL_ERR_DEVICE: return "device";
    case REEL_ERR_MEMORY: return "memory";
    case REEL_ERR_IO: return "io";
    case REEL_ERR_FORMAT: return "format";
    case REEL_ERR_STATE: return "state";
    case REEL_ERR_UNSUPPORTED: return "unsupported";
    case REEL_ERR_NUMERIC: return "numeric";
    case REEL_ERR_INTERNAL: return "internal";
    }
    return "unknown";
}
