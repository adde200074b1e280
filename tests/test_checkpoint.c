/* test_checkpoint.c: a run that is saved, loaded into fresh objects and continued gives the
 * bits of the run that was never interrupted; and what happens to bad files. */
#include "module_check.h"

#include "base/file.h"

enum { POINTS = 40, BATCHES = 5, EPOCHS = 4 };

/* All parts of a run. */
typedef struct parts {
    reel_dataset *data;
    reel_training run;
} parts;

static parts begin(uint64_t seed)
{
    reel_seed(seed); /* a resumed run begins with other weights: all must be loaded */
    float x[POINTS][1][4][4];
    int64_t y[POINTS];
    for (int i = 0; i < POINTS; i++) {
        y[i] = i % 3;
        for (int k = 0; k < 16; k++)
            x[i][0][k / 4][k % 4] = (float)sin(i * 0.37 + k * (double)(1 + y[i]));
    }
    parts p = {0};
    p.data = reel_arrays(reel_from(x, REEL_SHAPE(POINTS, 1, 4, 4), REEL_F32),
                         reel_from(y, REEL_SHAPE(POINTS), REEL_I64));
    reel_module *net = reel_nn_sequential(
        reel_nn_conv2d(1, 4, 3, NULL), reel_nn_batch_norm2d(4, NULL), reel_nn_relu(),
        reel_nn_flatten(1, -1), reel_nn_dropout(0.3), reel_nn_linear(16, 3, NULL));
    reel_optim *optim = reel_adamw(reel_parameters(net), &(reel_adam_opts){.lr = 0.01});
    p.run = (reel_training){
        .module = net,
        .optim = optim,
        .schedule = reel_schedule_warmup(reel_schedule_cosine(optim, 20, 0), 3, 0.1),
        .ema = reel_ema_new(net, 0.9, &(reel_ema_opts){.warmup = true}),
        .loader = reel_loader_new(
            p.data,
            &(reel_loader_opts){.batch = POINTS / BATCHES, .shuffle = true, .seed = 3}),
        .extra = reel_tensor_map_new(),
    };
    assert_ok();
    return p;
}

static void end(parts *p)
{
    reel_tensor_map_free(p->run.extra);
    reel_loader_free(p->run.loader);
    reel_dataset_free(p->data);
    reel_ema_free(p->run.ema);
    reel_schedule_free(p->run.schedule);
    reel_optim_free(p->run.optim);
    reel_module_free(p->run.module);
    reel_scope_end(0);
}

/* Trains until `stop` steps are done in all (or to the end), and notes the losses. */
static void train(parts *p, double *losses, int stop)
{
    for (; p->run.epoch < EPOCHS; p->run.epoch++, p->run.batch = 0) {
        for (reel_batch b; reel_loader_next(p->run.loader, &b);) {
            reel_scope s = reel_scope_begin();
            reel_tensor *loss =
                reel_cross_entropy(reel_forward(p->run.module, b.x), b.y, NULL);
            reel_backward(loss, NULL);
            reel_clip_grad_norm(reel_parameters(p->run.module), 0.5);
            reel_optim_step(p->run.optim);
            reel_optim_zero_grad(p->run.optim);
            reel_ema_update(p->run.ema);
            reel_schedule_step(p->run.schedule);
            int64_t step = p->run.epoch * BATCHES + p->run.batch++;
            losses[step] = reel_item(loss);
            reel_scope_end(s);
            assert_ok();
            if (step + 1 == stop) return;
        }
        assert_ok();
    }
}

