/* file_sys.c: system calls with fault injection. */
#include "base/file_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Some systems refuse more in one call. */
#define TRANSFER_MAX ((size_t)1 << 30)

static atomic_llong fault_count, fault_at;
static atomic_bool fault_forever;
static atomic_int fault_kind;

void reel__fault_io(int64_t k, bool forever, reel__io_fault kind)
{
    atomic_store(&fault_at, 0); /* off while the others change */
    atomic_store(&fault_count, 0);
    atomic_store(&fault_forever, forever);
    atomic_store(&fault_kind, (int)kind);
    atomic_store(&fault_at, k);
}

int64_t reel__fault_io_count(void)
{
    return atomic_load(&fault_count);
}

static bool hit(void)
{
    long long n = atomic_fetch_add(&fault_count, 1) + 1, at = atomic_load(&fault_at);
    return at > 0 && (n == at || (n > at && atomic_load(&fault_forever)));
}

/* True, with errno set, if this call must fail. */
static bool fault(void)
{
    if (!hit() || atomic_load(&fault_kind) == REEL__FAULT_SHORT) return false;
    errno = atomic_load(&fault_kind) == REEL__FAULT_ENOSPC ? ENOSPC : EIO;
    return true;
}

/* The same for a transfer, which a fault may also cut short. */
static bool transfer_fault(size_t *n)
{
    if (*n > TRANSFER_MAX) *n = TRANSFER_MAX;
    if (!hit()) return false;
    if (atomic_load(&fault_kind) == REEL__FAULT_SHORT) {
        if (*n > 1) *n /= 2;
        return false;
    }
    errno = atomic_load(&fault_kind) == REEL__FAULT_ENOSPC ? ENOSPC : EIO;
    return true;
}

int reel__sys_open(const char *path, int flags, mode_t mode)
{
    if (fault()) return -1;
    int fd;
    do fd = open(path, flags | O_CLOEXEC, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

int reel__sys_open_at(int folder, const char *name, int flags)
{
    if (fault()) return -1;
    int fd;
    do fd = openat(folder, name, flags | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    return fd;
}

ssize_t reel__sys_pread(int fd, void *buf, size_t n, int64_t offset)
{
    if (transfer_fault(&n)) return -1;
    ssize_t got;
    do got = pread(fd, buf, n, (off_t)offset);
    while (got < 0 && errno == EINTR);
    return got;
}

ssize_t reel__sys_write(int fd, const void *buf, size_t n)
{
    if (transfer_fault(&n)) return -1;
    ssize_t put;
    do put = write(fd, buf, n);
    while (put < 0 && errno == EINTR);
    return put;
}

int reel__sys_fsync(int fd)
{
    if (fault()) return -1;
    int r;
    do r = fsync(fd);
    while (r < 0 && errno == EINTR);
    return r;
}

/* Not restarted: the descriptor is gone even if a signal came. */
int reel__sys_close(int fd)
{
    bool failed = fault();
    int cause = errno;
    int r = close(fd);
    if (failed) errno = cause;
    return failed ? -1 : r < 0 && errno == EINTR ? 0 : r;
}

int reel__sys_rename(const char *from, const char *to)
{
    return fault() ? -1 : rename(from, to);
}

int reel__sys_mkdir(const char *path)
{
    return fault() ? -1 : mkdir(path, 0777);
}

void *reel__sys_map(int fd, size_t n)
{
    if (fault()) return NULL;
    void *p = mmap(NULL, n, PROT_READ, MAP_PRIVATE, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* strerror(), not strerror_r(), of which there are two that differ; the C libraries of today
 * keep its text by thread. */
reel_status reel__io_error(const char *what, const char *path)
{
    return reel_fail(REEL_ERR_IO, "cannot %s %s: %s", what, path, strerror(errno));
}
