/* reader.c: the wire format, bounded. Source: protobuf.dev/programming-guides/encoding. */
#include "onnx/reader.h"

#include "base/alloc.h"
#include "base/decimal.h"
#include "base/error.h"
#include "onnx/arena.h"
#include "onnx/fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- errors ------------------------------------------------------------------------ */

/* "graph.node[3].attribute[0].name" */
static void path_text(const reel__onnx_reader *r, char *buf, size_t room)
{
    size_t used = 0;
    *buf = '\0';
    for (int i = 0; i < r->depth && r->path[i].row; i++) {
        const reel__onnx_row *row = r->path[i].row;
        const char *dot = i ? "." : "";
        int n = row->many == REPEATED
                    ? snprintf(buf + used, room - used, "%s%s[%zu]", dot, row->name,
                               r->path[i].index)
                    : snprintf(buf + used, room - used, "%s%s", dot, row->name);
        if (n < 0 || (size_t)n >= room - used) return;
        used += (size_t)n;
    }
}

static bool fail_at(reel__onnx_reader *r, reel_status status, const char *what)
{
    char path[256];
    path_text(r, path, sizeof path);
    r->failed = true;
    reel__onnx_fail(status, r->file, (uint64_t)(r->here - r->start), "%s%s%s", path,
                    *path ? ": " : "", what);
    return false;
}

bool reel__onnx_bad(reel__onnx_reader *r, const char *format, ...)
{
    char what[REEL__ERROR_TEXT];
    va_list args;
    va_start(args, format);
    reel__vsnprint(what, sizeof what, format, args);
    va_end(args);
    return fail_at(r, REEL_ERR_FORMAT, what);
}

bool reel__onnx_beyond(reel__onnx_reader *r, const char *format, ...)
{
    char what[REEL__ERROR_TEXT];
    va_list args;
    va_start(args, format);
    reel__vsnprint(what, sizeof what, format, args);
    va_end(args);
    return fail_at(r, REEL_ERR_UNSUPPORTED, what);
}

bool reel__onnx_bad_because(reel__onnx_reader *r)
{
    char what[REEL__ERROR_TEXT];
    reel_status status = reel_error_status();
    snprintf(what, sizeof what, "%s", reel__error_said());
    reel_error_clear(); /* nothing was pending when reading began */
    return fail_at(r, status, what);
}

/* ---- the wire format --------------------------------------------------------------- */

