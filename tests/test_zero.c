/* 0 can be said: REEL_ZERO in an option is the number 0, plain 0 the default (docs/adr/0022).
 * Every option that is a double has a row here, with what reel makes of it and the formula for
 * it; the headers are read to see that none is missing. Each row is tried with REEL_ZERO, with 0
 * and with values drawn at random, on numbers drawn at random. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <reel/reel.h>

#include "support/misuse.h"

enum { NUMBERS = 4, ROUNDS = 20 };

typedef struct row {
    const char *name; /* of the struct and its field, or of a function and its argument */
    double (*reel)(double option, const double *r);
    double (*formula)(double value, const double *r); /* NaN: the value is an error */
    double fallback;                                  /* what plain 0 means */
    double low, high; /* other values are drawn from here; equal: none are */
} row;

static reel_tensor *numbers(const double *r, int64_t n, int64_t columns)
{
    return reel_from(r, REEL_SHAPE(n / columns, columns), REEL_F64);
}

static double item(reel_tensor *x, int64_t i)
{
    return reel_item(reel_narrow(reel_reshape(x, REEL_SHAPE(-1)), 0, i, 1));
}

/* ---- optimizers: one parameter r[0], gradients r[1], r[2] ------------------------------- */

static double two_steps(reel_optim *o, reel_tensor *w, const double *r)
{
    for (int i = 1; i <= 2; i++) {
        reel_set_grad(w, reel_from(&r[i], REEL_SHAPE(1), REEL_F64));
        reel_optim_step(o);
    }
    reel_optim_free(o);
    return reel_failed() ? NAN : item(w, 0);
}

static reel_tensor *parameter(const double *r)
{
    return reel_requires_grad(reel_from(r, REEL_SHAPE(1), REEL_F64), true);
}

static double sgd(reel_sgd_opts o, const double *r)
{
    reel_tensor *w = parameter(r);
    return two_steps(reel_sgd((reel_params){&w, NULL, 1}, &o), w, r);
}
static double sgd_formula(double lr, double momentum, double dampening, double decay,
                          const double *r)
{
    double w = r[0], g = r[1] + decay * w, m = g;
    w -= lr * m;
    g = r[2] + decay * w;
    m = momentum * m + (1 - dampening) * g;
    return w - lr * (momentum != 0 ? m : g);
}

static double sgd_lr(double v, const double *r)
{
    return sgd((reel_sgd_opts){.lr = v}, r);
}
static double sgd_lr_formula(double v, const double *r)
{
    return sgd_formula(v, 0, 0, 0, r);
}
static double sgd_momentum(double v, const double *r)
{
    return sgd((reel_sgd_opts){.lr = 0.1, .momentum = v}, r);
}
static double sgd_momentum_formula(double v, const double *r)
{
    return sgd_formula(0.1, v, 0, 0, r);
}
static double sgd_dampening(double v, const double *r)
{
    return sgd((reel_sgd_opts){.lr = 0.1, .momentum = 0.5, .dampening = v}, r);
}
static double sgd_dampening_formula(double v, const double *r)
{
    return sgd_formula(0.1, 0.5, v, 0, r);
}
static double sgd_decay(double v, const double *r)
{
    return sgd((reel_sgd_opts){.lr = 0.1, .weight_decay = v}, r);
}
static double sgd_decay_formula(double v, const double *r)
{
    return sgd_formula(0.1, 0, 0, v, r);
}

static double adam(reel_adam_opts o, const double *r)
{
    reel_tensor *w = parameter(r);
    return two_steps(reel_adam((reel_params){&w, NULL, 1}, &o), w, r);
}
static double adam_formula(double lr, double b1, double b2, double eps, double decay,
                           const double *r)
{
    double w = r[0], m = 0, v = 0;
    for (int i = 1; i <= 2; i++) {
        double g = r[i] + decay * w;
        m = b1 * m + (1 - b1) * g;
        v = b2 * v + (1 - b2) * g * g;
        w -= lr * m / (1 - pow(b1, i)) / (sqrt(v / (1 - pow(b2, i))) + eps);
    }
    return w;
}

