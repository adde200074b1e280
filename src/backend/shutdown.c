/* shutdown.c: the library lets go of what it holds by itself: threads, and memory that is
 * cached. */
#include "base/shutdown.h"

#include "backend/backend.h"
#include "base/debug.h"

void reel_shutdown(void)
{
    reel__stop_threads();
    reel__debug_close();
    reel__memory_close();
    reel__watched_close();
}

reel_status reel_synchronize(reel_device device)
{
    if (reel_failed()) return reel_error_status();
    if (!reel_device_available(device))
        return reel_fail(REEL_ERR_DEVICE, "synchronize: no device of type %d, index %d",
                         (int)device.type, device.index);
    return reel__backend_of(device.type)->synchronize(device.index);
}
