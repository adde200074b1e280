/* kernels.h: every kernel of the CPU backend that is not a pointwise row: the reference
 * reel__ref_<kernel> and, for some, the fast one reel__fast_<kernel>. cpu_table.c lists the
 * same names; a row of kernel.def that has neither is declared missing there. */
#ifndef REEL_BACKEND_CPU_KERNELS_H
#define REEL_BACKEND_CPU_KERNELS_H

#include "backend/cpu/cpu.h"

/* ---- reference: any strides; COPY and POINTWISE are in cpu.h ------------------------------- */

reel_status reel__ref_scale(const reel_kcall *call);
reel_status reel__ref_fill(const reel_kcall *call);
reel_status reel__ref_arange(const reel_kcall *call);
reel_status reel__ref_linspace(const reel_kcall *call);
reel_status reel__ref_cat(const reel_kcall *call);
reel_status reel__ref_pad(const reel_kcall *call);
reel_status reel__ref_unslice(const reel_kcall *call);
reel_status reel__ref_flip(const reel_kcall *call);
reel_status reel__ref_uniform(const reel_kcall *call);
reel_status reel__ref_normal(const reel_kcall *call);
reel_status reel__ref_randint(const reel_kcall *call);
reel_status reel__ref_dropout(const reel_kcall *call);
reel_status reel__ref_sum(const reel_kcall *call);
reel_status reel__ref_var(const reel_kcall *call);
reel_status reel__ref_norm(const reel_kcall *call);
reel_status reel__ref_amax(const reel_kcall *call);
reel_status reel__ref_amin(const reel_kcall *call);
reel_status reel__ref_argmax(const reel_kcall *call);
reel_status reel__ref_argmin(const reel_kcall *call);
reel_status reel__ref_any(const reel_kcall *call);
reel_status reel__ref_all(const reel_kcall *call);
reel_status reel__ref_matmul(const reel_kcall *call);
reel_status reel__ref_linear(const reel_kcall *call);
reel_status reel__ref_conv2d(const reel_kcall *call);
reel_status reel__ref_conv2d_fused(const reel_kcall *call);
reel_status reel__ref_linear_fused(const reel_kcall *call);
reel_status reel__ref_conv2d_input(const reel_kcall *call);
reel_status reel__ref_conv2d_weight(const reel_kcall *call);
reel_status reel__ref_max_pool2d(const reel_kcall *call);
reel_status reel__ref_max_pool2d_backward(const reel_kcall *call);
reel_status reel__ref_avg_pool2d(const reel_kcall *call);
reel_status reel__ref_avg_pool2d_backward(const reel_kcall *call);
reel_status reel__ref_adaptive_avg_pool2d(const reel_kcall *call);
reel_status reel__ref_adaptive_avg_pool2d_backward(const reel_kcall *call);
reel_status reel__ref_batch_norm(const reel_kcall *call);
reel_status reel__ref_batch_norm_apply(const reel_kcall *call);
reel_status reel__ref_batch_norm_backward(const reel_kcall *call);
reel_status reel__ref_fold_batch_norm(const reel_kcall *call);
reel_status reel__ref_layer_norm(const reel_kcall *call);
reel_status reel__ref_layer_norm_backward(const reel_kcall *call);
reel_status reel__ref_softmax(const reel_kcall *call);
reel_status reel__ref_softmax_backward(const reel_kcall *call);
reel_status reel__ref_log_softmax(const reel_kcall *call);
reel_status reel__ref_log_softmax_backward(const reel_kcall *call);
reel_status reel__ref_logsumexp(const reel_kcall *call);
reel_status reel__ref_cross_entropy(const reel_kcall *call);
reel_status reel__ref_attention(const reel_kcall *call);
reel_status reel__ref_attention_backward(const reel_kcall *call);
reel_status reel__ref_index_select(const reel_kcall *call);
reel_status reel__ref_index_add(const reel_kcall *call);
reel_status reel__ref_gather(const reel_kcall *call);
reel_status reel__ref_scatter_add(const reel_kcall *call);
reel_status reel__ref_one_hot(const reel_kcall *call);
reel_status reel__ref_sgd_step(const reel_kcall *call);
reel_status reel__ref_adam_step(const reel_kcall *call);

/* ---- fast: false when it does not take the call, and then nothing was written ------- */

bool reel__fast_conv2d(const reel_kcall *call, reel_status *status);
bool reel__fast_conv2d_fused(const reel_kcall *call, reel_status *status);
bool reel__fast_conv2d_input(const reel_kcall *call, reel_status *status);
bool reel__fast_conv2d_weight(const reel_kcall *call, reel_status *status);
bool reel__fast_matmul(const reel_kcall *call, reel_status *status);
bool reel__fast_linear(const reel_kcall *call, reel_status *status);
bool reel__fast_linear_fused(const reel_kcall *call, reel_status *status);
bool reel__fast_max_pool2d(const reel_kcall *call, reel_status *status);
bool reel__fast_max_pool2d_backward(const reel_kcall *call, reel_status *status);
bool reel__fast_avg_pool2d(const reel_kcall *call, reel_status *status);
bool reel__fast_avg_pool2d_backward(const reel_kcall *call, reel_status *status);
bool reel__fast_adaptive_avg_pool2d(const reel_kcall *call, reel_status *status);
bool reel__fast_adaptive_avg_pool2d_backward(const reel_kcall *call, reel_status *status);
bool reel__fast_batch_norm(const reel_kcall *call, reel_status *status);
bool reel__fast_batch_norm_apply(const reel_kcall *call, reel_status *status);
bool reel__fast_batch_norm_backward(const reel_kcall *call, reel_status *status);
bool reel__fast_layer_norm(const reel_kcall *call, reel_status *status);
bool reel__fast_layer_norm_backward(const reel_kcall *call, reel_status *status);
bool reel__fast_softmax(const reel_kcall *call, reel_status *status);
bool reel__fast_softmax_backward(const reel_kcall *call, reel_status *status);
bool reel__fast_log_softmax(const reel_kcall *call, reel_status *status);
bool reel__fast_log_softmax_backward(const reel_kcall *call, reel_status *status);
bool reel__fast_logsumexp(const reel_kcall *call, reel_status *status);
bool reel__fast_cross_entropy(const reel_kcall *call, reel_status *status);
bool reel__fast_attention(const reel_kcall *call, reel_status *status);
bool reel__fast_attention_backward(const reel_kcall *call, reel_status *status);

/* ---- prepare: see reel_prepare in cpu.h --------------------------------------------- */

size_t reel__prepare_conv2d_size(const reel_kcall *call, unsigned constant);
reel_status reel__prepare_conv2d(const reel_kcall *call, void *to);
size_t reel__prepare_product_size(const reel_kcall *call, unsigned constant);
reel_status reel__prepare_product(const reel_kcall *call, void *to);

#endif
