/* file.h: the one shim for files. Every reader and writer of the library goes through it, so
 * that limits, atomic replacement and messages are the same everywhere and tests can make
 * each call to the system fail. Messages name the path and what the system said.
 *
 * Regular files only: a FIFO or a device is refused at once, never waited for. */
#ifndef REEL_BASE_FILE_H
#define REEL_BASE_FILE_H

#include <reel/base.h>

/* ---- reading ----------------------------------------------------------------------- */

typedef struct reel__file {
    int fd;
    int64_t size;
    char *path; /* for messages */
} reel__file;

/* Opens a regular file of at most max_size bytes (else REEL_ERR_FORMAT). */
reel_status reel__file_open(reel__file *f, const char *path, int64_t max_size);
/* The same for a file that a foreign file names: `path` is taken from `folder` and must lead
 * to a file that lies in it. REEL_ERR_FORMAT for an absolute path, a part "..", a symbolic
 * link in `path` (not in `folder`) and a file of more than one name (a hard link). */
reel_status reel__file_open_within(reel__file *f, const char *folder, const char *path,
                                   int64_t max_size);
/* Exactly n bytes at `offset`. A file that ends before is REEL_ERR_FORMAT. Several threads
 * may read one file at once. */
reel_status reel__file_read(const reel__file *f, int64_t offset, void *buf, size_t n);
void reel__file_close(reel__file *f);

/* The whole file, with a '\0' behind it that *size does not count; free with reel__free(). */
char *reel__file_load(const char *path, int64_t max_size, size_t *size);

/* The whole file as read-only memory, page aligned. Outlives reel__file_close(). Mapped where
 * the system can, else read. Who truncates a mapped file makes its readers crash (SIGBUS),
 * which is why the writers below never change a file in place. */
typedef struct reel__map {
    const void *data; /* never NULL after success */
    size_t size;
    void *memory; /* if it was read */
} reel__map;
reel_status reel__file_map(const reel__file *f, reel__map *map);
void reel__file_unmap(reel__map *map);

/* ---- writing ----------------------------------------------------------------------- */

/* Writes a temporary file beside `path`, which replaces it at the commit: whoever opens
 * `path` sees the whole old file or the whole new one, also after a power failure. On any
 * error the temporary file is removed and the old file stays. */
typedef struct reel__writer reel__writer;
reel__writer *reel__writer_open(const char *path);
/* Buffered. After a failure each further call returns it. NULL is REEL_ERR_STATE. */
reel_status reel__writer_write(reel__writer *w, const void *data, size_t n);
/* Bytes written so far. */
int64_t reel__writer_tell(const reel__writer *w);
/* Brings what was written so far into the temporary file, to be read before the commit; its
 * path, which the writer owns. NULL with an error. */
const char *reel__writer_flush(reel__writer *w);
/* Ends the writer either way; commits only if every write succeeded. NULL: the error. */
reel_status reel__writer_commit(reel__writer *w);
void reel__writer_abort(reel__writer *w);
/* Ends two writers whose files belong together: both replace what was there, or neither.
 * No call to the system replaces two files at once, so while `b` is renamed what `a` replaces
 * is kept aside, and put back if that fails; only a crash between the two leaves `a` new and
 * `b` old, and what lay aside in a file `.reel-*.tmp.old`. */
reel_status reel__writer_commit_pair(reel__writer *a, reel__writer *b);
/* All of it at once. */
reel_status reel__file_save(const char *path, const void *data, size_t n);

/* ---- folders ----------------------------------------------------------------------- */

/* Makes a folder and those above it; one that exists is fine. */
reel_status reel__make_folders(const char *path);

typedef struct reel__names {
    char **name; /* sorted by bytes, without "." and ".." */
    size_t n;
} reel__names;
reel_status reel__folder_list(const char *path, reel__names *out);
void reel__names_free(reel__names *names);

/* ---- fault injection ---------------------------------------------------------------- */

typedef enum reel__io_fault {
    REEL__FAULT_EIO = 0,
    REEL__FAULT_ENOSPC, /* what a full disk says */
    REEL__FAULT_SHORT   /* no error: half of a read or write is done; other calls work */
} reel__io_fault;

/* The k-th call to the system from now (open, read, write, fsync, rename, close, mkdir, mmap)
 * fails (k >= 1), and each one after it too if `forever`. 0 switches off. */
void reel__fault_io(int64_t k, bool forever, reel__io_fault kind);
int64_t reel__fault_io_count(void);

#endif
