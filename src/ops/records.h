/* records.h: a declaration of every record, from the list. */
#ifndef REEL_OPS_RECORDS_H
#define REEL_OPS_RECORDS_H

#include "ops/op.h"

#define OP(name) extern const reel__op reel__##name;
#include "ops/ops.def"
#undef OP

#endif
