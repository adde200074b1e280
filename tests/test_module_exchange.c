/* test_module_exchange.c: children that are replaced, taken out or freed. For every kind of
 * module that has children, and each of its children at any depth: what runs afterwards is the
 * new child, or an error that says what is wrong, and never the memory of the old one. */
#include "module_check.h"

#include "nn/models/resnet.h"

/* ---- modules of a user's ---------------------------------------------------------------- */

/* Holds children in all the ways that a struct can, and one of a child's own. */
typedef struct holder {
    reel_module m;
    reel_module *first, *list[2], *inner;
    reel_module *more[]; /* one */
} holder;

static reel_tensor *holder_forward(reel_module *self, reel_tensor *x)
{
    const holder *h = (const holder *)self;
    x = reel_forward(h->list[1], reel_forward(h->list[0], reel_forward(h->first, x)));
    return reel_add(reel_forward(h->more[0], x), reel_forward(h->inner, x));
}

static reel_module *holder_new(void)
{
    holder *h = reel_module_new(sizeof *h + sizeof h->more[0], "holder", holder_forward);
    reel_module *more = reel_nn_sequential(reel_nn_linear(4, 4, NULL), reel_nn_relu());
    h->inner = reel_module_at(more, "0");
    h->first = reel_module_add(&h->m, "first", reel_nn_linear(4, 4, NULL));
    h->list[0] = reel_module_add(&h->m, "list0", reel_nn_relu());
    h->list[1] = reel_module_add(&h->m, "list1", reel_nn_linear(4, 4, NULL));
    h->more[0] = reel_module_add(&h->m, "more", more);
    return reel_module_done(&h->m);
}

/* Holds its child where the library does not look. */
typedef struct hider {
    reel_module m;
    reel_module **child;
} hider;

static reel_tensor *hider_forward(reel_module *self, reel_tensor *x)
{
    return reel_forward(*((hider *)self)->child, x);
}

static void hider_destroy(reel_module *self)
{
    free(((hider *)self)->child);
}

static reel_module *hider_new(void)
{
    hider *h = reel_module_new(sizeof *h, "hider", hider_forward);
    h->m.destroy = hider_destroy;
    h->child = malloc(sizeof(reel_module *));
    assert_non_null(h->child);
    *h->child = reel_module_add(&h->m, "hidden", reel_nn_linear(4, 4, NULL));
    return reel_module_done(&h->m);
}

/* ---- all kinds --------------------------------------------------------------------------- */

static reel_module *sequential(void)
{
    return reel_nn_sequential(reel_nn_linear(4, 4, NULL),
                              reel_nn_sequential(reel_nn_relu(), holder_new()));
}

static reel_module *attention(void)
{
    return reel_nn_attention(4, 2, NULL);
}

static reel_module *encoder_layer(void)
{
    return reel_nn_encoder_layer(4, 2, &(reel_nn_encoder_layer_opts){.hidden = 8});
}

static reel_module *encoder_layer_norm_first(void)
{
    return reel_nn_encoder_layer(
        4, 2, &(reel_nn_encoder_layer_opts){.hidden = 8, .norm_first = true});
}

static reel_module *mlp(void)
{
    return reel_mlp(4, 3, &(reel_mlp_opts){.hidden = {5, 6}});
}

/* Few and narrow blocks of each kind: all residual nets are made by this function. */
static reel_module *resnet(bool bottleneck, bool small_stem, reel__shortcut shortcut)
{
    return reel__resnet(&(reel__resnet_plan){.type = "resnet",
                                             .stages = 2,
                                             .blocks = {1, 2},
                                             .width = 4,
                                             .bottleneck = bottleneck,
                                             .small_stem = small_stem,
                                             .shortcut = shortcut,
                                             .classes = 3,
                                             .channels = 3});
}

static reel_module *resnet_basic(void)
{
    return resnet(false, true, SHORTCUT_CONV);
}

static reel_module *resnet_padded(void)
{
    return resnet(false, true, SHORTCUT_PAD);
}