static double adam_lr(double v, const double *r)
{
    return adam((reel_adam_opts){.lr = v}, r);
}
static double adam_lr_formula(double v, const double *r)
{
    return adam_formula(v, 0.9, 0.999, 1e-8, 0, r);
}
static double adam_beta1(double v, const double *r)
{
    return adam((reel_adam_opts){.lr = 0.1, .beta1 = v}, r);
}
static double adam_beta1_formula(double v, const double *r)
{
    return adam_formula(0.1, v, 0.999, 1e-8, 0, r);
}
static double adam_beta2(double v, const double *r)
{
    return adam((reel_adam_opts){.lr = 0.1, .beta2 = v}, r);
}
static double adam_beta2_formula(double v, const double *r)
{
    return adam_formula(0.1, 0.9, v, 1e-8, 0, r);
}
/* small gradients, so that eps shows */
static double adam_eps(double v, const double *r)
{
    const double small[] = {r[0], 1e-8 * r[1], 1e-8 * r[2]};
    return adam((reel_adam_opts){.lr = 0.1, .eps = v}, small);
}
static double adam_eps_formula(double v, const double *r)
{
    const double small[] = {r[0], 1e-8 * r[1], 1e-8 * r[2]};
    return adam_formula(0.1, 0.9, 0.999, v, 0, small);
}
static double adam_decay(double v, const double *r)
{
    return adam((reel_adam_opts){.lr = 0.1, .weight_decay = v}, r);
}
static double adam_decay_formula(double v, const double *r)
{
    return adam_formula(0.1, 0.9, 0.999, 1e-8, v, r);
}

/* The operators below them: every field's default is 0. */
static double sgd_step(reel_sgd_step_opts o, const double *r)
{
    reel_tensor *w = reel_from(r, REEL_SHAPE(1), REEL_F64);
    reel_tensor *m = o.momentum != 0 ? reel_zeros_like(w) : NULL;
    reel_tensor *lr = reel_scalar(0.1, REEL_F64);
    for (int i = 1; i <= 2; i++) {
        o.first = i == 1;
        reel_sgd_step(w, reel_from(&r[i], REEL_SHAPE(1), REEL_F64), m, lr, &o);
    }
    return item(w, 0);
}
static double step_momentum(double v, const double *r)
{
    return sgd_step((reel_sgd_step_opts){.momentum = v}, r);
}
static double step_dampening(double v, const double *r)
{
    return sgd_step((reel_sgd_step_opts){.momentum = 0.5, .dampening = v}, r);
}
static double step_decay(double v, const double *r)
{
    return sgd_step((reel_sgd_step_opts){.weight_decay = v}, r);
}

static double adam_step(reel_adam_step_opts o, const double *r)
{
    reel_tensor *w = reel_from(r, REEL_SHAPE(1), REEL_F64);
    reel_tensor *m = reel_zeros_like(w), *v = reel_zeros_like(w);
    reel_tensor *lr = reel_scalar(0.1, REEL_F64);
    for (int i = 1; i <= 2; i++)
        reel_adam_step(w, reel_from(&r[i], REEL_SHAPE(1), REEL_F64), m, v, lr,
                       reel_scalar(i, REEL_F64), &o);
    return item(w, 0);
}
static double step_beta1(double v, const double *r)
{
    return adam_step((reel_adam_step_opts){.beta1 = v}, r);
}
static double step_beta2(double v, const double *r)
{
    return adam_step((reel_adam_step_opts){.beta2 = v}, r);
}
static double step_eps(double v, const double *r)
{
    return adam_step((reel_adam_step_opts){.eps = v}, r);
}
static double step_eps_formula(double v, const double *r)
{
    return adam_formula(0.1, 0.9, 0.999, v, 0, r);
}
static double step_adam_decay(double v, const double *r)
{
    return adam_step((reel_adam_step_opts){.weight_decay = v}, r);
}

/* ---- one cycle: the rates of 11 steps, weighted ------------------------------------------ */

static double one_cycle(const reel_one_cycle_opts *o, const double *r)
{
    reel_tensor *w = parameter(r);
    reel_optim *sgd = reel_sgd((reel_params){&w, NULL, 1}, NULL);
    reel_schedule *s = reel_schedule_one_cycle(sgd, 11, 1, o);
    double total = s ? 0 : NAN;
    for (int t = 0; t < 11 && s; t++) total += (1 + t * r[0]) * reel_schedule_at(s, 0, t);
    reel_schedule_free(s);
    reel_optim_free(sgd);
    return total;
}
/* torch.optim.lr_scheduler.OneCycleLR: phases end at warmup steps - 1 and at steps - 1. */
static double one_cycle_formula(double warmup, double div, double final_div,
                                const double *r)
{
    if (div == 0 || final_div == 0) return NAN;
    double total = 0, top = warmup * 11 - 1;
    for (int t = 0; t < 11; t++) {
        bool up = t <= top;
        double x = up ? t / top : (t - top) / (10 - top);
        double from = up ? 1 / div : 1, to = up ? 1 : 1 / div / final_div;
        total += (1 + t * r[0]) * (to + (from - to) / 2 * (1 + cos(acos(-1) * x)));
    }
    return total;
}
static double cycle_warmup(double v, const double *r)
{
    return one_cycle(&(reel_one_cycle_opts){.warmup = v}, r);
}
static double cycle_warmup_formula(double v, const double *r)
{
    return one_cycle_formula(v, 25, 1e4, r);
}
static double cycle_div(double v, const double *r)
{
    return one_cycle(&(reel_one_cycle_opts){.div = v}, r);
}
static double cycle_div_formula(double v, const double *r)
{
    return one_cycle_formula(0.3, v, 1e4, r);
}
static double cycle_final(double v, const double *r)
{
    return one_cycle(&(reel_one_cycle_opts){.final_div = v}, r);
}
static double cycle_final_formula(double v, const double *r)
{
    return one_cycle_formula(0.3, 25, v, r);
}

