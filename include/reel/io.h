/* reel/io.h: tensors in files: safetensors, checkpoints, graphs, .npy; pictures as PNG.
 *
 *     reel_tensor_map *m = reel_tensor_map_new();
 *     reel_tensor_map_set(m, "weight", w);
 *     reel_tensor_map_set_text(m, "epoch", "3");
 *     reel_tensor_map_save(m, "run.ckpt");
 *     reel_tensor_map_free(m);
 *
 * Every writer is atomic: temporary file in the same folder, fsync, rename, fsync of the
 * folder. After an error (full disk, ...) the earlier file is intact and no temporary
 * file is left. Every reader gives a result or an error on any bytes, within these
 * limits: header 16 MB, rank 8, sizes that fit the file.
 *
 * Functions that make something refuse to run (NULL) while an error is pending. */
#ifndef REEL_IO_H
#define REEL_IO_H

#include <reel/base.h>
#include <reel/tensor.h>
#include <reel/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- named tensors ----------------------------------------------------------------- */

/** An ordered list of named tensors and of named texts (metadata). Opaque. */
typedef struct reel_tensor_map reel_tensor_map;

/** An empty one. Errors: REEL_ERR_MEMORY. */
REEL_API reel_tensor_map *reel_tensor_map_new(void);
/** Sets tensor `name`, replacing one of that name; takes a share of `t`. O(number of
 *  names).
 *  Errors: REEL_ERR_ARG for NULL, REEL_ERR_MEMORY. */
REEL_API reel_status reel_tensor_map_set(reel_tensor_map *map, const char *name,
                                         reel_tensor *t);
/** Tensor `name`, borrowed from the map; NULL if there is none (no error is set). */
REEL_API reel_tensor *reel_tensor_map_get(const reel_tensor_map *map, const char *name);
/** Number of tensors; 0 for NULL. */
REEL_API int64_t reel_tensor_map_count(const reel_tensor_map *map);
/** Name of tensor i, owned by the map; NULL out of range. */
REEL_API const char *reel_tensor_map_name(const reel_tensor_map *map, int64_t i);
/** Tensor i, borrowed from the map; NULL out of range. */
REEL_API reel_tensor *reel_tensor_map_at(const reel_tensor_map *map, int64_t i);
/** Sets text `key` (UTF-8), replacing one of that key. Copies both. */
REEL_API reel_status reel_tensor_map_set_text(reel_tensor_map *map, const char *key,
                                              const char *text);
/** Text `key`, owned by the map; NULL if there is none (no error is set). */
REEL_API const char *reel_tensor_map_text(const reel_tensor_map *map, const char *key);
/** Number of texts; 0 for NULL. */
REEL_API int64_t reel_tensor_map_text_count(const reel_tensor_map *map);
/** Key of text i, owned by the map; NULL out of range. */
REEL_API const char *reel_tensor_map_text_key(const reel_tensor_map *map, int64_t i);
/** Releases the tensors and frees the map. NULL is allowed. */
REEL_API void reel_tensor_map_free(reel_tensor_map *map);

/* ---- safetensors ------------------------------------------------------------------- */
/* Format: u64 size of the header, JSON header, data without gaps.
 * Source: github.com/huggingface/safetensors. All of this section gives
 * REEL_ERR_UNSUPPORTED in a reel that was built without jansson. */

/** Writes the tensors (any device, any strides, any dtype) and texts (as __metadata__).
 *  Errors: REEL_ERR_IO naming the file and the step; REEL_ERR_ARG for a name that is not
 *  UTF-8 or is "__metadata__"; REEL_ERR_MEMORY. */
REEL_API reel_status reel_safetensors_save(const reel_tensor_map *map, const char *path);

/** An open safetensors file: header parsed and checked, data mapped. Opaque. */
typedef struct reel_safetensors reel_safetensors;

/** Opens and checks: every offset in range, no overlap, no gap, sizes equal to shape x
 *  dtype. The file must not be cut short by others while it is open.
 *  Errors: REEL_ERR_IO; REEL_ERR_FORMAT naming file and tensor. */
REEL_API reel_safetensors *reel_safetensors_open(const char *path);
/** Number of tensors; 0 for NULL. */
REEL_API int64_t reel_safetensors_count(const reel_safetensors *st);
/** Name of tensor i in the order of the header, owned by `st`; NULL out of range. */
REEL_API const char *reel_safetensors_name(const reel_safetensors *st, int64_t i);
/** Shape of tensor i; rank -1 out of range. */
REEL_API reel_shape reel_safetensors_shape(const reel_safetensors *st, int64_t i);
/** Copy of tensor `name` as a new CPU tensor. O(log n) to find it.
 *  Errors: REEL_ERR_ARG if there is none of that name; REEL_ERR_UNSUPPORTED for a dtype
 *  of the format that reel has not (I16, U64, F8_E4M3, ...); REEL_ERR_FORMAT for a BOOL
 *  that is neither 0 nor 1. */
