/* folder.c: images in one folder a class. All are decoded when loading if they fit into
 * memory (50,000 images of 32x32 take 150 MB and some seconds), else each when asked
 *  for. */
#include <reel/data.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/alloc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/option.h"
#include "base/parallel.h"
#include "data/image.h"
#include "data/memory.h"
#include "data/paths.h"

#define MAX_FILE (INT64_C(256) << 20)
#define MAX_CLASSES 1000000
#define MAX_SIDE 16384
#define DEFAULT_MAX_FILES 10000000
#define DEFAULT_MAX_PIXELS (INT64_C(1) << 25)
#define DEFAULT_MAX_MEMORY (INT64_C(2) << 30)

typedef struct entry {
    char *name; /* in its class's folder       */
    int64_t label;
    reel_status status;  /* of decoding it when loading */
    char *problem;       /* its message                 */
    atomic_bool counted; /* as skipped, when decoding late */
} entry;

typedef struct folder {
    char *dir;
    reel_image_opts opts;
    reel__names classes;
    entry *entries;
    int64_t n, room;
    reel_shape shape; /* of every image */
    int64_t first;    /* the file that set the shape; -1 if the options did */
    atomic_llong skipped;
} folder;

static void folder_free(void *self)
{
    folder *f = self;
    for (int64_t i = 0; i < f->n; i++) {
        reel__free(f->entries[i].name);
        reel__free(f->entries[i].problem);
    }
    reel__free(f->entries);
    reel__names_free(&f->classes);
    reel__free(f->dir);
    reel__free(f);
}

/* ---- what is there ----------------------------------------------------------------- */

static bool is_image_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png"};
    size_t n = strlen(name);
    if (name[0] == '.') return false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t k = strlen(endings[i]);
        if (n > k && strcasecmp(name + n - k, endings[i]) == 0) return true;
    }
    return false;
}

/* Takes the folders out of a listing of `dir`; hidden ones stay behind. */
static reel_status list_classes(const char *dir, reel__names *out)
{
    if (reel__folder_list(dir, out)) return reel_error_status();
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++) {
        char *path = out->name[i][0] == '.' ? NULL : reel__path_join(dir, out->name[i]);
        if (path && reel__is_folder(path)) {
            char *name = out->name[kept];
            out->name[kept++] = out->name[i];
            out->name[i] = name;
        }
        reel__free(path);
    }
    for (size_t i = kept; i < out->n; i++) reel__free(out->name[i]);
    out->n = kept;
    return reel_error_status();
}

/* With the classes of another folder, a folder here that is none of them is a mistake. */
static reel_status check_classes(const folder *f)
{
    reel__names here = {0};
    list_classes(f->dir, &here);
    size_t k = 0;
    for (size_t i = 0; i < here.n && !reel_failed(); i++) { /* both are sorted */
        while (k < f->classes.n && strcmp(f->classes.name[k], here.name[i]) < 0) k++;
        if (k == f->classes.n || strcmp(f->classes.name[k], here.name[i]) != 0)
            reel_fail(REEL_ERR_FORMAT,
                      "image_folder: %s has a folder \"%s\", which is not a class of %s",
                      f->dir, here.name[i], f->opts.class_dir);
    }
    reel__names_free(&here);
    return reel_error_status();
}

static reel_status add_entry(folder *f, const char *name, int64_t label)
{
    if (f->n == f->opts.max_files)
        return reel_fail(REEL_ERR_FORMAT, "image_folder: %s has more than %lld images",
                         f->dir, (long long)f->opts.max_files);
    if (f->n == f->room) {
        int64_t room = f->room > 0 ? 2 * f->room : 256;
        entry *larger = reel__realloc(f->entries, (size_t)room * sizeof *larger);
        if (!larger) return reel_error_status();
        f->entries = larger;
        f->room = room;
    }
    entry *e = &f->entries[f->n];
    *e = (entry){.name = reel__strdup(name), .label = label};
    if (e->name) f->n++;
    return reel_error_status();
}

static reel_status add_class(folder *f, int64_t label)
{
    char *path = reel__path_join(f->dir, f->classes.name[label]);
    reel__names files = {0};
    /* A class without a folder here is one without images. */
    if (path && (!f->opts.class_dir || reel__is_folder(path)))
        reel__folder_list(path, &files);
    for (size_t i = 0; i < files.n && !reel_failed(); i++)
        if (is_image_name(files.name[i])) add_entry(f, files.name[i], label);
    reel__names_free(&files);
    reel__free(path);
    return reel_error_status();
}

static reel_status scan(folder *f)
{
    const char *class_dir = f->opts.class_dir ? f->opts.class_dir : f->dir;
    if (list_classes(class_dir, &f->classes)) return reel_error_status();
    if (f->classes.n == 0 || f->classes.n > MAX_CLASSES)
        return reel_fail(REEL_ERR_FORMAT,
                         "image_folder: %s has %zu folders, expected one a class",
                         class_dir, f->classes.n);
    if (f->opts.class_dir && check_classes(f)) return reel_error_status();
    for (size_t k = 0; k < f->classes.n; k++)
        if (add_class(f, (int64_t)k)) return reel_error_status();
    if (f->n == 0)
        return reel_fail(
            REEL_ERR_FORMAT,
            "image_folder: no .jpg, .jpeg or .png file in the %zu folders of %s",
            f->classes.n, f->dir);
    return REEL_OK;
}

