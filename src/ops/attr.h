/* attr.h: schemas of attribute structs. Printing, parsing, hashing, comparing and files all
 * read the schema, so an attribute is declared once. */
#ifndef REEL_OPS_ATTR_H
#define REEL_OPS_ATTR_H

#include "backend/attrs.h"

typedef enum reel__attr_type {
    REEL_ATTR_INT,
    REEL_ATTR_REAL,
    REEL_ATTR_NUMBER, /* a whole number or a double (backend/number.h) */
    REEL_ATTR_BOUND,  /* the same, where something ends: it may grow with the batch */
    REEL_ATTR_ROW /* a kernel id; as text the pointwise row's name, "relu", or "none" */
} reel__attr_type;

/* What a whole number is, besides a number. Places in the random stream move with the stream. */
enum reel__attr_role { REEL_ATTR_PLAIN, REEL_ATTR_SEED, REEL_ATTR_PLACE };

/* `count` values of int64_t, double or reel__number at `offset` of the struct. A list with a
 * length: only `each` values for every one that the int64_t at `length` counts mean something. */
typedef struct reel__attr_field {
    const char *name;
    reel__attr_type type;
    uint16_t offset, count;
    uint16_t length, each; /* each 0: all */
    uint8_t role;          /* of an INT: enum reel__attr_role */
} reel__attr_field;

/* n_fields 0 with a size: opaque (holds pointers; never saved). */
typedef struct reel__attr_schema {
    size_t size;
    int n_fields;
    const reel__attr_field *field;
} reel__attr_schema;

#define REEL__ATTR_N(type, f, unit) ((uint16_t)(sizeof(((type *)0)->f) / sizeof(unit)))
#define REEL__ATTR(type, f, kind, unit, length, each)                                    \
    {                                                                                    \
#f, kind, (uint16_t)offsetof(type, f), REEL__ATTR_N(type, f, unit), length,      \
            each, 0                                                                      \
    }
#define ATTR_INT(type, f) REEL__ATTR(type, f, REEL_ATTR_INT, int64_t, 0, 0)
#define ATTR_RANDOM(type, f, role)                                                       \
    {                                                                                    \
#f, REEL_ATTR_INT, (uint16_t)offsetof(type, f), 1, 0, 0, role                    \
    }
#define ATTR_REAL(type, f) REEL__ATTR(type, f, REEL_ATTR_REAL, double, 0, 0)
#define ATTR_NUMBER(type, f) REEL__ATTR(type, f, REEL_ATTR_NUMBER, reel__number, 0, 0)
#define ATTR_ROW(type, f) REEL__ATTR(type, f, REEL_ATTR_ROW, int64_t, 0, 0)
/* kind INT, REAL, NUMBER, BOUND or ROW; unit its type; n the field that counts, each the values
 * of one. */
#define ATTR_LIST(type, f, kind, unit, n, each)                                          \
    REEL__ATTR(type, f, REEL_ATTR_##kind, unit, (uint16_t)offsetof(type, n), each)
/* REEL_SCHEMA(name, type, fields...) defines `const reel__attr_schema name`. */
#define REEL_SCHEMA(name, type, ...)                                                     \
    static const reel__attr_field name##_fields[] = {__VA_ARGS__};                       \
    const reel__attr_schema name = {sizeof(type),                                        \
                                    (int)(sizeof name##_fields / sizeof *name##_fields), \
                                    name##_fields}

/* "stride=2,2 groups=1" into the struct; fields not named keep their value. False, with a
 * pending error, on an unknown name or a malformed value. */
bool reel__attr_parse(const reel__attr_schema *s, const char *text, void *attrs);
/* The reverse, into buf (always terminated); returns buf. */
char *reel__attr_text(const reel__attr_schema *s, const void *attrs, char *buf,
                      size_t size);

/* Bytes of one value of the field. */
static inline size_t reel__attr_unit(const reel__attr_field *f)
{
    return f->type == REEL_ATTR_NUMBER || f->type == REEL_ATTR_BOUND
               ? sizeof(reel__number)
               : 8;
}
/* Value k of the field, as a number. */
reel__number reel__attr_get(const reel__attr_field *f, int k, const void *attrs);
/* The reverse; false if the field cannot hold it: a whole number for INT. */
bool reel__attr_set(const reel__attr_field *f, int k, reel__number x, void *attrs);

/* The field of that role; NULL: none. */
const reel__attr_field *reel__attr_of_role(const reel__attr_schema *s, int role);
/* The field of that name (n bytes); NULL: none. */
const reel__attr_field *reel__find_attr(const reel__attr_schema *s, const char *name,
                                        size_t n);
/* "2,2", up to f->count values, into the struct: what follows, or NULL. Sets no error. */
const char *reel__attr_values(const reel__attr_field *f, const char *text, void *attrs);

extern const reel__attr_schema reel__scalar_schema, reel__dim_schema, reel__mask_schema,
    reel__shape_schema, reel__slice_schema, reel__unslice_schema, reel__fill_schema,
    reel__cast_schema, reel__random_schema, reel__conv2d_schema, reel__pool2d_schema,
    reel__conv2d_fused_schema, reel__linear_fused_schema, reel__batch_norm_schema,
    reel__layer_norm_schema, reel__attention_schema, reel__index_schema,
    reel__pointwise_schema, reel__linear_int8_schema, reel__conv2d_int8_schema;

#endif
