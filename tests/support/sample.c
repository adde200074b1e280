/* sample.c: reads the `sample` text of a record and draws inputs from it. */
#include "base/counts.h"
#include "sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/rng.h"

/* ---- text ------------------------------------------------------------------------------- */

const char *sample_text(const reel__op *op)
{
    return op->sample ? op->sample : "| rank=1 dim=3";
}

int sample_lines(const char *text)
{
    int n = text && *text ? 1 : 0;
    for (; n && *text; text++) n += *text == '\n';
    return n;
}

static const char *skip_spaces(const char *at)
{
    return at + strspn(at, " ");
}

static bool starts(const char **at, const char *word)
{
    size_t n = strlen(word);
    if (strncmp(*at, word, n) != 0) return false;
    *at += n;
    return true;
}

/* "[2,3]" or "[]" */
static bool parse_shape(const char **at, reel_shape *shape)
{
    *shape = (reel_shape){.rank = 0};
    if (!starts(at, "[")) return false;
    while (**at != ']') {
        char *end;
        long long n = strtoll(*at, &end, 10);
        if (end == *at || n < 0 || shape->rank == REEL_MAX_RANK) return false;
        shape->dim[shape->rank++] = n;
        *at = *end == ',' ? end + 1 : end;
    }
    (*at)++;
    return true;
}

/* "in -1..2": the first number ends before the two points, which strtod would take for its
 * own. */
static bool parse_range(const char **at, sample_input *in)
{
    const char *points = strstr(*at, "..");
    char low[32] = {0}, *end;
    if (!points || points - *at >= (long)sizeof low) return false;
    memcpy(low, *at, (size_t)(points - *at));
    in->low = reel__strtod(low, &end);
    if (end == low || *end) return false;
    in->high = reel__strtod(points + 2, &end);
    if (end == points + 2) return false;
    *at = end;
    return true;
}

const char *sample_hard_name(sample_hard hard)
{
    static const char *const name[] = {"plain", "equal",    "far",     "tiny",
                                       "huge",  "lowest",   "largest", "denormal",
                                       "zero",  "infinite", "nan",     "outlier"};
    return name[hard];
}

static bool parse_hard(const char **at, sample_input *in)
{
    for (int h = 0; h < SAMPLE_HARDS; h++) {
        if (!starts(at, sample_hard_name((sample_hard)h))) continue;
        in->hard = (sample_hard)h;
        return true;
    }
    return false;
}

static bool parse_integer(const char **at, sample_input *in)
{
    static const reel_dtype dtype[] = {REEL_I64, REEL_I32, REEL_I8, REEL_U8};
    for (size_t i = 0; i < sizeof dtype / sizeof *dtype; i++) {
        if (!starts(at, reel_dtype_name(dtype[i]))) continue;
        in->integer = dtype[i];
        if (dtype[i] == REEL_I8) in->low = -128, in->high = 128;
        if (dtype[i] == REEL_U8) in->low = 0, in->high = 256;
        return true;
    }
    return false;
}

static bool parse_input(const char **at, sample_input *in)
{
    *in = (sample_input){.low = -1, .high = 1};
    if (starts(at, "-")) return true;
    if (starts(at, "f"))
        in->kind = SAMPLE_FLOAT;
    else if (starts(at, "c64"))
        in->kind = SAMPLE_CONST64;
    else if (starts(at, "c32"))
        in->kind = SAMPLE_CONST32;
    else if (starts(at, "c"))
        in->kind = SAMPLE_CONST;
    else if (starts(at, "s"))
        in->kind = SAMPLE_STATISTIC;
    else if (parse_integer(at, in))
        in->kind = SAMPLE_INT;
    else if (starts(at, "bool"))
        in->kind = SAMPLE_BOOL;
    else
        return false;
    if (!parse_shape(at, &in->shape)) return false;
    *at = skip_spaces(*at);
    return !starts(at, "in ") || parse_hard(at, in) || parse_range(at, in);
}

static bool parse_line(const char *text, sample *out)
{
    const char *at = skip_spaces(text);
    while (*at && *at != '|') {
        if (out->n_in == SAMPLE_MAX_IN || !parse_input(&at, &out->in[out->n_in++]))
            return false;
        at = skip_spaces(at);
        if (*at == ';') at = skip_spaces(at + 1);
    }
    if (*at == '|') at++;
    const reel__attr_schema *schema = out->op->attrs;
    if (schema && schema->size > sizeof out->attr_memory) return false;
    out->attrs = schema ? out->attr_memory : NULL;
    return reel__attr_parse(schema, at, out->attr_memory);
}

