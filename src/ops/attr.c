/* attr.c: the schemas of attrs.h, and attributes as text. */
#include "base/decimal.h"
#include "ops/attr.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/pw_info.h"

#define I(T, f) ATTR_INT(T, f)
#define R(T, f) ATTR_REAL(T, f)
#define N(T, f) ATTR_NUMBER(T, f)

REEL_SCHEMA(reel__scalar_schema, reel__scalar_attrs, N(reel__scalar_attrs, a));
REEL_SCHEMA(reel__dim_schema, reel__dim_attrs, I(reel__dim_attrs, dim));
REEL_SCHEMA(reel__mask_schema, reel__mask_attrs, I(reel__mask_attrs, mask),
            I(reel__mask_attrs, mean), R(reel__mask_attrs, scale));
REEL_SCHEMA(reel__shape_schema, reel__shape_attrs, I(reel__shape_attrs, rank),
            I(reel__shape_attrs, dim));
REEL_SCHEMA(reel__slice_schema, reel__slice_attrs, I(reel__slice_attrs, dim),
            I(reel__slice_attrs, start), I(reel__slice_attrs, end),
            I(reel__slice_attrs, step), I(reel__slice_attrs, how));
#define SLICE(f)                                                                         \
    {                                                                                    \
#f, REEL_ATTR_INT, offsetof(reel__unslice_attrs, slice.f), 1, 0, 0, 0            \
    }
REEL_SCHEMA(reel__unslice_schema, reel__unslice_attrs, SLICE(dim), SLICE(start),
            SLICE(end), SLICE(step), SLICE(how), I(reel__unslice_attrs, size));
REEL_SCHEMA(reel__fill_schema, reel__fill_attrs, N(reel__fill_attrs, value));
REEL_SCHEMA(reel__cast_schema, reel__cast_attrs, I(reel__cast_attrs, dtype),
            I(reel__cast_attrs, format));
REEL_SCHEMA(reel__random_schema, reel__random_attrs,
            ATTR_RANDOM(reel__random_attrs, seed, REEL_ATTR_SEED),
            ATTR_RANDOM(reel__random_attrs, offset, REEL_ATTR_PLACE),
            N(reel__random_attrs, low), N(reel__random_attrs, high));
REEL_SCHEMA(reel__conv2d_schema, reel__conv2d_attrs, I(reel__conv2d_attrs, stride),
            I(reel__conv2d_attrs, padding), I(reel__conv2d_attrs, dilation),
            I(reel__conv2d_attrs, groups), I(reel__conv2d_attrs, input));
/* The convolution's own, by the same names, in a struct that begins with it. */
#define CONV(T, f)                                                                       \
    {                                                                                    \
#f, REEL_ATTR_INT, offsetof(T, conv.f),                                          \
            REEL__ATTR_N(reel__conv2d_attrs, f, int64_t), 0, 0, 0                        \
    }
#define CONVS(T) CONV(T, stride), CONV(T, padding), CONV(T, dilation), CONV(T, groups)
REEL_SCHEMA(reel__conv2d_fused_schema, reel__conv2d_fused_attrs,
            CONVS(reel__conv2d_fused_attrs), ATTR_ROW(reel__conv2d_fused_attrs, act),
            N(reel__conv2d_fused_attrs, a), I(reel__conv2d_fused_attrs, algo));
REEL_SCHEMA(reel__conv2d_int8_schema, reel__conv2d_int8_attrs,
            CONVS(reel__conv2d_int8_attrs), ATTR_ROW(reel__conv2d_int8_attrs, act),
            N(reel__conv2d_int8_attrs, a));
REEL_SCHEMA(reel__linear_int8_schema, reel__linear_int8_attrs,
            ATTR_ROW(reel__linear_int8_attrs, act), N(reel__linear_int8_attrs, a));
REEL_SCHEMA(reel__linear_fused_schema, reel__linear_fused_attrs,
            ATTR_ROW(reel__linear_fused_attrs, act), N(reel__linear_fused_attrs, a));
REEL_SCHEMA(reel__pool2d_schema, reel__pool2d_attrs, I(reel__pool2d_attrs, kernel),
            I(reel__pool2d_attrs, stride), I(reel__pool2d_attrs, padding),
            I(reel__pool2d_attrs, dilation), I(reel__pool2d_attrs, ceil_mode),
            I(reel__pool2d_attrs, count_include_pad), I(reel__pool2d_attrs, size));
