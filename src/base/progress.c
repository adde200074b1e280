/* progress.c: progress lines. The clock decides only when a line is drawn. */
#include "base/error.h"
#include "base/decimal.h"
#include "base/progress.h"

#include "base/alloc.h"
#include "base/option.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define REDRAW 0.1 /* seconds, on a terminal */
#define PLAIN_EVERY 10.0
#define BAR_MAX 30
#define BAR_MIN 8

struct reel_progress {
    FILE *to;
    bool terminal;
    double begun, drawn, every;
    int64_t done, total, start;
    char label[REEL__PROGRESS_TEXT], text[REEL__PROGRESS_TEXT];
};

/* ---- text -------------------------------------------------------------------------- */

static void put_time(char *buf, size_t size, double seconds)
{
    /* Also for what no ETA can be: infinite, or longer than anybody waits. */
    if (!(seconds < 360000)) {
        snprintf(buf, size, "--:--");
        return;
    }
    int s = (int)seconds;
    if (s >= 3600)
        snprintf(buf, size, "%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(buf, size, "%d:%02d", s / 60, s % 60);
}

static void put_rate(char *buf, size_t size, double rate)
{
    if (rate >= 1000)
        reel__snprint(buf, size, "%.4g k/s", rate / 1000);
    else if (rate >= 1 || rate <= 0)
        reel__snprint(buf, size, "%.3g/s", rate);
    else
        reel__snprint(buf, size, "%.3g s each", 1 / rate);
}

/* "176/391 45%", or "176" where the end is not known. */
static void put_count(char *buf, size_t size, const reel__progress_view *v)
{
    if (v->total > 0)
        snprintf(buf, size, "%" PRId64 "/%" PRId64 " %3d%%", v->done, v->total,
                 (int)((double)v->done * 100 / (double)v->total));
    else
        snprintf(buf, size, "%" PRId64, v->done);
}

/* "[=====>    ]" of `width` cells between the brackets. */
static void put_bar(char *buf, int width, const reel__progress_view *v)
{
    double part = (double)v->done / (double)v->total;
    int full = part >= 1 ? width : (int)(part * width);
    char *p = buf;
    *p++ = '[';
    for (int i = 0; i < width; i++) *p++ = i < full ? '=' : i == full ? '>' : ' ';
    *p++ = ']';
    *p++ = ' ';
    *p = '\0';
}

char *reel__progress_line(const reel__progress_view *v, int columns, char *buf)
{
    char count[64], rate[32], when[32], tail[256], bar[BAR_MAX + 4] = "";
    double speed = v->seconds > 0 ? (double)(v->done - v->start) / v->seconds : 0;
    put_count(count, sizeof count, v);
    put_rate(rate, sizeof rate, speed);
    const char *lead = v->ended ? " in " : ", ";
    const char *word = v->ended ? "" : v->total > 0 ? " left" : " so far";
    double left = speed > 0 ? (double)(v->total - v->done) / speed : 1e9;
    bool counts_down = v->total > 0 && !v->ended;
    put_time(when, sizeof when, counts_down ? (left > 0 ? left : 0) : v->seconds);
    snprintf(tail, sizeof tail, "%s %s%s%s%s%s%s", count, rate, lead, when, word,
             *v->text ? "  " : "", v->text);
    const char *gap = *v->label ? " " : "";
    if (columns > 0 && v->total > 0) { /* the bar takes what is left, if that is enough */
        int room = columns - 1 - (int)(strlen(v->label) + strlen(gap) + strlen(tail)) - 3;
        if (room >= BAR_MIN) put_bar(bar, room < BAR_MAX ? room : BAR_MAX, v);
    }
    snprintf(buf, REEL__PROGRESS_LINE, "%s%s%s%s", v->label, gap, bar, tail);
    if (columns > 0 && columns <= REEL__PROGRESS_LINE) buf[columns - 1] = '\0';
    return buf;
}

/* ---- drawing ----------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static bool is_terminal(FILE *to)
{
    const char *term = getenv("TERM");
    return isatty(fileno(to)) && term && strcmp(term, "dumb") != 0;
}

/* Asked each time: the window may have been resized. */
static int columns_of(const reel_progress *p)
{
    struct winsize size;
    if (!p->terminal) return 0;
    bool known = ioctl(fileno(p->to), TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

static void draw(reel_progress *p, double at, bool ended)
{
    char line[REEL__PROGRESS_LINE];
    const reel__progress_view v = {p->label,      p->text, p->done, p->total,
                                   at - p->begun, ended,   p->start};
    reel__progress_line(&v, columns_of(p), line);
    if (!p->terminal)
        fprintf(p->to, "%s\n", line);
    else
        fprintf(p->to, "\r%s\033[K%s", line, ended ? "\n" : ""); /* erases the rest */
    fflush(p->to);
    p->drawn = at;
}

/* A line break or an escape sequence in a text would tear the line. */
static void make_printable(char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 32 || *s == 127) *s = ' ';
}

/* ---- the calls --------------------------------------------------------------------- */

reel_progress *reel_progress_new(FILE *to, int64_t total, const reel_progress_opts *opts)
{
    REEL__CALLED;
    const reel_progress_opts *o = REEL__OPTS("progress_new", reel_progress_opts, opts);
    if (!o) return NULL;
    double every = o->every;
    if (total < 0 || !(every >= 0)) {
        reel_fail(REEL_ERR_ARG,
                  "progress_new: total %" PRId64 ", every %g s, must not be negative",
                  total, every);
        return NULL;
    }
    if (!to) return NULL;
    reel_progress *p = reel__calloc(1, sizeof *p);
    if (!p) return NULL;
    p->to = to;
    p->terminal = is_terminal(to);
    p->every = p->terminal ? REDRAW : reel__option(every, PLAIN_EVERY);
    p->total = total;
    p->start = p->done = o->start > 0 ? o->start : 0;
    p->begun = p->drawn = now();
    if (o->label) snprintf(p->label, sizeof p->label, "%s", o->label);
    make_printable(p->label);
    return p;
}

void reel_progress_update(reel_progress *p, int64_t n, const char *format, ...)
{
    if (!p) return;
    p->done += n;
    if (format) {
        va_list args;
        va_start(args, format);
        reel__vsnprint(p->text, sizeof p->text, format, args);
        va_end(args);
        make_printable(p->text);
    }
    double at = now();
    if (at - p->drawn >= p->every) draw(p, at, false);
}

void reel_progress_free(reel_progress *p)
{
    if (!p) return;
    draw(p, now(), true);
    reel__free(p);
}
