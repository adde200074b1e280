/* rules.c: what each record wants to be quantized. What is not here stays in f32, between the
 * dequantize before it and the quantize behind it: softmax, layer norm, hardswish, ... */
#include "quantize/quantize.h"

#include <math.h>

#include "ops/records.h"

#define ORT (1u << REEL_TARGET_ORT | 1u << REEL_TARGET_PER_TENSOR)
#define ALL (ORT | 1u << REEL_TARGET_TENSORRT)
#define NONE REEL__NO_OPERAND
#define COMPUTES(name, reads, targets)                                                   \
    {                                                                                    \
        &reel__##name, REEL__COMPUTES, reads, NONE, NONE, 0, targets, NULL               \
    }
#define ACTIVATES(name)                                                                  \
    {                                                                                    \
        &reel__##name, REEL__ACTIVATES, 1, NONE, NONE, 0, ALL, NULL                      \
    }
#define PASSES(name, role)                                                               \
    {                                                                                    \
        &reel__##name, role, 1, NONE, NONE, 0, ALL, NULL                                 \
    }

/* 0 is in every range; another number need not be. */
static bool pads_zeros(const reel__gnode *n)
{
    return reel__number_f64(((const reel__pad_attrs *)n->attrs)->value) == 0;
}

static const reel__quantize_rule rules[] = {
    /* record, role, reads, weight, bias, axis, targets */
    {&reel__conv2d, REEL__COMPUTES, 1, 1, 2, 0, ALL, NULL},
    {&reel__linear, REEL__COMPUTES, 1, 1, 2, 0, ALL, NULL},
    {&reel__matmul, REEL__COMPUTES, 3, 1, NONE, -1, ALL, NULL},
    COMPUTES(add, 3, ALL),
    COMPUTES(mul, 3, ORT),
    COMPUTES(avg_pool2d, 1, ALL),
    COMPUTES(adaptive_avg_pool2d, 1, ALL),
    COMPUTES(sigmoid, 1, ORT),
    COMPUTES(leaky_relu, 1, ORT),
    ACTIVATES(relu),
    ACTIVATES(relu6),
    ACTIVATES(clamp),
    PASSES(max_pool2d, REEL__PASSES),
    PASSES(reshape, REEL__PASSES),
    PASSES(permute, REEL__PASSES),
    PASSES(slice, REEL__PASSES),
    PASSES(expand, REEL__PASSES),
    PASSES(flip, REEL__PASSES),
    {&reel__pad, REEL__PASSES, 1, NONE, NONE, 0, ALL, pads_zeros},
    PASSES(copy, REEL__LOOKS),
    PASSES(cat, REEL__JOINS),
};

const reel__quantize_rule *reel__quantize_rule_of(const reel__gnode *n,
                                                  reel_quantize_target target)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (rules[i].op == n->op && rules[i].targets >> target & 1)
            return !rules[i].holds || rules[i].holds(n) ? &rules[i] : NULL;
    return NULL;
}

/* Of a clamp the attributes, NaN: no end on that side. */
reel__ends reel__activation_ends(const reel__gnode *n)
{
    const reel__ends none = {-INFINITY, INFINITY};
    const reel__scalar_attrs *a = n->attrs;
    if (n->op == &reel__relu) return (reel__ends){0, INFINITY};
    if (n->op == &reel__relu6) return (reel__ends){0, 6};
    if (n->op != &reel__clamp || !a) return none;
    double low = reel__number_f64(a->a[0]), high = reel__number_f64(a->a[1]);
    return (reel__ends){isnan(low) ? -INFINITY : low, isnan(high) ? INFINITY : high};
}
