/* shutdown.h: what reel_shutdown() asks of the rooms. */
#ifndef REEL_BASE_SHUTDOWN_H
#define REEL_BASE_SHUTDOWN_H

/* Ends and joins all threads, those of objects first. They are started again at need. */
void reel__stop_threads(void);
/* Frees the table of watched objects, if none lives. */
void reel__watched_close(void);

#endif
