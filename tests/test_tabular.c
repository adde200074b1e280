/* test_tabular.c: the example learns, stops early, keeps the best weights, and leaves
 * nothing. */
#define main tabular
#include "../examples/tabular.c"
#undef main

#include "temp_folder.h"

#include <unistd.h>

static int run_in_folder(char **argv, int argc)
{
    char before[512];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(temp_root), 0);
    int status = tabular(argc, argv);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(reel_live_objects(), 0);
    return status;
}

/* Root of the mean squared error of the saved net on all of the table. */
static double error_of_saved(void)
{
    reel_dataset *ds = reel_csv(temp_path("tabular.csv"), NULL);
    reel_loader *l = reel_loader_new(
        ds,
        &(reel_loader_opts){.batch = 100, .transform = reel_transform_standardize(ds)});
    reel_module *net = reel_mlp(3, 1, &(reel_mlp_opts){.hidden = {64, 64}});
    reel_module_load(net, temp_path("tabular.safetensors"), NULL);
    double error = run(net, l, NULL);
    assert_ok();
    reel_loader_free(l);
    reel_dataset_free(ds);
    reel_module_free(net);
    reel_scope_end(0);
    return error;
}

static void it_learns(void **state)
{
    (void)state;
    double error[2];
    for (int k = 0; k < 2; k++) {
        char *argv[] = {"tabular", "tabular.csv", k ? "60" : "2", NULL};
        if (k == 0)
            (void)run_in_folder(argv, 1); /* writes the table, and runs to its end */
        assert_int_equal(run_in_folder(argv, 3), 0);
        error[k] = error_of_saved();
    }
    assert_true(error[0] > 2);
    assert_true(error[1] < 1.2);
}

static void it_says_what_is_wrong(void **state)
{
    (void)state;
    char *argv[] = {"tabular", "absent.csv", "2", NULL};
    assert_int_equal(run_in_folder(argv, 3), 1);
    assert_error(REEL_ERR_IO, "absent.csv");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_learns, temp_clean),
        cmocka_unit_test_setup(it_says_what_is_wrong, temp_clean),
    };
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
