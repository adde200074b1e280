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

reel_status reel__file_open(reel__file *f, const char *path, int64_t max_size)
{
    *f = (reel__file){.fd = -1};
    if (!path) return reel_fail(REEL_ERR_ARG, "open: the path is NULL");
    /* O_NONBLOCK: opening a pipe would wait for its writer. */
    int fd = reel__sys_open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    if (fd < 0) return reel__io_error("open", path);
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