bool sample_parse(const reel__op *op, const char *text, int line, sample *out)
{
    char buf[512];
    *out = (sample){.op = op, .line = line};
    const char *from = text;
    for (int i = 0; i < line && from; i++) {
        from = strchr(from, '\n');
        if (from) from++;
    }
    size_t n = from ? strcspn(from, "\n") : sizeof buf;
    bool ok = n < sizeof buf;
    if (ok) {
        memcpy(buf, from, n);
        buf[n] = '\0';
        ok = parse_line(buf, out);
    }
    if (!ok) fprintf(stderr, "%s: cannot read sample line %d\n", op->name, line);
    return ok;
}

/* ---- layouts ------------------------------------------------------------------------------ */

const char *sample_layout_name(sample_layout layout)
{
    static const char *const name[] = {"contiguous", "transposed", "sliced", "expanded",
                                       "channels-last"};
    return name[layout];
}

static bool is_float(const sample_input *in)
{
    return in->kind == SAMPLE_FLOAT || in->kind == SAMPLE_CONST ||
           in->kind == SAMPLE_STATISTIC;
}

/* The dtype that inputs of a kind have; `tested` where it is the one under test. */
static reel_dtype dtype_of(const sample_input *in, reel_dtype tested)
{
    const bool half = tested == REEL_F16 || tested == REEL_BF16;
    switch (in->kind) {
    case SAMPLE_STATISTIC: return half ? REEL_F32 : tested;
    case SAMPLE_CONST64: return REEL_F64;
    case SAMPLE_CONST32: return REEL_F32;
    case SAMPLE_INT: return in->integer;
    case SAMPLE_BOOL: return REEL_BOOL;
    default: return tested;
    }
}

/* The first dimension larger than 1; -1: none. */
static int expandable(const sample_input *in)
{
    for (int i = 0; i < in->shape.rank; i++)
        if (in->shape.dim[i] > 1) return i;
    return -1;
}

bool sample_has_layout(const sample_input *in, sample_layout layout)
{
    switch (layout) {
    case SAMPLE_CONTIGUOUS: return in->kind != SAMPLE_ABSENT;
    case SAMPLE_TRANSPOSED: return is_float(in) && in->shape.rank >= 2;
    case SAMPLE_SLICED: return is_float(in);
    case SAMPLE_EXPANDED: return is_float(in) && expandable(in) >= 0;
    case SAMPLE_CHANNELS_LAST: return is_float(in) && in->shape.rank == 4;
    default: return false;
    }
}

bool sample_empty(sample *s)
{
    if (s->n_in == 0 || s->in[0].shape.rank == 0) return false;
    const int64_t first = s->in[0].shape.dim[0];
    for (int i = 0; i < s->n_in; i++)
        if (s->in[i].shape.rank && s->in[i].shape.dim[0] == first)
            s->in[i].shape.dim[0] = 0;
    return true;
}

/* Shape of the base of an input. */
static reel_shape base_shape(const sample_input *in, sample_layout layout)
{
    reel_shape s = in->shape;
    int r = s.rank;
    if (layout == SAMPLE_TRANSPOSED)
        for (int i = 0; i < r; i++) s.dim[i] = in->shape.dim[r - 1 - i];
    if (layout == SAMPLE_SLICED) {
        if (r == 0) return REEL_SHAPE(3);
        s.dim[0] += 1;
        s.dim[r - 1] *= 2;
    }
    if (layout == SAMPLE_EXPANDED) s.dim[expandable(in)] = 1;
    if (layout == SAMPLE_CHANNELS_LAST) {
        s.dim[1] = in->shape.dim[2];
        s.dim[2] = in->shape.dim[3];
        s.dim[3] = in->shape.dim[1];
    }
    return s;
}

/* FNV-1a over everything that a value depends on. */
static uint64_t stream_of(const sample *s, int i, uint64_t seed)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (const char *p = s->op->name; *p; p++)
        h = (h ^ (unsigned char)*p) * UINT64_C(0x100000001b3);
    const uint64_t rest[] = {(uint64_t)s->line, (uint64_t)i, seed};
    for (int k = 0; k < 3; k++) h = (h ^ rest[k]) * UINT64_C(0x100000001b3);
    return h;
}

