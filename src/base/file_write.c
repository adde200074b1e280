/* file_write.c: replacing files atomically; folders. */
#include "base/alloc.h"
#include "base/file_sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER ((size_t)64 << 10)

struct reel__writer {
    int fd;
    char *path, *temp, *folder;
    reel_status status; /* of the first write that failed */
    int64_t written;
    size_t used;
    char buffer[BUFFER];
};

/* ---- opening ----------------------------------------------------------------------- */

static void writer_free(reel__writer *w)
{
    reel__free(w->path);
    reel__free(w->temp);
    reel__free(w->folder);
    reel__free(w);
}

/* "a/b" -> "a", "/b" -> "/", "b" -> ".". */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return reel__strdup(".");
    char *folder = reel__strdup(path);
    if (folder) folder[slash == path ? 1 : slash - path] = '\0';
    return folder;
}

/* The file that is to be replaced: where `path` is a link, what it leads to. A pipe, a device
 * or a folder must not be replaced by a file. */
static char *target_of(const char *path, mode_t *mode)
{
    struct stat st;
    *mode = 0;
    if (stat(path, &st) != 0) return reel__strdup(path);
    if (!S_ISREG(st.st_mode)) {
        reel_fail(REEL_ERR_IO, "cannot write %s: %s, must be a regular file or none",
                  path, S_ISDIR(st.st_mode) ? "is a folder" : "is a pipe or device");
        return NULL;
    }
    *mode = st.st_mode & 07777;
    char *real = realpath(path, NULL);
    char *copy = reel__strdup(real ? real : path);
    free(real); /* the C library's, not ours */
    return copy;
}

/* A new file in the folder, so that the rename stays within one file system. */
static bool temp_open(reel__writer *w)
{
    static atomic_uint serial;
    size_t size = strlen(w->folder) + 64;
    w->temp = reel__malloc(size);
    if (!w->temp) return false;
    for (int tries = 0; tries < 100; tries++) {
        snprintf(w->temp, size, "%s/.reel-%ld-%u.tmp", w->folder, (long)getpid(),
                 atomic_fetch_add(&serial, 1));
        w->fd = reel__sys_open(w->temp, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (w->fd >= 0) return true;
        if (errno != EEXIST) break; /* left behind by a process that died */
    }
    reel__io_error("write", w->path);
    return false;
}

reel__writer *reel__writer_open(const char *path)
{
    if (!path || !*path) {
        reel_fail(REEL_ERR_ARG, "write: the path is %s", path ? "empty" : "NULL");
        return NULL;
    }
    reel__writer *w = reel__malloc(sizeof *w);
    if (!w) return NULL;
    w->fd = -1;
    w->status = REEL_OK;
    w->written = 0;
    w->used = 0;
    w->temp = w->folder = NULL;
    mode_t mode;
    w->path = target_of(path, &mode);
    if (w->path) w->folder = folder_of(w->path);
    if (!w->folder || !temp_open(w)) {
        writer_free(w);
        return NULL;
    }
    /* Who could read the old file can read the new one; a wish, not worth failing for. */
    if (mode && fchmod(w->fd, mode) != 0) errno = 0;
    return w;
}

/* ---- writing ----------------------------------------------------------------------- */

static reel_status put(reel__writer *w, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t done = reel__sys_write(w->fd, data, n);
        if (done < 0) return w->status = reel__io_error("write", w->path);
        data += done;
        n -= (size_t)done;
    }
    return REEL_OK;
}

static reel_status flush(reel__writer *w)
{
    size_t n = w->used;
    w->used = 0;
    return put(w, w->buffer, n);
}

reel_status reel__writer_write(reel__writer *w, const void *data, size_t n)
{
    if (!w) return reel_fail(REEL_ERR_STATE, "write: the file was not opened");
    if (w->status != REEL_OK || n == 0) return w->status;
    if (n > BUFFER - w->used && flush(w) != REEL_OK) return w->status;
    w->written += (int64_t)n;
    if (n >= BUFFER) return put(w, data, n);
    memcpy(w->buffer + w->used, data, n);
    w->used += n;
    return REEL_OK;
}

