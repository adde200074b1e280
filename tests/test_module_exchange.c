/* test_module_exchange.c: children that are replaced or freed. For every kind of module that has
 * children, and each of its children at any depth: what runs afterwards is the new child, or an
 * error that says what is wrong, and never the memory of the old one. */
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

static void forward_is_error(reel_module *net, reel_tensor *x, const char *where)
{
    if (reel_forward(net, x)) fail_msg("%s: a result of a child that is gone", where);
    if (!strstr(reel_error_message(), "was freed"))
        fail_msg("%s: %s", where, reel_error_message());
    reel_error_clear();
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

static void test_graph_stays_whole(void **state)
{
    (void)state;
    reel_module *net = mlp();
    reel_tensor *x = reel_ones(REEL_SHAPE(2, 4), REEL_F32);
    reel_graph *g = reel_trace(net, x, NULL);
    reel_module *gm = reel_graph_module(g);
    assert_null(reel_module_replace(gm, "fc1", reel_nn_linear(4, 5, NULL)));
    expect_error(REEL_ERR_STATE, "part of a graph");
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

/* A net whose heads come and go: each allocation fails in turn. */
static bool exchange_heads(void)
{
    reel_scope s = reel_scope_begin();
    reel_module *net = mlp();
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
        TEST(test_each_child),          TEST(test_replaced_head),
        TEST(test_new_child_holds_old), TEST(test_replace_errors),
        TEST(test_graph_stays_whole),   TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
