/* own_ops.h: operators of a user's own, made with the public header alone, for tests that put
 * them between others. */
#ifndef TESTS_SUPPORT_OWN_OPS_H
#define TESTS_SUPPORT_OWN_OPS_H

#include <reel/reel.h>

/* How an operator is made; zero is pure, with a shape rule, a backward in C and nothing counted. */
typedef struct own_opts {
    bool effect;  /* not declared pure */
    bool no_rule; /* shapes come from the forward */
    int *freed;   /* counts free_user; NULL: no user data */
    reel_custom_onnx onnx;
} own_opts;

/* scale x^3 + shift, by loops; attributes scale (real, 1) and shift (whole, 0). f32 and f64. */
reel_custom_op *own_cube(const char *name, const own_opts *o);
/* Its ONNX rule. */
reel_status own_cube_onnx(void *user, const reel_custom_call *c, reel_onnx *o);
/* x sigmoid(scale x), forward and backward in operators. */
reel_custom_op *own_swish(const char *name, const own_opts *o);
/* x [n, d], bias [d]? -> unit rows [n, d] (of x + bias), their lengths [n]; saves 1 / length [n].
 * Loops; any leading dimensions. */
reel_custom_op *own_unit(const char *name, const own_opts *o);
/* Calls of cube so far, of all threads: what passes may leave out. */
int own_calls(void);

#endif
