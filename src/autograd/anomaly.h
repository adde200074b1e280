/* anomaly.h: anomaly mode, as the tape needs it. */
#ifndef REEL_AUTOGRAD_ANOMALY_H
#define REEL_AUTOGRAD_ANOMALY_H

/* A copy of the present module path in anomaly mode, to be freed by reel__free; else NULL. */
const char *reel__anomaly_where(void);
/* Tells which forward operator's gradient runs now ("conv2d", its path); NULLs end it. */
void reel__anomaly_backward(const char *op, const char *where);

#endif
