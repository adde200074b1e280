/* program.h: a program of pointwise rows as the CPU runs it, over blocks that stay in L1. A
 * single row that does not go straight to its loop is a program of one step. */
#ifndef REEL_BACKEND_CPU_PROGRAM_H
#define REEL_BACKEND_CPU_PROGRAM_H

#include "backend/cpu/pw.h"

/* Values are numbered: the inputs, then the results of the steps. */
#define REEL_PROGRAM_VALUES (REEL_STEP_INS + REEL_STEPS)

typedef struct reel__pw_step {
    const reel__pw_info *info;
    reel__pw_fn fn;
    const reel__number *a;
    int src[3]; /* info->n_in values */
} reel__pw_step;

typedef struct reel__pw_program {
    reel__pw_type type;
    int n_in, n_step, n_out;
    int out[REEL_STEP_OUTS]; /* steps */
    reel__pw_step step[REEL_STEPS];
} reel__pw_program;

/* Runs it on the operands of a call: any strides, inputs broadcast to output 0, of any dtype
 * (they are converted to the compute type). An output may be an input exactly: same first
 * element, dtype and strides. */
void reel__program_run(const reel__pw_program *p, const reel__kcall *call);

/* Elements of a task of n, all of them where one thread does all: from sizes and rows alone,
 * so that any number of threads cuts alike. */
int64_t reel__program_task(const reel__pw_program *p, int64_t n);

#endif