static void test_resume(void **state)
{
    (void)state;
    needs_json();
    double whole[EPOCHS * BATCHES], broken[EPOCHS * BATCHES];
    parts a = begin(1);
    train(&a, whole, -1);
    /* Within an epoch, and at the end of one. */
    static const int stops[] = {7, 10};
    for (int i = 0; i < 2; i++) {
        const char *path = temp_name("run.ckpt");
        memset(broken, 0, sizeof broken);
        parts b = begin(1);
        train(&b, broken, stops[i]);
        reel_tensor_map_set(b.run.extra, "curve", reel_full(REEL_SHAPE(2), 5, REEL_F64));
        reel_tensor_map_set_text(b.run.extra, "model", "small");
        assert_int_equal(reel_training_save(&b.run, path), REEL_OK);
        end(&b);

        parts c = begin(99);
        assert_int_equal(reel_training_load(&c.run, path), REEL_OK);
        assert_int_equal(c.run.epoch * BATCHES + c.run.batch, stops[i]);
        assert_string_equal(reel_tensor_map_text(c.run.extra, "model"), "small");
        assert_int_equal(reel_numel(reel_tensor_map_get(c.run.extra, "curve")), 2);
        train(&c, broken, -1);
        assert_memory_equal(whole, broken, sizeof whole);
        reel_params pa = reel_parameters(a.run.module),
                    pc = reel_parameters(c.run.module);
        for (int k = 0; k < pa.n; k++) assert_true(same_bits(pa.tensor[k], pc.tensor[k]));
        reel_ema_swap(a.run.ema);
        reel_ema_swap(c.run.ema);
        for (int k = 0; k < pa.n; k++) assert_true(same_bits(pa.tensor[k], pc.tensor[k]));
        reel_ema_swap(a.run.ema);
        end(&c);
        remove(path);
    }
    end(&a);
}

static void test_missing_parts(void **state)
{
    (void)state;
    needs_json();
    const char *path = temp_name("part.ckpt");
    parts p = begin(1);
    reel_training some = {.module = p.run.module, .epoch = 3};
    assert_int_equal(reel_training_save(&some, path), REEL_OK);
    some.epoch = 0;
    assert_int_equal(reel_training_load(&some, path), REEL_OK);
    assert_int_equal(some.epoch, 3);
    assert_int_equal(reel_training_load(&p.run, path), REEL_ERR_FORMAT);
    expect_error(REEL_ERR_FORMAT, "\"schedule...\"");

    reel_module *other = reel_nn_linear(2, 2, NULL);
    some.module = other;
    some.epoch = 0;
    assert_int_equal(reel_training_load(&some, path), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "2 missing (weight, bias)");
    assert_int_equal(some.epoch, 0);
    assert_int_equal(reel_training_load(&some, "no/such/file"), REEL_ERR_IO);
    expect_error(REEL_ERR_IO, "no/such/file");
    assert_int_equal(reel_training_save(&some, NULL), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "path is NULL");
    assert_int_equal(reel_training_load(NULL, path), REEL_ERR_ARG);
    expect_error(REEL_ERR_ARG, "run is NULL");

    /* A plain safetensors file of the same names is not a checkpoint. */
    assert_int_equal(reel_module_save(other, path), REEL_OK);
    assert_int_equal(reel_training_load(&some, path), REEL_ERR_FORMAT);
    expect_error(REEL_ERR_FORMAT, "not a checkpoint");
    reel_module_free(other);
    remove(path);
    end(&p);
}

/* Each file operation of a save fails in turn: an error, and the earlier file still loads. */
static void test_save_fails(void **state)
{
    (void)state;
    needs_json();
    const char *path = temp_name("full.ckpt");
    parts p = begin(1);
    double losses[EPOCHS * BATCHES];
    assert_int_equal(reel_training_save(&p.run, path), REEL_OK);
    train(&p, losses, 2);
    int64_t k = 1;
    for (;; k++) {
        reel__fault_io(k, false, REEL__FAULT_ENOSPC);
        reel_status st = reel_training_save(&p.run, path);
        bool hit = reel__fault_io_count() >= k;
        reel__fault_io(0, false, REEL__FAULT_ENOSPC);
        if (!hit) {
            assert_int_equal(st, REEL_OK);
            break;
        }
        if (st) {
            reel_error_clear();
            parts q = begin(2);
            assert_int_equal(reel_training_load(&q.run, path), REEL_OK);
            end(&q);
        }
    }
    assert_true(k > 3);
    remove(path);
    end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_resume),
        TEST(test_missing_parts),
        TEST(test_save_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
