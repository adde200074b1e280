/* attention.c: multi-head attention and the transformer encoder layer. */
#include "base/error.h"
#include "base/option.h"
#include "nn/module.h"

typedef struct attention {
    reel_module m;
    reel_tensor *in_weight, *in_bias; /* [3 dim, dim], [3 dim]: query, key, value */
    reel_module *out;
    int64_t dim;
    int heads;
    reel_nn_attention_opts opts;
} attention;

static const char attention_type[] = "attention";

/* [n, l, dim] -> [n, heads, l, dim / heads] */
static reel_tensor *split_heads(const attention *a, reel_tensor *x)
{
    reel_shape s = REEL_SHAPE(reel_size(x, 0), reel_size(x, 1), a->heads, -1);
    return reel_transpose(reel_reshape(x, s), 1, 2);
}

/* [n, heads, l, d] -> [n, l, dim] */
static reel_tensor *join_heads(const attention *a, reel_tensor *x)
{
    reel_shape s = REEL_SHAPE(reel_size(x, 0), reel_size(x, 2), a->dim);
    return reel_reshape(reel_transpose(x, 1, 2), s);
}

/* Rows first .. first + count - 1 of the three packed projections. */
static reel_tensor *project(const attention *a, reel_tensor *x, int first, int count)
{
    reel_tensor *w = a->in_weight, *b = a->in_bias;
    if (count < 3) {
        w = reel_narrow(w, 0, first * a->dim, count * a->dim);
        if (b) b = reel_narrow(b, 0, first * a->dim, count * a->dim);
    }
    return reel_linear(x, w, b);
}

static reel_tensor *part(const attention *a, reel_tensor *packed, int i)
{
    return split_heads(a, reel_narrow(packed, -1, i * a->dim, a->dim));
}

static reel_tensor *attend(attention *a, reel_tensor *query, reel_tensor *key,
                           reel_tensor *value, reel_tensor *mask)
{
    if (reel_rank(query) != 3 || reel_rank(key) != 3 || reel_rank(value) != 3) {
        reel_fail(REEL_ERR_SHAPE,
                  "attention: query, key, value have ranks %d, %d, %d, "
                  "expected [n, l, %lld] each",
                  reel_rank(query), reel_rank(key), reel_rank(value), (long long)a->dim);
        return NULL;
    }
    reel_tensor *q, *k, *v;
    if (query == key && key == value) {
        reel_tensor *packed = project(a, query, 0, 3); /* one product instead of three */
        q = part(a, packed, 0);
        k = part(a, packed, 1);
        v = part(a, packed, 2);
    } else {
        q = split_heads(a, project(a, query, 0, 1));
        k = split_heads(a, project(a, key, 1, 1));
        v = split_heads(a, project(a, value, 2, 1));
    }
    reel_attention_opts o = {.mask = mask,
                             .causal = a->opts.causal,
                             .dropout = a->m.training ? a->opts.dropout : 0};
    return reel_forward(a->out, join_heads(a, reel_attention(q, k, v, &o)));
}

static reel_tensor *attention_forward(reel_module *self, reel_tensor *x)
{
    return attend((attention *)self, x, x, x, NULL);
}

static reel_status attention_forward_n(reel_module *self, reel_tensor *const x[], int n_x,
                                       reel_tensor *y[], int n_y)
{
    bool cross = n_x == 3 || n_x == 4;
    if ((n_x != 1 && !cross) || n_y != 1 || !x[0] || (cross && (!x[1] || !x[2])))
        return reel_fail(
            REEL_ERR_ARG,
            "attention: %d inputs for %d results: it takes (query), (query, "
            "key, value) or (query, key, value, mask), of which the mask may "
            "be NULL, and gives one",
            n_x, n_y);
    y[0] = attend((attention *)self, x[0], x[cross ? 1 : 0], x[cross ? 2 : 0],
                  n_x == 4 ? x[3] : NULL);
    return reel_error_status();
}

reel_tensor *reel_nn_attention_forward(reel_module *mha, reel_tensor *query,
                                       reel_tensor *key, reel_tensor *value,
                                       reel_tensor *mask)
{
    REEL__CALLED;
    if (!query || !key || !value || !mha || mha->type != attention_type) {
        reel_fail(REEL_ERR_ARG, "nn_attention_forward: %s",
                  query && key && value ? "the module is not an attention"
                                        : "an input is NULL");
        return NULL;
    }
    reel_tensor *y;
    return reel_forward_n(mha, (reel_tensor *[]){query, key, value, mask}, 4, &y, 1)
               ? NULL
               : y;
}

