/* half_operands.c: f16 and bf16 operands of kernels that compute in f32. */
#include "backend/cpu/half_operands.h"

#include "base/alloc.h"

/* Most operands of any kernel that computes; only CAT has more, and it takes halves. */
#define MAX_ARGS 16

#define HALF 1u
#define INTS 2u
static const uint8_t row_takes[K_COUNT] = {
#define PW(ID, n_in, types, out, ...)
#define KERNEL(ID, name, cpu, takes) [K_##ID] = takes,
#include "backend/kernel.def"
#undef PW
#undef KERNEL
};

bool reel__takes_ints(reel__kernel_id kernel)
{
    return row_takes[kernel] & INTS;
}

static bool is_half(const reel__karg *a)
{
    return a->meta && (a->meta->dtype == REEL_F16 || a->meta->dtype == REEL_BF16);
}

bool reel__needs_f32(const reel__kcall *call)
{
    if (row_takes[call->kernel] & HALF) return false;
    for (int i = 0; i < call->n_in; i++)
        if (is_half(&call->in[i])) return true;
    for (int i = 0; i < call->n_out; i++)
        if (is_half(&call->out[i])) return true;
    return false;
}

/* A half operand and the f32 one that stands for it. */
typedef struct stand_in {
    reel__meta meta;
    reel__meta half; /* without its repeated (stride 0) dimensions */
    void *data;      /* scratch, NULL where the operand stands for itself */
} stand_in;

static reel_status copy(void *dst, const reel__meta *dm, void *src, const reel__meta *sm)
{
    const reel__karg in = {src, sm}, out = {dst, dm};
    const reel__kcall call = {K_COPY, 1, 1, &in, &out, NULL, NULL, 0};
    return reel__ref_copy(&call);
}

/* Same dimensions and order of memory; repeated dimensions are stored once and stay
 * repeated. */
static reel_status stand_in_make(stand_in *s, const reel__karg *a)
{
    s->half = *a->meta;
    for (int i = 0; i < s->half.rank; i++)
        if (s->half.stride[i] == 0 && s->half.dim[i] > 1) s->half.dim[i] = 1;
    s->half.offset = 0;
    s->meta = s->half;
    s->meta.dtype = REEL_F32;
    reel__set_strides_like(&s->meta, &s->half);
    s->data = reel__scratch((size_t)reel__numel(&s->meta) * sizeof(float));
    return s->data ? REEL_OK : reel_error_status();
}

static void stand_in_expand(stand_in *s, const reel__karg *a)
{
    for (int i = 0; i < s->meta.rank; i++)
        if (s->meta.dim[i] != a->meta->dim[i]) {
            s->meta.dim[i] = a->meta->dim[i];
            s->meta.stride[i] = 0;
        }
}

/* Replaces operand `a` where it is a half. */
static reel_status replace(stand_in *s, reel__karg *a, bool is_read)
{
    s->data = NULL;
    if (!is_half(a)) return REEL_OK;
    reel_status status = stand_in_make(s, a);
    if (status == REEL_OK && is_read) status = copy(s->data, &s->meta, a->data, &s->half);
    if (status != REEL_OK) return status;
    stand_in_expand(s, a);
    *a = (reel__karg){s->data, &s->meta};
    return REEL_OK;
}

reel_status reel__run_in_f32(const reel__kcall *call, reel__kernel_fn run)
{
    stand_in stand[MAX_ARGS];
    reel__karg arg[MAX_ARGS];
    int n = call->n_in + call->n_out, made = 0;
    if (n > MAX_ARGS)
        return reel_fail(REEL_ERR_INTERNAL,
                         "%s: %d operands, at most %d in half precision",
                         reel__kernel_name(call->kernel), n, MAX_ARGS);
    reel_status status = REEL_OK;
    for (; made < n && status == REEL_OK; made++) {
        bool is_in = made < call->n_in;
        arg[made] = is_in ? call->in[made] : call->out[made - call->n_in];
        status = replace(&stand[made], &arg[made], is_in);
    }
    if (status == REEL_OK) {
        reel__kcall f32 = *call;
        f32.in = arg;
        f32.out = arg + call->n_in;
        status = run(&f32);
    }
    for (int i = 0; i < made; i++) {
        bool is_out = i >= call->n_in || (i < 8 && (call->mutates >> i & 1));
        if (stand[i].data && is_out && status == REEL_OK) {
            const reel__karg *a =
                i < call->n_in ? &call->in[i] : &call->out[i - call->n_in];
            status = copy(a->data, &stand[i].half, stand[i].data, &stand[i].meta);
        }
        reel__scratch_free(stand[i].data);
    }
    return status;
}
