/* normalize.c: numbers of mean 0 and deviation 1, a channel (or column) each: by what the
 * caller says of the data, or by what they are. */
#include <math.h>
#include <reel/data.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

#define MAX_CHANNELS 65536
#define TABLE_CHANNELS 16 /* more are not images */

typedef struct normal {
    int channels;
    float (*of_u8)
        [256];    /* [channels] the result for each byte: one load an element; or NULL */
    float *std;   /* [channels] */
    float mean[]; /* [channels], then std */
} normal;

static int64_t elements(reel_shape s)
{
    int64_t n = 1;
    for (int i = 0; i < s.rank; i++) n *= s.dim[i];
    return n;
}

/* The first field, whose last dimension is the channels. NULL and an error. */
static reel_field *first_field(const char *who, const reel_sample *s)
{
    reel_field *f = s->fields > 0 ? s->field[0] : NULL;
    if (!f)
        reel_fail(REEL_ERR_SHAPE, "%s: the sample has no fields", who);
    else if (f->dtype != REEL_U8 && f->dtype != REEL_F32)
        reel_fail(REEL_ERR_DTYPE, "%s: \"%s\" is %s, expected u8 or f32", who, f->name,
                  reel_dtype_name(f->dtype));
    return reel_failed() ? NULL : f;
}

static int64_t channels_of(const reel_field *f)
{
    return f->shape.rank > 0 ? f->shape.dim[f->shape.rank - 1] : 0;
}

static void from_bytes(const normal *n, const uint8_t *byte, int64_t elements, float *out)
{
    int c = n->channels;
    if (n->of_u8) {
        for (int64_t i = 0; i < elements; i += c)
            for (int k = 0; k < c; k++) out[i + k] = n->of_u8[k][byte[i + k]];
        return;
    }
    for (int64_t i = 0; i < elements; i += c)
        for (int k = 0; k < c; k++)
            out[i + k] = ((float)byte[i + k] / 255.0f - n->mean[k]) / n->std[k];
}

static reel_status apply_normalize(void *self, reel_sample *s, reel_draw *d)
{
    (void)d;
    const normal *n = self;
    reel_field *f = first_field("transform_normalize", s);
    if (!f) return reel_error_status();
    int64_t c = channels_of(f), size = elements(f->shape);
    if (c != n->channels)
        return reel_fail(
            REEL_ERR_SHAPE,
            "transform_normalize: the sample has %lld channels, mean and std have %d",
            (long long)c, n->channels);
    const void *x = f->data;
    reel_dtype from = f->dtype;
    float *out = reel_field_out(f, f->shape, REEL_F32);
    if (!out) return reel_error_status();
    if (from == REEL_U8) {
        from_bytes(n, x, size, out);
        return REEL_OK;
    }
    const float *value = x;
    for (int64_t i = 0; i < size; i += c)
        for (int k = 0; k < n->channels; k++)
            out[i + k] = (value[i + k] - n->mean[k]) / n->std[k];
    return REEL_OK;
}

static void free_normal(void *self)
{
    normal *n = self;
    reel__free(n->of_u8);
    reel__free(n);
}

static reel_status make_table(normal *n)
{
    n->of_u8 = reel__malloc((size_t)n->channels * sizeof *n->of_u8);
    for (int k = 0; n->of_u8 && k < n->channels; k++)
        for (int v = 0; v < 256; v++)
            n->of_u8[k][v] = ((float)v / 255.0f - n->mean[k]) / n->std[k];
    return reel_error_status();
}

