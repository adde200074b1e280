/* denormals.h: flush denormal floats to zero while kernels compute. */
#ifndef REEL_BASE_DENORMALS_H
#define REEL_BASE_DENORMALS_H

#include <stdint.h>

/* Switches flushing on for this thread, if the process wants it (reel_set_flush_denormals),
 * and back to what reel__flush_begin() returned. Nested pairs cost a read of a register. */
uint64_t reel__flush_begin(void);
void reel__flush_end(uint64_t before);

#endif
