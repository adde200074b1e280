/* drawn.c: a data set that needs no download: ten classes of shapes and textures, drawn.
 *
 * Each image is a background, some clutter behind, one object, some clutter in front, and
 * noise. Place, size, angle, aspect and every colour are drawn independently of the
 * class, so that neither colour nor brightness tells it, and a linear model, which needs
 * fixed pixels, sees little. Shapes are signed distances in the object's own frame; the
 * distance in pixels gives the coverage of a pixel, hence smooth edges. Distance
 * functions: Inigo Quilez, "2D distance functions"
 * (iquilezles.org/articles/distfunctions2d), the mathematics. */
#include <reel/data.h>

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/parallel.h"
#include "data/memory.h"

#define SIDE 32
#define PIXELS (SIDE * SIDE)
#define CLASSES 10
#define MAX_IMAGES 1000000
#define GRAIN 16 /* images a task */

static const char *const class_names[CLASSES] = {"disc",  "square", "triangle", "ring",
                                                 "cross", "star",   "stripes",  "checker",
                                                 "dots",  "glow"};

typedef struct color {
    float c[3];
} color;

typedef struct point {
    float x, y;
} point;

/* A frame of its own: p -> scaled, turned, centred coordinates; `pixels` is how many
 * pixels one unit is long. */
typedef struct frame {
    point center;
    float cos, sin, aspect, pixels;
} frame;

static float between(reel_draw *d, float low, float high)
{
    return low + (high - low) * reel_draw_f32(d);
}

static float clamp01(float x)
{
    return x < 0.0f ? 0.0f : x > 1.0f ? 1.0f : x;
}

/* ---- colours ----------------------------------------------------------------------- */

static color any_color(reel_draw *d)
{
    return (color){{reel_draw_f32(d), reel_draw_f32(d), reel_draw_f32(d)}};
}

/* A colour that can be told from `other`: at least `distance` away in RGB. The best of a
 * few tries if none is, which ends for sure. */
static color color_unlike(reel_draw *d, color other, float distance)
{
    color best = other;
    float best_far = -1.0f;
    for (int i = 0; i < 16 && best_far < distance * distance; i++) {
        color c = any_color(d);
        float far = 0.0f;
        for (int k = 0; k < 3; k++) far += (c.c[k] - other.c[k]) * (c.c[k] - other.c[k]);
        if (far > best_far) best = c, best_far = far;
    }
    return best;
}

static void blend(float *pixel, color over, float coverage)
{
    for (int k = 0; k < 3; k++) pixel[k] += coverage * (over.c[k] - pixel[k]);
}

/* ---- shapes: signed distance, negative inside, in units of the frame --------------- */

static float box(point p, float half_w, float half_h)
{
    float dx = fabsf(p.x) - half_w, dy = fabsf(p.y) - half_h;
    float outside = hypotf(fmaxf(dx, 0.0f), fmaxf(dy, 0.0f));
    return outside + fminf(fmaxf(dx, dy), 0.0f);
}

/* Equilateral; the largest of the distances to its three sides, exact where it matters:
 * at the edges. `reach` is from the centre to a side. */
static float triangle(point p, float reach)
{
    const float half_sqrt3 = 0.8660254f;
    float right = half_sqrt3 * p.x + 0.5f * p.y;
    float left = -half_sqrt3 * p.x + 0.5f * p.y;
    return fmaxf(fmaxf(right, left), -p.y) - reach;
}

/* Five points: fold the plane into one tenth, then the distance to one slanted side. */
static float star(point p, float outer, float inner)
{
    const float tenth = 0.62831853f;
    float angle =
        fabsf(fmodf(atan2f(p.x, p.y) + 6.0f * 6.2831853f, 2.0f * tenth) - tenth);
    angle = tenth - angle; /* 0 at a tip */
    float r = hypotf(p.x, p.y);
    point q = {r * sinf(angle), r * cosf(angle)};
    point tip = {0.0f, outer};
    point dent = {inner * 0.58778525f,
                  inner * 0.80901699f}; /* sin, cos of a tenth turn */
    float ex = dent.x - tip.x, ey = dent.y - tip.y;
    return (ex * (q.y - tip.y) - ey * (q.x - tip.x)) / hypotf(ex, ey);
}