REEL_API reel_tensor *reel_safetensors_get(reel_safetensors *st, const char *name);
/** Text `key` of __metadata__, owned by `st`; NULL if there is none (no error is set). */
REEL_API const char *reel_safetensors_text(const reel_safetensors *st, const char *key);
/** Closes. Tensors got from it live on. NULL is allowed. */
REEL_API void reel_safetensors_close(reel_safetensors *st);
/** Opens, copies all tensors and texts into a new map, closes. The caller frees it. */
REEL_API reel_tensor_map *reel_safetensors_load(const char *path);

/* ---- maps as files ------------------------------------------------------------------ */

/** Writes a map as a checkpoint file: a safetensors file with two more texts, reel.checkpoint
 *  (version) and reel.crc32 (of the data), so that a damaged file is found out. Errors: as
 *  reel_safetensors_save. */
REEL_API reel_status reel_tensor_map_save(const reel_tensor_map *map, const char *path);
/** Reads it back; the two texts are left out. The caller frees the map.
 *  Errors: as reel_safetensors_open; REEL_ERR_FORMAT if it is not a checkpoint, is of a
 *  version that is not known, or its data do not have the checksum. */
REEL_API reel_tensor_map *reel_tensor_map_load(const char *path);

/* ---- graphs ------------------------------------------------------------------------ */

/** Writes a graph with its weights: a safetensors file whose texts hold reel.graph (what
 *  reel_graph_to_string() gives, of a copy with reel_graph_name_state()) and
 *  reel.graph.version. Every text is parsed again before anything is written. Errors: as
 *  reel_safetensors_save; REEL_ERR_FORMAT if the graph has no text that can be read. */
REEL_API reel_status reel_graph_save(const reel_graph *g, const char *path);
/** Reads it back: it computes the same bits. Parameters ask for gradients. The caller frees it.
 *  Errors: as reel_safetensors_open and reel_graph_parse; REEL_ERR_FORMAT if the file holds no
 *  graph, or one of a version that is not known. */
REEL_API reel_graph *reel_graph_load(const char *path);

/* ---- NumPy ------------------------------------------------------------------------- */

/** Reads a .npy file, versions 1 to 3, little endian, C or Fortran order: f2 f4 f8 i1 i4
 *  i8 u1 b1. Errors: REEL_ERR_IO; REEL_ERR_FORMAT; REEL_ERR_UNSUPPORTED for another
 *  descr.
 *  Source: numpy.org/doc/stable/reference/generated/numpy.lib.format.html. */
REEL_API reel_tensor *reel_npy_load(const char *path);
/** Writes a .npy file, version 1, C order. Errors: REEL_ERR_UNSUPPORTED for bf16, which
 *  NumPy has not; REEL_ERR_IO. */
REEL_API reel_status reel_npy_save(reel_tensor *x, const char *path);

/* ---- pictures ---------------------------------------------------------------------- */

/** Writes pixels [height, width, channels], row-major, as a PNG without compression.
 *  channels: 1 gray, 2 gray and alpha, 3 RGB, 4 RGBA. Errors: REEL_ERR_ARG, REEL_ERR_IO.
 *  Source: RFC 2083. */
REEL_API reel_status reel_png_save(const uint8_t *pixels, int height, int width,
                                   int channels, const char *path);

/** Options of reel_image_grid_save. Zero is the default. */
typedef struct reel_image_grid_opts {
    int columns; /* images a row; 0 means 8 */
    int padding; /* black pixels around each; 0 means 2 */
    int scale;   /* pixels across that each pixel takes; 0 means 1 */
    double low;  /* what is black */
    double high; /* what is full; 0 means 1, of u8 255, and REEL_ZERO 0 */
    REEL_FUTURE;
} reel_image_grid_opts;
/** Writes a batch of images side by side as one PNG, to look at: [n, c, h, w] of 1 (gray) or 3
 *  (RGB) channels, of any floating dtype or u8, on any device. What is below `low` or NaN is
 *  black, what is above `high` full. opts may be NULL.
 *  Errors: REEL_ERR_SHAPE, REEL_ERR_DTYPE for other images; REEL_ERR_ARG for negative options,
 *  low that is not below high, more than 65535 pixels across; those of reel_png_save. */
REEL_API reel_status reel_image_grid_save(reel_tensor *images, const char *path,
                                          const reel_image_grid_opts *opts);

#ifdef __cplusplus
}
#endif
#endif