int64_t reel__writer_tell(const reel__writer *w)
{
    return w ? w->written : 0;
}

/* ---- ending ------------------------------------------------------------------------ */

/* The name is on the disk only when the folder is. */
static reel_status replace(const reel__writer *w)
{
    int folder = reel__sys_open(w->folder, O_RDONLY | O_DIRECTORY, 0);
    if (folder < 0) return reel__io_error("open the folder of", w->path);
    reel_status status = REEL_OK;
    if (reel__sys_rename(w->temp, w->path) != 0)
        status = reel__io_error("replace", w->path);
    /* Some file systems cannot sync a folder, and say so with EINVAL. */
    else if (reel__sys_fsync(folder) != 0 && errno != EINVAL)
        status = reel__io_error("sync the folder of", w->path);
    reel__sys_close(folder);
    return status;
}

const char *reel__writer_flush(reel__writer *w)
{
    if (w->status == REEL_OK) w->status = flush(w);
    return w->status == REEL_OK ? w->temp : NULL;
}

/* All on the disk, still under the temporary name. */
static reel_status finish(reel__writer *w)
{
    reel_status status = w->status;
    if (status == REEL_OK) status = flush(w);
    if (status == REEL_OK && reel__sys_fsync(w->fd) != 0)
        status = reel__io_error("sync", w->path);
    if (reel__sys_close(w->fd) != 0 && status == REEL_OK)
        status = reel__io_error("close", w->path);
    return status;
}

static reel_status end(reel__writer *w, reel_status status)
{
    if (status != REEL_OK) unlink(w->temp); /* gone already if it was renamed */
    writer_free(w);
    return status;
}

reel_status reel__writer_commit(reel__writer *w)
{
    if (!w) return reel_fail(REEL_ERR_STATE, "write: the file was not opened");
    reel_status status = finish(w);
    if (status == REEL_OK) status = replace(w);
    return end(w, status);
}

/* ---- two files that belong together -------------------------------------------------- */

/* Puts what stood at w->path, and lies at `aside` if `was_there`, back there. */
static void restore(const reel__writer *w, const char *aside, bool was_there)
{
    if (!was_there)
        unlink(w->path);
    else if (reel__sys_rename(aside, w->path) != 0)
        reel__io_error("restore", w->path); /* the cause is pending and stays */
}

static reel_status rename_pair(const reel__writer *a, const reel__writer *b,
                               const char *aside)
{
    bool was_there = reel__sys_rename(a->path, aside) == 0;
    if (!was_there && errno != ENOENT) return reel__io_error("set aside", a->path);
    const reel__writer *failed = reel__sys_rename(a->temp, a->path) != 0   ? a
                                 : reel__sys_rename(b->temp, b->path) != 0 ? b
                                                                           : NULL;
    if (failed) {
        reel__io_error("replace", failed->path);
        restore(a, aside, was_there);
        return reel_error_status();
    }
    if (was_there) unlink(aside);
    return REEL_OK;
}

/* The folders are opened before anything is renamed: less that can fail after it. */
static reel_status replace_pair(const reel__writer *a, const reel__writer *b,
                                const char *aside)
{
    const reel__writer *w[2] = {a, b};
    int folder[2] = {-1, -1};
    reel_status status = REEL_OK;
    for (int i = 0; i < 2 && status == REEL_OK; i++)
        if ((folder[i] = reel__sys_open(w[i]->folder, O_RDONLY | O_DIRECTORY, 0)) < 0)
            status = reel__io_error("open the folder of", w[i]->path);
    if (status == REEL_OK) status = rename_pair(a, b, aside);
    for (int i = 0; i < 2 && status == REEL_OK; i++)
        if (reel__sys_fsync(folder[i]) != 0 && errno != EINVAL)
            status = reel__io_error("sync the folder of", w[i]->path);
    for (int i = 0; i < 2; i++)
        if (folder[i] >= 0) reel__sys_close(folder[i]);
    return status;
}

