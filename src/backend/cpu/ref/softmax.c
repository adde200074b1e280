/* softmax.c: reference softmax, log-softmax, log-sum-exp along attrs.dim. */
#include "backend/cpu/ref/ref.h"

#include <math.h>

#define REEL_REF_TEMPLATE "backend/cpu/ref/softmax.inc"
#include "backend/cpu/ref/template.h"

REEL_REF_KERNEL(softmax)
REEL_REF_KERNEL(softmax_backward)
REEL_REF_KERNEL(log_softmax)
REEL_REF_KERNEL(log_softmax_backward)
REEL_REF_KERNEL(logsumexp)
