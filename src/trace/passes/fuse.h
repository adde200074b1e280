/* fuse.h (internal): what fuse_conv.c and fuse_linear.c share. */
#ifndef REEL_TRACE_PASSES_FUSE_H
#define REEL_TRACE_PASSES_FUSE_H

#include "trace/passes/match.h"

/* The node u of any_unary(...) as the end of a fused record: its row and numbers. False if a
 * number depends on the batch. */
bool reel__fused_end(const reel_graph *g, const reel__match *m, int64_t *act,
                     reel__number a[2]);
/* Emits a fused record with operands x, w, b? and `residual` (-1: none) of the match. */
int reel__emit_fused(reel_graph *g, const reel__match *m, const reel__op *op,
                     const void *attrs, int residual);

#endif