reel_status reel__writer_commit_pair(reel__writer *a, reel__writer *b)
{
    if (!a || !b) {
        reel__writer_abort(a);
        reel__writer_abort(b);
        return reel_fail(REEL_ERR_STATE, "write: a file was not opened");
    }
    size_t size = strlen(a->temp) + sizeof ".old";
    char *aside = reel__malloc(size);
    if (aside) snprintf(aside, size, "%s.old", a->temp);
    reel_status first = finish(a), second = finish(b);
    reel_status status = !aside              ? reel_error_status()
                         : first != REEL_OK  ? first
                         : second != REEL_OK ? second
                                             : replace_pair(a, b, aside);
    reel__free(aside);
    end(a, status);
    return end(b, status);
}

void reel__writer_abort(reel__writer *w)
{
    if (!w) return;
    reel__sys_close(w->fd);
    unlink(w->temp);
    writer_free(w);
}

reel_status reel__file_save(const char *path, const void *data, size_t n)
{
    reel__writer *w = reel__writer_open(path);
    if (!w) return reel_error_status();
    reel__writer_write(w, data, n);
    return reel__writer_commit(w);
}

/* ---- folders ----------------------------------------------------------------------- */

static reel_status make_folder(const char *path)
{
    struct stat st;
    if (reel__sys_mkdir(path) == 0) return REEL_OK;
    if (errno == EEXIST && stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode)) return REEL_OK;
        errno = ENOTDIR;
    }
    return reel__io_error("make the folder", path);
}

reel_status reel__make_folders(const char *path)
{
    if (!path || !*path)
        return reel_fail(REEL_ERR_ARG, "make folders: the path is %s",
                         path ? "empty" : "NULL");
    char *part = reel__strdup(path);
    if (!part) return reel_error_status();
    reel_status status = REEL_OK;
    for (char *p = part + 1; *p && status == REEL_OK; p++) {
        if (*p != '/' || p[-1] == '/') continue;
        *p = '\0';
        status = make_folder(part);
        *p = '/';
    }
    if (status == REEL_OK) status = make_folder(part);
    reel__free(part);
    return status;
}

static reel_status name_add(reel__names *names, size_t *capacity, const char *name)
{
    if (names->n == *capacity) {
        size_t n = *capacity ? 2 * *capacity : 64;
        char **grown = reel__realloc(names->name, n * sizeof *grown);
        if (!grown) return reel_error_status();
        names->name = grown;
        *capacity = n;
    }
    char *copy = reel__strdup(name);
    if (!copy) return reel_error_status();
    names->name[names->n++] = copy;
    return REEL_OK;
}

static reel_status names_read(DIR *dir, const char *path, reel__names *out)
{
    size_t capacity = 0;
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (!e) return errno ? reel__io_error("list", path) : REEL_OK;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        reel_status status = name_add(out, &capacity, e->d_name);
        if (status != REEL_OK) return status;
    }
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

reel_status reel__folder_list(const char *path, reel__names *out)
{
    *out = (reel__names){0};
    if (!path) return reel_fail(REEL_ERR_ARG, "list: the path is NULL");
    int fd = reel__sys_open(path, O_RDONLY | O_DIRECTORY | O_NONBLOCK, 0);
    if (fd < 0) return reel__io_error("list", path);
    DIR *dir = fdopendir(fd);
    if (!dir) {
        reel__io_error("list", path);
        reel__sys_close(fd);
        return reel_error_status();
    }
    reel_status status = names_read(dir, path, out);
    closedir(dir);
    if (status != REEL_OK) reel__names_free(out);
    /* The system lists in any order; results must not depend on it. */
    else if (out->n)
        qsort(out->name, out->n, sizeof *out->name, by_bytes);
    return status;
}

void reel__names_free(reel__names *names)
{
    for (size_t i = 0; i < names->n; i++) reel__free(names->name[i]);
    reel__free(names->name);
    *names = (reel__names){0};
}