/* ---- norms ------------------------------------------------------------------------------- */

/* (r[0] - mean) / sqrt(var + eps) of r[0..3], made small so that eps shows. */
static const double *small(const double *r)
{
    static double s[NUMBERS];
    for (int i = 0; i < NUMBERS; i++) s[i] = 1e-2 * r[i];
    return s;
}
static void normalize(double *x, double eps)
{
    double mean = 0, var = 0;
    for (int i = 0; i < NUMBERS; i++) mean += x[i] / NUMBERS;
    for (int i = 0; i < NUMBERS; i++) var += (x[i] - mean) * (x[i] - mean) / NUMBERS;
    for (int i = 0; i < NUMBERS; i++) x[i] = (x[i] - mean) / sqrt(var + eps);
}
static double norm_formula(double eps, const double *r)
{
    double x[NUMBERS];
    memcpy(x, small(r), sizeof x);
    normalize(x, eps);
    return x[0];
}
static double twice_formula(double eps, const double *r)
{
    double x[NUMBERS];
    memcpy(x, small(r), sizeof x);
    normalize(x, eps);
    normalize(x, eps);
    return x[0];
}

static double batch_eps(double v, const double *r)
{
    return item(reel_batch_norm(numbers(small(r), 4, 1), NULL, NULL, NULL, NULL, NULL,
                                &(reel_batch_norm_opts){.eps = v, .training = true}),
                0);
}
static double batch_momentum(double v, const double *r)
{
    reel_tensor *mean = reel_full(REEL_SHAPE(1), 3, REEL_F64);
    reel_tensor *var = reel_ones(REEL_SHAPE(1), REEL_F64);
    reel_batch_norm(numbers(r, 4, 1), NULL, NULL, mean, var, NULL,
                    &(reel_batch_norm_opts){.momentum = v, .training = true});
    return item(mean, 0);
}
static double batch_momentum_formula(double v, const double *r)
{
    return (1 - v) * 3 + v * (r[0] + r[1] + r[2] + r[3]) / 4;
}

static double nn_batch(reel_nn_batch_norm2d_opts o, const double *x, double *mean)
{
    reel_module *m = reel_nn_batch_norm2d(1, &o);
    reel_module_cast(m, REEL_F64);
    reel_fill_(reel_module_find(m, "running_mean"), 3);
    reel_tensor *y = reel_forward(m, reel_from(x, REEL_SHAPE(4, 1, 1, 1), REEL_F64));
    double first = item(y, 0);
    *mean = item(reel_module_find(m, "running_mean"), 0);
    reel_module_free(m);
    return first;
}
static double nn_batch_eps(double v, const double *r)
{
    double mean;
    return nn_batch((reel_nn_batch_norm2d_opts){.eps = v}, small(r), &mean);
}
static double nn_batch_momentum(double v, const double *r)
{
    double mean;
    nn_batch((reel_nn_batch_norm2d_opts){.momentum = v}, r, &mean);
    return mean;
}

static double layer_eps(double v, const double *r)
{
    return item(reel_layer_norm(numbers(small(r), 4, 4), 1, NULL, NULL,
                                &(reel_layer_norm_opts){.eps = v}),
                0);
}
static double run_module(reel_module *m, reel_tensor *x)
{
    reel_module_cast(m, REEL_F64);
    double y = item(reel_forward(m, x), 0);
    reel_module_free(m);
    return y;
}
static double nn_layer_eps(double v, const double *r)
{
    return run_module(
        reel_nn_layer_norm(REEL_SHAPE(4), &(reel_nn_layer_norm_opts){.eps = v}),
        numbers(small(r), 4, 4));
}
/* Attention and feed-forward part are 0: what is left is one norm after the other. */
static double encoder_eps(double v, const double *r)
{
    reel_module *m = reel_nn_encoder_layer(4, 1, &(reel_nn_encoder_layer_opts){.eps = v});
    reel_init_constant(reel_module_find(m, "self_attn.out_proj.weight"), 0);
    reel_init_constant(reel_module_find(m, "linear2.weight"), 0);
    reel_init_constant(reel_module_find(m, "linear2.bias"), 0);
    return run_module(m, reel_from(small(r), REEL_SHAPE(1, 1, 4), REEL_F64));
}