/* Textures return where the second colour lies, 0 or 1 with a soft step `sharp` steep. */
static float step01(float wave, float sharp)
{
    return clamp01(0.5f + wave * sharp);
}

/* ---- one image --------------------------------------------------------------------- */

typedef struct object {
    int kind;
    frame f;
    color first, second;
    float period, phase_x, phase_y; /* of a texture, in units */
    bool round;                     /* outline of a texture   */
} object;

static point to_frame(const frame *f, float x, float y)
{
    float dx = (x - f->center.x) / f->pixels, dy = (y - f->center.y) / f->pixels;
    return (point){(f->cos * dx + f->sin * dy) * f->aspect,
                   (f->cos * dy - f->sin * dx) / f->aspect};
}

static frame any_frame(reel_draw *d, float margin, float small, float large)
{
    float angle = between(d, 0.0f, 6.2831853f);
    return (frame){
        .center = {between(d, margin, SIDE - margin), between(d, margin, SIDE - margin)},
        .cos = cosf(angle),
        .sin = sinf(angle),
        .aspect = between(d, 0.92f, 1.08f),
        .pixels = between(d, small, large)};
}

static object any_object(reel_draw *d, int kind, color background)
{
    object o = {.kind = kind};
    o.f = any_frame(d, 10.5f, 8.0f, 11.0f);
    o.first = color_unlike(d, background, 0.65f);
    o.second = color_unlike(d, o.first, 0.55f);
    o.period = between(d, 4.5f, 6.5f) / o.f.pixels;
    o.phase_x = reel_draw_f32(d);
    o.phase_y = reel_draw_f32(d);
    o.round = reel_draw_u32(d) & 1;
    return o;
}

/* Waves of the textures: positive where the second colour lies. */
static float texture(const object *o, point p)
{
    float u = 6.2831853f * (p.x / o->period + o->phase_x);
    float v = 6.2831853f * (p.y / o->period + o->phase_y);
    float sharp = 0.4f * o->period * o->f.pixels;
    switch (o->kind) {
    case 6: return step01(sinf(u), sharp);
    case 7: return step01(sinf(0.5f * u) * sinf(0.5f * v), sharp);
    default: return step01(0.5f * (cosf(u) + cosf(v)) - 0.3f, sharp);
    }
}

static void paint_object(const object *o, float x, float y, float *pixel)
{
    point p = to_frame(&o->f, x, y);
    float r = hypotf(p.x, p.y), distance = 0.0f;
    switch (o->kind) {
    case 0: distance = r - 0.95f; break;
    case 1: distance = box(p, 0.85f, 0.85f); break;
    case 2: distance = triangle(p, 0.62f); break;
    case 3: distance = fabsf(r - 0.80f) - 0.22f; break;
    case 4: distance = fminf(box(p, 1.05f, 0.27f), box(p, 0.27f, 1.05f)); break;
    case 5: distance = star(p, 1.20f, 0.50f); break;
    case 9: blend(pixel, o->first, expf(-1.6f * r * r)); return;
    default: distance = o->round ? r - 1.10f : box(p, 0.95f, 0.95f);
    }
    float coverage = clamp01(0.5f - distance * o->f.pixels);
    if (coverage <= 0.0f) return;
    color c = o->first;
    if (o->kind >= 6) blend(c.c, o->second, texture(o, p));
    blend(pixel, c, coverage);
}

/* A small bar or disc that belongs to no class. */
typedef struct scrap {
    frame f;
    color paint;
    float half_w, half_h;
    bool round;
} scrap;