static reel_module *resnet_bottleneck(void)
{
    return resnet(true, false, SHORTCUT_CONV);
}

static reel_module *narrow_mobilenet(void)
{
    return reel_mobilenet_v2(&(reel_mobilenet_opts){.classes = 3, .width = 0.1});
}

/* With one layer in place of its many. */
static reel_module *mobilenet(void)
{
    reel_module *net = narrow_mobilenet();
    reel_module_replace(net, "features", reel_nn_conv2d(3, 1280, 3, NULL));
    return net;
}

/* One that has a shortcut. */
static reel_module *inverted_residual(void)
{
    reel_module *net = narrow_mobilenet(), *block = reel_module_take(net, "features.3");
    reel_module_free(net);
    return block;
}

static reel_module *vit(void)
{
    return reel_vit_tiny(
        &(reel_vit_opts){.image = 8, .dim = 4, .depth = 2, .heads = 2, .dropout = 0.1});
}

static const struct kind {
    const char *name;
    reel_module *(*make)(void);
    reel_shape x;
    bool hides; /* children that no struct holds */
} kinds[] = {
    {"sequential", sequential, {.rank = 2, .dim = {2, 4}}, false},
    {"holder", holder_new, {.rank = 2, .dim = {2, 4}}, false},
    {"hider", hider_new, {.rank = 2, .dim = {2, 4}}, true},
    {"attention", attention, {.rank = 3, .dim = {2, 3, 4}}, false},
    {"encoder_layer", encoder_layer, {.rank = 3, .dim = {2, 3, 4}}, false},
    {"norm_first", encoder_layer_norm_first, {.rank = 3, .dim = {2, 3, 4}}, false},
    {"mlp", mlp, {.rank = 2, .dim = {2, 4}}, false},
    {"resnet, basic", resnet_basic, {.rank = 4, .dim = {1, 3, 8, 8}}, false},
    {"resnet, padded", resnet_padded, {.rank = 4, .dim = {1, 3, 8, 8}}, false},
    {"resnet, bottleneck", resnet_bottleneck, {.rank = 4, .dim = {1, 3, 32, 32}}, false},
    {"mobilenet_v2", mobilenet, {.rank = 4, .dim = {1, 3, 5, 5}}, false},
    {"inverted residual", inverted_residual, {.rank = 4, .dim = {1, 8, 5, 5}}, false},
    {"vit", vit, {.rank = 4, .dim = {1, 3, 8, 8}}, false},
};

/* ---- a child in the place of another ------------------------------------------------------ */

/* Gives zeros of the shape that the module before it gave, and counts its calls. */
typedef struct probe {
    reel_module m;
    reel_shape y;
    int calls;
} probe;

static reel_tensor *probe_forward(reel_module *self, reel_tensor *x)
{
    probe *p = (probe *)self;
    (void)x;
    p->calls++;
    return reel_zeros(p->y, REEL_F32);
}

static reel_tensor *see(void *user, reel_module *m, reel_tensor *x, reel_tensor *y)
{
    probe *seen = user;
    (void)m;
    (void)x;
    seen->y = reel_shape_of(y);
    seen->calls++;
    return NULL;
}

static reel_module *probe_like(const probe *seen)
{
    probe *p = reel_module_new(sizeof *p, "probe", probe_forward);
    assert_non_null(p);
    p->y = seen->y;
    return &p->m;
}

/* A new net with the child at `path`; what the child did in one run. */
static reel_module *net_with(const struct kind *k, const char *path, probe *seen)
{
    reel_module *net = k->make();
    assert_ok();
    *seen = (probe){0};
    reel_module_hook hook = {.after = see, .user = seen};
    assert_int_not_equal(reel_module_add_hook(reel_module_at(net, path), &hook), 0);
    assert_non_null(reel_forward(net, reel_ones(k->x, REEL_F32)));
    return net;
}