REEL_SCHEMA(reel__batch_norm_schema, reel__batch_norm_attrs,
            R(reel__batch_norm_attrs, eps), R(reel__batch_norm_attrs, momentum),
            I(reel__batch_norm_attrs, training), I(reel__batch_norm_attrs, relu),
            I(reel__batch_norm_attrs, want));
REEL_SCHEMA(reel__layer_norm_schema, reel__layer_norm_attrs,
            I(reel__layer_norm_attrs, dims), R(reel__layer_norm_attrs, eps),
            I(reel__layer_norm_attrs, want));
REEL_SCHEMA(reel__attention_schema, reel__attention_attrs,
            R(reel__attention_attrs, scale), R(reel__attention_attrs, dropout),
            I(reel__attention_attrs, causal),
            ATTR_RANDOM(reel__attention_attrs, seed, REEL_ATTR_SEED),
            ATTR_RANDOM(reel__attention_attrs, offset, REEL_ATTR_PLACE),
            I(reel__attention_attrs, nan_rows), I(reel__attention_attrs, want));
REEL_SCHEMA(reel__index_schema, reel__index_attrs, I(reel__index_attrs, dim),
            I(reel__index_attrs, size));

#define L(f, kind, n, each) ATTR_LIST(reel__pointwise_attrs, f, kind, int64_t, n, each)
REEL_SCHEMA(reel__pointwise_schema, reel__pointwise_attrs, I(reel__pointwise_attrs, n_in),
            I(reel__pointwise_attrs, n_step), I(reel__pointwise_attrs, n_out),
            L(row, ROW, n_step, 1), L(src, INT, n_step, 3),
            ATTR_LIST(reel__pointwise_attrs, a, NUMBER, reel__number, n_step, 2),
            L(out, INT, n_out, 1));

/* ---- pointwise rows by name ----------------------------------------------------------- */

/* Lower case, as the operators are called. */
static const char *row_name(int64_t row, char *buf, size_t size)
{
    const reel__pw_info *info =
        row > K_NONE && row < K_COUNT ? reel__pw_info_of((reel__kernel_id)row) : NULL;
    const char *name = info ? info->name : "none";
    size_t n = 0;
    for (; name[n] && n + 1 < size; n++) buf[n] = (char)tolower((unsigned char)name[n]);
    buf[n] = '\0';
    return buf;
}

/* The row that `at` begins with, in *row; returns what follows, or `at` if there is none. */
static const char *parse_row(const char *at, int64_t *row)
{
    char name[32];
    size_t n = strcspn(at, ", ");
    for (int64_t k = K_NONE; k < K_COUNT; k++) {
        row_name(k, name, sizeof name);
        if (strlen(name) != n || memcmp(name, at, n) != 0) continue;
        *row = k;
        return at + n;
    }
    return at;
}

/* ---- values ---------------------------------------------------------------------------- */

static void *value_at(const reel__attr_field *f, int k, const void *attrs)
{
    return (char *)(uintptr_t)attrs + f->offset + (size_t)k * reel__attr_unit(f);
}

reel__number reel__attr_get(const reel__attr_field *f, int k, const void *attrs)
{
    const void *v = value_at(f, k, attrs);
    switch (f->type) {
    case REEL_ATTR_NUMBER:
    case REEL_ATTR_BOUND: return *(const reel__number *)v;
    case REEL_ATTR_REAL: return reel__real(*(const double *)v);
    default: return reel__whole(*(const int64_t *)v);
    }
}

bool reel__attr_set(const reel__attr_field *f, int k, reel__number x, void *attrs)
{
    void *v = value_at(f, k, attrs);
    switch (f->type) {
    case REEL_ATTR_NUMBER:
    case REEL_ATTR_BOUND: *(reel__number *)v = x; return true;
    case REEL_ATTR_REAL: *(double *)v = reel__number_f64(x); return true;
    default: *(int64_t *)v = x.whole; return !x.is_real;
    }
}

/* ---- text ------------------------------------------------------------------------------ */

const reel__attr_field *reel__attr_of_role(const reel__attr_schema *s, int role)
{
    for (int i = 0; s && i < s->n_fields; i++)
        if (s->field[i].role == role) return &s->field[i];
    return NULL;
}

