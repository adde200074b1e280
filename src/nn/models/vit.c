/* vit.c: a small vision transformer. Dosovitskiy et al. 2020, arXiv:2010.11929, with the mean
 * of the tokens in place of a class token (Beyer et al. 2022, arXiv:2205.01580). */
#include <stdio.h>

#include "base/error.h"
#include "base/option.h"
#include "base/shares.h"
#include "nn/module.h"

typedef struct vit {
    reel_module m;
    reel_module *patch_embed, *layers, *norm, *head;
    reel_tensor *pos_embed; /* [1, tokens, dim] */
    double dropout;
} vit;

static reel_tensor *vit_forward(reel_module *self, reel_tensor *x)
{
    const vit *v = (const vit *)self;
    reel_scope s = reel_scope_begin();
    reel_tensor *h = reel_forward(v->patch_embed, x); /* [n, dim, h / p, w / p] */
    h = reel_transpose(reel_flatten(h, 2, -1), 1, 2); /* [n, tokens, dim]       */
    h = reel_add(h, v->pos_embed);
    if (v->dropout > 0) h = reel_dropout(h, v->dropout, self->training);
    reel__hold(h);
    reel_scope_end(s);
    reel_module *const body[] = {v->layers, v->norm};
    h = reel__chain(body, 2, h);
    return reel_forward(v->head, reel_mean(h, REEL_DIMS(1), false));
}

/* Weights of linear layers: normal 0.02, as the paper's and timm's; biases 0. */
static reel_status init_linear(void *user, const char *path, reel_module *m)
{
    (void)user;
    (void)path;
    static const char *const weights[] = {"weight", "in_proj_weight"};
    for (int i = 0; i < 2; i++) {
        reel_tensor *w = reel_module_find(m, weights[i]);
        if (reel_rank(w) == 2) reel_init_trunc_normal(w, 0, 0.02, -2, 2);
        if (reel_rank(w) == 2 && reel_module_find(m, "bias"))
            reel_init_constant(reel_module_find(m, "bias"), 0);
    }
    return reel_error_status();
}

static reel_module *encoder_layers(const reel_vit_opts *o)
{
    reel_module *m = reel_nn_sequential_n(NULL, 0);
    for (int i = 0; i < o->depth && m; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        reel_module_add(m, name,
                        reel_nn_encoder_layer(
                            o->dim, o->heads,
                            &(reel_nn_encoder_layer_opts){.hidden = o->hidden,
                                                          .dropout = o->dropout,
                                                          .activation = REEL_ACT_GELU,
                                                          .norm_first = true}));
    }
    return reel_module_done(m);
}

static reel_module *build(const reel_vit_opts *o)
{
    vit *v = reel_module_new(sizeof *v, "vit", vit_forward);
    if (!v) return NULL;
    reel_module *m = &v->m;
    int side = o->image / o->patch;
    v->dropout = reel__option(o->dropout, 0);
    reel_scope s = reel_scope_begin();
    v->pos_embed = reel_module_param(
        m, "pos_embed",
        reel_init_trunc_normal(reel_empty(REEL_SHAPE(1, side * side, o->dim), REEL_F32),
                               0, 0.02, -2, 2));
    reel_scope_end(s);
    v->patch_embed = reel_module_add(
        m, "patch_embed",
        reel_nn_conv2d(o->channels, o->dim, o->patch,
                       &(reel_nn_conv2d_opts){.conv = {.stride = o->patch}}));
    v->layers = reel_module_add(m, "layers", encoder_layers(o));
    v->norm = reel_module_add(m, "norm", reel_nn_layer_norm(REEL_SHAPE(o->dim), NULL));
    v->head = reel_module_add(m, "head", reel_nn_linear(o->dim, o->classes, NULL));
    if (!reel_failed()) reel_module_each(m, init_linear, NULL);
    return reel_module_done(m);
}

reel_module *reel_vit_tiny(const reel_vit_opts *opts)
{
    REEL__CALLED;
    const reel_vit_opts *given = REEL__OPTS("vit_tiny", reel_vit_opts, opts);
    if (!given) return NULL;
    reel_vit_opts o = *given;
    if (!o.classes) o.classes = 10;
    if (!o.channels) o.channels = 3;
    if (!o.image) o.image = 32;
    if (!o.patch) o.patch = 4;
    if (!o.dim) o.dim = 192;
    if (!o.depth) o.depth = 6;
    if (!o.heads) o.heads = 3;
    if (!o.hidden) o.hidden = 4 * o.dim;
    if (o.patch < 1 || o.image < o.patch || o.image % o.patch || o.depth < 0 ||
        !(o.dropout >= 0 && o.dropout < 1)) {
        reel_fail(
            REEL_ERR_ARG,
            "vit_tiny: image %d, patch %d, depth %d, dropout %g: the image must be a "
            "multiple of the patch, and 0 <= dropout < 1",
            o.image, o.patch, o.depth, o.dropout);
        return NULL;
    }
    return build(&o);
}