reel_transform *reel_transform_normalize(const float *mean, const float *std,
                                         int channels)
{
    REEL__CALLED;
    if (!mean || !std || channels < 1 || channels > MAX_CHANNELS) {
        reel_fail(REEL_ERR_ARG, "transform_normalize: %s, %d channels, expected 1 to %d",
                  mean && std ? "mean and std given" : "mean or std is NULL", channels,
                  MAX_CHANNELS);
        return NULL;
    }
    for (int k = 0; k < channels; k++)
        if (!isfinite(mean[k]) || !isfinite(std[k]) || std[k] == 0.0f) {
            reel_fail(REEL_ERR_ARG,
                      "transform_normalize: channel %d has mean %g and std %g, expected "
                      "finite values "
                      "and std not 0",
                      k, (double)mean[k], (double)std[k]);
            return NULL;
        }
    if (reel_failed()) return NULL;
    size_t bytes = (size_t)channels * sizeof *mean;
    normal *n = reel__calloc(1, sizeof *n + 2 * bytes);
    if (!n) return NULL;
    n->channels = channels;
    n->std = n->mean + channels;
    memcpy(n->mean, mean, bytes);
    memcpy(n->std, std, bytes);
    if (channels <= TABLE_CHANNELS) (void)make_table(n);
    return reel_transform_new(apply_normalize, n,
                              free_normal); /* frees what is not whole */
}

/* ---- by the data -------------------------------------------------------------------- */

/* Mean and sum of squared differences from it, a sample at a time.
 * Source: Welford 1962, Technometrics 4(3). */
typedef struct moments {
    int64_t channels, n;
    double *mean, *squares; /* [channels] */
} moments;

static void add(moments *m, const reel_field *f)
{
    int64_t c = m->channels, size = elements(f->shape);
    for (int64_t i = 0; i < size; i += c) {
        m->n++;
        for (int64_t k = 0; k < c; k++) {
            double v = f->dtype == REEL_U8
                           ? (double)((const uint8_t *)f->data)[i + k] / 255.0
                           : (double)((const float *)f->data)[i + k];
            double difference = v - m->mean[k];
            m->mean[k] += difference / (double)m->n;
            m->squares[k] += difference * (v - m->mean[k]);
        }
    }
}

static reel_status begin(moments *m, const reel_field *f)
{
    m->channels = channels_of(f);
    if (m->channels < 1 || m->channels > MAX_CHANNELS)
        return reel_fail(
            REEL_ERR_SHAPE,
            "transform_standardize: \"%s\" has %lld channels, expected 1 to %d", f->name,
            (long long)m->channels, MAX_CHANNELS);
    m->mean = reel__calloc(2 * (size_t)m->channels, sizeof *m->mean);
    if (!m->mean) return reel_error_status();
    m->squares = m->mean + m->channels;
    return REEL_OK;
}

static reel_status measure(reel_dataset *ds, reel_sample *s, moments *m)
{
    for (int64_t i = 0; i < reel_dataset_length(ds); i++) {
        if (reel_dataset_get(ds, i, s)) return reel_error_status();
        if (s->skip) continue;
        const reel_field *f = first_field("transform_standardize", s);
        if (!f || (!m->mean && begin(m, f))) return reel_error_status();
        if (channels_of(f) != m->channels)
            return reel_fail(
                REEL_ERR_SHAPE,
                "transform_standardize: sample %lld has %lld channels, those before it "
                "%lld",
                (long long)i, (long long)channels_of(f), (long long)m->channels);
        add(m, f);
    }
    if (m->n > 0) return REEL_OK;
    return reel_fail(REEL_ERR_ARG, "transform_standardize: the dataset has no samples");
}

static reel_transform *from_moments(const moments *m)
{
    float *mean = reel__malloc(2 * (size_t)m->channels * sizeof *mean);
    if (!mean) return NULL;
    float *std = mean + m->channels;
    for (int64_t k = 0; k < m->channels; k++) {
        mean[k] = (float)m->mean[k];
        std[k] = (float)sqrt(m->squares[k] / (double)m->n);
        if (std[k] == 0.0f) std[k] = 1.0f; /* of a constant: it becomes 0 */
    }
    reel_transform *t = reel_transform_normalize(mean, std, (int)m->channels);
    reel__free(mean);
    return t;
}

reel_transform *reel_transform_standardize(reel_dataset *ds)
{
    REEL__CALLED;
    if (!ds) reel_fail(REEL_ERR_ARG, "transform_standardize: dataset is NULL");
    if (reel_failed()) return NULL;
    reel_sample s = {0};
    moments m = {0};
    reel_transform *t = measure(ds, &s, &m) ? NULL : from_moments(&m);
    reel__free(m.mean);
    reel_sample_free(&s);
    return t;
}
