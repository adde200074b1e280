/* file.h: ONNX files: writing and reading a model, and what a model must fulfil. */
#ifndef REEL_ONNX_FILE_H
#define REEL_ONNX_FILE_H

#include "onnx/model.h"

/* ---- writing ----------------------------------------------------------------------- */

typedef struct reel__onnx_write_opts {
    /* A file that would be larger than this keeps its weights in `<path>.data` instead, at
     * offsets aligned to 4096. 0: 2 GiB - 1, the most that a protobuf message may have. */
    int64_t max_bytes;
    /* Called with what was written, still under temporary names (`data` NULL: no external
     * data). An error, which it leaves pending, ends the writing. NULL: no check. */
    reel_status (*check)(void *user, const char *file, const char *data);
    void *user;
} reel__onnx_write_opts;

/* Writes the model; the same model gives the same bytes. The old file stays, byte for byte,
 * if anything fails. With external data there are two files, which no call to the system
 * replaces together: both are complete on the disk before the first is renamed, and if the
 * second rename fails the first is taken back. Only a crash between the two can leave the
 * new weights beside the old model. A data file that a smaller model no longer needs stays.
 * `opts` may be NULL. */
reel_status reel__onnx_write(const reel__onnx_model *m, const char *path,
                             const reel__onnx_write_opts *opts);

/* ---- reading ----------------------------------------------------------------------- */

typedef struct reel__onnx_read_opts {
    int64_t max_bytes; /* largest file, and largest file of external data; 0: 64 GiB */
    const char *data;  /* the file of external data, whatever the model calls it; NULL: as
                        * the model says, which may name none outside its folder */
} reel__onnx_read_opts;

/* Reads, bounds and checks a file: every error names the file, the byte and the field. The
 * model passed reel__onnx_check(). `opts` may be NULL. */
reel__onnx_model *reel__onnx_read(const char *path, const reel__onnx_read_opts *opts);

/* The same from memory, which must outlive the model; `name` is for messages. External data
 * are refused: there is no folder that they could be in. */
reel__onnx_model *reel__onnx_read_bytes(const char *name, const void *bytes, size_t n);

/* Every name that is used is made before, once: no input of a node or output of the graph
 * without a maker (a cycle shows as this), no two makers of one name. `file` is for
 * messages. */
reel_status reel__onnx_check(const reel__onnx_model *m, const char *file);

/* ---- names ------------------------------------------------------------------------- */

/* All that is made in a graph, numbered in this order: inputs, initializers, outputs of
 * nodes. An input with an initializer of its name (a default, obligatory in IR 3) is one
 * value with the number of the input. */
typedef struct reel__onnx_names reel__onnx_names;
/* REEL_ERR_FORMAT if two makers give one name. `m` must outlive it. */
reel__onnx_names *reel__onnx_names_new(const reel__onnx_model *m, const char *file);
/* How many numbers there are, those of "" (outputs that nobody wants) included. */
size_t reel__onnx_made(const reel__onnx_graph *g);
void reel__onnx_names_free(reel__onnx_names *names);
/* The number of a name; -1 if nothing makes it. O(log n). */
int64_t reel__onnx_names_find(const reel__onnx_names *names, const char *name);

#endif
