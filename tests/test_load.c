/* test_load.c: what a load says of each name, and what it leaves alone; modules and maps whose
 * names and shapes agree or not at random. */
#include "module_check.h"

static void expect_names(const reel_load_report *r, reel_load_kind kind,
                         const char *const names[], int n)
{
    assert_int_equal(reel_load_report_count(r, kind), n);
    for (int i = 0; i < n; i++)
        assert_string_equal(reel_load_report_name(r, kind, i), names[i]);
    assert_null(reel_load_report_name(r, kind, n));
    assert_null(reel_load_report_name(r, kind, -1));
}

#define NAMES(r, kind, ...)                                                              \
    expect_names(r, kind, (const char *const[]){__VA_ARGS__},                            \
                 sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* All of a net but its head, which has other classes. */
static void test_all_but_the_head(void **state)
{
    (void)state;
    reel_module *old = reel_mlp(4, 10, &(reel_mlp_opts){.hidden = {5}});
    reel_module *net = reel_mlp(4, 3, &(reel_mlp_opts){.hidden = {5}});
    reel_tensor *head = reel_copy(reel_detach(reel_module_find(net, "fc2.weight")));
    reel_tensor_map *map = reel_tensor_map_new();
    reel_load_report *r = reel_load_report_new();
    reel_state_dict(old, map);
    reel_load_opts o = {.report = r};
    assert_int_equal(reel_load_state_dict(net, map, &o), REEL_ERR_SHAPE);
    expect_error(REEL_ERR_SHAPE, "2 of another shape (fc2.weight [10,5], expected [3,5]");
    NAMES(r, REEL_LOAD_OTHER_SHAPE, "fc2.weight", "fc2.bias");
    NAMES(r, REEL_LOAD_LOADED, "fc1.weight", "fc1.bias");
    o.skip_other_shape = true;
    assert_int_equal(reel_load_state_dict(net, map, &o), REEL_OK);
    NAMES(r, REEL_LOAD_OTHER_SHAPE, "fc2.weight", "fc2.bias");
    NAMES(r, REEL_LOAD_LOADED, "fc1.weight", "fc1.bias");
    expect_names(r, REEL_LOAD_MISSING, NULL, 0);
    expect_names(r, REEL_LOAD_UNEXPECTED, NULL, 0);
    assert_true(same_bits(reel_module_find(net, "fc1.weight"),
                          reel_module_find(old, "fc1.weight")));
    assert_true(same_bits(reel_module_find(net, "fc2.weight"), head));
    reel_load_report_free(r);
    reel_tensor_map_free(map);
    reel_module_free(old);
    reel_module_free(net);
}

/* Not one name of a residual net is one of a perceptron. */
static void test_load_of_nothing(void **state)
{
    (void)state;
    needs_json();
    const char *path = temp_name("nothing.safetensors");
    reel_module *a = reel_resnet20(NULL), *b = reel_mlp(4, 10, NULL);
    reel_load_report *r = reel_load_report_new();
    reel_load_opts o = {.partial = true, .report = r};
    assert_int_equal(reel_module_save(a, path), REEL_OK);
    assert_int_equal(reel_module_load(b, path, &o), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG,
                 "nothing fits: 4 missing (fc1.weight, fc1.bias, fc2.weight, "
                 "fc2.bias); 128 unexpected (conv1.weight, ");
    assert_int_equal(reel_load_report_count(r, REEL_LOAD_LOADED), 0);
    assert_int_equal(reel_load_report_count(r, REEL_LOAD_MISSING), 4);
    /* Where there is nothing on either side, nothing is missed. */
    reel_module *relu = reel_nn_relu();
    reel_tensor_map *empty = reel_tensor_map_new();
    assert_int_equal(reel_load_state_dict(relu, empty, &o), REEL_OK);
    assert_int_equal(reel_load_report_count(r, REEL_LOAD_MISSING), 0);
    remove(path);
    reel_tensor_map_free(empty);
    reel_module_free(relu);
    reel_load_report_free(r);
    reel_module_free(a);
    reel_module_free(b);
}

/* ---- at random ------------------------------------------------------------------------------ */

enum { MOST = 9, ROUNDS = 300 };

static int draw(int n)
{
    return (int)reel_item_i64(reel_randint(0, n, REEL_SCALAR, REEL_I64));
}

/* Name i stands on this side (or not), with a shape of one or two elements. */
typedef struct side {
    bool has[MOST];
    int size[MOST];
} side;

static side draw_side(void)
{
    side s;
    for (int i = 0; i < MOST; i++) {
        s.has[i] = draw(4) > 0;
        s.size[i] = 1 + (draw(4) == 0);
    }
    return s;
}

/* "part0.p0" ... */
static const char *name_of(int i)
{
    static char name[16];
    snprintf(name, sizeof name, "part%d.p%d", i % 3, i);
    return name;
}

static reel_module *module_of(const side *s)
{
    reel_module *m = reel_nn_sequential_n(NULL, 0);
    for (int part = 0; part < 3; part++) {
        char name[16];
        snprintf(name, sizeof name, "part%d", part);
        reel_module *child = reel_module_add(m, name, reel_nn_relu());
        for (int i = part; i < MOST; i += 3) {
            reel_tensor *t = reel_zeros(REEL_SHAPE(s->size[i]), REEL_F32);
            const char *last = name_of(i) + strlen("part0.");
            if (s->has[i] && i % 2)
                reel_module_buffer(child, last, t);
            else if (s->has[i])
                reel_module_param(child, last, t);
        }
    }
    return m;
}

static reel_tensor_map *map_of(const side *s)
{
    reel_tensor_map *map = reel_tensor_map_new();
    for (int i = 0; i < MOST; i++)
        if (s->has[i])
            reel_tensor_map_set(map, name_of(i),
                                reel_ones(REEL_SHAPE(s->size[i]), REEL_F64));
    return map;
}

static bool reported(const reel_load_report *r, reel_load_kind kind, const char *name)
{
    for (int i = 0; i < reel_load_report_count(r, kind); i++)
        if (strcmp(reel_load_report_name(r, kind, i), name) == 0) return true;
    return false;
}

/* Each name is reported as what it is, and has its new value if it was loaded. */
static void check_load(reel_module *m, const side *have, const side *given, bool done,
                       const reel_load_report *r)
{
    for (int i = 0; i < MOST; i++) {
        bool both = have->has[i] && given->has[i];
        bool fits = both && have->size[i] == given->size[i];
        const char *name = name_of(i);
        assert_int_equal(reported(r, REEL_LOAD_LOADED, name), fits);
        assert_int_equal(reported(r, REEL_LOAD_OTHER_SHAPE, name), both && !fits);
        assert_int_equal(reported(r, REEL_LOAD_MISSING, name), have->has[i] && !both);
        assert_int_equal(reported(r, REEL_LOAD_UNEXPECTED, name), given->has[i] && !both);
        reel_tensor *t = reel_module_find(m, name);
        if (t) assert_near(reel_item(reel_max(t, REEL_ALL, false)), fits && done, 0);
    }
}

static void test_random_loads(void **state)
{
    (void)state;
    int seen[2] = {0};
    reel_load_report *r = reel_load_report_new();
    for (int round = 0; round < ROUNDS; round++) {
        reel_scope s = reel_scope_begin();
        side have = draw_side(), given = draw_side();
        if (draw(4) == 0) given = have;
        reel_module *m = module_of(&have);
        reel_tensor_map *map = map_of(&given);
        reel_load_opts o = {
            .partial = draw(2) > 0, .skip_other_shape = draw(2) > 0, .report = r};
        reel_status st = reel_load_state_dict(m, map, &o);
        reel_error_clear();
        int names = reel_load_report_count(r, REEL_LOAD_MISSING) +
                    reel_load_report_count(r, REEL_LOAD_UNEXPECTED);
        int shapes = reel_load_report_count(r, REEL_LOAD_OTHER_SHAPE);
        bool nothing = reel_load_report_count(r, REEL_LOAD_LOADED) == 0 && names + shapes;
        bool good = !nothing && (o.partial || !names) && (o.skip_other_shape || !shapes);
        assert_int_equal(st == REEL_OK, good);
        check_load(m, &have, &given, good, r);
        seen[good]++;
        reel_tensor_map_free(map);
        reel_module_free(m);
        reel_scope_end(s);
    }
    assert_true(seen[0] > ROUNDS / 8 && seen[1] > ROUNDS / 8);
    reel_load_report_free(r);
}

/* ---- memory that is missing -------------------------------------------------------------------- */

static bool load_once(void)
{
    reel_scope s = reel_scope_begin();
    reel_module *m = reel_nn_linear(2, 3, NULL);
    reel_tensor_map *map = m ? reel_tensor_map_new() : NULL;
    reel_load_report *r = map ? reel_load_report_new() : NULL;
    if (map) reel_state_dict(m, map);
    if (map) reel_tensor_map_set(map, "odd", reel_ones(REEL_SHAPE(1), REEL_F32));
    if (r) reel_load_state_dict(m, map, &(reel_load_opts){.partial = true, .report = r});
    reel_load_report_free(r);
    reel_tensor_map_free(map);
    reel_module_free(m);
    reel_scope_end(s);
    return !reel_failed();
}

static void test_no_memory(void **state)
{
    (void)state;
    assert_true(load_once());
    bool done = false;
    for (int64_t k = 1; !done; k++) {
        reel__fault_alloc(k, false);
        bool ok = load_once();
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
        TEST(test_all_but_the_head),
        TEST(test_load_of_nothing),
        TEST(test_random_loads),
        TEST(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