static void forward_says(reel_module *net, reel_tensor *x, const char *where,
                         const char *what)
{
    if (reel_forward(net, x)) fail_msg("%s: a result of a child that is gone", where);
    if (!strstr(reel_error_message(), what))
        fail_msg("%s: %s", where, reel_error_message());
    reel_error_clear();
}

static void forward_is_error(reel_module *net, reel_tensor *x, const char *where)
{
    forward_says(net, x, where, "was freed");
}

static void replace_one(const struct kind *k, const char *path)
{
    char where[256];
    probe seen;
    reel_module *net = net_with(k, path, &seen), *old = reel_module_at(net, path);
    reel_tensor *x = reel_ones(k->x, REEL_F32);
    snprintf(where, sizeof where, "%s, %s replaced", k->name, path);
    reel_module *new = reel_module_replace(net, path, probe_like(&seen));
    assert_non_null(new);
    assert_ptr_equal(reel_module_at(net, path), new);
    /* "inner" is a child of what was "more", and went with it. */
    if (k->hides || strcmp(reel_module_name(new), "more") == 0) {
        forward_is_error(net, x, where);
    } else {
        reel_tensor *y = reel_forward(net, x);
        if (!y) fail_msg("%s: %s", where, reel_error_message());
        if (((probe *)new)->calls != seen.calls)
            fail_msg("%s: ran %d times, the old one %d", where, ((probe *)new)->calls,
                     seen.calls);
    }
    forward_is_error(old, x, where);
    reel_module_free(net);
}

/* In a sequential the others run on; elsewhere the parent needs its child. */
static void free_one(const struct kind *k, const char *path)
{
    char where[256];
    probe seen;
    reel_module *net = net_with(k, path, &seen), *old = reel_module_at(net, path);
    reel_tensor *x = reel_ones(k->x, REEL_F32);
    snprintf(where, sizeof where, "%s, %s freed", k->name, path);
    const char *dot = strrchr(path, '.'), *name = dot ? dot + 1 : path;
    char up[256];
    snprintf(up, sizeof up, "%.*s", dot ? (int)(dot - path) : 0, path);
    reel_module *parent = reel_module_at(net, up);
    reel_module_free(old);
    assert_null(reel_module_at(net, path));
    for (int again = 0; again < 2; again++) {
        if (strcmp(parent->type, "sequential") != 0 && seen.calls > 0)
            forward_is_error(net, x, where);
        else if (!reel_forward(net, x) && !strstr(reel_error_message(), "was freed") &&
                 reel_error_status() != REEL_ERR_SHAPE)
            fail_msg("%s: %s", where, reel_error_message());
        reel_error_clear();
        if (!again) assert_non_null(reel_module_add(parent, name, probe_like(&seen)));
    }
    reel_module_free(net);
}

/* A module around one that another had. */
typedef struct around {
    reel_module m;
    reel_module *base;
    int calls;
} around;

static reel_tensor *around_forward(reel_module *self, reel_tensor *x)
{
    around *a = (around *)self;
    a->calls++;
    return reel_forward(a->base, x);
}

static reel_status around_forward_n(reel_module *self, reel_tensor *const x[], int n_x,
                                    reel_tensor *y[], int n_y)
{
    around *a = (around *)self;
    a->calls++;
    return reel_forward_n(a->base, x, n_x, y, n_y);
}

static reel_module *around_new(reel_module *base)
{
    around *a = reel_module_new(sizeof *a, "around", around_forward);
    if (!a) {
        reel_module_free(base);
        return NULL;
    }
    a->m.forward_n = around_forward_n;
    a->base = reel_module_add(&a->m, "base", base);
    return reel_module_done(&a->m);
}

/* Taken out, the child works alone and the net says what it lacks; with something around it in
 * its old place the net computes what it did. */