/* ---- attention, losses ------------------------------------------------------------------- */

/* One query [4] of ones times r[0], keys of r[1] and r[2], values r[2] and r[3]. */
static double attention(reel_attention_opts o, const double *r)
{
    double k[8];
    for (int i = 0; i < 8; i++) k[i] = r[1 + i / 4];
    reel_tensor *q = reel_full(REEL_SHAPE(1, 4), r[0], REEL_F64);
    return item(reel_attention(q, numbers(k, 8, 4), numbers(r + 2, 2, 1), &o), 0);
}
static double attention_scale(double v, const double *r)
{
    return attention((reel_attention_opts){.scale = v}, r);
}
static double attention_formula(double scale, const double *r)
{
    double a = exp(4 * r[0] * r[1] * scale), b = exp(4 * r[0] * r[2] * scale);
    return (a * r[2] + b * r[3]) / (a + b);
}
static double attention_dropout(double v, const double *r)
{
    reel_rng_state before = reel_rng_get();
    double y = attention((reel_attention_opts){.dropout = v}, r);
    reel_rng_state after = reel_rng_get();
    return before.offset == after.offset ? y : NAN; /* draws nothing */
}
static double attention_dropout_formula(double v, const double *r)
{
    return v == 0 ? attention_formula(0.5, r) : NAN;
}

static double smoothing(double v, const double *r)
{
    const int64_t label = 1;
    return reel_item(
        reel_cross_entropy(numbers(r, 4, 4), reel_from(&label, REEL_SHAPE(1), REEL_I64),
                           &(reel_cross_entropy_opts){.label_smoothing = v}));
}
static double smoothing_formula(double v, const double *r)
{
    double total = 0, loss = 0;
    for (int i = 0; i < 4; i++) total += exp(r[i]);
    for (int i = 0; i < 4; i++)
        loss -= ((i == 1 ? 1 - v : 0) + v / 4) * (r[i] - log(total));
    return loss;
}

/* ---- dropout of modules: without it training gives what evaluation gives ------------------ */

/* Takes `m` over. 0, or by how much the two differ. */
static double training_differs(reel_module *m, reel_tensor *x)
{
    reel_module_cast(m, REEL_F64);
    reel_tensor *y = reel_forward(m, x);
    reel_train(m, false);
    reel_tensor *d = reel_sub(y, reel_forward(m, x));
    double all = reel_item(reel_norm(d, REEL_ALL, false, REEL_F64));
    reel_module_free(m);
    return all;
}
static double nothing(double v, const double *r)
{
    (void)v;
    (void)r;
    return 0;
}
static double mlp_dropout(double v, const double *r)
{
    return training_differs(
        reel_mlp(4, 10, &(reel_mlp_opts){.hidden = {8}, .dropout = v}), numbers(r, 4, 4));
}
static double mha_dropout(double v, const double *r)
{
    return training_differs(
        reel_nn_attention(4, 2, &(reel_nn_attention_opts){.dropout = v}),
        reel_from(r, REEL_SHAPE(1, 1, 4), REEL_F64));
}
static double encoder_dropout(double v, const double *r)
{
    return training_differs(
        reel_nn_encoder_layer(4, 2, &(reel_nn_encoder_layer_opts){.dropout = v}),
        reel_from(r, REEL_SHAPE(1, 1, 4), REEL_F64));
}
static double vit_dropout(double v, const double *r)
{
    reel_module *m = reel_vit_tiny(
        &(reel_vit_opts){.image = 8, .dim = 8, .heads = 2, .depth = 1, .dropout = v});
    return training_differs(m, reel_full(REEL_SHAPE(1, 3, 8, 8), r[0], REEL_F64));
}

/* ---- MobileNetV2: what its first layer and its dropout are made of ------------------------ */

static double first_width(double v, const double *r)
{
    (void)r;
    reel_module *m = reel_mobilenet_v2(&(reel_mobilenet_opts){.classes = 1, .width = v});
    reel_tensor *w = reel_module_find(m, "features.0.0.weight");
    double channels = w ? (double)reel_size(w, 0) : NAN;
    reel_module_free(m);
    return channels;
}
/* 32 v, to the nearest multiple of 8 that is not more than a tenth below */
static double first_width_formula(double v, const double *r)
{
    (void)r;
    if (v == 0) return NAN;
    double n = fmax(8, 8 * floor((32 * v + 4) / 8));
    return n < 0.9 * 32 * v ? n + 8 : n;
}
/* What is left of ones: the largest of many. */
static double last_dropout(double v, const double *r)
{
    (void)r;
    reel_module *m = reel_mobilenet_v2(
        &(reel_mobilenet_opts){.classes = 1, .width = 0.1, .dropout = v});
    reel_tensor *y = reel_forward(reel_module_at(m, "classifier.0"),
                                  reel_ones(REEL_SHAPE(1280), REEL_F64));
    double most = reel_item(reel_max(y, REEL_ALL, false));
    reel_module_free(m);
    return most;
}
static double last_dropout_formula(double v, const double *r)
{
    (void)r;
    return 1 / (1 - v);
}

