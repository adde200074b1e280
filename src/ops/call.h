/* call.h: what every call of a record must satisfy and how it is run, whoever makes it: apply(),
 * a graph's shapes, an executor's plan, folding. One layer below all of them. */
#ifndef REEL_OPS_CALL_H
#define REEL_OPS_CALL_H

#include "ops/op.h"

/* Operands: how many, there, on one device, of a dtype that the record takes; and what is
 * changed has a place for each element. The inputs may be ghosts. */
reel_status reel__call_check(const reel__call *c);

/* What comes out, by the record's own rule; out[] holds n_out metas. */
reel_status reel__call_infer(const reel__call *c, reel_device device, reel__meta *out);

/* Whether an in-place kernel would overwrite input k before it has read it, such as the first
 * row in x += x[0]: a copy of it is read then. same_memory: input k lies in input 0's memory. */
bool reel__call_parts(const reel__op *op, int k, bool same_memory,
                      const reel__meta *first, const reel__meta *m);

/* Runs the kernel of the record. Inputs and outputs have memory; a view has no kernel. */
reel_status reel__call_launch(const reel__call *c, reel_device device);

/* Whatever the call changed carries a new version: the tape, and who prepared something of the
 * old value, can tell. */
void reel__call_changed(const reel__call *c);

#endif