static void take_one(const struct kind *k, const char *path)
{
    char where[256];
    probe seen;
    reel_module *net = net_with(k, path, &seen), *old = reel_module_at(net, path);
    reel_train(net, false);
    reel_tensor *x = reel_ones(k->x, REEL_F32), *before = reel_forward(net, x);
    int64_t n = reel_param_count(net);
    snprintf(where, sizeof where, "%s, %s taken", k->name, path);
    reel_module *taken = reel_module_take(net, path);
    assert_ptr_equal(taken, old);
    assert_string_equal(reel_module_name(taken), "");
    assert_int_equal(reel_param_count(net), n - reel_param_count(taken));
    if (!k->hides) forward_says(net, x, where, "was taken out");
    around *a = (around *)reel_module_replace(net, path, around_new(taken));
    assert_non_null(a);
    reel_train(net, false);
    assert_int_equal(reel_param_count(net), n);
    seen.calls = 0;
    reel_tensor *after = reel_forward(net, x);
    if (!after || !same_bits(before, after)) fail_msg("%s: other values", where);
    if (!k->hides && a->calls != seen.calls)
        fail_msg("%s: ran %d times, what is in it %d", where, a->calls, seen.calls);
    reel_module_free(net);
}

/* In each order the net and what was taken out of it are freed; who is left says what it can. */
static void take_and_free(const struct kind *k, const char *path, bool net_first)
{
    probe seen;
    reel_module *net = net_with(k, path, &seen), *taken = reel_module_take(net, path);
    reel_tensor *x = reel_ones(k->x, REEL_F32);
    reel_module_free(net_first ? net : taken);
    if (!net_first) {
        assert_null(reel_forward(net, x));
        assert_int_equal(reel_error_status(), REEL_ERR_STATE);
        reel_error_clear();
        reel_module_free(reel_module_at(net, path)); /* what stands in its place */
        assert_null(reel_module_at(net, path));
    }
    reel_module_free(net_first ? taken : net);
    assert_ok();
}

typedef struct paths {
    char path[64][64];
    int n;
} paths;

static reel_status add_path(void *user, const char *path, reel_module *m)
{
    paths *p = user;
    (void)m;
    assert_true(p->n < 64);
    if (*path) snprintf(p->path[p->n++], sizeof p->path[0], "%s", path);
    return REEL_OK;
}

static void test_each_child(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        paths all = {.n = 0};
        reel_module *net = kinds[i].make();
        reel_module_each(net, add_path, &all);
        reel_module_free(net);
        assert_true(all.n > 0);
        for (int c = 0; c < all.n; c++) {
            reel_scope s = reel_scope_begin();
            replace_one(&kinds[i], all.path[c]);
            free_one(&kinds[i], all.path[c]);
            take_one(&kinds[i], all.path[c]);
            take_and_free(&kinds[i], all.path[c], true);
            take_and_free(&kinds[i], all.path[c], false);
            reel_scope_end(s);
        }
    }
}

/* ---- what is said of it ------------------------------------------------------------------- */

static void test_replaced_head(void **state)
{
    (void)state;
    reel_module *net = reel_resnet20(NULL);
    reel_train(net, false);
    reel_module *fc = reel_module_replace(net, "fc", reel_nn_linear(64, 3, NULL));
    assert_string_equal(reel_module_name(fc), "fc");
    assert_ptr_equal(reel_module_child(net, reel_module_count(net) - 1), fc);
    assert_true(fc->training); /* its own mode stays */
    reel_tensor *y = reel_forward(net, reel_randn(REEL_SHAPE(2, 3, 32, 32), REEL_F32));
    assert_int_equal(reel_size(y, 1), 3);
    reel_params p = reel_parameters(net);
    assert_ptr_equal(p.tensor[p.n - 2], reel_module_find(fc, "weight"));
    assert_string_equal(p.name[p.n - 2], "fc.weight");
    /* The tape of the old child outlives it. */
    reel_module_replace(net, "fc", reel_nn_linear(64, 2, NULL));
    reel_backward(reel_sum(y, REEL_ALL, false), NULL);
    assert_non_null(reel_grad_of(reel_module_find(net, "conv1.weight")));
    assert_ok();
    reel_module_free(net);
}

