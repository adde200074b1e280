/* random_net.h: functions of tensors drawn from a seed, for tests that compare two ways of
 * computing them. Rows are the first dimension of everything, so any batch size will do; what
 * is drawn depends on the seed alone, and parameters are made once. */
#ifndef TESTS_SUPPORT_RANDOM_NET_H
#define TESTS_SUPPORT_RANDOM_NET_H

#include <reel/reel.h>

enum { RANDOM_NET_PARAMS = 64 };

typedef struct random_net {
    uint64_t seed;
    reel_dtype dtype;                      /* f32 or f64 */
    bool smooth;                           /* no operator whose value jumps */
    int steps;                             /* operators to draw, about */
    reel_tensor *param[RANDOM_NET_PARAMS]; /* kept */
    int n_param, next_param;               /* next_param: while the function runs */
    uint64_t at;                           /* place in its own random stream */
    reel_custom_op *own[3];                /* operators of its own: cube, swish, unit */
} random_net;

random_net random_net_new(uint64_t seed);
void random_net_free(random_net *net);
/* Inputs for a batch size: images [batch, c, h, w] and rows [batch, f]. */
enum { RANDOM_NET_INPUTS = 2 };
void random_net_inputs(const random_net *net, int64_t batch, reel_tensor *x[]);
/* The function itself: `user` is the random_net. Makes missing parameters. */
reel_tensor *random_net_run(void *user, reel_tensor *const x[], int n);

/* For rows of the table in other files: a number in 0 .. n - 1, and the next parameter, uniform
 * in a range; NULL: there are enough. */
int random_net_draw(random_net *net, int n);
reel_tensor *random_net_param(random_net *net, reel_shape shape, double low, double high);

#endif