/* ---- initializers: the factor by which they stretch what they draw ------------------------ */

static double stretch(reel_tensor *t)
{
    double y = item(t, 0);
    reel_seed(1);
    double unit =
        item(reel_init_uniform(reel_empty(REEL_SHAPE(3, 2), REEL_F64), -1, 1), 0);
    return y / unit;
}
static reel_tensor *seeded(void)
{
    reel_seed(1);
    return reel_empty(REEL_SHAPE(3, 2), REEL_F64);
}
static double kaiming(double v, const double *r)
{
    (void)r;
    return stretch(reel_init_kaiming_uniform(seeded(), &(reel_kaiming_opts){.slope = v}));
}
static double kaiming_formula(double v, const double *r)
{
    (void)r;
    return sqrt(3) * sqrt(2 / ((1 + v * v) * 2));
}
static double xavier(double v, const double *r)
{
    (void)r;
    return stretch(reel_init_xavier_uniform(seeded(), v));
}
static double xavier_formula(double v, const double *r)
{
    (void)r;
    return sqrt(3) * v * sqrt(2.0 / 5);
}
static double orthogonal(double v, const double *r)
{
    (void)r;
    return reel_item(
        reel_norm(reel_init_orthogonal(seeded(), v), REEL_ALL, false, REEL_F64));
}
static double orthogonal_formula(double v, const double *r)
{
    (void)r;
    return v * sqrt(2); /* two columns of length v */
}

/* ---- gradcheck: does it pass? -------------------------------------------------------------- */

static reel_tensor *quartic(void *user, reel_tensor *const x[], int n)
{
    (void)user;
    (void)n;
    return reel_pow_scalar(x[0], 4);
}
static double passes(reel_gradcheck_opts o, const double *r)
{
    reel_tensor *x = parameter(r);
    o.eps = o.eps != 0 ? o.eps : 1e-3; /* wrong by about 4e-6 r */
    reel_status st = reel_gradcheck(quartic, NULL, &x, 1, &o);
    if (st == REEL_ERR_NUMERIC) reel_error_clear();
    return st == REEL_OK ? 1 : st == REEL_ERR_NUMERIC ? 0 : NAN;
}
static double check_eps(double v, const double *r)
{
    reel_tensor *x = parameter(r);
    return reel_gradcheck(quartic, NULL, &x, 1, &(reel_gradcheck_opts){.eps = v}) ? NAN
                                                                                  : 1;
}
static double check_atol(double v, const double *r)
{
    return passes((reel_gradcheck_opts){.atol = v, .rtol = REEL_ZERO}, r);
}
static double check_rtol(double v, const double *r)
{
    return passes((reel_gradcheck_opts){.atol = REEL_ZERO, .rtol = v}, r);
}
static double is_positive(double v, const double *r)
{
    (void)r;
    return v > 0 ? 1 : 0;
}
static double needs_positive(double v, const double *r)
{
    (void)r;
    return v > 0 ? 1 : NAN;
}

/* ---- progress: lines of 5 steps ------------------------------------------------------------- */

static double progress(double v, const double *r)
{
    (void)r;
    FILE *f = tmpfile();
    reel_progress *p = reel_progress_new(f, 5, &(reel_progress_opts){.every = v});
    for (int i = 0; i < 5; i++) reel_progress_update(p, 1, NULL);
    reel_progress_free(p);
    rewind(f);
    int lines = 0;
    for (int c; (c = getc(f)) != EOF;) lines += c == '\n';
    (void)fclose(f);
    return lines;
}
static double progress_formula(double v, const double *r)
{
    (void)r;
    return v == 0 ? 6 : 1; /* and one at the end */
}

