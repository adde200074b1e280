/* pw_info.c: the pointwise rows of kernel.def as data. */
#include "backend/pw_info.h"

#define FLOATS_F true
#define FLOATS_I false
#define FLOATS_FI true
#define INTS_F false
#define INTS_I true
#define INTS_FI true
#define TYPED_SAME(n_in) (n_in) - 1, (n_in)-1, false
#define TYPED_BOOL(n_in) (n_in) - 1, -1, true
#define TYPED_AS1(n_in) 1, 1, false
#define TYPED_AS2(n_in) 1, 2, false

static const reel__pw_info rows[K_COUNT] = {
#define PW(ID, n_in, types, out, ...)                                                    \
    [K_##ID] = {#ID, #__VA_ARGS__, n_in, FLOATS_##types, INTS_##types, TYPED_##out(n_in)},
#define KERNEL(ID, name, cpu, takes)
#include "backend/kernel.def"
#undef PW
#undef KERNEL
};

const reel__pw_info *reel__pw_info_of(reel__kernel_id kernel)
{
    return kernel > K_NONE && kernel < K_COUNT && rows[kernel].name ? &rows[kernel]
                                                                    : NULL;
}

reel__pw_type reel__pw_type_of(reel_dtype dtype)
{
    if (dtype == REEL_F64) return REEL_PW_F64;
    return reel_dtype_is_float(dtype) ? REEL_PW_F32 : REEL_PW_I64;
}

bool reel__pw_takes(const reel__pw_info *info, reel_dtype dtype)
{
    if (reel_dtype_size(dtype) == 0) return false;
    return reel_dtype_is_float(dtype) ? info->floats : info->ints;
}

/* The macros for functions are the only names that end in F. */
int reel__pw_weight(const reel__pw_info *info)
{
    int weight = 1;
    for (const char *s = info->expr; *s; s++)
        if (s[0] == 'F' && s[1] == '(') weight += 8;
    return weight;
}
