/* cpu_table.c: which function serves which row of kernel.def. Static tables, because a linker
 * may drop the constructors of a static library. */
#include "backend/cpu/kernels.h"

#define PW(ID, n_in, types, out, ...)

const reel__kernel_fn reel__cpu_ref[K_COUNT] = {
#define KERNEL(ID, name, cpu, takes) [K_##ID] = reel__ref_##name,
#include "backend/kernel.def"
#undef KERNEL
};

#define REF_FN(name) NULL
#define FAST_FN(name) reel__fast_##name
const reel__fast_fn reel__cpu_fast[K_COUNT] = {
#define KERNEL(ID, name, cpu, takes) [K_##ID] = cpu##_FN(name),
#include "backend/kernel.def"
#undef KERNEL
};

const reel__prepare reel__cpu_prepare[K_COUNT] = {
    [K_CONV2D] = {reel__prepare_conv2d_size, reel__prepare_conv2d},
    [K_CONV2D_FUSED] = {reel__prepare_conv2d_size, reel__prepare_conv2d},
    [K_MATMUL] = {reel__prepare_product_size, reel__prepare_product},
    [K_LINEAR] = {reel__prepare_product_size, reel__prepare_product},
    [K_LINEAR_FUSED] = {reel__prepare_product_size, reel__prepare_product},
    [K_LINEAR_INT8] = {reel__prepare_linear_int8_size, reel__prepare_linear_int8},
    [K_CONV2D_INT8] = {reel__prepare_conv2d_int8_size, reel__prepare_conv2d_int8},
};
