/* debug.h: what REEL_DEBUG=1 knows of tensors and scopes (base/debug.h). All of it is asked only
 * while reel__debugging(). */
#ifndef REEL_TENSOR_DEBUG_H
#define REEL_TENSOR_DEBUG_H

#include "base/debug.h"
#include "tensor/tensor.h"

/* ---- tensors (debug.c) ------------------------------------------------------------------------ */

/* Memory for a tensor, a view or not, with a note behind it. */
REEL__DEBUG_ONLY reel_tensor *reel__debug_new(void);
/* Its last share is gone, and what it held: the struct stays for a while, so that whoever uses it
 * finds the note. */
REEL__DEBUG_ONLY void reel__debug_bury(reel_tensor *t);

/* What is said to have made t, an operator or a function; the first who says it counts. */
REEL__DEBUG_ONLY void reel__debug_made(reel_tensor *t, const char *by);
/* "f32[3,4] made by mul", with the name before it if it is part of a module. */
#define REEL__DEBUG_TEXT 320
char *reel__debug_text(const reel_tensor *t, char *text);

/* A share of the program's own; whether it had one, which is gone then, else an error. */
void reel__debug_keep(reel_tensor *t);
bool reel__debug_give_back(reel_tensor *t);

/* What this thread's tensors die of from now on; returns what it was. */
typedef enum reel__death {
    REEL__LET_GO = 1, /* who held it was freed or took another */
    REEL__SCOPE_ENDED,
    REEL__GIVEN_BACK
} reel__death;
reel__death reel__debug_cause(reel__death cause);

/* Ends what reel__debug_trains() began. */
void reel__debug_trained(reel_tensor *t);

/* ---- scopes (open_scopes.c) ------------------------------------------------------------------- */

/* A scope whose first result will be number `mark` on this thread's stack. */
reel_scope reel__open_scope(size_t mark);
/* The mark of s, which ends with all begun after it; false with an error of `who` if s is not
 * open. */
bool reel__close_scope(const char *who, reel_scope s, size_t n_results,
                       reel_tensor *const result[], size_t *mark);
/* t is being trained until the innermost scope ends; false without memory. */
bool reel__debug_until_end(reel_tensor *t);
/* Frees what this thread remembers of scopes, if none is open. */
void reel__forget_scopes(void);
/* This thread ends: so do its scopes. */
void reel__drop_scopes(void);

#endif
