/* sample.h: inputs for a record, drawn from its `sample` text.
 *
 * One sample a line: inputs separated by ';', then perhaps "| attributes":
 *     f[2,3] in -2..2     float, differentiable; -1..1 unless said
 *     f[2,3] in outlier   the same of hard values: a word of sample_hard_name()
 *     c[3] in 0.5..2      float, constant: no gradient is asked for
 *     s[3] in 0.5..2      the same, a statistic: f32 where the dtype under test is a half
 *     c64[]               the same, f64 whatever the dtype under test
 *     c32[]               the same, f32 whatever the dtype under test
 *     i64[4] in 0..5      integers below the upper bound
 *     i32[4], i8[4], u8[4]  the same in other dtypes; of bytes everything unless said
 *     bool[3,4]           either
 *     -                   an optional input that is absent
 * Attributes are read by the record's schema into zeroed memory. Values depend on the seed,
 * the record's name, the line and the input alone. */
#ifndef TESTS_SUPPORT_SAMPLE_H
#define TESTS_SUPPORT_SAMPLE_H

#include "ops/op.h"

typedef enum sample_kind {
    SAMPLE_ABSENT,
    SAMPLE_FLOAT,
    SAMPLE_CONST,
    SAMPLE_STATISTIC,
    SAMPLE_CONST64,
    SAMPLE_CONST32,
    SAMPLE_INT, /* of the dtype `integer` */
    SAMPLE_BOOL
} sample_kind;

/* Values at the edges, in terms of the dtype that they are drawn in. */
typedef enum sample_hard {
    SAMPLE_PLAIN,    /* low..high                                      */
    SAMPLE_EQUAL,    /* one number everywhere                          */
    SAMPLE_FAR,      /* a mean a hundredth of 1 / epsilon, spread 1    */
    SAMPLE_TINY,     /* squares vanish                                 */
    SAMPLE_HUGE,     /* squares overflow                               */
    SAMPLE_LOWEST,   /* the lowest number everywhere                   */
    SAMPLE_LARGEST,  /* the largest number of either sign              */
    SAMPLE_DENORMAL, /* below the smallest normal number               */
    SAMPLE_ZERO,     /* zeros of either sign                           */
    SAMPLE_INFINITE, /* plain, and some infinities                     */
    SAMPLE_NAN,      /* plain, and some NaN                            */
    SAMPLE_OUTLIER,  /* plain, but for one that is a million times as large */
    SAMPLE_HARDS
} sample_hard;
const char *sample_hard_name(sample_hard hard);

typedef struct sample_input {
    sample_kind kind;
    reel_shape shape;
    double low, high;
    sample_hard hard;
    reel_dtype integer;
} sample_input;

#define SAMPLE_MAX_IN 9

typedef struct sample {
    const reel__op *op;
    int line, n_in;
    sample_input in[SAMPLE_MAX_IN];
    int64_t attr_memory[160]; /* aligned for any attribute struct */
    const void *attrs;        /* attr_memory, or NULL if the record has none */
} sample;

/* The record's samples; of one without inputs a text that only names attributes. */
const char *sample_text(const reel__op *op);
/* Lines of a text; 0 for NULL. */
int sample_lines(const char *text);
/* Line `line` of `text` for `op`. False, with a message on stderr, if it cannot be read. */
bool sample_parse(const reel__op *op, const char *text, int line, sample *out);

/* How the elements of an input lie in memory. */
typedef enum sample_layout {
    SAMPLE_CONTIGUOUS,
    SAMPLE_TRANSPOSED, /* dimensions in reverse order of memory                        */
    SAMPLE_SLICED,     /* behind an offset, every second element of the last dimension */
    SAMPLE_EXPANDED, /* stride 0 along the first dimension that is larger than 1       */
    SAMPLE_CHANNELS_LAST,
    SAMPLE_LAYOUTS
} sample_layout;
const char *sample_layout_name(sample_layout layout);
bool sample_has_layout(const sample_input *in, sample_layout layout);

/* Empties the sample: the first dimension of every input that has the first one's size there
 * becomes 0. False if the first input has none. */
bool sample_empty(sample *s);

/* A new contiguous tensor (of the innermost scope) from which sample_view() makes input i in
 * this layout: larger than the input, or permuted. `dtype` is that of the floats. */
reel_tensor *sample_base(const sample *s, int i, sample_layout layout, reel_dtype dtype,
                         uint64_t seed);
/* The input, as views of its base: differentiable, so that gradients of views are tested on
 * the way. */
reel_tensor *sample_view(const sample *s, int i, sample_layout layout, reel_tensor *base);

#endif
