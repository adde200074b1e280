/* fold_batch_norm.c: reference: weights with the batch norm behind them. */
#include "backend/cpu/ref/ref.h"

#include <math.h>

enum { MEAN, VAR, WEIGHT, BIAS, GAMMA, BETA };

#define REEL_REF_TEMPLATE "backend/cpu/ref/fold_batch_norm.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(fold_batch_norm)