/* A new child that holds the old one, and not as its child, holds what is gone. */
static void test_new_child_holds_old(void **state)
{
    (void)state;
    reel_module *net = holder_new();
    reel_module **place = malloc(sizeof *place);
    hider *h = reel_module_new(sizeof *h + sizeof(reel_module *), "hider", hider_forward);
    assert_true(place && h);
    h->m.destroy = hider_destroy;
    h->child = place;
    *place = reel_module_at(net, "first");
    memcpy(h + 1, place, sizeof *place); /* in the struct as well */
    assert_non_null(reel_module_replace(net, "first", &h->m));
    assert_int_equal(memcmp(h + 1, place, sizeof *place), 0);
    forward_is_error(net, reel_ones(REEL_SHAPE(2, 4), REEL_F32), "held by the new one");
    reel_module_free(net);
}

static void test_replace_errors(void **state)
{
    (void)state;
    reel_module *net = holder_new(), *other = reel_nn_sequential(reel_nn_relu());
    assert_null(reel_module_replace(net, "second", reel_nn_relu()));
    expect_error(REEL_ERR_ARG, "holder has no child \"second\"");
    assert_null(reel_module_replace(net, "", reel_nn_relu()));
    expect_error(REEL_ERR_ARG, "no child \"\"");
    assert_null(reel_module_replace(net, "first", NULL));
    expect_error(REEL_ERR_ARG, "\"first\" is NULL");
    assert_null(reel_module_replace(NULL, "first", reel_nn_relu()));
    expect_error(REEL_ERR_ARG, "module is NULL");
    assert_null(reel_module_replace(net, "first", reel_module_at(other, "0")));
    expect_error(REEL_ERR_STATE, "parent already");
    assert_null(reel_module_replace(reel_module_at(other, ""), "0", other));
    expect_error(REEL_ERR_STATE, "above its parent");
    reel_module *first = reel_module_at(net, "first");
    reel_module_free(first);
    reel_module_free(first);
    expect_error(REEL_ERR_STATE, "module_free: the module \"first\" was freed");
    assert_null(reel_module_add(other, "first", first));
    expect_error(REEL_ERR_STATE, "cannot be used");
    assert_null(reel_module_add(first, "x", reel_nn_relu()));
    expect_error(REEL_ERR_STATE, "was freed");
    assert_null(reel_module_param(first, "w", reel_ones(REEL_SHAPE(2), REEL_F32)));
    expect_error(REEL_ERR_STATE, "was freed");
    assert_int_equal(reel_parameters(first).n, 0);
    expect_error(REEL_ERR_STATE, "was freed");
    assert_int_equal(reel_module_add_hook(first, &(reel_module_hook){0}), 0);
    expect_error(REEL_ERR_STATE, "was freed");
    reel_frame f = reel_module_enter(first, NULL);
    assert_null(reel_module_leave(first, f, NULL, NULL));
    expect_error(REEL_ERR_STATE, "module_enter: the module \"first\" was freed");
    reel_module_free(net);
    reel_module_free(other);
}

static void test_take_errors(void **state)
{
    (void)state;
    reel_module *net = holder_new();
    assert_null(reel_module_take(net, "second"));
    expect_error(REEL_ERR_ARG, "module_take: holder has no child \"second\"");
    assert_null(reel_module_take(net, ""));
    expect_error(REEL_ERR_ARG, "no child \"\"");
    assert_null(reel_module_take(NULL, "first"));
    expect_error(REEL_ERR_ARG, "module_take: the module is NULL");
    reel_module *first = reel_module_take(net, "first");
    assert_null(reel_module_take(net, "first"));
    expect_error(REEL_ERR_STATE, "module_take: the module \"first\" was taken out");
    assert_null(reel_module_add(reel_module_at(net, "first"), "x", reel_nn_relu()));
    expect_error(REEL_ERR_STATE, "was taken out");
    assert_null(reel_module_replace(net, "first", NULL));
    expect_error(REEL_ERR_ARG, "\"first\" is NULL");
    /* The place is still there, and so is what stood in it. */
    assert_ptr_equal(reel_module_replace(net, "first", first), first);
    assert_non_null(reel_forward(net, reel_ones(REEL_SHAPE(2, 4), REEL_F32)));
    reel_module_free(net);
}

