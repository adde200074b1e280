/* dtype.c: the element types, and the version of the library. */
#include <reel/base.h>

#include "base/counts.h"

#define TEXT_(x) #x
#define TEXT(x) TEXT_(x)

static const struct {
    const char *name;
    size_t size;
    bool is_float;
} dtypes[REEL__DTYPE_COUNT] = {
    [REEL_F32] = {"f32", 4, true},    [REEL_F64] = {"f64", 8, true},
    [REEL_F16] = {"f16", 2, true},    [REEL_BF16] = {"bf16", 2, true},
    [REEL_I64] = {"i64", 8, false},   [REEL_I32] = {"i32", 4, false},
    [REEL_I8] = {"i8", 1, false},     [REEL_U8] = {"u8", 1, false},
    [REEL_BOOL] = {"bool", 1, false},
};

/* Through unsigned, so that a negative value from a damaged file is out of range too. */
static bool valid(reel_dtype dtype)
{
    return (unsigned)dtype < REEL__DTYPE_COUNT;
}

size_t reel_dtype_size(reel_dtype dtype)
{
    return valid(dtype) ? dtypes[dtype].size : 0;
}

const char *reel_dtype_name(reel_dtype dtype)
{
    return valid(dtype) ? dtypes[dtype].name : "?";
}

bool reel_dtype_is_float(reel_dtype dtype)
{
    return valid(dtype) && dtypes[dtype].is_float;
}

const char *reel_version(void)
{
    return TEXT(REEL_VERSION_MAJOR) "." TEXT(REEL_VERSION_MINOR) "." TEXT(
        REEL_VERSION_PATCH);
}