/* ---- one image --------------------------------------------------------------------- */

static char *entry_path(const folder *f, int64_t i)
{
    const entry *e = &f->entries[i];
    char *class_path = reel__path_join(f->dir, f->classes.name[e->label]);
    char *path = class_path ? reel__path_join(class_path, e->name) : NULL;
    reel__free(class_path);
    return path;
}

/* Checks the size, or changes it if the options say so, into out [f->shape]. */
static reel_status place(const folder *f, const char *path, const uint8_t *pixels,
                         int64_t h, int64_t w, uint8_t *out)
{
    const int64_t *want = f->shape.dim; /* h, w, channels */
    if (f->first < 0)
        return reel__resize(pixels, REEL_U8, h, w, want[2], out, want[0], want[1]);
    if (h == want[0] && w == want[1]) {
        memcpy(out, pixels, (size_t)(h * w * want[2]));
        return REEL_OK;
    }
    return reel_fail(
        REEL_ERR_SHAPE,
        "image_folder: %s has %lldx%lld pixels, images before it %lldx%lld; the "
        "options height and width would make them equal",
        path, (long long)w, (long long)h, (long long)want[1], (long long)want[0]);
}

static reel_status load_image(const folder *f, int64_t i, uint8_t *out)
{
    char *path = entry_path(f, i);
    size_t size = 0;
    char *bytes = path ? reel__file_load(path, MAX_FILE, &size) : NULL;
    int64_t h = 0, w = 0;
    uint8_t *pixels =
        bytes ? reel__image_decode(path, (const uint8_t *)bytes, size,
                                   (int)f->shape.dim[2], f->opts.max_pixels, &h, &w)
              : NULL;
    reel__free(bytes);
    if (pixels) place(f, path, pixels, h, w, out);
    reel__free(pixels);
    reel__free(path);
    return reel_error_status();
}

/* An error that says something about the file, not about this program or machine. */
static bool is_corruption(reel_status status)
{
    return status == REEL_ERR_FORMAT || status == REEL_ERR_IO;
}

/* The shape: from the options, or of the first image whose header can be read. */
static reel_status find_shape(folder *f)
{
    const reel_image_opts *o = &f->opts;
    f->first = -1;
    f->shape = (reel_shape){3, {o->height, o->width, o->channels}};
    for (int64_t i = 0; o->height == 0; i++) {
        if (i == f->n)
            return reel_fail(REEL_ERR_FORMAT,
                             "image_folder: none of the %lld images in %s can "
                             "be read",
                             (long long)f->n, f->dir);
        char *path = entry_path(f, i);
        size_t size = 0;
        char *bytes = path ? reel__file_load(path, MAX_FILE, &size) : NULL;
        if (bytes)
            reel__image_size(path, (const uint8_t *)bytes, size, &f->shape.dim[0],
                             &f->shape.dim[1]);
        reel__free(bytes);
        reel__free(path);
        if (!reel_failed()) {
            f->first = i;
            break;
        }
        if (!o->skip_corrupt || !is_corruption(reel_error_status()))
            return reel_error_status();
        reel_error_clear(); /* it is counted when it is decoded */
    }
    return REEL_OK;
}

/* ---- all at once ------------------------------------------------------------------- */

typedef struct decode_job {
    folder *f;
    reel__memory_data *m;
} decode_job;

/* On whatever thread: the error moves from the thread to the entry. */
static void decode_entry(void *ctx, int64_t i, int worker)
{
    (void)worker;
    const decode_job *j = ctx;
    entry *e = &j->f->entries[i];
    e->status =
        load_image(j->f, i, reel__memory_pixels(j->m) + (size_t)i * j->m->field[0].bytes);
    if (!e->status) return;
    e->problem = reel__strdup(reel__error_said());
    reel_error_clear();
}

/* Moves the good ones together; fails on the first that may not be skipped. */
static reel_status collect(folder *f, reel__memory_data *m)
{
    int64_t kept = 0;
    uint8_t *pixels = reel__memory_pixels(m);
    int64_t *labels = reel__memory_labels(m);
    size_t bytes = m->field[0].bytes;
    for (int64_t i = 0; i < f->n; i++) {
        const entry *e = &f->entries[i];
        const char *problem = e->problem ? e->problem : "out of memory";
        if (e->status && !(f->opts.skip_corrupt && is_corruption(e->status)))
            return reel_fail(e->status, "%s", problem);
        if (e->status) {
            reel__log_line(REEL_LOG_WARN, "image_folder: left out %s", problem);
            m->skipped++;
            continue;
        }
        if (kept < i)
            memcpy(pixels + (size_t)kept * bytes, pixels + (size_t)i * bytes, bytes);
        labels[kept++] = e->label;
    }
    if (kept == 0)
        return reel_fail(REEL_ERR_FORMAT,
                         "image_folder: none of the %lld images in %s can be "
                         "read",
                         (long long)f->n, f->dir);
    m->n = kept;
    return REEL_OK;
}

