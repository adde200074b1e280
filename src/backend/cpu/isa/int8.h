/* int8.h: what each instruction set provides to products of bytes (int8/int8.h plans).
 *
 * A left operand is `a` in 0..255, a right one `b` in -128..127; a word of 32 bits holds `per`
 * elements of one row or column, whose products one instruction adds up: four bytes (VNNI), or
 * two elements of 16 bits elsewhere, where pairs of products of bytes would saturate. Sums are
 * modulo 2^32, so every order and every instruction set gives the same bits. */
#ifndef REEL_ISA_INT8_H
#define REEL_ISA_INT8_H

#include "backend/cpu/isa/isa.h"

/* From sums to results. Arrays have a value for each column, padded to whole panels. */
typedef struct reel__int8_end {
    const int32_t *offset; /* added to a sum                                            */
    const int32_t *b_zero; /* NULL, or what the sum of a row of `a` is subtracted times */
    const float *scale, *bias;
    int32_t low, high, zero;
    uint8_t flip; /* 0x80: the result is u8 */
    bool floats;  /* the result is f32: no rounding, no bounds */
} reel__int8_end;

/* Rows of y, `valid` columns from `column` on, of one panel. A row of `a` lies in segments, all
 * of as many words, which may be read whole; rows are equally far apart. */
typedef struct reel__int8_tile {
    int64_t m, segments, words; /* words of a segment */
    const int64_t *segment;     /* bytes from a row's `a` on */
    const char *a;
    int64_t a_row;        /* bytes                                                 */
    const int32_t *a_sum; /* of each row; read if the end has a b_zero             */
    const int32_t *b;     /* [segments][words][width]                              */
    int64_t width, valid; /* width: a vector or two                                */
    int64_t column;       /* of the end's arrays                                   */
    char *y;              /* the panel's first column                              */
    int64_t y_row;        /* bytes                                                 */
    const reel__int8_end *end;
} reel__int8_tile;

/* Pixels of a depthwise convolution that lie side by side, and a panel of its channels: four
 * vectors, of which `valid` are there. A word holds a channel's elements of `per` neighbouring
 * taps in a row of the window.
 *
 * share 2: the same words are met by two pixels, each with its own columns of weights.
 *
 * Channels lie in vectors as unpacking leaves them, see reel__int8_place(), and so do `b` and
 * the end's arrays. */
typedef struct reel__int8_depthwise {
    int64_t m, share, rows, words; /* rows of a window, and words of such a row        */
    const char *a;                 /* may be read a panel wide                         */
    int64_t a_row, a_step;         /* bytes between rows of a window, between pixels   */
    const int64_t *slot;           /* [words][per]: bytes to each tap of a row         */
    const int32_t *b;              /* [share][rows][words][4 vectors]                  */
    const int32_t *ones;           /* [share][words]: `b` that sums up a window        */
    int64_t column, valid;
    char *y;
    int64_t y_row; /* bytes */
    const reel__int8_end *end;
} reel__int8_depthwise;

typedef struct reel__int8_isa {
    int lanes; /* words of a vector                         */
    int rows;  /* of a register block                       */
    int per;   /* elements of a word: 4 bytes, or 2 of 16 bits */
    void (*tile)(const reel__int8_tile *);
    void (*depthwise)(const reel__int8_depthwise *);
    /* n elements of `a` in the words' layout, from bytes that xor flip are `a`. */
    void (*widen)(void *to, const uint8_t *from, int64_t n, uint8_t flip);
} reel__int8_isa;

#define REEL_INT8_WIDEST 64 /* columns of a panel, at most */

/* Where channel c of a depthwise panel is in its four vectors: elements of 16 bytes are
 * unpacked to `per` vectors' quarters. */
static inline int64_t reel__int8_place(const reel__int8_isa *isa, int64_t c)
{
    const int64_t unit = isa->per * isa->lanes, quarter = 4 * isa->per, in = c % unit;
    return c / unit * unit + in % quarter / 4 * isa->lanes + in / quarter * 4 + in % 4;
}

REEL_ISA_DECLARE(reel__int8_isa, int8);
#if defined(__x86_64__)
extern const reel__int8_isa reel__int8_vnni_avx512;
#endif

#endif
