/* attr.h: schemas of attribute structs. Printing, parsing, hashing, comparing and files all
 * read the schema, so an attribute is declared once. */
#ifndef REEL_OPS_ATTR_H
#define REEL_OPS_ATTR_H

#include "backend/attrs.h"

typedef enum reel_attr_type { REEL_ATTR_INT, REEL_ATTR_REAL } reel_attr_type;

/* `count` values of int64_t or double at `offset` of the struct. */
typedef struct reel_attr_field {
    const char *name;
    reel_attr_type type;
    uint16_t offset, count;
} reel_attr_field;

/* n_fields 0 with a size: opaque (holds pointers; never saved). */
typedef struct reel_attr_schema {
    size_t size;
    int n_fields;
    const reel_attr_field *field;
} reel_attr_schema;

#define REEL__ATTR_N(type, f, unit) ((uint16_t)(sizeof(((type *)0)->f) / sizeof(unit)))
#define ATTR_INT(type, f)                                                                \
    {                                                                                    \
#f, REEL_ATTR_INT, (uint16_t)offsetof(type, f), REEL__ATTR_N(type, f, int64_t)   \
    }
#define ATTR_REAL(type, f)                                                               \
    {                                                                                    \
#f, REEL_ATTR_REAL, (uint16_t)offsetof(type, f), REEL__ATTR_N(type, f, double)   \
    }
/* REEL_SCHEMA(name, type, fields...) defines `const reel_attr_schema name`. */
#define REEL_SCHEMA(name, type, ...)                                                     \
    static const reel_attr_field name##_fields[] = {__VA_ARGS__};                        \
    const reel_attr_schema name = {sizeof(type),                                         \
                                   (int)(sizeof name##_fields / sizeof *name##_fields),  \
                                   name##_fields}

/* "stride=2,2 groups=1" into the struct; fields not named keep their value. False, with a
 * pending error, on an unknown name or a malformed value. */
bool reel__attr_parse(const reel_attr_schema *s, const char *text, void *attrs);
/* The reverse, into buf (always terminated); returns buf. */
char *reel__attr_text(const reel_attr_schema *s, const void *attrs, char *buf,
                      size_t size);

extern const reel_attr_schema reel__scalar_schema, reel__dim_schema, reel__mask_schema,
    reel__shape_schema, reel__slice_schema, reel__fill_schema, reel__pad_schema,
    reel__cast_schema, reel__random_schema, reel__conv2d_schema, reel__pool2d_schema,
    reel__batch_norm_schema, reel__layer_norm_schema, reel__cross_entropy_schema,
    reel__attention_schema, reel__index_schema, reel__sgd_schema, reel__adam_schema;

#endif
