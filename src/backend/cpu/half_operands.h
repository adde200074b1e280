/* half_operands.h: what is known of each kernel's operands beyond its row in kernel.def, and
 * kernels that compute in f32 run on f16 and bf16 operands. */
#ifndef REEL_BACKEND_CPU_HALF_OPERANDS_H
#define REEL_BACKEND_CPU_HALF_OPERANDS_H

#include "backend/cpu/cpu.h"

/* True if the call has a half operand and its kernel does not take that by itself. */
bool reel__needs_f32(const reel__kcall *call);
/* Runs the call with every half operand replaced by an f32 one in scratch memory, and
 * rounds back what the kernel writes. */
reel_status reel__run_in_f32(const reel__kcall *call, reel__kernel_fn run);
/* Whether a row other than a pointwise one takes integers and bool. */
bool reel__takes_ints(reel__kernel_id kernel);

#endif