reel_module *reel_nn_attention(int64_t dim, int heads, const reel_nn_attention_opts *opts)
{
    REEL__CALLED;
    const reel_nn_attention_opts *o =
        REEL__OPTS("nn_attention", reel_nn_attention_opts, opts);
    if (!o) return NULL;
    if (dim < 1 || heads < 1 || dim % heads || !(o->dropout >= 0 && o->dropout < 1)) {
        reel_fail(
            REEL_ERR_ARG,
            "nn_attention: dim %lld, %d heads, dropout %g: expected a multiple of the "
            "heads, 1 or more, and 0 <= dropout < 1",
            (long long)dim, heads, o->dropout);
        return NULL;
    }
    attention *a = reel_module_new(sizeof *a, attention_type, attention_forward);
    if (!a) return NULL;
    a->m.forward_n = attention_forward_n;
    reel_scope s = reel_scope_begin();
    a->dim = dim;
    a->heads = heads;
    a->opts = *o;
    a->in_weight = reel_module_param(
        &a->m, "in_proj_weight",
        reel_init_xavier_uniform(reel_empty(REEL_SHAPE(3 * dim, dim), REEL_F32), 1));
    if (!o->no_bias)
        a->in_bias = reel_module_param(&a->m, "in_proj_bias",
                                       reel_zeros(REEL_SHAPE(3 * dim), REEL_F32));
    a->out = reel_module_add(
        &a->m, "out_proj",
        reel_nn_linear(dim, dim, &(reel_nn_linear_opts){.no_bias = o->no_bias}));
    if (!o->no_bias) reel_init_constant(reel_module_find(a->out, "bias"), 0);
    reel_scope_end(s);
    return reel_module_done(&a->m);
}

/* ---- encoder layer ------------------------------------------------------------------- */

typedef struct encoder {
    reel_module m;
    reel_module *attention, *linear1, *linear2, *norm1, *norm2;
    reel_nn_encoder_layer_opts opts;
} encoder;

static reel_tensor *drop(const encoder *e, reel_tensor *x)
{
    return e->opts.dropout > 0 ? reel_dropout(x, e->opts.dropout, e->m.training) : x;
}

static reel_tensor *attention_part(const encoder *e, reel_tensor *x, reel_tensor *mask)
{
    reel_tensor *y = NULL;
    if (!mask) return drop(e, reel_forward(e->attention, x));
    (void)reel_forward_n(e->attention, (reel_tensor *[]){x, x, x, mask}, 4, &y, 1);
    return drop(e, y);
}

static reel_tensor *feed_forward_part(const encoder *e, reel_tensor *x)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *h = reel_activate(reel_forward(e->linear1, x), e->opts.activation);
    return reel_scope_return(s, drop(e, reel_forward(e->linear2, drop(e, h))));
}

static reel_tensor *encode(const encoder *e, reel_tensor *x, reel_tensor *mask)
{
    if (e->opts.norm_first) {
        x = reel_add(x, attention_part(e, reel_forward(e->norm1, x), mask));
        return reel_add(x, feed_forward_part(e, reel_forward(e->norm2, x)));
    }
    x = reel_forward(e->norm1, reel_add(x, attention_part(e, x, mask)));
    return reel_forward(e->norm2, reel_add(x, feed_forward_part(e, x)));
}

static reel_tensor *encoder_forward(reel_module *self, reel_tensor *x)
{
    return encode((const encoder *)self, x, NULL);
}

static reel_status encoder_forward_n(reel_module *self, reel_tensor *const x[], int n_x,
                                     reel_tensor *y[], int n_y)
{
    if (n_x < 1 || n_x > 2 || n_y != 1 || !x[0])
        return reel_module_takes(self, 2, 1, n_x, n_y);
    y[0] = encode((const encoder *)self, x[0], n_x == 2 ? x[1] : NULL);
    return reel_error_status();
}

reel_module *reel_nn_encoder_layer(int64_t dim, int heads,
                                   const reel_nn_encoder_layer_opts *opts)
{
    REEL__CALLED;
    const reel_nn_encoder_layer_opts *o =
        REEL__OPTS("nn_encoder_layer", reel_nn_encoder_layer_opts, opts);
    if (!o) return NULL;
    if (o->hidden < 0 || (unsigned)o->activation >= REEL__ACT_COUNT) {
        reel_fail(REEL_ERR_ARG, "nn_encoder_layer: hidden %lld, activation %d",
                  (long long)o->hidden, (int)o->activation);
        return NULL;
    }
    encoder *e = reel_module_new(sizeof *e, "encoder_layer", encoder_forward);
    if (!e) return NULL;
    reel_module *m = &e->m;
    m->forward_n = encoder_forward_n;
    int64_t hidden = o->hidden ? o->hidden : 2048;
    reel_nn_layer_norm_opts norm = {.eps = o->eps};
    e->opts = *o;
    e->opts.dropout = reel__option(o->dropout, 0);
    e->attention = reel_module_add(
        m, "self_attn",
        reel_nn_attention(
            dim, heads,
            &(reel_nn_attention_opts){.dropout = o->dropout, .causal = o->causal}));
    e->linear1 = reel_module_add(m, "linear1", reel_nn_linear(dim, hidden, NULL));
    e->linear2 = reel_module_add(m, "linear2", reel_nn_linear(hidden, dim, NULL));
    e->norm1 = reel_module_add(m, "norm1", reel_nn_layer_norm(REEL_SHAPE(dim), &norm));
    e->norm2 = reel_module_add(m, "norm2", reel_nn_layer_norm(REEL_SHAPE(dim), &norm));
    return reel_module_done(m);
}
