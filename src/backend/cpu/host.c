/* host.c: kernels that calls bring along: operators of users. */
#include "backend/cpu/kernels.h"

reel_status reel__ref_host(const reel__kcall *call)
{
    const reel__host *host = call->prepared;
    if (host) return host->run(host, call);
    return reel_fail(REEL_ERR_INTERNAL, "HOST: the call brings no function");
}
