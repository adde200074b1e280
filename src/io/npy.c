/* npy.c: NumPy's format: magic, version, size of the header, a Python dictionary of
 * exactly three keys, padding, data. The dictionary is parsed by hand: it is one of a
 * handful of forms, and anything else is refused.
 * Source: numpy.org/doc/stable/reference/generated/numpy.lib.format.html. */
#include <inttypes.h>
#include <reel/io.h>
#include <reel/ops.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/alloc.h"
#include "base/file.h"
#include "io/bytes.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_SIZE 6
#define MAX_HEADER 65536
#define ALIGNMENT 64

typedef struct npy_dtype {
    const char *descr;
    reel_dtype dtype;
} npy_dtype;

static const npy_dtype dtypes[] = {
    {"<f4", REEL_F32}, {"<f8", REEL_F64}, {"<f2", REEL_F16}, {"<i8", REEL_I64},
    {"<i4", REEL_I32}, {"|i1", REEL_I8},  {"|u1", REEL_U8},  {"|b1", REEL_BOOL},
};
#define DTYPES (sizeof dtypes / sizeof *dtypes)

/* ---- the dictionary ---------------------------------------------------------------- */

typedef struct cursor {
    const char *p, *end;
} cursor;

typedef struct header {
    char descr[32];
    bool has_descr, has_order, has_shape;
    bool fortran;
    reel_shape shape;
} header;

static void skip_spaces(cursor *c)
{
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n')) c->p++;
}

/* Takes `word`, after spaces. */
static bool take(cursor *c, const char *word)
{
    size_t n = strlen(word);
    skip_spaces(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0) return false;
    c->p += n;
    return true;
}

/* 'text' or "text" without escapes, into buf. */
static bool take_string(cursor *c, char *buf, size_t room)
{
    skip_spaces(c);
    if (c->p == c->end || (*c->p != '\'' && *c->p != '"')) return false;
    char quote = *c->p++;
    size_t n = 0;
    for (; c->p < c->end && *c->p != quote; c->p++) {
        if (*c->p == '\\' || *c->p == '\0' || n + 1 == room) return false;
        buf[n++] = *c->p;
    }
    buf[n] = '\0';
    if (c->p == c->end) return false;
    c->p++;
    return true;
}

static bool take_size(cursor *c, int64_t *out)
{
    skip_spaces(c);
    const char *first = c->p;
    int64_t v = 0;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++)
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, *c->p - '0', &v))
            return false;
    *out = v;
    return c->p > first;
}

/* (), (3,), (3, 4), (3, 4,) */
static bool take_shape(cursor *c, reel_shape *out)
{
    out->rank = 0;
    if (!take(c, "(")) return false;
    bool comma = true;
    while (!take(c, ")")) {
        if (!comma || out->rank == REEL_MAX_RANK) return false;
        if (!take_size(c, &out->dim[out->rank])) return false;
        out->rank++;
        comma = take(c, ",");
    }
    return out->rank != 1 || comma; /* (3) is not a tuple */
}

static bool take_entry(cursor *c, header *h)
{
    char key[32];
    if (!take_string(c, key, sizeof key) || !take(c, ":")) return false;
    if (strcmp(key, "descr") == 0 && !h->has_descr)
        return h->has_descr = take_string(c, h->descr, sizeof h->descr);
    if (strcmp(key, "shape") == 0 && !h->has_shape)
        return h->has_shape = take_shape(c, &h->shape);
    if (strcmp(key, "fortran_order") != 0 || h->has_order) return false;
    h->fortran = take(c, "True");
    return h->has_order = h->fortran || take(c, "False");
}

static bool parse_header(const char *text, size_t n, header *h)
{
    cursor c = {text, text + n};
    if (!take(&c, "{")) return false;
    bool comma = true;
    while (!take(&c, "}")) {
        if (!comma || !take_entry(&c, h)) return false;
        comma = take(&c, ",");
    }
    skip_spaces(&c);
    return c.p == c.end && h->has_descr && h->has_order && h->has_shape;
}

/* ---- reading ----------------------------------------------------------------------- */

/* Reads and checks all but the data, whose place is *offset. */
static reel_status read_header(const reel__file *f, header *h, int64_t *offset)
{
    uint8_t head[12] = {0};
    if (reel__file_read(f, 0, head, f->size < 12 ? (size_t)f->size : 12))
        return reel_error_status();
    int version = head[6];
    if (f->size < 10 || memcmp(head, MAGIC, MAGIC_SIZE) != 0)
        return reel_fail(REEL_ERR_FORMAT, "npy_load: %s is no .npy file", f->path);
    if (version < 1 || version > 3 || head[7] != 0)
        return reel_fail(REEL_ERR_FORMAT,
                         "npy_load: %s has version %d.%d, expected 1.0 to 3.0", f->path,
                         version, head[7]);
    uint32_t size = (uint32_t)head[8] | (uint32_t)head[9] << 8;
    if (version > 1) size |= (uint32_t)head[10] << 16 | (uint32_t)head[11] << 24;
    int64_t start = version > 1 ? 12 : 10;
    if (size > MAX_HEADER || size > f->size - start)
        return reel_fail(REEL_ERR_FORMAT,
                         "npy_load: %s claims a header of %" PRIu32 " bytes; %" PRId64
                         " follow, and at most %d are allowed",
                         f->path, size, f->size - start, MAX_HEADER);
    char *text = reel__malloc(size);
    if (!text) return reel_error_status();
    if (!reel__file_read(f, start, text, size) && !parse_header(text, size, h))
        reel_fail(REEL_ERR_FORMAT,
                  "npy_load: %s: the header is not a dictionary of descr, fortran_order "
                  "and shape "
                  "(of at most 8 sizes)",
                  f->path);
    reel__free(text);
    *offset = start + size;
    return reel_error_status();
}

