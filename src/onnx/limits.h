/* limits.h: the most that the reader takes. A file beyond any of these is refused as one that
 * is not supported, with an error that names the limit; nothing here bounds what real models
 * need. */
#ifndef REEL_ONNX_LIMITS_H
#define REEL_ONNX_LIMITS_H

#include <reel/base.h>

/* Versions that are read. New ones of the IR add messages, which are skipped or lacking where
 * they stand, so one that is somewhat newer than all that were seen is read without a word, and
 * one that is much newer with a warning. */
#define REEL__ONNX_IR_MIN 3
#define REEL__ONNX_IR_SILENT 19
#define REEL__ONNX_OPSET_MIN 1
#define REEL__ONNX_OPSET_MAX 28

/* Largest file and largest file of external data, where the caller names none. */
#define REEL__ONNX_FILE_MAX ((int64_t)64 << 30)
/* The most that protobuf allows, so that what we write is read everywhere. */
#define REEL__ONNX_MESSAGE_MAX ((int64_t)INT32_MAX)

/* Messages within messages. The schema that is read is not recursive (graphs as attributes
 * are refused, unknown fields skipped without looking into them), so it bounds the depth
 * itself; this is the size of the reader's path. */
#define REEL__ONNX_DEPTH_MAX 16
#define REEL__ONNX_NODES_MAX 1000000
/* Of one node; the richest operator has 16. They are searched one by one. */
#define REEL__ONNX_ATTRIBUTES_MAX 100
#define REEL__ONNX_NAME_MAX ((size_t)64 << 10)
/* Files of external data; some exporters write one for each weight. */
#define REEL__ONNX_FILES_MAX 4096

/* Decoded memory for each byte of the file, and what even the smallest may have. Real models
 * need 1 to 5; a file of nodes of five bytes each, which do nothing, is refused. */
#define REEL__ONNX_MEMORY_FACTOR 16
#define REEL__ONNX_MEMORY_FLOOR ((size_t)64 << 10)

#endif
