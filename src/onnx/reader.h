/* reader.h: protobuf messages, read within bounds. A message is gone through twice: the first
 * time, when it is opened, everything about its fields is checked and counted, so that lists
 * are allocated at their size before the second time reads into them. What is unknown is
 * skipped by its length, never looked into.
 *
 * After the first error `failed` stays set, fields end and allocations give NULL, so the
 * functions of read*.c need no check of their own. */
#ifndef REEL_ONNX_READER_H
#define REEL_ONNX_READER_H

#include "onnx/limits.h"
#include "onnx/model.h"
#include "onnx/schema.h"

/* ---- schema ------------------------------------------------------------------------ */

/* How often a field may come. Protobuf says of a single one that comes again that the last
 * counts, of a message that the two are merged: that is refused. */
typedef enum reel__onnx_many { LAST_COUNTS, ONLY_ONCE, REPEATED } reel__onnx_many;

typedef struct reel__onnx_row {
    uint32_t number;
    const char *name;
    enum wire_type type; /* of one; repeated numbers may also come packed */
    reel__onnx_many many;
} reel__onnx_row;

#define REEL__ONNX_ROWS_MAX 16
typedef struct reel__onnx_schema {
    int n;
    reel__onnx_row row[REEL__ONNX_ROWS_MAX];
} reel__onnx_schema;

/* ---- reader ------------------------------------------------------------------------ */

typedef struct reel__onnx_reader {
    const char *file; /* for messages */
    const uint8_t *start;
    reel__onnx_model *m;
    const char *folder; /* of external data; NULL: none are read */
    const char *data;   /* the one file of external data; NULL: as locations say */
    int64_t max_bytes;
    size_t budget; /* of decoded memory */
    bool failed;
    const uint8_t *here; /* the field that is being read */
    int depth;
    struct {
        const reel__onnx_row *row; /* NULL: an unknown field, or none yet */
        size_t index;
    } path[REEL__ONNX_DEPTH_MAX];
} reel__onnx_reader;

typedef struct reel__onnx_span {
    const uint8_t *p;
    size_t n;
} reel__onnx_span;

typedef struct reel__onnx_message {
    const reel__onnx_schema *schema;
    const uint8_t *begin, *p, *end;
    size_t seen[REEL__ONNX_ROWS_MAX]; /* how often so far */
    size_t count[REEL__ONNX_ROWS_MAX];
} reel__onnx_message;

typedef struct reel__onnx_field {
    uint32_t number;
    enum wire_type type;
    uint64_t value;        /* of a varint; the bits of 32 and 64 */
    reel__onnx_span bytes; /* of a string, a message or packed numbers */
} reel__onnx_field;

/* Fails with "file: byte N: graph.node[3].name: ..." and returns false. */
bool reel__onnx_bad(reel__onnx_reader *r, const char *format, ...) REEL_PRINTF(2, 3);
/* The same for a file that may be right, but is beyond a limit of ours: not supported. */
bool reel__onnx_beyond(reel__onnx_reader *r, const char *format, ...) REEL_PRINTF(2, 3);
/* The same for what another room has just failed with, under its status. */
bool reel__onnx_bad_because(reel__onnx_reader *r);

/* Checks and counts all fields. Close what was opened, unless it failed. */
bool reel__onnx_open(reel__onnx_reader *r, reel__onnx_message *msg, reel__onnx_span bytes,
                     const reel__onnx_schema *schema);
/* How many fields of a number, or elements of a list of numbers, there are. */
size_t reel__onnx_count(const reel__onnx_message *msg, uint32_t number);
/* The next field that the schema has; false at the end or if something failed. */
bool reel__onnx_next(reel__onnx_reader *r, reel__onnx_message *msg,
                     reel__onnx_field *field);
/* Begins again. */
void reel__onnx_rewind(reel__onnx_message *msg);
bool reel__onnx_close(reel__onnx_reader *r, const reel__onnx_message *msg);

/* ---- values of fields -------------------------------------------------------------- */

/* Uninitialized memory of the arena, within the budget. */
void *reel__onnx_array(reel__onnx_reader *r, size_t n, size_t size, size_t align);
/* A string of at most `max` bytes without '\0', copied. NULL only if failed. */
const char *reel__onnx_read_string(reel__onnx_reader *r, const reel__onnx_field *field,
                                   size_t max);
/* Words for a `lack`, in the arena; NULL only if it failed. */
const char *reel__onnx_words(reel__onnx_reader *r, const char *format, ...)
    REEL_PRINTF(2, 3);
/* Elements of a list of numbers, one field at a time: those of a packed one, or the one.
 * `bits` as in field->value. */
bool reel__onnx_element(reel__onnx_field *field, enum wire_type type, uint64_t *bits);

/* ---- messages ---------------------------------------------------------------------- */

/* read_tensor.c: TensorProto. */
bool reel__onnx_read_tensor(reel__onnx_reader *r, reel__onnx_span bytes,
                            reel__onnx_tensor *t);
/* read_node.c: NodeProto. */
bool reel__onnx_read_node(reel__onnx_reader *r, reel__onnx_span bytes,
                          reel__onnx_node *n);
/* The same of a SparseTensorProto: its name, and that it is lacking. */
bool reel__onnx_read_sparse(reel__onnx_reader *r, reel__onnx_span bytes,
                            reel__onnx_tensor *t);
/* read_value.c: ValueInfoProto. */
bool reel__onnx_read_value(reel__onnx_reader *r, reel__onnx_span bytes,
                           reel__onnx_value *v);
/* read_tensor.c: StringStringEntryProto. */
bool reel__onnx_read_prop(reel__onnx_reader *r, reel__onnx_span bytes, size_t max,
                          reel__onnx_prop *p);
/* external.c: `bytes` bytes at `offset` of a file; they live as long as the model. */
const void *reel__onnx_external(reel__onnx_reader *r, const char *location,
                                uint64_t offset, size_t bytes);

#endif
