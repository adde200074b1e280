/* file_sys.h: the calls to the system that files need: restarted after signals, and failing
 * when a test wants them to. Each sets errno like the call it stands for. For file*.c. */
#ifndef REEL_BASE_FILE_SYS_H
#define REEL_BASE_FILE_SYS_H

#include "base/file.h"

#include <sys/types.h>

int reel__sys_open(const char *path, int flags, mode_t mode);
int reel__sys_open_at(int folder, const char *name, int flags);
ssize_t reel__sys_pread(int fd, void *buf, size_t n, int64_t offset);
ssize_t reel__sys_write(int fd, const void *buf, size_t n);
int reel__sys_fsync(int fd);
int reel__sys_close(int fd); /* closed even if it fails */
int reel__sys_rename(const char *from, const char *to);
int reel__sys_mkdir(const char *path);
void *reel__sys_map(int fd, size_t n); /* NULL on failure */

/* Fails with REEL_ERR_IO: "cannot <what> <path>: <strerror(errno)>". */
reel_status reel__io_error(const char *what, const char *path);

#endif
