/* matmul.c: reference matrix products. */
#include "backend/cpu/ref/ref.h"

/* Columns of a result row that are summed side by side: the accumulators stay in L1, and
 * the inner loop runs along a row of B. */
enum { COLUMNS = 64 };

#define REEL_REF_TEMPLATE "backend/cpu/ref/matmul.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(matmul)
REEL_REF_KERNEL(linear)
