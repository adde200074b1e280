/* kernels.h: every kernel of the CPU backend that is not a pointwise row: the reference
 * reel__ref_<name> and, for some, the fast one reel__fast_<name>, as kernel.def says. */
#ifndef REEL_BACKEND_CPU_KERNELS_H
#define REEL_BACKEND_CPU_KERNELS_H

#include "backend/cpu/cpu.h"

/* Reference: any strides. Fast: false when it does not take the call, and then nothing was
 * written. */
#define REF_PROTOTYPE(name)
#define FAST_PROTOTYPE(name)                                                             \
    bool reel__fast_##name(const reel__kcall *call, reel_status *status);
#define PW(ID, n_in, types, out, ...)
#define KERNEL(ID, name, cpu, takes)                                                     \
    reel_status reel__ref_##name(const reel__kcall *call);                               \
    cpu##_PROTOTYPE(name)
#include "backend/kernel.def"
#undef PW
#undef KERNEL
#undef REF_PROTOTYPE
#undef FAST_PROTOTYPE

/* ---- prepare: see reel__prepare in cpu.h --------------------------------------------- */

size_t reel__prepare_conv2d_size(const reel__kcall *call, unsigned constant);
reel_status reel__prepare_conv2d(const reel__kcall *call, void *to);
size_t reel__prepare_product_size(const reel__kcall *call, unsigned constant);
reel_status reel__prepare_product(const reel__kcall *call, void *to);
size_t reel__prepare_linear_int8_size(const reel__kcall *call, unsigned constant);
reel_status reel__prepare_linear_int8(const reel__kcall *call, void *to);
size_t reel__prepare_conv2d_int8_size(const reel__kcall *call, unsigned constant);
reel_status reel__prepare_conv2d_int8(const reel__kcall *call, void *to);

#endif