/* The gray of the one pixel that a grid of one image has: the PNG is not compressed. */
static double gray(const reel_image_grid_opts *opts, const double *r)
{
    char path[] = "/tmp/reel_zero_XXXXXX";
    unsigned char file[256] = {0};
    float pixel = (float)r[0];
    int fd = mkstemp(path); /* a name that is free; the file is replaced */
    assert_true(fd >= 0 && close(fd) == 0);
    (void)reel_image_grid_save(reel_from(&pixel, REEL_SHAPE(1, 1, 1, 1), REEL_F32), path,
                               opts);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_true(fread(file, 1, sizeof file, f) > 63);
    (void)fclose(f);
    (void)unlink(path);
    return file[8 + 25 + 8 + 2 + 5 + 2 * 6 + 1 + 2]; /* row 2 of 6 bytes, column 2 */
}
static double gray_formula(double low, double high, const double *r)
{
    double v = ((double)(float)r[0] - low) / (high - low);
    return floor(255 * fmin(fmax(v, 0), 1) + 0.5);
}
static double grid_low(double v, const double *r)
{
    return gray(&(reel_image_grid_opts){.low = v}, r);
}
static double grid_low_formula(double v, const double *r)
{
    return gray_formula(v, 1, r);
}
static double grid_high(double v, const double *r)
{
    return gray(&(reel_image_grid_opts){.low = -2, .high = v}, r);
}
static double grid_high_formula(double v, const double *r)
{
    return gray_formula(-2, v, r);
}

/* ---- observers: the upper end of two ranges; a rate of 0 is refused --------------------------- */

static double average(double v, const double *r)
{
    reel_observed is = {0};
    reel_module *o = reel_observer_new(
        reel_observer_moving_average(),
        &(reel_observer_opts){.kind_opts = &(reel_moving_average_opts){.rate = v}});
    for (int i = 0; i < 2 && o; i++) reel_forward(o, reel_scalar(r[i], REEL_F32));
    double high = o && !reel_observer_range(o, &is) ? reel_item(is.high) : NAN;
    reel_module_free(o);
    return high;
}
static double average_formula(double v, const double *r)
{
    return v > 0 ? (float)r[0] + v * ((float)r[1] - (float)r[0]) : NAN;
}

/* Of one value: within its bin, 2^-5 of its power of two, by proportion. */
static double percentile(double v, const double *r)
{
    reel_observed is = {0};
    reel_module *o = reel_observer_new(
        reel_observer_percentile(),
        &(reel_observer_opts){.kind_opts = &(reel_percentile_opts){.percentile = v}});
    if (o) reel_forward(o, reel_scalar(r[0], REEL_F32));
    double high = o && !reel_observer_range(o, &is) ? reel_item(is.high) : NAN;
    reel_module_free(o);
    return high;
}
static double percentile_formula(double v, const double *r)
{
    double x = (float)r[0], width = exp2(floor(log2(x)) - 5);
    return v > 50 ? fmin(x, floor(x / width) * width + width * v / 100) : NAN;
}

/* Behind the norm is 1 and -1, so w times 1 / w^(1 - alpha). */
static double smooth(double v, const double *r)
{
    const float two[] = {1e3f, -1e3f};
    reel_module *net = reel_nn_sequential(reel_nn_layer_norm(REEL_SHAPE(2), NULL),
                                          reel_nn_linear(2, 1, NULL));
    reel_init_constant(reel_module_find(net, "1.weight"), r[0]);
    reel_tensor *x = reel_from(two, REEL_SHAPE(1, 2), REEL_F32);
    reel_graph *g = reel_trace(net, x, NULL);
    reel_module *q = reel_quantize_prepare(g, NULL);
    reel_dataset *data = reel_arrays(x, reel_zeros(REEL_SHAPE(1), REEL_I64));
    reel_loader *loader = reel_loader_new(data, NULL);
    reel_quantize_smooth(q, loader, &(reel_smooth_opts){.alpha = v});
    double w =
        reel_item(reel_select(reel_select(reel_module_find(q, "1.weight"), 0, 0), 0, 0));
    reel_loader_free(loader);
    reel_dataset_free(data);
    reel_module_free(q);
    reel_graph_free(g);
    reel_module_free(net);
    return w;
}
static double smooth_formula(double v, const double *r)
{
    return pow((float)r[0], v);
}

/* ---- the rows --------------------------------------------------------------------------------- */

