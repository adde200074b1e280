/* pointwise_program.c: the kernel POINTWISE: attributes become a program of rows. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/program.h"

/* That of the values; halves in f32. All bool: any compute type holds 0 and 1. */
static reel_pw_type type_of(const reel_kcall *call)
{
    for (int i = 0; i < call->n_in; i++)
        if (call->in[i].meta->dtype == REEL_F64) return REEL_PW_F64;
    return REEL_PW_F32;
}

reel_status reel__ref_pointwise(const reel_kcall *call)
{
    const reel_pointwise_attrs *a = call->attrs;
    const reel_pw_rows *rows = reel__pw_rows();
    reel_pw_program p = {.type = type_of(call)};
    p.n_in = (int)a->n_in;
    p.n_step = (int)a->n_step;
    p.n_out = (int)a->n_out;
    for (int i = 0; i < p.n_out; i++) p.out[i] = (int)a->out[i];
    for (int s = 0; s < p.n_step; s++) {
        reel_kernel_id row = (reel_kernel_id)a->row[s];
        p.step[s].info = reel__pw_info(row);
        p.step[s].fn = rows->row[row][p.type];
        p.step[s].a = a->a[s];
        for (int k = 0; k < 3; k++) p.step[s].src[k] = (int)a->src[s][k];
    }
    reel__program_run(&p, call);
    return REEL_OK;
}
