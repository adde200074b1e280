/* registry.c: which backends there are, and the names of kernels. */
#include "backend/registry.h"
#include "base/counts.h"

static const reel__backend *const backends[REEL__DEVICE_TYPE_COUNT] = {
    [REEL_CPU] = &reel__cpu_backend,
    [REEL_CUDA] = &reel__cuda_backend,
};

static const char *const kernel_names[K_COUNT] = {
    [K_NONE] = "NONE",
#define PW(ID, n_in, types, out, ...) [K_##ID] = #ID,
#define KERNEL(ID, name, cpu, takes) [K_##ID] = #ID,
#include "backend/kernel.def"
#undef PW
#undef KERNEL
};

const reel__backend *reel__backend_of(reel_device_type type)
{
    if ((unsigned)type >= REEL__DEVICE_TYPE_COUNT) return NULL;
    return backends[type]->launch ? backends[type] : NULL;
}

reel_status reel__launch(reel_device device, const reel__kcall *call)
{
    return backends[device.type]->launch(device.index, call);
}

const char *reel__kernel_name(reel__kernel_id kernel)
{
    return (unsigned)kernel < K_COUNT ? kernel_names[kernel] : "?";
}

bool reel_device_available(reel_device device)
{
    const reel__backend *b = reel__backend_of(device.type);
    return b && device.index >= 0 && device.index < b->count();
}

reel_device reel_best_device(void)
{
    const reel_device cuda = {.type = REEL_CUDA};
    return reel_device_available(cuda) ? cuda : (reel_device){.type = REEL_CPU};
}
