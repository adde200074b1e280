/* shares.h: shares of tensors that the library holds: modules their parameters, optimizers their
 * state, graphs their weights. A program's own are reel_keep()'s, and only those can it give back
 * with reel_release(); what the library holds is borrowed to it. REEL_DEBUG=1 counts the
 * program's, so no room but tensor/, which defines all four, calls reel_keep() or reel_release()
 * (tools/check_layers.sh). */
#ifndef REEL_BASE_SHARES_H
#define REEL_BASE_SHARES_H

struct reel_tensor;

/* Takes a share and returns t; NULL for NULL. */
struct reel_tensor *reel__hold(struct reel_tensor *t);
/* Gives one back; the last one frees. NULL is allowed. */
void reel__let_go(struct reel_tensor *t);

#endif
