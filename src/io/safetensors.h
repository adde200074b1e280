/* safetensors.h: what reader, writer and checkpoints share. */
#ifndef REEL_IO_SAFETENSORS_H
#define REEL_IO_SAFETENSORS_H

#include <reel/io.h>

#define REEL__SAFETENSORS_MAX_HEADER (INT64_C(16) << 20)
#define REEL__SAFETENSORS_METADATA "__metadata__"

/* The two texts that make a safetensors file a checkpoint. */
#define REEL__CHECKPOINT_KEY "reel.checkpoint"
#define REEL__CHECKPOINT_VERSION "1"
#define REEL__CHECKPOINT_CRC_KEY "reel.crc32"
#define REEL__CHECKPOINT_CRC_FORMAT "%08" PRIx32

/* A dtype of the format; `dtype` is REEL_DTYPE_NONE for those that reel has not. */
typedef struct reel__safetensors_dtype {
    const char *name;
    size_t size;
    reel_dtype dtype;
} reel__safetensors_dtype;

/* NULL if there is none. */
const reel__safetensors_dtype *reel__safetensors_dtype_named(const char *name);
const char *reel__safetensors_dtype_name(reel_dtype dtype);

/* Writes it, as a checkpoint or as plain safetensors. */
reel_status reel__safetensors_write(const char *path, const reel_tensor_map *map,
                                    bool checkpoint);
/* The data section of an open file. */
const void *reel__safetensors_data(const reel_safetensors *st, size_t *size);
/* A new map with copies of all tensors and texts. */
reel_tensor_map *reel__safetensors_to_map(reel_safetensors *st);

#endif