/* Who was taken out of one another, in a ring. */
static void test_taken_out_of_one_another(void **state)
{
    (void)state;
    reel_module *a = reel_nn_sequential(reel_nn_sequential(reel_nn_relu()));
    reel_module *b = reel_module_take(a, "0");
    assert_non_null(reel_module_add(b, "a", a));
    assert_ptr_equal(reel_module_take(b, "a"), a);
    assert_non_null(reel_module_replace(a, "0", b));
    assert_ptr_equal(reel_module_take(a, "0"), b);
    reel_module_free(a);
    reel_module_free(b);
}

/* A child below what was taken out, whose address a struct above still has. */
static void test_taken_out_of_what_was_taken(void **state)
{
    (void)state;
    reel_module *net = holder_new(); /* its `inner` is "more.0" */
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 4), REEL_F32);
    reel_module *more = reel_module_take(net, "more");
    assert_non_null(reel_module_replace(net, "more", reel_nn_relu()));
    assert_non_null(reel_forward(net, x)); /* that lives, and works */
    reel_module *inner = reel_module_take(more, "0");
    reel_module_free(more);
    reel_module_free(inner);
    forward_is_error(net, x, "inner");
    reel_module_free(net);
}

static void test_graph_stays_whole(void **state)
{
    (void)state;
    reel_module *net = mlp();
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 4), REEL_F32);
    reel_graph *g = reel_trace(net, x, NULL);
    reel_module *gm = reel_graph_module(g);
    assert_null(reel_module_replace(gm, "fc1", reel_nn_linear(4, 5, NULL)));
    expect_error(REEL_ERR_STATE, "part of a graph");
    assert_null(reel_module_take(gm, "fc1"));
    expect_error(REEL_ERR_STATE, "module_take: this module is part of a graph");
    reel_module_free(reel_module_at(gm, "fc1"));
    expect_error(REEL_ERR_STATE, "part of a graph");
    assert_true(same_bits(reel_forward(gm, x), reel_forward(net, x)));
    /* As a whole it is a child like others. */
    reel_module *parent = reel_nn_sequential(gm);
    assert_non_null(reel_module_replace(parent, "0", reel_nn_relu()));
    assert_true(same_bits(reel_forward(parent, x), x));
    reel_module_free(parent);
    reel_graph_free(g);
    reel_module_free(net);
}

/* ---- LoRA ----------------------------------------------------------------------------------- */

/* Hu et al. 2021, arXiv:2106.09685: y = base(x) + alpha / rank * x A' B'; B begins as 0. */
typedef struct lora {
    reel_module m;
    reel_module *base;  /* a linear, [in] -> [out], frozen */
    reel_tensor *a, *b; /* [rank, in], [out, rank] */
    double scale;
} lora;

static reel_tensor *lora_forward(reel_module *self, reel_tensor *x)
{
    const lora *l = (const lora *)self;
    reel_tensor *low = reel_linear(reel_linear(x, l->a, NULL), l->b, NULL);
    return reel_add(reel_forward(l->base, x), reel_mul_scalar(low, l->scale));
}

static reel_module *lora_new(reel_module *base, int64_t rank, double alpha)
{
    reel_tensor *w = base ? reel_module_find(base, "weight") : NULL;
    lora *l = reel_module_new(sizeof *l, "lora", lora_forward);
    if (!l) {
        reel_module_free(base);
        return NULL;
    }
    reel_scope s = reel_scope_begin();
    l->scale = alpha / (double)rank;
    l->base = reel_module_add(&l->m, "base", base);
    reel_freeze(l->base, true);
    reel_tensor *a = reel_zeros(REEL_SHAPE(rank, reel_size(w, 1)), REEL_F32);
    reel_tensor *b = reel_zeros(REEL_SHAPE(reel_size(w, 0), rank), REEL_F32);
    l->a = reel_module_param(&l->m, "a", reel_init_kaiming_uniform(a, NULL));
    l->b = reel_module_param(&l->m, "b", b);
    reel_scope_end(s);
    return reel_module_done(&l->m);
}

