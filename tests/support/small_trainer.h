/* small_trainer.h: a module and an optimizer, and their step: eager, and as a graph. */
#ifndef TESTS_SUPPORT_SMALL_TRAINER_H
#define TESTS_SUPPORT_SMALL_TRAINER_H

#include <reel/reel.h>

typedef struct small_trainer {
    reel_module *net;
    reel_optim *optim;
} small_trainer;

/* Convolution, batch norm, relu, dropout, linear. Seeds first, so all of them are alike. */
reel_module *small_trainer_net(void);
/* Takes the module. AdamW with decay, or SGD with momentum. */
small_trainer small_trainer_new(reel_module *net, bool adam);
void small_trainer_free(small_trainer t);
/* Images [4, 3, 8, 8] and labels [4] for n steps, of the innermost scope. */
void small_trainer_data(int n, reel_tensor *x[], reel_tensor *y[]);
/* One step; the loss. */
reel_tensor *small_trainer_step(small_trainer t, reel_tensor *x, reel_tensor *y);
/* The same under capture: its graph has the inputs x and y and one output, the loss. */
reel_graph *small_trainer_capture(small_trainer t, reel_tensor *x, reel_tensor *y,
                                  reel_tensor **loss);

#endif