const reel__attr_field *reel__find_attr(const reel__attr_schema *s, const char *name,
                                        size_t n)
{
    for (int i = 0; s && i < s->n_fields; i++)
        if (strlen(s->field[i].name) == n && memcmp(s->field[i].name, name, n) == 0)
            return &s->field[i];
    return NULL;
}

/* Digits alone are a whole number, exactly, unless it is too large or -0. */
static char *parse_number(const char *from, reel__number *x)
{
    char *end, *real_end;
    errno = 0;
    int64_t whole = strtoll(from, &end, 10);
    double real = reel__strtod(from, &real_end);
    bool digits = end == real_end && !errno && (whole != 0 || *from != '-');
    *x = digits ? reel__whole(whole) : reel__real(real);
    return real_end;
}

const char *reel__attr_values(const reel__attr_field *f, const char *at, void *attrs)
{
    int64_t *whole = value_at(f, 0, attrs);
    double *real = value_at(f, 0, attrs);
    reel__number *number = value_at(f, 0, attrs);
    for (int k = 0; k < f->count; k++) {
        const char *from = at;
        char *end = NULL;
        errno = 0;
        if (isspace((unsigned char)*from)) return NULL;
        switch (f->type) {
        case REEL_ATTR_INT: whole[k] = strtoll(from, &end, 10), at = end; break;
        case REEL_ATTR_REAL: real[k] = reel__strtod(from, &end), at = end; break;
        case REEL_ATTR_NUMBER:
        case REEL_ATTR_BOUND: at = parse_number(from, &number[k]); break;
        case REEL_ATTR_ROW: at = parse_row(from, &whole[k]); break;
        }
        /* a denormal is ERANGE for strtod, and exact all the same */
        if (at == from || (errno && f->type == REEL_ATTR_INT)) return NULL;
        if (*at != ',') break;
        at++;
    }
    return at;
}

bool reel__attr_parse(const reel__attr_schema *s, const char *text, void *attrs)
{
    while (*(text += strspn(text, " "))) {
        size_t n = strcspn(text, "= ");
        const reel__attr_field *f = reel__find_attr(s, text, n);
        const char *rest =
            f && text[n] == '=' ? reel__attr_values(f, text + n + 1, attrs) : NULL;
        if (!rest || (*rest && *rest != ' ')) {
            reel_fail(REEL_ERR_ARG, "attributes: cannot read \"%s\"", text);
            return false;
        }
        text = rest;
    }
    return true;
}

/* Values of a field that mean something. */
static int count_of(const reel__attr_field *f, const char *base)
{
    if (!f->each) return f->count;
    int64_t n = *(const int64_t *)(const void *)(base + f->length);
    int most = f->count / f->each;
    return f->each * (n < 0 ? 0 : n > most ? most : (int)n);
}

static int put_number(reel__number x, char *buf, size_t size)
{
    return x.is_real ? reel__snprint(buf, size, "%.17g", x.real)
                     : snprintf(buf, size, "%" PRId64, x.whole);
}

static int put_value(const reel__attr_field *f, const char *base, int k, char *buf,
                     size_t size)
{
    char name[32];
    const int64_t *whole = value_at(f, 0, base);
    const double *real = value_at(f, 0, base);
    switch (f->type) {
    case REEL_ATTR_INT: return snprintf(buf, size, "%" PRId64, whole[k]);
    case REEL_ATTR_REAL: return reel__snprint(buf, size, "%.17g", real[k]);
    case REEL_ATTR_NUMBER:
    case REEL_ATTR_BOUND: return put_number(reel__attr_get(f, k, base), buf, size);
    case REEL_ATTR_ROW:
        return snprintf(buf, size, "%s", row_name(whole[k], name, sizeof name));
    }
    return 0;
}

char *reel__attr_text(const reel__attr_schema *s, const void *attrs, char *buf,
                      size_t size)
{
    size_t at = 0;
    const char *base = attrs;
    buf[0] = '\0';
    for (int i = 0; s && i < s->n_fields; i++) {
        const reel__attr_field *f = &s->field[i];
        int n = count_of(f, base);
        for (int k = 0; k < n && at < size; k++) {
            int lead = k ? snprintf(buf + at, size - at, ",")
                         : snprintf(buf + at, size - at, "%s%s=", at ? " " : "", f->name);
            at += lead > 0 ? (size_t)lead : 0;
            int put = at < size ? put_value(f, base, k, buf + at, size - at) : 0;
            at += put > 0 ? (size_t)put : 0;
        }
    }
    return buf;
}
