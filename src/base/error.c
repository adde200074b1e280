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
static _Thread_local size_t said_at; /* where it begins in text, behind names */
static _Thread_local bool nameless;  /* text is of memory and says nobody's name */
static _Thread_local reel__where_fn where_fn;
_Thread_local reel__callers reel__callers_now;

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

static bool begins_with(const char *message, const char *name)
{
    size_t n = strlen(name);
    return strncmp(message, name, n) == 0 && message[n] == ':';
}

/* Who was called, as far as the message does not begin with it, and the message. */
static void compose(const char *message)
{
    const char *outer = reel__callers_now.outer, *inner = reel__callers_now.inner;
    if (!outer || (inner && strcmp(outer, inner) == 0)) {
        outer = inner;
        inner = NULL;
    }
    size_t used = 0;
    if (outer && !begins_with(message, outer)) {
        used = (size_t)snprintf(text, sizeof text, "%.100s: ", outer);
        if (inner && !begins_with(message, inner))
            used += (size_t)snprintf(text + used, sizeof text - used, "%.100s: ", inner);
    }
    snprintf(text + used, sizeof text - used, "%s", message);
    said_at = used;
}

const char *reel__error_said(void)
{
    return pending == REEL_OK ? "" : text + said_at;
}

void reel__memory_wanted_by(const char *name)
{
    size_t n = strlen(name), room = sizeof text - 3;
    if (pending == REEL_OK || !nameless || n > 100) return;
    size_t kept = strlen(text) < room - n ? strlen(text) : room - n;
    memmove(text + n + 2, text, kept);
    memcpy(text, name, n);
    memcpy(text + n, ": ", 2);
    text[n + 2 + kept] = '\0';
    said_at += n + 2;
    nameless = false;
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
    nameless = false;
    said_at = 0;
    if (format) {
        /* Into a second buffer: an argument may be reel_error_message() itself. */
        char message[REEL__ERROR_TEXT];
        va_list args;
        va_start(args, format);
        if (reel__vsnprint(message, sizeof message, format, args) < 0) message[0] = '\0';
        va_end(args);
        compose(message);
        nameless = status == REEL_ERR_MEMORY && !reel__callers_now.outer &&
                   !reel__callers_now.inner;
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