static reel_dataset *decode_all(folder *f)
{
    reel__memory_data *m = reel__memory_images("image_folder", f->n, f->shape);
    if (!m) return NULL;
    reel__parallel_dynamic(f->n, decode_entry, &(decode_job){f, m});
    if (collect(f, m)) {
        reel__memory_data_free(m);
        return NULL;
    }
    m->owned_names = f->classes.name; /* the names move over */
    m->class_names = (const char *const *)m->owned_names;
    m->classes = (int64_t)f->classes.n;
    f->classes = (reel__names){0};
    return reel__memory_dataset(m);
}

/* ---- one by one, when asked for ---------------------------------------------------- */

static int64_t folder_length(void *self)
{
    return ((folder *)self)->n;
}

static reel_status folder_get(void *self, int64_t index, reel_sample *out)
{
    folder *f = self;
    entry *e = &f->entries[index];
    uint8_t *pixels = reel_sample_add(out, "x", REEL_IMAGE, f->shape, REEL_U8);
    if (!pixels || reel_sample_label(out, e->label)) return reel_error_status();
    reel_status status = load_image(f, index, pixels);
    if (!status || !f->opts.skip_corrupt || !is_corruption(status)) return status;
    out->skip = true;
    if (!atomic_exchange(&e->counted, true)) {
        reel__log_line(REEL_LOG_WARN, "image_folder: left out %s", reel__error_said());
        atomic_fetch_add(&f->skipped, 1);
    }
    reel_error_clear();
    return REEL_OK;
}

static int64_t folder_label(void *self, int64_t index)
{
    return ((folder *)self)->entries[index].label;
}

static reel_shape folder_shape(void *self)
{
    return ((folder *)self)->shape;
}

static int64_t folder_classes(void *self)
{
    return (int64_t)((folder *)self)->classes.n;
}

static const char *folder_class_name(void *self, int64_t k)
{
    return ((folder *)self)->classes.name[k];
}

static int64_t folder_skipped(void *self)
{
    return atomic_load(&((folder *)self)->skipped);
}

static const reel_dataset_fns folder_fns = {
    .name = "image_folder",
    .length = folder_length,
    .get = folder_get,
    .label = folder_label,
    .shape = folder_shape,
    .classes = folder_classes,
    .class_name = folder_class_name,
    .skipped = folder_skipped,
    .free = folder_free,
};

/* ---- the constructor --------------------------------------------------------------- */

static reel_status check_opts(reel_image_opts *o)
{
    if (o->channels == 0) o->channels = 3;
    if (o->max_files == 0) o->max_files = DEFAULT_MAX_FILES;
    if (o->max_pixels == 0) o->max_pixels = DEFAULT_MAX_PIXELS;
    if (o->max_memory == 0) o->max_memory = DEFAULT_MAX_MEMORY;
    if (o->height < 0 || o->width < 0 || o->height > MAX_SIDE || o->width > MAX_SIDE ||
        (o->height == 0) != (o->width == 0))
        return reel_fail(REEL_ERR_ARG,
                         "image_folder: size %dx%d, expected 1 to %d each, or 0 "
                         "and 0",
                         o->height, o->width, MAX_SIDE);
    if (o->channels != 1 && o->channels != 3)
        return reel_fail(REEL_ERR_ARG, "image_folder: %d channels, expected 1 or 3",
                         o->channels);
    if (o->max_files < 0 || o->max_pixels < 0 || o->max_memory < 0)
        return reel_fail(REEL_ERR_ARG, "image_folder: a limit is negative");
    return REEL_OK;
}

reel_dataset *reel_image_folder(const char *dir, const reel_image_opts *opts)
{
    REEL__CALLED;
    if (reel_failed()) return NULL;
    const reel_image_opts *given = REEL__OPTS("image_folder", reel_image_opts, opts);
    if (!given) return NULL;
    reel_image_opts o = *given;
    if (!dir) reel_fail(REEL_ERR_ARG, "image_folder: the folder is NULL");
    if (reel_failed() || check_opts(&o)) return NULL;
    folder *f = reel__calloc(1, sizeof *f);
    if (!f) return NULL;
    f->opts = o;
    f->dir = reel__strdup(dir);
    if (!f->dir || scan(f) || find_shape(f)) {
        folder_free(f);
        return NULL;
    }
    f->opts.class_dir = NULL; /* the caller's; not needed any more */
    int64_t one = f->shape.dim[0] * f->shape.dim[1] * f->shape.dim[2];
    if (f->n > o.max_memory / one) return reel_dataset_new(&folder_fns, f);
    reel_dataset *ds = decode_all(f);
    folder_free(f);
    return ds;
}