static const row rows[] = {
    {"reel_sgd_opts.lr", sgd_lr, sgd_lr_formula, 1e-3, 0.01, 1},
    {"reel_sgd_opts.momentum", sgd_momentum, sgd_momentum_formula, 0, 0.1, 0.9},
    {"reel_sgd_opts.dampening", sgd_dampening, sgd_dampening_formula, 0, 0.1, 0.9},
    {"reel_sgd_opts.weight_decay", sgd_decay, sgd_decay_formula, 0, 0.1, 0.9},
    {"reel_adam_opts.lr", adam_lr, adam_lr_formula, 1e-3, 0.01, 1},
    {"reel_adam_opts.beta1", adam_beta1, adam_beta1_formula, 0.9, 0.1, 0.9},
    {"reel_adam_opts.beta2", adam_beta2, adam_beta2_formula, 0.999, 0.1, 0.9},
    {"reel_adam_opts.eps", adam_eps, adam_eps_formula, 1e-8, 1e-8, 1e-7},
    {"reel_adam_opts.weight_decay", adam_decay, adam_decay_formula, 0, 0.1, 0.9},
    {"reel_sgd_step_opts.momentum", step_momentum, sgd_momentum_formula, 0, 0.1, 0.9},
    {"reel_sgd_step_opts.dampening", step_dampening, sgd_dampening_formula, 0, 0.1, 0.9},
    {"reel_sgd_step_opts.weight_decay", step_decay, sgd_decay_formula, 0, 0.1, 0.9},
    {"reel_adam_step_opts.beta1", step_beta1, adam_beta1_formula, 0.9, 0.1, 0.95},
    {"reel_adam_step_opts.beta2", step_beta2, adam_beta2_formula, 0.999, 0.1, 0.9},
    {"reel_adam_step_opts.eps", step_eps, step_eps_formula, 1e-8, 0.1, 0.9},
    {"reel_adam_step_opts.weight_decay", step_adam_decay, adam_decay_formula, 0, 0.1,
     0.9},
    {"reel_one_cycle_opts.warmup", cycle_warmup, cycle_warmup_formula, 0.3, 0.2, 0.9},
    {"reel_one_cycle_opts.div", cycle_div, cycle_div_formula, 25, 1, 9},
    {"reel_one_cycle_opts.final_div", cycle_final, cycle_final_formula, 1e4, 1, 9},
    {"reel_batch_norm_opts.eps", batch_eps, norm_formula, 1e-5, 1e-5, 1e-4},
    {"reel_batch_norm_opts.momentum", batch_momentum, batch_momentum_formula, 0.1, 0.1,
     0.9},
    {"reel_nn_batch_norm2d_opts.eps", nn_batch_eps, norm_formula, 1e-5, 1e-5, 1e-4},
    {"reel_nn_batch_norm2d_opts.momentum", nn_batch_momentum, batch_momentum_formula, 0.1,
     0.1, 0.9},
    {"reel_layer_norm_opts.eps", layer_eps, norm_formula, 1e-5, 1e-5, 1e-4},
    {"reel_nn_layer_norm_opts.eps", nn_layer_eps, norm_formula, 1e-5, 1e-5, 1e-4},
    {"reel_nn_encoder_layer_opts.eps", encoder_eps, twice_formula, 1e-5, 1e-5, 1e-4},
    {"reel_attention_opts.scale", attention_scale, attention_formula, 0.5, 0.1, 0.9},
    {"reel_attention_opts.dropout", attention_dropout, attention_dropout_formula, 0, 0,
     0},
    {"reel_cross_entropy_opts.label_smoothing", smoothing, smoothing_formula, 0, 0.1,
     0.9},
    {"reel_mlp_opts.dropout", mlp_dropout, nothing, 0, 0, 0},
    {"reel_nn_attention_opts.dropout", mha_dropout, nothing, 0, 0, 0},
    {"reel_nn_encoder_layer_opts.dropout", encoder_dropout, nothing, 0, 0, 0},
    {"reel_vit_opts.dropout", vit_dropout, nothing, 0, 0, 0},
    {"reel_mobilenet_opts.width", first_width, first_width_formula, 1, 0.1, 0.9},
    {"reel_mobilenet_opts.dropout", last_dropout, last_dropout_formula, 0.2, 0.1, 0.9},
    {"reel_kaiming_opts.slope", kaiming, kaiming_formula, 0, 0.1, 0.9},
    {"reel_init_xavier gain", xavier, xavier_formula, 1, 0.1, 0.9},
    {"reel_init_orthogonal gain", orthogonal, orthogonal_formula, 1, 0.1, 0.9},
    {"reel_gradcheck_opts.eps", check_eps, needs_positive, 1e-6, 1e-7, 1e-6},
    {"reel_gradcheck_opts.atol", check_atol, is_positive, 1e-5, 1e-4, 1e-3},
    {"reel_gradcheck_opts.rtol", check_rtol, is_positive, 1e-3, 1e-4, 1e-3},
    {"reel_image_grid_opts.low", grid_low, grid_low_formula, 0, -0.9, -0.1},
    {"reel_image_grid_opts.high", grid_high, grid_high_formula, 1, 0.1, 2},
    {"reel_moving_average_opts.rate", average, average_formula, 0.01, 0.1, 0.9},
    {"reel_percentile_opts.percentile", percentile, percentile_formula, 99.99, 60, 99},
    {"reel_smooth_opts.alpha", smooth, smooth_formula, 0.5, 0.1, 0.9},
    {"reel_progress_opts.every", progress, progress_formula, 10, 5, 10},
};
enum { N_ROWS = sizeof rows / sizeof *rows };

