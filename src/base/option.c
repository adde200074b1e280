/* option.c: structs that a program of another version may have filled (docs/adr/0025). */
#include "base/option.h"

/* As large as the largest of them, and zero. */
static const union {
    uint64_t aligned;
    char bytes[512];
} none;

bool reel__future_known(const char *who, const uint64_t *future)
{
    static const struct {
        REEL_FUTURE;
    } room;
    for (size_t i = 0; i < sizeof room.future / sizeof *future; i++) {
        if (!future[i]) continue;
        (void)reel_fail(
            REEL_ERR_UNSUPPORTED,
            "%s: a struct that it was given has a member set that reel %s does "
            "not know: it was not zeroed, or is for a later version",
            who, reel_version());
        return false;
    }
    return true;
}

const void *reel__opts(const char *who, const void *given, size_t size, size_t future)
{
    if (!given && size <= sizeof none) return none.bytes;
    if (!given) {
        (void)reel_fail(REEL_ERR_INTERNAL, "%s: its options are larger than `none`", who);
        return NULL;
    }
    const void *last = (const char *)given + future;
    return reel__future_known(who, last) ? given : NULL;
}
