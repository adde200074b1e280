/* weight.c: the right operand of a product of bytes, packed. */
#include "backend/cpu/int8/int8.h"
#include "base/int64.h"

static int64_t round_up(int64_t a, int64_t b)
{
    return ceil_div(a, b) * b;
}

reel__int8_weight reel__int8_weight_of(const reel__meta *m, const reel__conv *g)
{
    reel__int8_weight w = {
        .isa = reel__int8_kernels(), .depthwise = reel__conv_is_depthwise(g), .share = 1};
    const int64_t per = w.isa->per, lanes = w.isa->lanes;
    for (int i = 0; i < 4; i++) {
        w.dim[i] = i < m->rank ? m->dim[i] : 1;
        w.stride[i] = i < m->rank ? m->stride[i] : 0;
    }
    w.groups = w.depthwise ? 1 : g->groups;
    w.columns = w.dim[0] / w.groups;
    w.depth = w.dim[1] * w.dim[2] * w.dim[3];
    w.wide = (w.depthwise ? 4 : 2) * lanes;
    w.padded = round_up(w.columns, w.depthwise ? w.wide : lanes);
    const bool by_tap = !w.depthwise && g->dil[1] > 1;
    w.segments = by_tap ? g->r * g->s : g->r;
    w.elements = by_tap ? w.dim[1] : g->s * w.dim[1];
    const int64_t words = ceil_div(w.elements, per);
    if (w.depthwise && g->dil[1] == 1 && g->s + g->stride[1] <= words * per) {
        w.share = 2;
        w.shift = g->stride[1];
    }
    w.words = w.share * w.segments * words;
    return w;
}

/* Sums of the columns come first, [groups][padded]. */
static int64_t sums_size(const reel__int8_weight *w)
{
    return round_up(w->groups * w->padded, 16);
}

size_t reel__int8_packed_size(const reel__int8_weight *w)
{
    return (size_t)(sums_size(w) + w->groups * w->padded * w->words) * sizeof(int32_t);
}

static int64_t panel_at(const reel__int8_weight *w, int64_t group, int64_t column)
{
    return sums_size(w) + (group * w->padded + column) * w->words;
}

const int32_t *reel__int8_panel(const reel__int8_weight *w, const void *packed,
                                int64_t group, int64_t column)
{
    return (const int32_t *)packed + panel_at(w, group, column);
}

typedef struct pack_ctx {
    const reel__int8_weight *w;
    const uint8_t *from;
    uint8_t flip; /* makes b of a byte */
    int32_t *to;
} pack_ctx;

/* Element e of a segment, into all columns that share it; words are `step` apart. */
static void put_shared(const reel__int8_weight *w, int32_t *words, int64_t step,
                       int64_t segment, int64_t e, int32_t b)
{
    const int64_t segment_words = reel__int8_segment_words(w);
    for (int64_t i = 0; i < w->share; i++, segment += w->segments)
        reel__int8_put(w->isa, words + segment * segment_words * step, step,
                       e + i * w->shift, b);
}

/* One output channel into words `step` apart, in the order [r][s][c]; gives its sum. */
static int32_t pack_channel(const pack_ctx *t, int64_t k, int32_t *words, int64_t step)
{
    const reel__int8_weight *w = t->w;
    const int64_t whole = reel__int8_segment_words(w) * step;
    const uint8_t *from = t->from + k * w->stride[0];
    uint32_t sum = 0;
    int64_t segment = 0, e = 0;
    for (int64_t r = 0; r < w->dim[2]; r++)
        for (int64_t s = 0; s < w->dim[3]; s++) {
            const uint8_t *tap = from + r * w->stride[2] + s * w->stride[3];
            for (int64_t c = 0; c < w->dim[1]; c++, e++) {
                const int32_t b = (int8_t)(tap[c * w->stride[1]] ^ t->flip);
                sum += (uint32_t)b;
                if (w->share == 1)
                    reel__int8_put(w->isa, words + segment * whole, step, e, b);
                else
                    put_shared(w, words, step, segment, e, b);
            }
            if (e == w->elements) {
                e = 0;
                segment++;
            }
        }
    return (int32_t)sum;
}

static void pack_columns(void *ctx, int64_t begin, int64_t end)
{
    const pack_ctx *t = ctx;
    const reel__int8_weight *w = t->w;
    for (int64_t i = begin; i < end; i++) {
        const int64_t group = i / w->padded, column = i % w->padded;
        const int64_t first = column / w->wide * w->wide;
        const int64_t width = min64(w->wide, w->padded - first);
        const int64_t place = reel__int8_column(w, column);
        int32_t *words = t->to + panel_at(w, group, first) + place - first;
        for (int64_t j = 0; j < w->words; j++) words[j * width] = 0;
        t->to[group * w->padded + place] =
            column < w->columns
                ? pack_channel(t, group * w->columns + column, words, width)
                : 0;
    }
}

void reel__int8_pack(const reel__int8_weight *w, const reel__karg *from, void *to)
{
    pack_ctx t = {w, from->data, from->meta->dtype == REEL_U8 ? 0x80 : 0, to};
    const int64_t grain = 1 + (1 << 15) / (w->words * w->isa->per + 1);
    reel__parallel_range(w->groups * w->padded, grain, pack_columns, &t);
}
