/* rows.c: what a graph with one input is run on: .npy files of rows as a dataset. */
#include "cli.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MOST_FILES = 1 << 20, MOST_PATH = 4096 };

/* "f32[n,3,32,32]" */
static const char *type_text(reel_dtype dtype, reel_shape s, bool rows, char *to,
                             size_t size)
{
    size_t n = (size_t)snprintf(to, size, "%s[", reel_dtype_name(dtype));
    for (int d = 0; d < s.rank && n < size; d++) {
        n += (size_t)snprintf(to + n, size - n, d ? "," : "");
        if (n >= size) break;
        n += rows && d == 0 ? (size_t)snprintf(to + n, size - n, "n")
                            : (size_t)snprintf(to + n, size - n, "%" PRId64, s.dim[d]);
    }
    if (n < size) snprintf(to + n, size - n, "]");
    return to;
}

static bool fits(reel_shape row, reel_shape s)
{
    bool same = s.rank == row.rank && s.dim[0] > 0;
    for (int d = 1; d < s.rank && same; d++) same = s.dim[d] == row.dim[d];
    return same;
}

/* The first row of x, f32 [n, ...], that holds what is not finite; -1: none. */
static int64_t bad_row(reel_tensor *x)
{
    if (reel_dtype_of(x) != REEL_F32) return -1;
    x = reel_contiguous(x);
    const float *value = x ? reel_data(x) : NULL;
    const int64_t n = value ? reel_numel(x) : 0;
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(value[i])) return i / (n / reel_shape_of(x).dim[0]);
    return -1;
}

/* The rows of one file; NULL with an error. */
static reel_dataset *rows_of_file(const char *path, const char *name, reel_shape want,
                                  reel_dtype dtype)
{
    char is[128], needs[128];
    reel_tensor *x = reel_npy_load(path);
    if (!x) return NULL;
    const reel_shape s = reel_shape_of(x);
    if (reel_dtype_of(x) != dtype || !fits(want, s)) {
        reel_fail(REEL_ERR_SHAPE, "%s: %s cannot be the input %s, which takes rows %s",
                  path, type_text(reel_dtype_of(x), s, false, is, sizeof is), name,
                  type_text(dtype, want, true, needs, sizeof needs));
        return NULL;
    }
    const int64_t bad = bad_row(x);
    if (bad >= 0)
        reel_fail(REEL_ERR_NUMERIC,
                  "%s: row %" PRId64 " holds a number that is not finite", path, bad);
    if (reel_failed()) return NULL;
    return reel_arrays_n(&(reel_array){.name = "x", .tensor = x, .kind = REEL_ARRAY}, 1);
}

/* ---- folders ----------------------------------------------------------------------------------- */

typedef struct paths {
    char **at;
    int n;
} paths;

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_array(const char *name)
{
    const size_t n = strlen(name);
    return n > 4 && strcmp(name + n - 4, ".npy") == 0;
}

static reel_status add_path(paths *p, const char *folder, const char *name)
{
    char full[MOST_PATH];
    if (snprintf(full, sizeof full, "%s/%s", folder, name) >= (int)sizeof full ||
        p->n == MOST_FILES)
        return reel_fail(REEL_ERR_ARG, "%s: too many files, or names too long", folder);
    char **more = realloc(p->at, ((size_t)p->n + 1) * sizeof *more);
    if (more) p->at = more;
    char *copy = more ? strdup(full) : NULL;
    if (!copy) return reel_fail(REEL_ERR_MEMORY, "no memory for the names of files");
    p->at[p->n++] = copy;
    return REEL_OK;
}

static void paths_free(paths *p)
{
    for (int i = 0; i < p->n; i++) free(p->at[i]);
    free(p->at);
}

/* The .npy files of a folder, sorted by name. */
static reel_status list_files(const char *folder, paths *p)
{
    DIR *d = opendir(folder);
    if (!d) return reel_fail(REEL_ERR_IO, "%s: cannot read the folder", folder);
    for (const struct dirent *e; !reel_failed() && (e = readdir(d));)
        if (is_array(e->d_name)) (void)add_path(p, folder, e->d_name);
    (void)closedir(d);
    if (reel_failed()) return reel_error_status();
    if (!p->n) return reel_fail(REEL_ERR_ARG, "%s: there is no .npy file in it", folder);
    qsort(p->at, (size_t)p->n, sizeof *p->at, by_name);
    return REEL_OK;
}

static reel_dataset *rows_of_folder(const char *folder, const char *name, reel_shape want,
                                    reel_dtype dtype)
{
    paths p = {0};
    reel_dataset *all = NULL, **part = NULL;
    int n = 0;
    if (!list_files(folder, &p) && !(part = calloc((size_t)p.n, sizeof *part)))
        reel_fail(REEL_ERR_MEMORY, "no memory for the rows of %d files", p.n);
    for (; part && n < p.n && !reel_failed(); n++) {
        reel_scope s = reel_scope_begin();
        part[n] = rows_of_file(p.at[n], name, want, dtype);
        reel_scope_end(s);
    }
    if (!reel_failed()) all = reel_dataset_concat(part, n);
    for (int i = 0; i < n; i++) reel_dataset_free(part[i]);
    free(part);
    paths_free(&p);
    return all;
}

/* ---- both -------------------------------------------------------------------------------------- */

reel_dataset *read_rows(const char *path, const reel_graph *g)
{
    struct stat st;
    reel_dtype dtype = REEL_F32;
    const char *name = reel_graph_input_name(g, 0);
    const reel_shape want = reel_graph_input_shape(g, 0, &dtype);
    if (reel_graph_inputs(g) != 1 || want.rank < 1) {
        reel_fail(REEL_ERR_UNSUPPORTED,
                  "the graph has %d inputs%s; rows can be given to one that counts them",
                  reel_graph_inputs(g), want.rank == 0 ? " without dimensions" : "");
        return NULL;
    }
    bool folder = stat(path, &st) == 0 && S_ISDIR(st.st_mode);
    return (folder ? rows_of_folder : rows_of_file)(path, name, want, dtype);
}

reel_loader *rows_loader(reel_dataset *rows, const reel_graph *g, int64_t batch)
{
    const int64_t fixed =
        reel_graph_batch(g) ? 0 : reel_graph_input_shape(g, 0, NULL).dim[0];
    const int64_t n = reel_dataset_length(rows);
    if (fixed && batch && batch != fixed)
        reel_fail(REEL_ERR_ARG, "the batch size of the graph is fixed at %" PRId64,
                  fixed);
    else if (n < fixed)
        reel_fail(REEL_ERR_ARG,
                  "the batch size of the graph is fixed at %" PRId64
                  "; there are %" PRId64 " rows",
                  fixed, n);
    if (reel_failed()) return NULL;
    return reel_loader_new(rows, &(reel_loader_opts){.batch = fixed   ? fixed
                                                              : batch ? batch
                                                                      : 32,
                                                     .drop_last = fixed != 0});
}