static scrap any_scrap(reel_draw *d)
{
    scrap s = {.f = any_frame(d, 0.0f, 1.0f, 1.0f), .paint = any_color(d)};
    s.round = reel_draw_below(d, 3) == 0;
    s.half_w = s.round ? between(d, 0.8f, 1.8f) : between(d, 2.0f, 5.0f);
    s.half_h = between(d, 0.4f, 1.0f);
    return s;
}

static void paint_scrap(const scrap *s, float x, float y, float *pixel)
{
    point p = to_frame(&s->f, x, y);
    float distance =
        s->round ? hypotf(p.x, p.y) - s->half_w : box(p, s->half_w, s->half_h);
    blend(pixel, s->paint, clamp01(0.5f - distance));
}

/* Nearly normal noise from one word: the sum of its four bytes, centred, deviation 1. */
static float noise(reel_draw *d)
{
    uint32_t w = reel_draw_u32(d);
    uint32_t sum = (w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24);
    return ((float)sum - 510.0f) / 147.8f;
}

#define BEHIND 3
#define BEFORE 1

static void draw_image(uint8_t *out, int kind, reel_draw d)
{
    color corner[2];
    corner[0] = any_color(&d);
    for (int k = 0; k < 3; k++)
        corner[1].c[k] = clamp01(corner[0].c[k] + between(&d, -0.2f, 0.2f));
    frame shade = any_frame(&d, 0.0f, SIDE, SIDE);
    object o = any_object(&d, kind, corner[0]);
    scrap behind[BEHIND], before[BEFORE];
    for (int i = 0; i < BEHIND; i++) behind[i] = any_scrap(&d);
    for (int i = 0; i < BEFORE; i++) before[i] = any_scrap(&d);
    float deviation = between(&d, 0.02f, 0.06f);

    for (int i = 0; i < PIXELS; i++) {
        float x = (float)(i % SIDE) + 0.5f, y = (float)(i / SIDE) + 0.5f;
        color pixel = corner[0];
        blend(pixel.c, corner[1], clamp01(0.5f + to_frame(&shade, x, y).x));
        for (int k = 0; k < BEHIND; k++) paint_scrap(&behind[k], x, y, pixel.c);
        paint_object(&o, x, y, pixel.c);
        for (int k = 0; k < BEFORE; k++) paint_scrap(&before[k], x, y, pixel.c);
        for (int k = 0; k < 3; k++) {
            float value = clamp01(pixel.c[k] + deviation * noise(&d));
            out[3 * i + k] = (uint8_t)(255.0f * value + 0.5f);
        }
    }
}

/* ---- the data set ------------------------------------------------------------------ */

typedef struct job {
    uint8_t *pixels;
    int64_t *labels;
    uint64_t seed;
    reel_part part;
} job;

static void draw_range(void *ctx, int64_t begin, int64_t end)
{
    const job *j = ctx;
    for (int64_t i = begin; i < end; i++) {
        j->labels[i] = i % CLASSES;
        draw_image(j->pixels + i * PIXELS * 3, (int)j->labels[i],
                   reel_draw_at(j->seed, (uint64_t)j->part, (uint64_t)i));
    }
}

reel_dataset *reel_drawn_images(int64_t n, uint64_t seed, reel_part part)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    if (n < 1 || n > MAX_IMAGES || (part != REEL_TRAIN && part != REEL_TEST)) {
        reel_fail(REEL_ERR_ARG,
                  "drawn_images: %lld images of part %d, expected 1 to %d of part 0 or 1",
                  (long long)n, (int)part, MAX_IMAGES);
        return NULL;
    }
    reel__memory_data *m =
        reel__memory_images("drawn_images", n, (reel_shape){3, {SIDE, SIDE, 3}});
    if (!m) return NULL;
    job j = {reel__memory_pixels(m), reel__memory_labels(m), seed, part};
    reel__parallel_range(n, GRAIN, draw_range, &j);
    m->class_names = class_names;
    m->classes = CLASSES;
    return reel__memory_dataset(m);
}