/* Element i of n: u in 0..1 is random, `plain` is what it would be else, and `scattered` is true
 * for one in five. */
static double hard_value(sample_hard hard, reel_dtype dtype, double u, double plain,
                         int64_t i, int64_t n, bool scattered)
{
    static const struct limits {
        double largest, normal, epsilon;
    } limits[REEL__DTYPE_COUNT] = {
        [REEL_F16] = {65504, 0x1p-14, 0x1p-10},
        [REEL_BF16] = {0x1.fep127, 0x1p-126, 0x1p-7},
        [REEL_F32] = {0x1.fffffep127, 0x1p-126, 0x1p-23},
        [REEL_F64] = {0x1.fffffffffffffp1023, 0x1p-1022, 0x1p-52},
    };
    const struct limits *l = &limits[dtype];
    const double sign = u < 0.5 ? -1 : 1;
    switch (hard) {
    case SAMPLE_EQUAL: return 100.3;
    case SAMPLE_FAR: return 0.01 / l->epsilon + plain;
    case SAMPLE_TINY: return pow(l->normal, 0.65) * plain;
    case SAMPLE_HUGE: return pow(l->largest, 0.65) * plain;
    case SAMPLE_LOWEST: return -l->largest;
    case SAMPLE_LARGEST: return sign * l->largest;
    case SAMPLE_DENORMAL: return sign * l->normal * 0.5;
    case SAMPLE_ZERO: return sign * 0.0;
    case SAMPLE_INFINITE: return scattered ? sign * (double)INFINITY : plain;
    case SAMPLE_NAN: return scattered ? (double)NAN : plain;
    case SAMPLE_OUTLIER: return i == n / 2 ? fmin(1e6, l->largest / 4) : plain;
    default: return plain;
    }
}

static reel_tensor *draw(const sample_input *in, reel_shape shape, reel_dtype dtype,
                         uint64_t stream)
{
    int64_t n = 1;
    for (int i = 0; i < shape.rank; i++) n *= shape.dim[i];
    double *v = malloc((size_t)(n ? n : 1) * sizeof *v);
    for (int64_t i = 0; v && i < n; i++) {
        uint32_t w[4];
        reel__philox(stream, (uint64_t)i, w);
        double u = reel__u01(w[0], w[1]);
        v[i] = in->kind == SAMPLE_BOOL ? (double)(w[2] & 1)
                                       : in->low + (in->high - in->low) * u;
        if (in->kind == SAMPLE_INT) v[i] = floor(v[i]);
        if (reel_dtype_is_float(dtype))
            v[i] = hard_value(in->hard, dtype, u, v[i], i, n, w[2] % 5 == 0);
    }
    reel_tensor *t = v ? reel_from(v, shape, REEL_F64) : NULL;
    free(v);
    return t;
}

reel_tensor *sample_base(const sample *s, int i, sample_layout layout, reel_dtype dtype,
                         uint64_t seed)
{
    const sample_input *in = &s->in[i];
    if (in->kind == SAMPLE_ABSENT) return NULL;
    dtype = dtype_of(in, dtype);
    reel_tensor *f64 = draw(in, base_shape(in, layout), dtype, stream_of(s, i, seed));
    reel_set_flush_denormals(false); /* what is drawn arrives */
    reel_tensor *t = f64 ? reel_cast(f64, dtype) : NULL;
    reel_set_flush_denormals(true);
    return t;
}

reel_tensor *sample_view(const sample *s, int i, sample_layout layout, reel_tensor *base)
{
    const sample_input *in = &s->in[i];
    reel_shape reversed = {.rank = in->shape.rank};
    for (int k = 0; k < reversed.rank; k++) reversed.dim[k] = reversed.rank - 1 - k;
    switch (layout) {
    case SAMPLE_TRANSPOSED: return reel_permute(base, reversed);
    case SAMPLE_EXPANDED: return reel_expand(base, in->shape);
    case SAMPLE_CHANNELS_LAST: return reel_permute(base, REEL_DIMS(0, 3, 1, 2));
    case SAMPLE_SLICED:
        if (in->shape.rank == 0) return reel_select(base, 0, 1);
        base = reel_narrow(base, 0, 1, reel_size(base, 0) - 1);
        return reel_slice(base, -1, in->shape.rank == 1, REEL_END, 2);
    default: return base;
    }
}
