/* resnet.c: residual nets, for 32x32 and for 224x224 images. He et al. 2015,
 * arXiv:1512.03385; names, initialization and the place of the bottleneck's stride are
 * torchvision's. */
#include <stdio.h>

#include "base/shares.h"
#include "nn/models/resnet.h"
#include "base/error.h"
#include "base/option.h"

typedef struct resnet {
    reel_module m;
    reel_module *conv1, *bn1;
    reel_module *body[6]; /* [maxpool,] layer1 ..., avgpool */
    int n_body;
    reel_module *fc;
} resnet;

static reel_tensor *resnet_forward(reel_module *self, reel_tensor *x)
{
    const resnet *net = (const resnet *)self;
    reel_scope s = reel_scope_begin();
    reel_tensor *h = reel__hold(reel__conv_bn(net->conv1, net->bn1, x, NULL, true));
    reel_scope_end(s);
    h = reel__chain(net->body, net->n_body, h);
    return reel_forward(net->fc, reel_flatten(h, 1, -1));
}

static void add_body(resnet *net, const char *name, reel_module *m)
{
    net->body[net->n_body++] = reel_module_add(&net->m, name, m);
}

/* `blocks` blocks, of which the first changes width and size. */
static reel_module *stage(const reel__resnet_plan *plan, int64_t in, int64_t width,
                          int blocks, int stride)
{
    reel_module *m = reel_nn_sequential_n(NULL, 0);
    for (int i = 0; i < blocks && m; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        reel_module_add(m, name, reel__residual_block(plan, in, width, i ? 1 : stride));
        in = plan->bottleneck ? 4 * width : width;
    }
    return reel_module_done(m);
}

reel_module *reel__resnet(const reel__resnet_plan *plan)
{
    if (plan->classes < 1 || plan->channels < 1) {
        reel_fail(REEL_ERR_ARG,
                  "%s: %lld classes, %lld channels, expected 1 or more each", plan->type,
                  (long long)plan->classes, (long long)plan->channels);
        return NULL;
    }
    resnet *net = reel_module_new(sizeof *net, plan->type, resnet_forward);
    if (!net) return NULL;
    int64_t in = plan->width, width = plan->width;
    net->conv1 = reel_module_add(&net->m, "conv1",
                                 plan->small_stem
                                     ? reel__resnet_conv(plan->channels, width, 3, 1)
                                     : reel__resnet_conv(plan->channels, width, 7, 2));
    net->bn1 = reel_module_add(&net->m, "bn1", reel_nn_batch_norm2d(width, NULL));
    if (!plan->small_stem)
        add_body(net, "maxpool",
                 reel_nn_max_pool2d(3, &(reel_pool2d_opts){.stride = 2, .padding = 1}));
    for (int i = 0; i < plan->stages; i++) {
        char name[24];
        snprintf(name, sizeof name, "layer%d", i + 1);
        add_body(net, name, stage(plan, in, width, plan->blocks[i], i ? 2 : 1));
        in = plan->bottleneck ? 4 * width : width;
        width *= 2;
    }
    add_body(net, "avgpool", reel_nn_adaptive_avg_pool2d(1, 1));
    net->fc = reel_module_add(&net->m, "fc", reel_nn_linear(in, plan->classes, NULL));
    return reel_module_done(&net->m);
}

/* ---- for 32x32 images ------------------------------------------------------------------ */

static reel_module *cifar(const char *type, int blocks, const reel_resnet_opts *opts)
{
    const reel_resnet_opts *o = REEL__OPTS(type, reel_resnet_opts, opts);
    if (!o) return NULL;
    return reel__resnet(&(reel__resnet_plan){
        .type = type,
        .stages = 3,
        .blocks = {blocks, blocks, blocks},
        .width = 16,
        .small_stem = true,
        .shortcut = o->pad_shortcut ? SHORTCUT_PAD : SHORTCUT_CONV,
        .classes = o->classes ? o->classes : 10,
        .channels = o->channels ? o->channels : 3,
        .zero_init = o->zero_init,
    });
}

reel_module *reel_resnet20(const reel_resnet_opts *opts)
{
    REEL__CALLED;
    return cifar("resnet20", 3, opts);
}

reel_module *reel_resnet32(const reel_resnet_opts *opts)
{
    REEL__CALLED;
    return cifar("resnet32", 5, opts);
}

reel_module *reel_resnet56(const reel_resnet_opts *opts)
{
    REEL__CALLED;
    return cifar("resnet56", 9, opts);
}

/* ---- for 224x224 images ---------------------------------------------------------------- */

static reel_module *imagenet(reel__resnet_plan plan, const reel_resnet_opts *opts)
{
    const reel_resnet_opts *o = REEL__OPTS(plan.type, reel_resnet_opts, opts);
    if (!o) return NULL;
    plan.stages = 4;
    plan.width = 64;
    plan.small_stem = o->cifar_stem;
    plan.shortcut = o->pad_shortcut ? SHORTCUT_PAD : SHORTCUT_CONV;
    plan.classes = o->classes ? o->classes : 1000;
    plan.channels = o->channels ? o->channels : 3;
    plan.zero_init = o->zero_init;
    return reel__resnet(&plan);
}

reel_module *reel_resnet18(const reel_resnet_opts *opts)
{
    REEL__CALLED;
    return imagenet((reel__resnet_plan){.type = "resnet18", .blocks = {2, 2, 2, 2}},
                    opts);
}

reel_module *reel_resnet34(const reel_resnet_opts *opts)
{
    REEL__CALLED;
    return imagenet((reel__resnet_plan){.type = "resnet34", .blocks = {3, 4, 6, 3}},
                    opts);
}

reel_module *reel_resnet50(const reel_resnet_opts *opts)
{
    REEL__CALLED;
    return imagenet((reel__resnet_plan){.type = "resnet50",
                                        .blocks = {3, 4, 6, 3},
                                        .bottleneck = true},
                    opts);
}
