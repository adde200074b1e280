/* mobilenet.c: MobileNetV2, of inverted residuals. Sandler et al. 2018, arXiv:1801.04381;
 * names, initialization and the rounding of widths are torchvision's. */
#include <stdio.h>

#include <reel/nn.h>

#include "base/error.h"
#include "base/option.h"

/* ---- pieces ---------------------------------------------------------------------------- */

/* Padded to keep the size at stride 1, without bias: a norm follows. */
static reel_module *conv(int64_t in, int64_t out, int kernel, int stride, int64_t groups)
{
    return reel_nn_conv2d(
        in, out, kernel,
        &(reel_nn_conv2d_opts){
            .conv = {.stride = stride, .padding = kernel / 2, .groups = (int)groups},
            .no_bias = true,
            .kaiming = &(reel_kaiming_opts){.fan_out = true}});
}

/* [0 convolution, 1 norm, 2 ReLU6] */
static reel_module *conv_norm_relu6(int64_t in, int64_t out, int kernel, int stride,
                                    int64_t groups)
{
    return reel_nn_sequential(conv(in, out, kernel, stride, groups),
                              reel_nn_batch_norm2d(out, NULL),
                              reel_nn_activation(REEL_ACT_RELU6));
}

/* Takes `child` over under the number `i`. */
static void add_numbered(reel_module *parent, int i, reel_module *child)
{
    char name[16];
    snprintf(name, sizeof name, "%d", i);
    reel_module_add(parent, name, child);
}

/* ---- inverted residuals ------------------------------------------------------------------ */

typedef struct block {
    reel_module m;
    reel_module *conv;
    bool has_shortcut;
} block;

static reel_tensor *block_forward(reel_module *self, reel_tensor *x)
{
    const block *b = (const block *)self;
    reel_tensor *y = reel_forward(b->conv, x);
    return b->has_shortcut ? reel_add(x, y) : y;
}

/* Widened `expand` times, filtered channel by channel, narrowed without an activation, which
 * would lose what few channels hold. */
static reel_module *inverted_residual(int64_t in, int64_t out, int stride, int expand)
{
    block *b = reel_module_new(sizeof *b, "inverted_residual", block_forward);
    if (!b) return NULL;
    const int64_t wide = in * expand;
    b->has_shortcut = stride == 1 && in == out;
    reel_module *c = reel_nn_sequential_n(NULL, 0);
    int n = 0;
    if (expand != 1) add_numbered(c, n++, conv_norm_relu6(in, wide, 1, 1, 1));
    add_numbered(c, n++, conv_norm_relu6(wide, wide, 3, stride, wide));
    add_numbered(c, n++, conv(wide, out, 1, 1, 1));
    add_numbered(c, n++, reel_nn_batch_norm2d(out, NULL));
    b->conv = reel_module_add(&b->m, "conv", c);
    return reel_module_done(&b->m);
}

/* ---- the net ----------------------------------------------------------------------------- */

typedef struct mobilenet {
    reel_module m;
    reel_module *features, *classifier;
} mobilenet;

static reel_tensor *mobilenet_forward(reel_module *self, reel_tensor *x)
{
    const mobilenet *net = (const mobilenet *)self;
    reel_tensor *h = reel_forward(net->features, x); /* [n, c, h / 32, w / 32] */
    h = reel_adaptive_avg_pool2d(h, 1, 1);
    return reel_forward(net->classifier, reel_flatten(h, 1, -1));
}

/* What one net is made of: the options, resolved. */
typedef struct plan {
    int64_t classes, channels;
    double width, dropout;
    bool cifar_stem;
} plan;

/* `channels` times `width`, to the nearest multiple of 8 that is not more than a tenth less. */
static int64_t scaled(int64_t channels, double width)
{
    const double want = (double)channels * width;
    int64_t n = (int64_t)(want + 4) / 8 * 8;
    if (n < 8) n = 8;
    return (double)n < 0.9 * want ? n + 8 : n;
}

/* Of table 2 in the paper. */
static const struct stage {
    int expand, channels, blocks, stride;
} stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
              {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
enum { N_STAGES = sizeof stages / sizeof *stages, STEM = 32, LAST = 1280, WIDEST = 100 };

static int64_t last_width(const plan *p)
{
    return scaled(LAST, p->width > 1 ? p->width : 1);
}

/* [n, channels, h, w] -> [n, last_width, h / 32, w / 32]; h / 8, w / 8 with the small stem */
static reel_module *features(const plan *p)
{
    reel_module *m = reel_nn_sequential_n(NULL, 0);
    int64_t in = scaled(STEM, p->width);
    int n = 0;
    add_numbered(m, n++, conv_norm_relu6(p->channels, in, 3, p->cifar_stem ? 1 : 2, 1));
    for (int s = 0; s < N_STAGES && m; s++) {
        const struct stage *of = &stages[s];
        const int64_t out = scaled(of->channels, p->width);
        const int first = s == 1 && p->cifar_stem ? 1 : of->stride;
        for (int i = 0; i < of->blocks; i++, in = out)
            add_numbered(m, n++, inverted_residual(in, out, i ? 1 : first, of->expand));
    }
    add_numbered(m, n++, conv_norm_relu6(in, last_width(p), 1, 1, 1));
    return reel_module_done(m);
}

static reel_module *classifier(const plan *p)
{
    reel_module *linear = reel_nn_linear(last_width(p), p->classes, NULL);
    if (linear) {
        reel_init_normal(reel_module_find(linear, "weight"), 0, 0.01);
        reel_init_constant(reel_module_find(linear, "bias"), 0);
    }
    return reel_nn_sequential(reel_nn_dropout(p->dropout), linear);
}

static reel_module *build(const plan *p)
{
    mobilenet *net = reel_module_new(sizeof *net, "mobilenet_v2", mobilenet_forward);
    if (!net) return NULL;
    net->features = reel_module_add(&net->m, "features", features(p));
    net->classifier = reel_module_add(&net->m, "classifier", classifier(p));
    return reel_module_done(&net->m);
}

reel_module *reel_mobilenet_v2(const reel_mobilenet_opts *opts)
{
    REEL__CALLED;
    const reel_mobilenet_opts *o = REEL__OPTS("mobilenet_v2", reel_mobilenet_opts, opts);
    if (!o) return NULL;
    const plan p = {.classes = o->classes ? o->classes : 1000,
                    .channels = o->channels ? o->channels : 3,
                    .width = reel__option(o->width, 1),
                    .dropout = reel__option(o->dropout, 0.2),
                    .cifar_stem = o->cifar_stem};
    if (p.classes < 1 || p.channels < 1) {
        reel_fail(REEL_ERR_ARG,
                  "mobilenet_v2: %lld classes, %lld channels, expected 1 or more each",
                  (long long)p.classes, (long long)p.channels);
        return NULL;
    }
    if (!(p.width > 0 && p.width <= WIDEST && p.dropout >= 0 && p.dropout < 1)) {
        reel_fail(REEL_ERR_ARG,
                  "mobilenet_v2: width %g, dropout %g: expected 0 < width <= %d and 0 <= "
                  "dropout < 1",
                  p.width, p.dropout, WIDEST);
        return NULL;
    }
    return build(&p);
}