static void test_lora(void **state)
{
    (void)state;
    static const char *const names[] = {"fc1.a", "fc1.b", "fc1.base.weight",
                                        "fc1.base.bias", "fc2.weight"};
    reel_module *net = mlp();
    reel_tensor *x = reel_randn(REEL_SHAPE(16, 4), REEL_F32);
    reel_tensor *target = reel_randn(REEL_SHAPE(16, 3), REEL_F32);
    reel_tensor *weight = reel_module_find(net, "fc1.weight"), *was = reel_copy(weight);
    reel_tensor *before = reel_forward(net, x);
    reel_freeze(net, true);
    reel_module *fc1 = reel_module_take(net, "fc1");
    assert_non_null(reel_module_replace(net, "fc1", lora_new(fc1, 2, 4)));
    assert_true(same_bits(reel_forward(net, x), before));               /* B is 0 */
    assert_ptr_equal(reel_module_find(net, "fc1.base.weight"), weight); /* no copy */
    reel_tensor_map *map = reel_tensor_map_new();
    assert_int_equal(reel_state_dict(net, map), REEL_OK);
    for (int i = 0; i < 5; i++)
        assert_string_equal(reel_tensor_map_name(map, i), names[i]);
    reel_optim *opt = reel_adam(reel_parameters(net), &(reel_adam_opts){.lr = 0.05});
    double first = 0, last = 0;
    for (int i = 0; i < 40; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *loss = reel_mse_loss(reel_forward(net, x), target, REEL_MEAN);
        reel_backward(loss, NULL);
        reel_optim_step(opt);
        reel_optim_zero_grad(opt);
        last = reel_item(loss);
        if (i == 0) first = last;
        reel_scope_end(s);
    }
    assert_ok();
    assert_true(last < 0.9 * first);
    assert_true(same_bits(weight, was));
    /* What was saved is what it was made with: LoRA off. */
    assert_int_equal(reel_load_state_dict(net, map, NULL), REEL_OK);
    reel_optim_free(opt);
    reel_tensor_map_free(map);
    reel_module_free(net);
}

/* A net whose heads come and go: each allocation fails in turn. */
static bool exchange_heads(void)
{
    reel_scope s = reel_scope_begin();
    reel_module *net = mlp();
    if (net) reel_module_replace(net, "fc2", around_new(reel_module_take(net, "fc2")));
    for (int i = 0; i < 3 && net; i++)
        reel_module_replace(net, "fc3", reel_nn_linear(6, 2 + i, NULL));
    if (net) reel_forward(net, reel_ones(REEL_SHAPE(2, 4), REEL_F32));
    reel_module_free(net);
    reel_scope_end(s);
    return !reel_failed();
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(exchange_heads());
    bool done = false;
    for (int64_t k = 1; !done; k++) {
        reel__fault_alloc(k, false);
        bool ok = exchange_heads();
        done = reel__fault_alloc_count() < k;
        reel__fault_alloc(0, false);
        assert_int_equal(reel_live_objects(), 0);
        assert_true(ok || !done);
        if (!ok) expect_error(REEL_ERR_MEMORY, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_each_child),
        TEST(test_replaced_head),
        TEST(test_new_child_holds_old),
        TEST(test_replace_errors),
        TEST(test_graph_stays_whole),
        TEST(test_no_memory),
        TEST(test_take_errors),
        TEST(test_taken_out_of_one_another),
        TEST(test_taken_out_of_what_was_taken),
        TEST(test_lora),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
