/* registry.h: the backends that a build links. One that is absent is all zero but for its
 * name (no_cuda/), so that nobody else needs an #ifdef. */
#ifndef REEL_BACKEND_REGISTRY_H
#define REEL_BACKEND_REGISTRY_H

#include "backend/backend.h"

extern const reel__backend reel__cpu_backend;
extern const reel__backend reel__cuda_backend;

#endif
