/* print.c: tensors as text, like NumPy's. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/alloc.h"
#include "base/decimal.h"
#include "base/option.h"
#include "tensor/tensor.h"

/* A growing string; `bad` once memory ran out. free()d by the user, so plain malloc. */
typedef struct text {
    char *s;
    size_t n, cap;
    bool bad;
} text;

REEL_PRINTF(2, 3) static void put(text *t, const char *fmt, ...)
{
    char buf[64];
    va_list ap;
    va_start(ap, fmt);
    int k = reel__vsnprint(buf, sizeof buf, fmt, ap);
    va_end(ap);
    if (t->bad || k < 0) return;
    size_t need = t->n + (size_t)k + 1;
    if (need > t->cap) {
        size_t cap = need < 256 ? 256 : 2 * need;
        char *s = reel__fault_alloc_hit() ? NULL : realloc(t->s, cap);
        if (!s) {
            t->bad = true;
            return;
        }
        t->s = s;
        t->cap = cap;
    }
    memcpy(t->s + t->n, buf, (size_t)k + 1);
    t->n += (size_t)k;
}

typedef struct printer {
    const reel__meta *m;
    const double *f; /* one of the two holds the values, in row-major order */
    const int64_t *i;
    int width, precision, edge;
    bool summarize, scientific;
    text out;
} printer;

static int format_one(const printer *p, int64_t at, char *buf, size_t size)
{
    if (p->i) {
        if (p->m->dtype == REEL_BOOL)
            return snprintf(buf, size, "%s", p->i[at] ? "true" : "false");
        return snprintf(buf, size, "%" PRId64, p->i[at]);
    }
    if (isnan(p->f[at])) return snprintf(buf, size, "nan"); /* printf shows its sign */
    return reel__snprint(buf, size, p->scientific ? "%.*e" : "%.*f", p->precision,
                         p->f[at]);
}

/* Elements that will be shown: what decides width and notation. */
static void measure(printer *p, int dim, int64_t at, int64_t step, double *lo, double *hi)
{
    char buf[512];
    if (dim == p->m->rank) {
        int w = format_one(p, at, buf, sizeof buf);
        if (w > p->width) p->width = w;
        double a = p->f ? fabs(p->f[at]) : 0;
        if (a > 0 && isfinite(a)) {
            if (a < *lo) *lo = a;
            if (a > *hi) *hi = a;
        }
        return;
    }
    int64_t n = p->m->dim[dim];
    step /= n ? n : 1;
    for (int64_t k = 0; k < n; k++) {
        if (p->summarize && n > 2 * (int64_t)p->edge && k == p->edge) k = n - p->edge;
        measure(p, dim + 1, at + k * step, step, lo, hi);
    }
}

static void emit(printer *p, int dim, int64_t at, int64_t step)
{
    char buf[512];
    if (dim == p->m->rank) {
        (void)format_one(p, at, buf, sizeof buf);
        for (int k = (int)strlen(buf); k < p->width; k++) put(&p->out, " ");
        for (char *s = buf; *s; s += strnlen(s, 60)) put(&p->out, "%.60s", s);
        return;
    }
    int64_t n = p->m->dim[dim];
    bool inner = dim == p->m->rank - 1;
    step /= n ? n : 1;
    put(&p->out, "[");
    for (int64_t k = 0; k < n; k++) {
        if (k) {
            put(&p->out, inner ? ", " : ",");
            for (int b = dim + 1; b < p->m->rank; b++) put(&p->out, "\n");
            if (!inner)
                for (int b = 0; b <= dim; b++) put(&p->out, " ");
        }
        if (p->summarize && n > 2 * (int64_t)p->edge && k == p->edge) {
            put(&p->out, inner ? "..., " : "...,");
            for (int b = dim + 1; b < p->m->rank; b++) put(&p->out, "\n");
            if (!inner)
                for (int b = 0; b <= dim; b++) put(&p->out, " ");
            k = n - p->edge;
        }
        emit(p, dim + 1, at + k * step, step);
    }
    put(&p->out, "]");
}

char *reel_to_string(reel_tensor *x, const reel_print_opts *opts)
{
    const reel_print_opts *o = REEL__OPTS("to_string", reel_print_opts, opts);
    if (!o) return NULL;
    if (!x) {
        reel_fail(REEL_ERR_ARG, "to_string: the tensor is NULL");
        return NULL;
    }
    int precision = reel__option_int(o->precision, 4);
    int threshold = reel__option_int(o->threshold, 1000);
    if (precision < 0 || threshold < 0 || o->edge < 0) {
        reel_fail(REEL_ERR_ARG,
                  "to_string: precision %d, threshold %d, edge %d: expected 0 or more",
                  precision, threshold, o->edge);
        return NULL;
    }
    bool flt = reel_dtype_is_float(x->meta.dtype);
    int64_t n = reel__numel(&x->meta);
    /* f64 and i64 are both 8 bytes: one buffer serves either. */
    void *values = reel__calloc(n ? (size_t)n : 1, 8);
    if (!values) return NULL;
    if (reel__read("to_string", x, values, flt ? REEL_F64 : REEL_I64)) {
        reel__free(values);
        return NULL;
    }
    printer p = {.m = &x->meta,
                 .f = flt ? values : NULL,
                 .i = flt ? NULL : values,
                 .precision = precision,
                 .edge = o->edge > 0 ? o->edge : 3,
                 .summarize = n > threshold};
    if (p.precision > 20) p.precision = 20;
    double lo = INFINITY, hi = 0;
    measure(&p, 0, 0, n, &lo, &hi);
    if (hi >= 1e8 || (hi > 0 && (lo < 1e-4 || hi / lo > 1e3 * 1e4))) {
        p.scientific = true;
        p.width = 0;
        measure(&p, 0, 0, n, &lo, &hi);
    }
    emit(&p, 0, 0, n);
    if (n == 0 || x->meta.dtype != REEL_F32) {
        char dims[REEL__META_TEXT];
        put(&p.out, "  ");
        put(&p.out, "%.60s", reel__meta_text(&x->meta, dims));
    }
    reel__free(values);
    if (!p.out.bad) return p.out.s;
    free(p.out.s);
    reel_fail(REEL_ERR_MEMORY, "to_string: out of memory");
    return NULL;
}

reel_status reel_print(reel_tensor *x)
{
    REEL__CALLED;
    char *s = reel_to_string(x, NULL);
    if (!s) return reel_error_status();
    int ok = puts(s);
    free(s);
    return ok < 0 ? reel_fail(REEL_ERR_IO, "print: cannot write to stdout") : REEL_OK;
}
