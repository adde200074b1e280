/* progress.h: the text of a progress line, apart from clocks and terminals. */
#ifndef REEL_BASE_PROGRESS_H
#define REEL_BASE_PROGRESS_H

#include <reel/progress.h>

#define REEL__PROGRESS_TEXT 96
#define REEL__PROGRESS_LINE 512

typedef struct reel__progress_view {
    const char *label, *text;
    int64_t done, total; /* total 0: not known */
    double seconds;      /* since the beginning */
    bool ended;          /* the time taken stands in place of the time left */
    int64_t start;       /* of `done`, those that took none of the seconds */
} reel__progress_view;

/* One line without its end. `columns`: of the terminal, which the line leaves one short of,
 * with a bar; 0: a plain line. Returns buf, of REEL__PROGRESS_LINE bytes. */
char *reel__progress_line(const reel__progress_view *v, int columns, char *buf);

#endif