static void compare(const row *w, double option, double value, const double *r)
{
    reel_scope s = reel_scope_begin();
    double is = w->reel(option, r), should = w->formula(value, r);
    reel_scope_end(s);
    bool right = isnan(should) ? isnan(is)
                               : !reel_failed() &&
                                     fabs(is - should) <= 1e-6 * (fabs(should) + 1e-6);
    if (!right)
        COMPLAIN("%s = %g: %.12g, expected %.12g for %g  %s\n", w->name, option, is,
                 should, value, reel_error_message());
    reel_error_clear();
}

static void test_every_option(void **state)
{
    (void)state;
    double r[NUMBERS + 1];
    for (int i = 0; i < N_ROWS; i++)
        for (int round = 0; round < ROUNDS; round++) {
            const row *w = &rows[i];
            reel_scope s = reel_scope_begin();
            reel_seed((uint64_t)(100 * i + round + 1));
            reel_read(reel_rand(REEL_SHAPE(NUMBERS + 1), REEL_F64), r, REEL_F64);
            reel_scope_end(s);
            double value = w->low + (w->high - w->low) * r[NUMBERS];
            for (int k = 0; k < NUMBERS; k++) r[k] += 0.5;
            compare(w, REEL_ZERO, 0, r);
            compare(w, 0, w->fallback, r);
            if (w->low < w->high) compare(w, value, value, r);
        }
}

/* ---- none is forgotten -------------------------------------------------------------------------- */

static bool has_row(const char *type, const char *field)
{
    char name[128];
    snprintf(name, sizeof name, "%s.%s", type, field);
    for (int i = 0; i < N_ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) return true;
    return false;
}

/* "a, b" of a line "double a, b; ..." of `type`. */
static int look_at_fields(const char *type, char *line)
{
    int n = 0;
    line[strcspn(line, ";")] = '\0';
    for (char *field = strtok(line, ", "); field; field = strtok(NULL, ", "), n++)
        if (!has_row(type, field)) COMPLAIN("%s.%s has no row here\n", type, field);
    return n;
}

static int options_found;

/* Between "typedef struct reel_..._opts {" and "}". */
static void look_at_options(const char *header, char *text)
{
    char type[128] = "", *rest;
    (void)header;
    for (char *line = strtok_r(text, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        char *opens = strstr(line, " {");
        if (line[0] == '}') type[0] = '\0';
        if (strncmp(line, "typedef struct reel_", 20) == 0 && opens &&
            strncmp(opens - 5, "_opts", 5) == 0)
            snprintf(type, sizeof type, "%.*s", (int)(opens - line) - 15, line + 15);
        char *field = line + strspn(line, " ");
        if (*type && strncmp(field, "double ", 7) == 0)
            options_found += look_at_fields(type, field + 7);
    }
}

static void test_every_option_is_here(void **state)
{
    (void)state;
    each_header(look_at_options);
    assert_int_equal(options_found, N_ROWS - 2); /* those that are arguments */
}

/* ---- integers, and arguments that mean what they say ---------------------------------------------- */

static void test_integers(void **state)
{
    (void)state;
    reel_tensor *x = reel_arange(0, 8, 1, REEL_F32);
    const struct {
        reel_print_opts opts;
        const char *text;
    } cases[] = {
        {{.precision = REEL_ZERO_INT}, "[0, 1, 2, 3, 4, 5, 6, 7]"},
        {{.precision = 1}, "[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]"},
        {{.precision = 1, .threshold = REEL_ZERO_INT, .edge = 1}, "[0.0, ..., 7.0]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = reel_to_string(x, &cases[i].opts);
        assert_non_null(text);
        assert_string_equal(text, cases[i].text);
        free(text);
    }
    assert_null(reel_to_string(x, &(reel_print_opts){.edge = REEL_ZERO_INT}));
    refused_by("edge", __LINE__);
}

static void test_activations(void **state)
{
    (void)state;
    for (double a = 0; a < 1; a += 0.25) {
        reel_tensor *x = reel_full(REEL_SHAPE(1), -2, REEL_F64);
        assert_true(fabs(run_module(reel_nn_leaky_relu(a), x) + 2 * a) < 1e-12);
        assert_true(fabs(run_module(reel_nn_elu(a), x) - a * (exp(-2) - 1)) < 1e-12);
    }
}

static int clean(void **state)
{
    (void)state;
    if (reel_failed()) print_error("left behind: %s\n", reel_error_message());
    bool failed = reel_failed();
    reel_error_clear();
    reel_scope_end(0);
    if (reel_live_objects()) COMPLAIN("%d objects\n", (int)reel_live_objects());
    return misuse_ended() || failed;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_every_option, clean),
        cmocka_unit_test_teardown(test_every_option_is_here, clean),
        cmocka_unit_test_teardown(test_integers, clean),
        cmocka_unit_test_teardown(test_activations, clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
