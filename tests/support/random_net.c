/* random_net.c: a pool of tensors, and rows of a table that make one more of them. */
#include "random_net.h"

#include <stdio.h>
#include <string.h>

#include "own_ops.h"
#include "random_quantized.h"

enum { POOL = 64 };

typedef struct pool {
    random_net *net;
    reel_tensor *x[POOL];
    int n;
} pool;

/* ---- a stream of its own: the library's must not move ---------------------------------- */

static uint64_t next(random_net *net)
{
    uint64_t z = net->at += UINT64_C(0x9e3779b97f4a7c15); /* SplitMix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int draw(random_net *net, int n)
{
    return (int)(next(net) % (uint64_t)n);
}

int random_net_draw(random_net *net, int n)
{
    return draw(net, n);
}

static double uniform(random_net *net, double low, double high)
{
    return low + (high - low) * (double)(next(net) >> 11) * 0x1p-53;
}

/* The next parameter: made at the first run, found again at all later ones. */
static reel_tensor *param(random_net *net, reel_shape shape, double low, double high)
{
    if (net->next_param >= RANDOM_NET_PARAMS) return NULL;
    int i = net->next_param++;
    if (i < net->n_param) {
        next(net);
        return net->param[i];
    }
    double data[4096];
    uint64_t was = net->at;
    int64_t n = 1;
    for (int d = 0; d < shape.rank; d++) n *= shape.dim[d];
    net->at = next(net);
    for (int64_t k = 0; k < n && k < 4096; k++) data[k] = uniform(net, low, high);
    net->at = was;
    next(net);
    if (n > 4096) return NULL;
    reel_tensor *t = reel_cast(reel_from(data, shape, REEL_F64), net->dtype);
    net->n_param++;
    return net->param[i] = reel_keep(reel_requires_grad(t, true));
}

reel_tensor *random_net_param(random_net *net, reel_shape shape, double low, double high)
{
    return param(net, shape, low, high);
}

/* Names of the process, for several nets may be there. */
static void make_own(random_net *net)
{
    static int made;
    char name[3][32];
    for (int i = 0; i < 3; i++) snprintf(name[i], sizeof name[i], "drawn%d_%d", made, i);
    made++;
    const own_opts o = {.effect = draw(net, 3) == 0, .no_rule = draw(net, 3) == 0};
    net->own[0] = own_cube(name[0], &o);
    net->own[1] = own_swish(name[1], &o);
    net->own[2] = own_unit(name[2], &(own_opts){.effect = o.effect});
}

random_net random_net_new(uint64_t seed)
{
    random_net net = {.seed = seed, .at = seed * 77 + 5};
    net.dtype = draw(&net, 3) == 0 ? REEL_F64 : REEL_F32;
    net.smooth = net.dtype == REEL_F32;
    net.steps = 4 + draw(&net, 20);
    make_own(&net);
    return net;
}

void random_net_free(random_net *net)
{
    for (int i = 0; i < net->n_param; i++) reel_release(net->param[i]);
    net->n_param = 0;
    for (int i = 0; i < 3; i++) reel_custom_op_free(net->own[i]);
}

void random_net_inputs(const random_net *net, int64_t batch, reel_tensor *x[])
{
    random_net n = {.at = net->seed * 131 + 7};
    int64_t c = 4 << draw(&n, 3), side = 4 + draw(&n, 3);
    x[0] = reel_randn(REEL_SHAPE(batch, c, side, side), net->dtype);
    x[1] = reel_randn(REEL_SHAPE(batch, 6 + draw(&n, 5)), net->dtype);
}

/* ---- rows: x is a tensor of the pool; NULL if it is not of the kind ---------------------- */

static reel_tensor *unary(pool *p, reel_tensor *x)
{
    static reel_tensor *(*const fn[])(reel_tensor *) = {
        reel_relu,     reel_gelu,      reel_gelu_tanh, reel_silu,        reel_sigmoid,
        reel_tanh,     reel_neg,       reel_abs,       reel_hardsigmoid, reel_hardswish,
        reel_softplus, reel_relu6,     reel_sin,       reel_cos,         reel_erf,
        reel_copy,     reel_contiguous};
    return fn[draw(p->net, (int)(sizeof fn / sizeof *fn))](x);
}

static reel_tensor *jump(pool *p, reel_tensor *x)
{
    static reel_tensor *(*const fn[])(reel_tensor *) = {reel_floor, reel_ceil, reel_round,
                                                        reel_sign};
    if (p->net->smooth) return NULL;
    return reel_add(x, fn[draw(p->net, 4)](x));
}

static reel_tensor *positive(pool *p, reel_tensor *x)
{
    static reel_tensor *(*const fn[])(reel_tensor *) = {reel_log, reel_sqrt, reel_rsqrt,
                                                        reel_reciprocal, reel_log1p};
    return fn[draw(p->net, 5)](reel_add_scalar(reel_square(reel_tanh(x)), 0.5));
}

static reel_tensor *scalar(pool *p, reel_tensor *x)
{
    static const double numbers[] = {1, 0, 2, 0.5, -1, 1.25, 6};
    double a = numbers[draw(p->net, 7)], b = uniform(p->net, 0.1, 2);
    switch (draw(p->net, 7)) {
    case 0: return reel_add_scalar(x, a);
    case 1: return reel_mul_scalar(x, a);
    case 2: return reel_clamp(x, 0, 6);
    case 3: return reel_clamp(x, -b, b);
    case 4: return reel_leaky_relu(x, 0.1);
    case 5: return reel_mul_scalar(reel_mul_scalar(x, a), b);
    default: return reel_add_scalar(reel_add_scalar(x, b), a);
    }
}

static reel_tensor *partner(pool *p, reel_tensor *x) /* another of the same shape */
{
    reel_shape s = reel_shape_of(x);
    for (int k = 0; k < p->n; k++) {
        reel_tensor *y = p->x[(k + draw(p->net, p->n)) % p->n];
        reel_shape t = reel_shape_of(y);
        if (t.rank == s.rank && memcmp(t.dim, s.dim, (size_t)s.rank * sizeof *s.dim) == 0)
            return y;
    }
    return x;
}

static reel_tensor *combine(pool *p, reel_tensor *x, reel_tensor *y)
{
    switch (draw(p->net, 8)) {
    case 0: return reel_add(x, y);
    case 1: return reel_sub(x, y);
    case 2: return reel_mul(x, reel_tanh(y));
    case 3: return reel_maximum(x, y);
    case 4: return reel_minimum(x, y);
    case 5: return reel_div(x, reel_add_scalar(reel_square(y), 1));
    case 6: return reel_lerp(x, y, 0.3);
    default: return reel_add_scaled(x, y, -0.7);
    }
}

static reel_tensor *binary(pool *p, reel_tensor *x)
{
    return combine(p, x, partner(p, x));
}

/* Against a vector of the last dimension, or of the channels. */
static reel_tensor *broadcast(pool *p, reel_tensor *x)
{
    reel_shape s = {.rank = reel_rank(x) - 1};
    for (int d = 0; d < s.rank; d++) s.dim[d] = 1;
    int keep = s.rank == 3 && draw(p->net, 2) ? 0 : s.rank - 1;
    s.dim[keep] = reel_size(x, keep + 1);
    reel_tensor *w = param(p->net, s, -1, 1);
    return w ? combine(p, x, w) : NULL;
}

static reel_tensor *in_place(pool *p, reel_tensor *x)
{
    reel_tensor *y = reel_mul_scalar(x, 0.5), *z = partner(p, x);
    switch (draw(p->net, 4)) {
    case 0: return reel_relu_(y);
    case 1: return reel_add_(y, z);
    case 2: return reel_mul_scalar_(reel_add_(y, z), 2);
    default: return reel_relu_(reel_sub_(y, z));
    }
}

static reel_tensor *padded(reel_tensor *x)
{
    reel_shape before = {.rank = reel_rank(x)}, after = before;
    before.dim[before.rank - 1] = 1;
    after.dim[after.rank - 1] = 2;
    return reel_pad(x, before, after, 0.25);
}

static reel_tensor *shape(pool *p, reel_tensor *x)
{
    int r = reel_rank(x), last = r - 1;
    int64_t n = reel_size(x, last);
    reel_tensor *two[2] = {x, partner(p, x)};
    switch (draw(p->net, 9)) {
    case 0: return r > 2 ? reel_flatten(x, 1, -1) : reel_unsqueeze(x, 1);
    case 1: return r > 2 ? reel_transpose(x, last, last - 1) : NULL;
    case 2: return r == 4 ? reel_permute(x, REEL_DIMS(0, 2, 3, 1)) : NULL;
    case 3: return n > 2 ? reel_slice(x, last, 1, n, draw(p->net, 2) + 1) : NULL;
    case 4: return n < 32 ? reel_cat(two, 2, last) : NULL;
    case 5: return n < 32 ? padded(x) : NULL;
    case 6: return reel_flip(x, REEL_DIMS(last));
    case 7: return r == 3 ? reel_squeeze(reel_narrow(x, 1, 0, 1), 1) : NULL;
    default:
        return n % 2 == 0 && r < 4
                   ? reel_reshape(x, r == 2 ? REEL_SHAPE(-1, n / 2, 2)
                                            : REEL_SHAPE(-1, reel_size(x, 1) * 2, n / 2))
                   : NULL;
    }
}

static reel_tensor *reduce(pool *p, reel_tensor *x)
{
    int last = reel_rank(x) - 1;
    bool keep = last == 1 || draw(p->net, 2);
    reel_tensor *y = NULL;
    switch (draw(p->net, 5)) {
    case 0: y = reel_sum(x, REEL_DIMS(last), keep); break;
    case 1: y = reel_mean(x, REEL_DIMS(last), keep); break;
    case 2: y = reel_max(x, REEL_DIMS(last), keep); break;
    case 3: y = reel_logsumexp(x, last, keep); break;
    default: return reel_sub(x, reel_mean(x, REEL_DIMS(last), true));
    }
    return y;
}

static reel_tensor *linear(pool *p, reel_tensor *x)
{
    int64_t in = reel_size(x, reel_rank(x) - 1), out = 2 + draw(p->net, 9);
    if (in > 300) return NULL;
    reel_tensor *w = param(p->net, REEL_SHAPE(out, in), -0.5, 0.5);
    reel_tensor *b = draw(p->net, 2) ? param(p->net, REEL_SHAPE(out), -1, 1) : NULL;
    return w ? reel_linear(x, w, b) : NULL;
}

static reel_tensor *norm(pool *p, reel_tensor *x)
{
    int r = reel_rank(x);
    int64_t n = reel_size(x, r - 1);
    if (n < 2) return NULL;
    if (draw(p->net, 2)) return reel_softmax(x, r - 1);
    reel_tensor *w = param(p->net, REEL_SHAPE(n), 0.5, 1.5);
    reel_tensor *b = param(p->net, REEL_SHAPE(n), -1, 1);
    return w && b ? reel_layer_norm(x, 1, w, b, NULL) : NULL;
}

static reel_tensor *conv(pool *p, reel_tensor *x)
{
    if (reel_rank(x) != 4 || reel_size(x, 2) < 3 || reel_size(x, 3) < 3) return NULL;
    int64_t c = reel_size(x, 1), k = c;
    int groups = draw(p->net, 4) == 0 ? (int)c : 1, side = draw(p->net, 3) ? 3 : 1;
    if (groups == 1) k = draw(p->net, 2) ? 16 : 4 + draw(p->net, 5);
    if (c * k * side * side / groups > 4000) return NULL;
    reel_tensor *w = param(p->net, REEL_SHAPE(k, c / groups, side, side), -0.3, 0.3);
    reel_tensor *b = draw(p->net, 2) ? param(p->net, REEL_SHAPE(k), -1, 1) : NULL;
    reel_conv2d_opts o = {
        .stride = 1 + (draw(p->net, 4) == 0), .padding = side / 2, .groups = groups};
    return w ? reel_conv2d(x, w, b, &o) : NULL;
}

static reel_tensor *batch_norm(pool *p, reel_tensor *x)
{
    if (reel_rank(x) != 4) return NULL;
    int64_t c = reel_size(x, 1);
    reel_tensor *w = param(p->net, REEL_SHAPE(c), 0.5, 1.5);
    reel_tensor *b = param(p->net, REEL_SHAPE(c), -1, 1);
    reel_tensor *m = param(p->net, REEL_SHAPE(c), -0.5, 0.5);
    reel_tensor *v = param(p->net, REEL_SHAPE(c), 0.5, 2);
    if (!v) return NULL;
    reel_requires_grad(m, false);
    reel_requires_grad(v, false);
    return reel_batch_norm(x, w, b, m, v, NULL,
                           &(reel_batch_norm_opts){.relu = draw(p->net, 2) == 0});
}

static reel_tensor *conv_norm(pool *p, reel_tensor *x) /* a block of a residual net */
{
    reel_tensor *y = conv(p, x), *z = y ? batch_norm(p, y) : NULL;
    if (!z) return NULL;
    reel_tensor *skip = partner(p, z);
    return draw(p->net, 2) ? reel_relu(reel_add(z, skip)) : z;
}

static reel_tensor *pool2d(pool *p, reel_tensor *x)
{
    if (reel_rank(x) != 4 || reel_size(x, 2) < 2 || reel_size(x, 3) < 2) return NULL;
    switch (draw(p->net, 3)) {
    case 0: return reel_max_pool2d(x, 2, &(reel_pool2d_opts){.stride = 1});
    case 1: return reel_avg_pool2d(x, 2, NULL);
    default: return reel_adaptive_avg_pool2d(x, 1, 1);
    }
}

/* Of l queries and as many keys: by pairs, by keys, or by queries, of which some then see
 * nothing; bool, or a bias that learns. NULL: none. Drawn from parameters, so it is the same
 * however x is rounded. */
static reel_tensor *attention_mask(pool *p, int64_t l)
{
    const reel_shape shape[] = {REEL_SHAPE(l, l), REEL_SHAPE(l), REEL_SHAPE(l, 1)};
    const int which = draw(p->net, 6);
    reel_tensor *m = which < 3 ? param(p->net, shape[which], -1, 1) : NULL;
    return m && draw(p->net, 2) ? reel_gt(m, reel_scalar(0, p->net->dtype)) : m;
}

static reel_tensor *attention(pool *p, reel_tensor *x)
{
    if (reel_rank(x) != 3 || reel_size(x, 1) > 40) return NULL;
    const reel_attention_opts o = {.mask = attention_mask(p, reel_size(x, 1)),
                                   .causal = draw(p->net, 2)};
    return reel_attention(x, partner(p, x), reel_tanh(x), &o);
}

/* Chosen by a mask of the last dimension. */
static reel_tensor *masked(pool *p, reel_tensor *x)
{
    reel_tensor *w = param(p->net, REEL_SHAPE(reel_size(x, -1)), -1, 1);
    if (!w) return NULL;
    reel_tensor *mask = reel_gt(w, reel_scalar(0, p->net->dtype));
    switch (draw(p->net, 3)) {
    case 0: return reel_where(mask, x, partner(p, x));
    case 1: return reel_mul(x, reel_cast(mask, p->net->dtype));
    default: return reel_masked_fill(x, mask, 0.25);
    }
}

/* By way of a tensor that has no elements. */
static reel_tensor *emptied(pool *p, reel_tensor *x)
{
    const int last = reel_rank(x) - 1;
    const int64_t out = 2 + draw(p->net, 4);
    reel_tensor *none = unary(p, reel_narrow(x, last, draw(p->net, 2), 0));
    reel_tensor *both[] = {none, x}, *w, *b;
    switch (draw(p->net, 5)) {
    case 0: return reel_cat(both, 2, last);
    case 1: return reel_add(x, reel_sum(none, REEL_DIMS(last), true));
    case 2: return last > 1 ? reel_matmul(none, reel_transpose(none, -1, -2)) : NULL;
    case 3:
        w = param(p->net, REEL_SHAPE(out, 0), -1, 1);
        b = w ? param(p->net, REEL_SHAPE(out), -1, 1) : NULL;
        return b ? reel_linear(none, w, b) : NULL;
    default:
        if (last != 2 || reel_size(x, 1) > 40) return NULL;
        none = reel_narrow(x, 1, 0, 0); /* no keys */
        return reel_add(x, reel_attention(x, none, none, NULL));
    }
}

static reel_tensor *matmul(pool *p, reel_tensor *x)
{
    (void)p;
    if (reel_rank(x) != 3 || reel_size(x, 1) > 40) return NULL;
    return reel_tanh(reel_matmul(x, reel_transpose(x, 1, 2)));
}

/* What users write by hand, and passes are to recognize. */
static reel_tensor *by_hand(pool *p, reel_tensor *x)
{
    int last = reel_rank(x) - 1;
    reel_shape d = REEL_DIMS(last);
    reel_tensor *e = reel_exp(reel_sub(x, reel_max(x, d, true)));
    reel_tensor *centred = reel_sub(x, reel_mean(x, d, true));
    switch (draw(p->net, 6)) {
    case 0: return reel_div(e, reel_sum(e, d, true));
    case 1:
        return reel_mul(
            reel_mul_scalar(x, 0.5),
            reel_add_scalar(reel_erf(reel_mul_scalar(x, 0.70710678118654752)), 1));
    case 2: return reel_mul(x, reel_sigmoid(x));
    case 3:
        return reel_mul_scalar(reel_mul(x, reel_clamp(reel_add_scalar(x, 3), 0, 6)),
                               1. / 6);
    case 4:
        return reel_div(centred, reel_sqrt(reel_add_scalar(
                                     reel_mean(reel_square(centred), d, true), 1e-5)));
    default: return reel_neg(reel_neg(reel_add(x, x)));
    }
}

/* Operators of the user's own. */
static reel_tensor *own(pool *p, reel_tensor *x)
{
    const reel_custom_attr scale = REEL_CUSTOM_REAL("scale", uniform(p->net, 0.2, 1));
    const reel_custom_args args = {.attrs = &scale, .n_attrs = draw(p->net, 2)};
    reel_tensor *in[2] = {reel_tanh(x), NULL}, *y[2];
    int which = draw(p->net, 3);
    if (which < 2) return reel_custom(p->net->own[which], which ? &x : in, 1, &args);
    if (draw(p->net, 2) && !(in[1] = param(p->net, REEL_SHAPE(reel_size(x, -1)), -1, 1)))
        return NULL;
    if (reel_custom_run(p->net->own[2], in, 2, y, 2, NULL)) return NULL;
    return draw(p->net, 2) ? y[0] : reel_mul(y[0], reel_unsqueeze(y[1], -1));
}

/* Of an input of the net, whatever x is. */
static reel_tensor *quantized(pool *p, reel_tensor *x)
{
    (void)x;
    return random_quantized(p->net, p->x[draw(p->net, RANDOM_NET_INPUTS)]);
}

typedef struct row {
    int weight;
    reel_tensor *(*make)(pool *p, reel_tensor *x);
} row;

static const row rows[] = {{6, unary},      {1, jump},      {1, positive}, {4, scalar},
                           {4, binary},     {3, broadcast}, {2, in_place}, {5, shape},
                           {2, reduce},     {3, linear},    {2, norm},     {4, conv},
                           {2, batch_norm}, {4, conv_norm}, {2, pool2d},   {2, attention},
                           {1, matmul},     {4, by_hand},   {2, masked},   {1, emptied},
                           {3, own},        {3, quantized}};

static reel_tensor *one_more(pool *p)
{
    int total = 0, i = 0;
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++) total += rows[k].weight;
    int at = draw(p->net, total);
    while (at >= rows[i].weight) at -= rows[i++].weight;
    /* late tensors more often: long chains */
    int from = draw(p->net, 2) ? p->n - 1 : draw(p->net, p->n);
    return rows[i].make(p, p->x[from]);
}

/* All of the pool's late tensors count, each as one number a row, so that little is dead. */
static reel_tensor *finish(pool *p)
{
    reel_tensor *sum = NULL;
    for (int i = p->n - 1, used = 0; i >= 0 && used < 3; i--, used++) {
        reel_tensor *y =
            reel_tanh(reel_mean(reel_flatten(p->x[i], 1, -1), REEL_DIMS(1), true));
        sum = sum ? reel_add(sum, y) : y;
    }
    reel_tensor *last = reel_flatten(p->x[p->n - 1], 1, -1);
    return reel_add(last, sum);
}

reel_tensor *random_net_run(void *user, reel_tensor *const x[], int n)
{
    random_net *net = user;
    pool p = {.net = net};
    for (int i = 0; i < n; i++) p.x[p.n++] = x[i];
    net->at = net->seed * 1009 + 11;
    net->next_param = 0;
    for (int i = 0; i < net->steps && p.n < POOL && !reel_failed(); i++) {
        reel_tensor *y = one_more(&p);
        if (y && reel_numel(y) > 0) p.x[p.n++] = y;
    }
    return reel_failed() ? NULL : finish(&p);
}