/* At most ten bytes, the last of which has one bit left of 64. */
static bool take_varint(const uint8_t **p, const uint8_t *end, uint64_t *v)
{
    *v = 0;
    for (int shift = 0; shift < 64 && *p < end; shift += 7) {
        uint8_t byte = *(*p)++;
        if (shift == 63 && byte > 1) return false;
        *v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

static bool take_fixed(const uint8_t **p, const uint8_t *end, size_t n, uint64_t *v)
{
    *v = 0;
    if ((size_t)(end - *p) < n) return false;
    memcpy(v, *p, n);
    *p += n;
    return true;
}

static bool take_number(const uint8_t **p, const uint8_t *end, enum wire_type type,
                        uint64_t *v)
{
    switch (type) {
    case WIRE_VARINT: return take_varint(p, end, v);
    case WIRE_32: return take_fixed(p, end, 4, v);
    case WIRE_64: return take_fixed(p, end, 8, v);
    case WIRE_BYTES: break;
    }
    return false;
}

static bool take_bytes(reel__onnx_reader *r, reel__onnx_message *msg,
                       reel__onnx_span *bytes)
{
    uint64_t n;
    if (!take_varint(&msg->p, msg->end, &n))
        return reel__onnx_bad(r, "the length is cut off or longer than ten bytes");
    size_t left = (size_t)(msg->end - msg->p);
    if (n > left)
        return reel__onnx_bad(r, "has a length of %ju bytes, but %zu are left",
                              (uintmax_t)n, left);
    *bytes = (reel__onnx_span){msg->p, (size_t)n};
    msg->p += n;
    return true;
}

/* How many numbers are packed into the bytes; false if they do not come out even. */
static bool count_packed(reel__onnx_span bytes, enum wire_type type, size_t *n)
{
    size_t size = type == WIRE_32 ? 4 : 8;
    *n = bytes.n / size;
    if (type != WIRE_VARINT) return bytes.n % size == 0;
    *n = 0;
    uint64_t v;
    for (const uint8_t *p = bytes.p, *end = p + bytes.n; p < end; ++*n)
        if (!take_varint(&p, end, &v)) return false;
    return true;
}

/* ---- fields ------------------------------------------------------------------------ */

static int find_row(const reel__onnx_schema *schema, uint64_t number)
{
    for (int i = 0; i < schema->n; i++)
        if (schema->row[i].number == number) return i;
    return -1;
}

/* The tag: row of the field (-1: unknown) and type of what follows. */
static bool take_tag(reel__onnx_reader *r, reel__onnx_message *msg, int *row,
                     reel__onnx_field *field)
{
    uint64_t tag;
    r->here = msg->p;
    r->path[r->depth - 1].row = NULL;
    if (!take_varint(&msg->p, msg->end, &tag))
        return reel__onnx_bad(r, "the field's number is cut off or too long");
    if (tag >> 3 == 0 || tag >> 3 >= (uint64_t)1 << 29)
        return reel__onnx_bad(r, "%ju is not a number of a field", (uintmax_t)(tag >> 3));
    field->number = (uint32_t)(tag >> 3);
    field->type = (enum wire_type)(tag & 7);
    *row = find_row(msg->schema, field->number);
    if (*row >= 0) {
        r->path[r->depth - 1].row = &msg->schema->row[*row];
        r->path[r->depth - 1].index = msg->seen[*row]++;
    }
    return true;
}

static bool take_field(reel__onnx_reader *r, reel__onnx_message *msg, int *row,
                       reel__onnx_field *field)
{
    *field = (reel__onnx_field){0};
    if (!take_tag(r, msg, row, field)) return false;
    switch ((int)field->type) {
    case WIRE_BYTES: return take_bytes(r, msg, &field->bytes);
    case WIRE_VARINT:
    case WIRE_32:
    case WIRE_64:
        return take_number(&msg->p, msg->end, field->type, &field->value) ||
               reel__onnx_bad(r, "the number is cut off or longer than ten bytes");
    default:
        return reel__onnx_bad(r, "field %u is of wire type %d, must be 0, 1, 2 or 5",
                              field->number, (int)field->type);
    }
}

/* Is the field what its row says? Counts it. */
static bool survey_field(reel__onnx_reader *r, reel__onnx_message *msg, int i,
                         const reel__onnx_field *field)
{
    const reel__onnx_row *row = &msg->schema->row[i];
    if (row->many == ONLY_ONCE && msg->seen[i] > 1)
        return reel__onnx_bad(r, "comes a second time, must come once");
    size_t n = 1;
    if (field->type != row->type) {
        if (row->many != REPEATED || field->type != WIRE_BYTES)
            return reel__onnx_bad(r, "is of wire type %d, must be %d", (int)field->type,
                                  (int)row->type);
        if (!count_packed(field->bytes, row->type, &n))
            return reel__onnx_bad(r, "its packed numbers are cut off or too long");
    }
    msg->count[i] += n;
    return true;
}

/* What is said next is about no field but the message. */
static void whole_message(reel__onnx_reader *r, const reel__onnx_message *msg)
{
    r->here = msg->begin;
    r->path[r->depth - 1].row = NULL;
}

bool reel__onnx_open(reel__onnx_reader *r, reel__onnx_message *msg, reel__onnx_span bytes,
                     const reel__onnx_schema *schema)
{
    if (r->failed) return false;
    *msg = (reel__onnx_message){
        .schema = schema, .begin = bytes.p, .p = bytes.p, .end = bytes.p + bytes.n};
    if (r->depth == REEL__ONNX_DEPTH_MAX)
        return reel__onnx_beyond(r, "is nested deeper than %d", REEL__ONNX_DEPTH_MAX);
    r->depth++;
    while (msg->p < msg->end) {
        int row = -1;
        reel__onnx_field field;
        if (!take_field(r, msg, &row, &field)) return false;
        if (row >= 0 && !survey_field(r, msg, row, &field)) return false;
    }
    reel__onnx_rewind(msg);
    whole_message(r, msg);
    return true;
}

size_t reel__onnx_count(const reel__onnx_message *msg, uint32_t number)
{
    int row = find_row(msg->schema, number);
    return row < 0 ? 0 : msg->count[row];
}

bool reel__onnx_next(reel__onnx_reader *r, reel__onnx_message *msg,
                     reel__onnx_field *field)
{
    int row = -1;
    while (row < 0) {
        if (r->failed) return false;
        if (msg->p == msg->end) {
            whole_message(r, msg);
            return false;
        }
        if (!take_field(r, msg, &row, field)) return false;
    }
    return true;
}

void reel__onnx_rewind(reel__onnx_message *msg)
{
    msg->p = msg->begin;
    memset(msg->seen, 0, sizeof msg->seen);
}

bool reel__onnx_close(reel__onnx_reader *r, const reel__onnx_message *msg)
{
    if (r->failed) return false;
    r->here = msg->begin;
    r->depth--;
    return true;
}

/* ---- values of fields -------------------------------------------------------------- */

void *reel__onnx_array(reel__onnx_reader *r, size_t n, size_t size, size_t align)
{
    reel__onnx_arena *arena = &r->m->owned->arena;
    size_t bytes, total;
    if (r->failed) return NULL;
    if (__builtin_mul_overflow(n, size, &bytes) ||
        __builtin_add_overflow(arena->total, bytes, &total) || total > r->budget) {
        reel__onnx_beyond(
            r, "the file needs more than %d bytes of memory for each of its own",
            REEL__ONNX_MEMORY_FACTOR);
        return NULL;
    }
    void *p = reel__onnx_alloc(arena, bytes, align);
    if (!p) r->failed = true;
    return p;
}

const char *reel__onnx_read_string(reel__onnx_reader *r, const reel__onnx_field *field,
                                   size_t max)
{
    reel__onnx_span s = field->bytes;
    if (s.n > max) {
        reel__onnx_beyond(r, "has %zu bytes, must have at most %zu", s.n, max);
        return NULL;
    }
    if (s.n == 0) return r->failed ? NULL : "";
    if (memchr(s.p, '\0', s.n)) {
        reel__onnx_bad(r, "is text with a zero byte in it");
        return NULL;
    }
    char *copy = reel__onnx_array(r, s.n + 1, 1, 1);
    if (!copy) return NULL;
    memcpy(copy, s.p, s.n);
    copy[s.n] = '\0';
    return copy;
}

const char *reel__onnx_words(reel__onnx_reader *r, const char *format, ...)
{
    char words[128];
    va_list args;
    va_start(args, format);
    int n = reel__vsnprint(words, sizeof words, format, args);
    va_end(args);
    if (n < 0) words[0] = '\0';
    size_t size = strlen(words) + 1;
    char *copy = reel__onnx_array(r, size, 1, 1);
    return copy ? memcpy(copy, words, size) : NULL;
}

bool reel__onnx_element(reel__onnx_field *field, enum wire_type type, uint64_t *bits)
{
    if (field->type != WIRE_BYTES) {
        *bits = field->value;
        /* Nothing is left: an empty packed field. */
        field->type = WIRE_BYTES;
        return true;
    }
    if (field->bytes.n == 0) return false;
    const uint8_t *p = field->bytes.p, *end = p + field->bytes.n;
    bool taken = take_number(&p, end, type, bits);
    field->bytes = (reel__onnx_span){p, (size_t)(end - p)};
    return taken;
}
