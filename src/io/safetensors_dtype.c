/* safetensors_dtype.c: the names that safetensors gives to dtypes. */
#include <string.h>

#include "io/safetensors.h"

static const reel__safetensors_dtype dtypes[] = {
    {"F64", 8, REEL_F64},
    {"F32", 4, REEL_F32},
    {"F16", 2, REEL_F16},
    {"BF16", 2, REEL_BF16},
    {"I64", 8, REEL_I64},
    {"I32", 4, REEL_I32},
    {"I8", 1, REEL_I8},
    {"U8", 1, REEL_U8},
    {"BOOL", 1, REEL_BOOL},
    {"U64", 8, REEL_DTYPE_NONE},
    {"U32", 4, REEL_DTYPE_NONE},
    {"I16", 2, REEL_DTYPE_NONE},
    {"U16", 2, REEL_DTYPE_NONE},
    {"F8_E4M3", 1, REEL_DTYPE_NONE},
    {"F8_E5M2", 1, REEL_DTYPE_NONE},
    {"F8_E8M0", 1, REEL_DTYPE_NONE},
    {"C64", 8, REEL_DTYPE_NONE},
};

#define COUNT (sizeof dtypes / sizeof *dtypes)

const reel__safetensors_dtype *reel__safetensors_dtype_named(const char *name)
{
    for (size_t i = 0; i < COUNT; i++)
        if (strcmp(dtypes[i].name, name) == 0) return &dtypes[i];
    return NULL;
}

const char *reel__safetensors_dtype_name(reel_dtype dtype)
{
    for (size_t i = 0; i < COUNT; i++)
        if (dtypes[i].dtype == dtype && dtype != REEL_DTYPE_NONE) return dtypes[i].name;
    return NULL;
}
