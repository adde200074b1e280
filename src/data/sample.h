/* sample.h: what datasets, transforms and the loader ask of samples. */
#ifndef REEL_DATA_SAMPLE_H
#define REEL_DATA_SAMPLE_H

#include <reel/data.h>

/* The error of a field that is not as its kind asks for; names `who` and the field. */
reel_status reel__field_problem(const char *who, const reel_field *f);

/* The error that a sample or a batch, `what`, has no field `name` but n others, each with the name
 * that name_of() gives. */
void reel__no_field(const char *what, const char *name, const void *of, int n,
                    const char *(*name_of)(const void *of, int i));

/* Rank and dtype. Asked for each field of each sample. */
static inline reel_status reel__check_field(const char *who, const reel_field *f)
{
    int rank = f->shape.rank;
    bool fits = f->kind == REEL_ARRAY ? rank >= 0 && rank < REEL_MAX_RANK
                : f->kind == REEL_IMAGE
                    ? rank == 2 || rank == 3
                    : f->kind == REEL_LABEL && rank == 0 && f->dtype == REEL_I64;
    return fits ? REEL_OK : reel__field_problem(who, f);
}

#endif
