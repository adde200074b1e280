/* file.c: reading regular files. */
#include "base/file.h"

#include "base/alloc.h"
#include "base/file_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* ---- open, read, close ------------------------------------------------------------- */

static reel_status check(int fd, const char *path, int64_t max_size, int64_t *size)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return reel__io_error("ask about", path);
    if (!S_ISREG(st.st_mode))
        return reel_fail(REEL_ERR_IO, "cannot read %s: %s, must be a regular file", path,
                         S_ISDIR(st.st_mode) ? "is a folder" : "is a pipe or device");
    if ((int64_t)st.st_size > max_size)
        return reel_fail(REEL_ERR_FORMAT,
                         "%s has %" PRId64 " bytes, must be at most %" PRId64, path,
                         (int64_t)st.st_size, max_size);
    *size = (int64_t)st.st_size;
    return REEL_OK;
}

/* O_NONBLOCK: opening a pipe would wait for its writer. */
#define READ_FLAGS (O_RDONLY | O_NONBLOCK | O_NOCTTY)

/* Takes the descriptor, which is closed if the file is not one to read. */
static reel_status take(reel__file *f, int fd, const char *path, int64_t max_size)
{
    int64_t size = 0;
    reel_status status = check(fd, path, max_size, &size);
    char *copy = status == REEL_OK ? reel__strdup(path) : NULL;
    if (!copy) {
        reel__sys_close(fd);
        return reel_error_status();
    }
    *f = (reel__file){.fd = fd, .size = size, .path = copy};
    return REEL_OK;
}

reel_status reel__file_open(reel__file *f, const char *path, int64_t max_size)
{
    *f = (reel__file){.fd = -1};
    if (!path) return reel_fail(REEL_ERR_ARG, "open: the path is NULL");
    int fd = reel__sys_open(path, READ_FLAGS, 0);
    if (fd < 0) return reel__io_error("open", path);
    return take(f, fd, path, max_size);
}

/* ---- files that files name --------------------------------------------------------- */

/* Opens one part of `path` in the folder `at`, which is closed. */
static int step(int at, const char *part, bool last, const char *path)
{
    int flags = READ_FLAGS | O_NOFOLLOW | (last ? 0 : O_DIRECTORY);
    int fd = reel__sys_open_at(at, part, flags);
    int cause = errno;
    reel__sys_close(at);
    errno = cause;
    /* A link is ELOOP, or ENOTDIR where a folder is wanted: name both. */
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        reel_fail(REEL_ERR_FORMAT, "%s: \"%s\" is a symbolic link or no folder", path,
                  part);
    else if (fd < 0)
        reel__io_error("open", path);
    return fd;
}

/* Walks the parts of `rest`, which is taken to pieces, from the folder `at`. */
static int walk(int at, char *rest, const char *path)
{
    for (char *part = rest; at >= 0; part = rest) {
        rest = strchr(part, '/');
        if (rest) *rest++ = '\0';
        if (!*part || strcmp(part, "..") == 0) {
            reel_fail(REEL_ERR_FORMAT, "%s: must have no empty part and no \"..\"", path);
            reel__sys_close(at);
            return -1;
        }
        at = step(at, part, !rest, path);
        if (!rest) break;
    }
    return at;
}

static reel_status one_name(int fd, const char *path)
{
    struct stat st;
    if (fstat(fd, &st) != 0) return reel__io_error("ask about", path);
    if (S_ISREG(st.st_mode) && st.st_nlink > 1)
        return reel_fail(
            REEL_ERR_FORMAT,
            "%s: has %ju names (hard links), must have one, which shows that it "
            "lies in this folder alone",
            path, (uintmax_t)st.st_nlink);
    return REEL_OK;
}

reel_status reel__file_open_within(reel__file *f, const char *folder, const char *path,
                                   int64_t max_size)
{
    *f = (reel__file){.fd = -1};
    if (*path == '/')
        return reel_fail(REEL_ERR_FORMAT, "%s: is absolute, must be relative", path);
    int at = reel__sys_open(folder, O_RDONLY | O_DIRECTORY, 0);
    if (at < 0) return reel__io_error("open", folder);
    char *parts = reel__strdup(path);
    int fd = parts ? walk(at, parts, path) : -1;
    if (!parts) reel__sys_close(at);
    reel__free(parts);
    if (fd < 0) return reel_error_status();
    if (one_name(fd, path) != REEL_OK) {
        reel__sys_close(fd);
        return reel_error_status();
    }
    return take(f, fd, path, max_size);
}

reel_status reel__file_read(const reel__file *f, int64_t offset, void *buf, size_t n)
{
    if (offset < 0 || offset > f->size || (uint64_t)n > (uint64_t)(f->size - offset))
        return reel_fail(REEL_ERR_FORMAT,
                         "%s: has %" PRId64 " bytes, but %zu bytes at %" PRId64
                         " are wanted; the file may be cut off",
                         f->path, f->size, n, offset);
    for (char *to = buf; n > 0;) {
        ssize_t got = reel__sys_pread(f->fd, to, n, offset);
        if (got < 0) return reel__io_error("read", f->path);
        if (got == 0)
            return reel_fail(REEL_ERR_FORMAT, "%s: was cut off while it was read",
                             f->path);
        to += got;
        offset += got;
        n -= (size_t)got;
    }
    return REEL_OK;
}

void reel__file_close(reel__file *f)
{
    if (f->fd >= 0) reel__sys_close(f->fd); /* nothing was written: nothing is lost */
    reel__free(f->path);
    *f = (reel__file){.fd = -1};
}

/* ---- whole files ------------------------------------------------------------------- */

static char *load(const reel__file *f)
{
    if ((uint64_t)f->size >= SIZE_MAX) {
        reel_fail(REEL_ERR_MEMORY, "%s: %" PRId64 " bytes do not fit into memory",
                  f->path, f->size);
        return NULL;
    }
    char *data = reel__malloc((size_t)f->size + 1);
    if (!data) return NULL;
    if (reel__file_read(f, 0, data, (size_t)f->size) != REEL_OK) {
        reel__free(data);
        return NULL;
    }
    data[f->size] = '\0';
    return data;
}

char *reel__file_load(const char *path, int64_t max_size, size_t *size)
{
    reel__file f;
    if (reel__file_open(&f, path, max_size) != REEL_OK) return NULL;
    char *data = load(&f);
    if (data) *size = (size_t)f.size;
    reel__file_close(&f);
    return data;
}

reel_status reel__file_map(const reel__file *f, reel__map *map)
{
    *map = (reel__map){0};
    /* An empty file cannot be mapped; it loads as one byte, the terminator. */
    const void *data = NULL;
    if (f->size > 0 && (uint64_t)f->size <= SIZE_MAX)
        data = reel__sys_map(f->fd, (size_t)f->size);
    if (!data) data = map->memory = load(f);
    if (!data) return reel_error_status();
    map->data = data;
    map->size = (size_t)f->size;
    return REEL_OK;
}

void reel__file_unmap(reel__map *map)
{
    if (map->memory)
        reel__free(map->memory);
    else if (map->data)
        munmap((void *)(uintptr_t)map->data, map->size);
    *map = (reel__map){0};
}
