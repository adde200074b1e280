/* profile.c: what each target wants. Facts behind it: docs/adr/0027. */
#include "quantize/quantize.h"

#include "base/error.h"

#define WEIGHT_GRID                                                                      \
    {                                                                                    \
        -127, 127, true                                                                  \
    }

static const reel__profile profiles[] = {
    [REEL_TARGET_ORT] = {.name = "ort",
                         .activation = {0, 255, false},
                         .weight = WEIGHT_GRID,
                         .activation_dtype = REEL_U8,
                         .weight_dtype = REEL_I8,
                         .per_channel = true,
                         .bias = true,
                         .results = true},
    [REEL_TARGET_TENSORRT] = {.name = "tensorrt",
                              .activation = {-128, 127, true},
                              .weight = WEIGHT_GRID,
                              .activation_dtype = REEL_I8,
                              .weight_dtype = REEL_I8,
                              .per_channel = true},
    [REEL_TARGET_PER_TENSOR] = {.name = "per_tensor",
                                .activation = {0, 255, false},
                                .weight = WEIGHT_GRID,
                                .activation_dtype = REEL_U8,
                                .weight_dtype = REEL_I8,
                                .bias = true,
                                .results = true},
};
enum { N_PROFILES = (int)(sizeof profiles / sizeof *profiles) };

const reel__profile *reel__profile_of(const char *who, reel_quantize_target target)
{
    if ((int)target >= 0 && (int)target < N_PROFILES) return &profiles[target];
    reel_fail(REEL_ERR_ARG, "%s: %d is not a reel_quantize_target", who, (int)target);
    return NULL;
}

const char *reel_quantize_target_name(reel_quantize_target target)
{
    return (int)target >= 0 && (int)target < N_PROFILES ? profiles[target].name : "?";
}
