/* pointwise_program.c: the kernel POINTWISE: attributes become a program of rows. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/program.h"

/* That of the values; halves in f32. All bool: any compute type holds 0 and 1. */
static reel__pw_type type_of(const reel__kcall *call)
{
    for (int i = 0; i < call->n_in; i++)
        if (call->in[i].meta->dtype == REEL_F64) return REEL_PW_F64;
    return REEL_PW_F32;
}

reel_status reel__ref_pointwise(const reel__kcall *call)
{
    const reel__pointwise_attrs *a = call->attrs;
    const reel__pw_rows *rows = reel__pw_rows_of_isa();
    reel__pw_program p = {.type = type_of(call)};
    p.n_in = (int)a->n_in;
    p.n_step = (int)a->n_step;
    p.n_out = (int)a->n_out;
    for (int i = 0; i < p.n_out; i++) p.out[i] = (int)a->out[i];
    for (int s = 0; s < p.n_step; s++) {
        reel__kernel_id row = (reel__kernel_id)a->row[s];
        p.step[s].info = reel__pw_info_of(row);
        p.step[s].fn = rows->row[row][p.type];
        p.step[s].a = a->a[s];
        for (int k = 0; k < 3; k++) p.step[s].src[k] = (int)a->src[s][k];
    }
    reel__program_run(&p, call);
    return REEL_OK;
}