static reel_dtype find_dtype(const char *descr)
{
    /* One byte has no order: NumPy writes |, others < or =. */
    for (size_t i = 0; i < DTYPES; i++)
        if (strcmp(dtypes[i].descr + 1, descr[0] ? descr + 1 : "") == 0 &&
            (descr[0] == dtypes[i].descr[0] ||
             (dtypes[i].descr[0] == '|' && strchr("<=>", descr[0]))))
            return dtypes[i].dtype;
    return REEL_DTYPE_NONE;
}

static reel_shape reversed(reel_shape s)
{
    reel_shape r = {.rank = s.rank};
    for (int i = 0; i < s.rank; i++) r.dim[i] = s.dim[s.rank - 1 - i];
    return r;
}

/* Fortran order is C order of the reversed shape, turned around. */
static reel_tensor *from_fortran(reel_tensor *t)
{
    reel_shape dims = {.rank = reel_rank(t)};
    for (int i = 0; i < dims.rank; i++) dims.dim[i] = dims.rank - 1 - i;
    return reel_contiguous(reel_permute(t, dims));
}

static reel_tensor *read_data(const reel__file *f, const header *h, int64_t offset)
{
    reel_dtype dtype = find_dtype(h->descr);
    if (dtype == REEL_DTYPE_NONE) {
        reel_fail(
            REEL_ERR_UNSUPPORTED,
            "npy_load: %s holds '%s', expected little endian f2 f4 f8 i1 i4 i8 u1 or b1",
            f->path, h->descr);
        return NULL;
    }
    uint64_t bytes;
    if (!reel__shape_bytes(h->shape, reel_dtype_size(dtype), &bytes) ||
        bytes != (uint64_t)(f->size - offset)) {
        reel_fail(REEL_ERR_FORMAT,
                  "npy_load: %s holds %" PRId64
                  " bytes of data, which is not what its shape "
                  "takes",
                  f->path, f->size - offset);
        return NULL;
    }
    reel_scope scope = reel_scope_begin();
    bool turn = h->fortran && h->shape.rank > 1;
    reel_tensor *t = reel__host_empty(turn ? reversed(h->shape) : h->shape, dtype);
    void *data = t ? reel_data(t) : NULL;
    if (data && !reel__file_read(f, offset, data, (size_t)bytes) && dtype == REEL_BOOL &&
        reel__find_non_bool(data, (size_t)bytes) >= 0)
        reel_fail(REEL_ERR_FORMAT, "npy_load: %s: a bool is neither 0 nor 1", f->path);
    if (turn && !reel_failed()) t = from_fortran(t);
    return reel_scope_return(scope, reel_failed() ? NULL : t);
}

reel_tensor *reel_npy_load(const char *path)
{
    REEL__CALLED;
    reel__file f;
    if (reel_failed() || reel__file_open(&f, path, INT64_MAX)) return NULL;
    header h = {0};
    int64_t offset = 0;
    reel_tensor *t = read_header(&f, &h, &offset) ? NULL : read_data(&f, &h, offset);
    reel__file_close(&f);
    return t;
}

/* ---- writing ----------------------------------------------------------------------- */

static const char *find_descr(reel_dtype dtype)
{
    for (size_t i = 0; i < DTYPES; i++)
        if (dtypes[i].dtype == dtype) return dtypes[i].descr;
    return NULL;
}

/* Magic, size and dictionary, padded so that the data begin aligned. Returns its
 *  length. */
static size_t format_header(char *buf, size_t room, const char *descr, reel_shape shape)
{
    char dims[REEL_MAX_RANK * 24] = "";
    size_t n = 0;
    for (int i = 0; i < shape.rank; i++)
        n += (size_t)snprintf(dims + n, sizeof dims - n,
                              i > 0 ? " %" PRId64 "," : "%" PRId64 ",", shape.dim[i]);
    int dict =
        snprintf(buf + 10, room - 10,
                 "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, dims);
    size_t length = 10 + (size_t)dict, padded = (length / ALIGNMENT + 1) * ALIGNMENT;
    memset(buf + length, ' ', padded - length);
    buf[padded - 1] = '\n';
    memcpy(buf, MAGIC "\x01\x00", 8);
    buf[8] = (char)((padded - 10) & 255);
    buf[9] = (char)((padded - 10) >> 8);
    return padded;
}

reel_status reel_npy_save(reel_tensor *x, const char *path)
{
    REEL__CALLED;
    if (reel_failed()) return reel_error_status();
    if (!path || !x)
        return reel_fail(REEL_ERR_ARG, "npy_save: %s is NULL",
                         path ? "the tensor" : "the path");
    const char *descr = find_descr(reel_dtype_of(x));
    if (!descr)
        return reel_fail(REEL_ERR_UNSUPPORTED,
                         "npy_save: %s: NumPy has no %s; cast it to f32 first", path,
                         reel_dtype_name(reel_dtype_of(x)));
    char head[512];
    size_t head_size = format_header(head, sizeof head, descr, reel_shape_of(x));
    void *scratch;
    const void *data = reel__byte_view(x, &scratch);
    reel__writer *w = data ? reel__writer_open(path) : NULL;
    if (w) {
        reel__writer_write(w, head, head_size);
        reel__writer_write(w, data, reel__byte_count(x));
        reel__writer_commit(w); /* which fails if a write did */
    }
    reel__free(scratch);
    return reel_error_status();
}
