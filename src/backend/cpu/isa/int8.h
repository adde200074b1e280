/* int8.h: what each instruction set provides to products of bytes (int8/int8.h plans).
 *
 * A left operand is `a` in 0..255, a right one `b` in -128..127; a word of 32 bits holds `per`
 * elements of one row or column, whose products one instruction adds up: four bytes (VNNI), or
 * two elements of 16 bits elsewhere, where pairs of products of bytes would saturate. Sums are
 * modulo 2^32, so every order and every instruction set gives the same bits. */
#ifndef REEL_ISA_INT8_H
#define REEL_ISA_INT8_H

#include "backend/cpu/isa/isa.h"

/* From sums to results. Arrays have a value for each column, padded to whole vectors. */
typedef struct reel__int8_end {
    const int32_t *offset; /* added to a sum                                            */
    const int32_t *b_zero; /* NULL, or what the sum of a row of `a` is subtracted times */
    const float *scale, *bias;
    int32_t low, high, zero;
    bool floats; /* the result is f32: no rounding, no bounds */
} reel__int8_end;

/* Rows of y, `valid` columns from `column` on, of one panel. */
typedef struct reel__int8_tile {
    int64_t m, words; /* words of a row of a and of a column of b */
    const char *a;
    int64_t a_row;        /* bytes; may be read in whole words                     */
    const int32_t *a_sum; /* of each row; read if the end has a b_zero             */
    const int32_t *b;     /* [words][width]                                        */
    int64_t width, valid; /* width: a vector or two                                */
    int64_t column;       /* of the end's arrays                                   */
    char *y;              /* the panel's first column                              */
    int64_t y_row;        /* bytes                                                 */
    const reel__int8_end *end;
} reel__int8_tile;

/* Pixels of a depthwise convolution: y[i][c] from the sum over taps t of
 * pixel[t * m + i][c] * b[t][c], channels c of a multiple of whole vectors in b. */
typedef struct reel__int8_depthwise {
    int64_t m, taps, channels;
    const uint8_t *const *pixel;
    uint8_t flip;     /* each byte of a pixel xor this is `a` */
    const int32_t *b; /* [taps][channels, padded], one element a word */
    char *y;
    int64_t y_row; /* bytes */
    const reel__int8_end *end;
} reel__int8_depthwise;

typedef struct reel__int8_isa {
    int lanes; /* words of a vector                         */
    int rows;  /* of a register block                       */
    int per;   /* elements of a word: 4 bytes, or 2 of 16 bits */
    void (*tile)(const reel__int8_tile *);
    void (*depthwise)(const reel__int8_depthwise *); /* m up to REEL_INT8_PIXELS */
    /* n elements of `a` in the words' layout, from bytes that xor flip are `a`. */
    void (*widen)(void *to, const uint8_t *from, int64_t n, uint8_t flip);
} reel__int8_isa;
#define REEL_INT8_PIXELS 4
REEL_ISA_DECLARE(reel__int8_isa, int8);
#if defined(__x86_64__)
extern const reel__int8_isa reel__int8_vnni_avx512;
#endif

#endif
