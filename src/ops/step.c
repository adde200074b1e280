/* step.c: one optimizer step of one parameter, as operators: one fused pass over parameter,
 * gradient and state, and a tracer sees the whole training step. Rates and step counts are
 * tensors, so that a graph of the step does not freeze them. */
#include "base/option.h"
#include "ops/onnx.h"

static reel_status check_state(const reel__call *c, int last_state, int scalars)
{
    const reel__meta *p = IN_META(c, 0);
    for (int i = 1; i <= last_state; i++) {
        const reel__meta *s = c->in[i] ? IN_META(c, i) : p;
        REQUIRE(c, reel__same_shape(p, s) && p->dtype == s->dtype, REEL_ERR_SHAPE,
                "%s %s must be like parameter %s", i == 1 ? "gradient" : "state", SHOW(s),
                SHOW(p));
    }
    for (int i = last_state + 1; i <= last_state + scalars; i++)
        REQUIRE(c, IN_META(c, i)->dtype == REEL_F64 && reel__numel(IN_META(c, i)) == 1,
                REEL_ERR_SHAPE, "input %d is %s; rate and step count are one f64 each", i,
                SHOW(IN_META(c, i)));
    return REEL_OK;
}

/* ---- sgd_step: param grad momentum? lr ------------------------------------------------------- */

static reel_status sgd_step_infer(const reel__call *c, reel__meta *out)
{
    const reel__sgd_attrs *a = ATTRS(c, reel__sgd_attrs);
    (void)out;
    REQUIRE(c, a->momentum == 0 || c->in[2], REEL_ERR_ARG,
            "momentum %g needs a momentum buffer", a->momentum);
    return check_state(c, 2, 1);
}

REEL_SCHEMA(sgd_schema, reel__sgd_attrs, ATTR_REAL(reel__sgd_attrs, momentum),
            ATTR_REAL(reel__sgd_attrs, dampening),
            ATTR_REAL(reel__sgd_attrs, weight_decay), ATTR_INT(reel__sgd_attrs, nesterov),
            ATTR_INT(reel__sgd_attrs, maximize), ATTR_INT(reel__sgd_attrs, first));

const reel__op reel__sgd_step = {
    .name = "sgd_step",
    .kernel = K_SGD_STEP,
    .traits = REEL_OP_NO_GRAD,
    .n_in = 4,
    .n_out = 0,
    .optional = 1 << 2,
    .mutates = 1 << 0 | 1 << 2,
    .dtypes = DTYPE(REEL_F32) | DTYPE(REEL_F64),
    .attrs = &sgd_schema,
    .no_onnx = REEL__ONNX_TRAINING,
    .infer = sgd_step_infer,
    .sample = "f[3,4]; f[3,4]; f[3,4]; c64[] | momentum=0.9\nf[5]; f[5]; -; c64[]",
};

reel_status reel_sgd_step(reel_tensor *param, reel_tensor *grad, reel_tensor *momentum,
                          reel_tensor *lr, const reel_sgd_step_opts *opts)
{
    const reel_sgd_step_opts *o = REEL__OPTS("sgd_step", reel_sgd_step_opts, opts);
    if (!o) return reel_error_status();
    const reel__sgd_attrs a = {.momentum = reel__option(o->momentum, 0),
                               .dampening = reel__option(o->dampening, 0),
                               .weight_decay = reel__option(o->weight_decay, 0),
                               .nesterov = o->nesterov,
                               .maximize = o->maximize,
                               .first = o->first};
    reel_tensor *in[] = {param, grad, momentum, lr};
    return reel__apply(&reel__sgd_step, &a, 4, in, NULL);
}

/* ---- adam_step: param grad m v lr step --------------------------------------------------------- */

static reel_status adam_step_infer(const reel__call *c, reel__meta *out)
{
    (void)out;
    return check_state(c, 3, 2);
}

REEL_SCHEMA(adam_schema, reel__adam_attrs, ATTR_REAL(reel__adam_attrs, beta1),
            ATTR_REAL(reel__adam_attrs, beta2), ATTR_REAL(reel__adam_attrs, eps),
            ATTR_REAL(reel__adam_attrs, weight_decay),
            ATTR_INT(reel__adam_attrs, decoupled), ATTR_INT(reel__adam_attrs, maximize));

const reel__op reel__adam_step = {
    .name = "adam_step",
    .kernel = K_ADAM_STEP,
    .traits = REEL_OP_NO_GRAD,
    .n_in = 6,
    .n_out = 0,
    .mutates = 1 << 0 | 1 << 2 | 1 << 3,
    .dtypes = DTYPE(REEL_F32) | DTYPE(REEL_F64),
    .attrs = &adam_schema,
    .no_onnx = REEL__ONNX_TRAINING,
    .infer = adam_step_infer,
    .sample =
        "f[3,4]; f[3,4]; f[3,4]; f[3,4] in 0..1; c64[] in 0.01..0.1; c64[] in 1..3 | "
        "beta1=0.9 beta2=0.99 eps=1e-6",
};

reel_status reel_adam_step(reel_tensor *param, reel_tensor *grad, reel_tensor *m,
                           reel_tensor *v, reel_tensor *lr, reel_tensor *step,
                           const reel_adam_step_opts *opts)
{
    const reel_adam_step_opts *o = REEL__OPTS("adam_step", reel_adam_step_opts, opts);
    if (!o) return reel_error_status();
    const reel__adam_attrs a = {.beta1 = reel__option(o->beta1, 0.9),
                                .beta2 = reel__option(o->beta2, 0.999),
                                .eps = reel__option(o->eps, 1e-8),
                                .weight_decay = reel__option(o->weight_decay, 0),
                                .decoupled = o->decoupled,
                                .maximize = o->maximize};
    reel_tensor *in[] = {param, grad, m, v, lr, step};
    return reel__apply(&reel__adam_step, &a, 6, in, NULL);
}
