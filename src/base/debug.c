/* debug.c: whether the environment asks for the mode. */
#include "base/debug.h"

#include <stdlib.h>
#include <string.h>

atomic_int reel__debug_state = -1;

/* Two threads that race here read the same value. What was made before would not be known to the
 * mode, so the first question, which is asked before the first tensor is made, decides. */
bool reel__debug_ask(void)
{
    const char *env = getenv("REEL_DEBUG");
    int on = env && strcmp(env, "1") == 0;
    atomic_store_explicit(&reel__debug_state, on, memory_order_relaxed);
    return on != 0;
}
