/* 01_line.c: the shortest way in. Fits a line y = a x + b to noisy points by following the
 * gradient, with nothing but tensors and backward. */
#include <reel/reel.h>
#include <stdio.h>

int main(void)
{
    reel_seed(1);
    reel_tensor *x = reel_rand(REEL_SHAPE(100), REEL_F32);
    reel_tensor *noise = reel_mul_scalar(reel_randn(REEL_SHAPE(100), REEL_F32), 0.05);
    reel_tensor *y = reel_add(reel_add_scalar(reel_mul_scalar(x, 3), 2), noise);
    reel_tensor *a = reel_requires_grad(reel_zeros(REEL_SHAPE(1), REEL_F32), true);
    reel_tensor *b = reel_requires_grad(reel_zeros(REEL_SHAPE(1), REEL_F32), true);

    for (int step = 1; step <= 300 && !reel_failed(); step++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *loss = reel_mse_loss(reel_add(reel_mul(a, x), b), y, REEL_MEAN);
        reel_backward(loss, NULL);
        reel_set_grad_enabled(false); /* the update itself is not part of the model */
        reel_add_scaled_(a, reel_grad_of(a), -0.5);
        reel_add_scaled_(b, reel_grad_of(b), -0.5);
        reel_set_grad_enabled(true);
        reel_set_grad(a, NULL);
        reel_set_grad(b, NULL);
        if (step % 50 == 0) printf("step %3d  loss %.5f\n", step, reel_item(loss));
        reel_scope_end(s); /* what this step computed is gone */
    }
    if (!reel_failed())
        printf("y = %.2f x + %.2f (drawn from y = 3 x + 2)\n", reel_item(a),
               reel_item(b));
    if (reel_failed()) fprintf(stderr, "01_line: %s\n", reel_error_message());
    reel_scope_end(0);
    return reel_failed();
}
