/* reel/data.h: datasets, transforms, loader.
 *
 *     reel_dataset *train = reel_cifar10("cifar-10-batches-bin", REEL_TRAIN);
 *     reel_transform *augment =
 *         reel_transform_compose(reel_transform_random_crop(32, 4),
 *                                reel_transform_random_hflip(0.5f),
 *                                reel_transform_normalize(mean, std, 3));
 *     reel_loader *loader = reel_loader_new(train, &(reel_loader_opts){
 *                               .batch = 128, .shuffle = true, .transform = augment });
 *     for (reel_batch b = reel_loader_begin(loader); reel_loader_next(loader, &b); )
 *         ... b.x ... b.y ...                                      // one epoch
 *     reel_loader_free(loader);
 *     reel_dataset_free(train);
 *
 * A dataset gives samples by index, a transform changes one sample, a loader makes
 * batches. A sample is any number of named fields, each a tensor of any dtype and shape:
 * images with labels are the fields "x" and "y". A batch has a tensor for each field, in
 * the same order: b.x is the first, b.y the second, reel_batch_get(&b, "mask") any.
 *
 * Everything random is a pure function of (seed, epoch, index of the sample): the same
 * seed gives the same batches whatever the number of workers.
 *
 * Functions that make something refuse to run (NULL) while an error is pending. */
#ifndef REEL_DATA_H
#define REEL_DATA_H

#include <reel/base.h>
#include <reel/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- samples ----------------------------------------------------------------------- */

/** What a field is, which says what becomes of it in a batch of n. Every dtype stays what
 *  it is, but for images of bytes. */
typedef enum reel_field_kind {
    REEL_ARRAY = 0, /* any shape [...] of rank 0 to 7; in a batch [n, ...]            */
    REEL_IMAGE,     /* [h, w, c], or [h, w] where there are no channels (a mask of
                     * classes); in a batch [n, c, h, w] in channels-last memory, or
                     * [n, h, w]; u8 becomes f32, divided by 255                      */
    REEL_LABEL      /* an i64 scalar that is a class, or REEL_IGNORE_INDEX; in a batch
                     * [n]                                                            */
} reel_field_kind;

/** The label of what has none: reel_cross_entropy_opts.ignore_index may be it. The only
 *  negative number that a label can be. */
#define REEL_IGNORE_INDEX INT64_C(-100)

/** One tensor of a sample, on the CPU. */
typedef struct reel_field {
    const char *name; /* lives as long as the dataset or transform that gave it */
    reel_field_kind kind;
    reel_dtype dtype;
    reel_shape shape;
    const void *data;   /* row-major; of the dataset or of this field. Never free it */
    void *own[2];       /* private: buffers of reel_field_out() */
    size_t own_size[2]; /* private */
} reel_field;

/** One sample. Start with {0}, reuse it for any number of reel_dataset_get() calls (its
 *  memory is reused too), end with reel_sample_free(). One thread at a time. */
typedef struct reel_sample {
    reel_field **field; /* [fields]; each stays where it is until the next sample */
    int fields;
    bool skip; /* the dataset has nothing to give here: the loader leaves it out */
    int room;  /* private */
} reel_sample;

/** Adds a field and returns memory for its elements, owned by the sample, not initialized.
 *  `name` is kept, not copied. For datasets and transforms.
 *  Errors: REEL_ERR_ARG for no name or one that the sample has; REEL_ERR_DTYPE,
 *  REEL_ERR_SHAPE for what its kind cannot be; REEL_ERR_MEMORY; NULL then, `s` unchanged. */
REEL_API void *reel_sample_add(reel_sample *s, const char *name, reel_field_kind kind,
                               reel_shape shape, reel_dtype dtype);
/** Adds a field whose elements lie in memory of yours, row-major, which lives as long as
 *  the dataset. Errors: as reel_sample_add; REEL_ERR_ARG if `data` is NULL. */
REEL_API reel_status reel_sample_borrow(reel_sample *s, const char *name,
                                        reel_field_kind kind, const void *data,
                                        reel_shape shape, reel_dtype dtype);
/** Adds the field "y", a label. Errors: as reel_sample_add. */
REEL_API reel_status reel_sample_label(reel_sample *s, int64_t label);
/** Field `name`, which belongs to the sample.
 *  Errors: REEL_ERR_ARG if there is none, naming those that there are; NULL then. */
REEL_API reel_field *reel_sample_field(const reel_sample *s, const char *name);
/** Memory for the next form of a field: room for `shape` elements of `dtype`, owned by
 *  the field. Sets dtype, shape and data to it. What f->data pointed to before stays
 *  valid, apart from the new memory, until the next call.
 *  Errors: REEL_ERR_DTYPE, REEL_ERR_SHAPE, REEL_ERR_MEMORY; NULL then, `f` unchanged. */
REEL_API void *reel_field_out(reel_field *f, reel_shape shape, reel_dtype dtype);
/** Takes the fields out, for others of a next sample that use their memory. NULL is
 *  allowed. reel_dataset_get() does it. */
REEL_API void reel_sample_clear(reel_sample *s);
/** Frees the memory of a sample and makes it {0}. NULL is allowed. */
REEL_API void reel_sample_free(reel_sample *s);

/* ---- datasets ---------------------------------------------------------------------- */

/** Samples by index. Opaque, reference counted: a loader keeps a share of its own. */
typedef struct reel_dataset reel_dataset;

/** Which part of a data set. */
typedef enum reel_part { REEL_TRAIN = 0, REEL_TEST } reel_part;

/** Number of samples; -1 for NULL. */
REEL_API int64_t reel_dataset_length(const reel_dataset *ds);
/** Fills `out` with sample `index`. Several threads may ask at once, each with its own
 *  `out`.
 *  Errors: REEL_ERR_ARG for an index out of range; what reading the sample gives. */
REEL_API reel_status reel_dataset_get(reel_dataset *ds, int64_t index, reel_sample *out);
/** Label of sample `index` (its first field of kind REEL_LABEL), without decoding the
 *  sample where the dataset knows it: all of ours do. INT64_MIN on an error.
 *  Errors: REEL_ERR_ARG for an index out of range or a sample without label; what reading
 *  the sample gives, where it must be read. */
REEL_API int64_t reel_dataset_label(reel_dataset *ds, int64_t index);
/** Shape of the first field of every sample, [h, w, c] of images; rank -1 if unknown or
 *  not all the same. */
REEL_API reel_shape reel_dataset_shape(const reel_dataset *ds);
/** Number of classes; 0 if unknown or for NULL. */
REEL_API int64_t reel_dataset_classes(const reel_dataset *ds);
/** Name of class `k`, owned by the dataset; "?" if it has none. Never NULL. */
REEL_API const char *reel_dataset_class_name(const reel_dataset *ds, int64_t k);
/** How many files were left out because they are corrupt (reel_image_opts.skip_corrupt).
 *  Each is named in the log at REEL_LOG_WARN. 0 for NULL. */
REEL_API int64_t reel_dataset_skipped(const reel_dataset *ds);
/** Takes another share. Returns `ds`. NULL in, NULL out. */
REEL_API reel_dataset *reel_dataset_keep(reel_dataset *ds);
/** Gives one share back; the last one frees. NULL is allowed. */
REEL_API void reel_dataset_free(reel_dataset *ds);

/** CIFAR-10, binary version: `dir`, or cifar-10-batches-bin in it, holds data_batch_1.bin
 *  to data_batch_5.bin (REEL_TRAIN, 50,000 images) and test_batch.bin (REEL_TEST,
 *  10,000). All is read into memory (150 MB). Fields: image x u8 [32, 32, 3], label y
 *  0..9.
 *  Errors: REEL_ERR_IO for a file that cannot be read; REEL_ERR_FORMAT for one that is
 *  not 10,000 records of 3,073 bytes or has a label above 9, naming file and record.
 *  Source: Krizhevsky 2009; www.cs.toronto.edu/~kriz/cifar.html. */
REEL_API reel_dataset *reel_cifar10(const char *dir, reel_part part);

/** Options of reel_image_folder. Zero is the default. */
typedef struct reel_image_opts {
    int height, width;     /* resize to this; 0: leave as is, all must then be equal */
    int channels;          /* 3: RGB (0 means 3); 1: gray */
    bool skip_corrupt;     /* leave corrupt files out, instead of failing on the first */
    const char *class_dir; /* its subfolders name the classes; NULL: those of `dir` */
    int64_t max_files;     /* more files than this is an error; 0 means 10,000,000 */
    int64_t max_pixels;    /* an image of more is corrupt; 0 means 2^25 */
    int64_t max_memory;    /* bytes; decode all when loading if that fits, else each image
                            * when it is asked for; 0 means 2 GiB */
    REEL_FUTURE;
} reel_image_opts;

/** Images in one folder a class: dir/<class>/<file>.{jpg,jpeg,png} (any case). Classes are the
 *  folder names in byte order, files likewise; hidden files and other names are left out, links
 *  to files are followed. Fields: image x u8 [h, w, channels], label y. A file is corrupt if it
 *  is not a regular file, is empty, too large (256 MB), cut short, or does not decode; PNG
 *  checksums are checked. Errors: REEL_ERR_IO for a folder that cannot be read; REEL_ERR_FORMAT
 *  for a corrupt file (named), no class, no image; REEL_ERR_SHAPE for images of unequal size;
 *  REEL_ERR_UNSUPPORTED if reel was built without stb_image. */
REEL_API reel_dataset *reel_image_folder(const char *dir, const reel_image_opts *opts);

/** A tensor whose first dimension counts samples. */
typedef struct reel_array {
    const char *name; /* copied */
    reel_tensor *tensor;
    reel_field_kind kind; /* REEL_ARRAY: [n, ...]; REEL_IMAGE: [n, c, h, w] or [n, h, w];
                           * REEL_LABEL: integers [n], which become i64 */
    REEL_FUTURE;
} reel_array;
/** The `n` tensors as fields of one dataset, copied, in this order. Values and dtypes stay
 *  what they are; u8 images become f32 in batches (REEL_IMAGE), nothing else does.
 *  Errors: REEL_ERR_ARG for a missing or double name, a missing tensor, a label below 0
 *  that is not REEL_IGNORE_INDEX; REEL_ERR_SHAPE for different numbers of samples or a
 *  rank that the kind cannot have; REEL_ERR_DTYPE for labels that are not integers. */
REEL_API reel_dataset *reel_arrays_n(const reel_array *arrays, int n);
/** The common case: fields x and y. x of rank 4 is images, y of rank 1 of i64, i32, i8 or
 *  u8 is labels; anything else is an array. */
REEL_API reel_dataset *reel_arrays(reel_tensor *x, reel_tensor *y);

/** Drawn data: `n` images x u8 [32, 32, 3] of 10 classes of shapes and textures at random
 *  place, size, angle, colours, with clutter and noise. Colour and brightness say nothing
 *  of the class: a linear model stays under 60 %, a small residual net passes 90 %. Image
 *  i is a function of (seed, part, i) alone; label i % 10.
 *  Errors: REEL_ERR_ARG unless 1 <= n <= 1,000,000. */
REEL_API reel_dataset *reel_drawn_images(int64_t n, uint64_t seed, reel_part part);

/** Recognizes what is in `dir`: CIFAR-10 binary batches, or folders train/ and test/ (or
 *  val/) of images. Both splits number the classes by train/. `opts` is for images; may
 *  be NULL. Errors: those of the two; REEL_ERR_FORMAT listing what was looked for. */
REEL_API reel_dataset *reel_open_data(const char *dir, reel_part part,
                                      const reel_image_opts *opts);

/** What becomes of a row in which a number is missing: empty, NA, NaN or null, in any case. */
typedef enum reel_csv_missing {
    REEL_CSV_REFUSE = 0, /* an error */
    REEL_CSV_SKIP_ROW,   /* the row is left out; reel_dataset_skipped() counts them */
    REEL_CSV_NAN         /* the number is NaN */
} reel_csv_missing;

/** Options of reel_csv. Zero is the default. */
typedef struct reel_csv_opts {
    const char *const
        *x; /* names of its columns, NULL at the end; NULL: all but those of y */
    const char *const
        *y; /* names of its columns, NULL at the end; NULL: the last column */
    bool
        labels; /* y is one column of classes 0, 1, ... (or REEL_IGNORE_INDEX): a label */
    bool no_header; /* the first line is numbers too; columns are named "0", "1", ... */
    char separator; /* 0 means ','; any but a quote, a line's end or what numbers have */
    reel_dtype dtype; /* REEL_F32 or REEL_F64 */
    reel_csv_missing missing;
    int64_t max_size; /* a file of more bytes is an error; 0 means 2^32 */
    REEL_FUTURE;
} reel_csv_opts;

/** A table of numbers in a text file (RFC 4180: quotes, "" in them, LF or CRLF; a byte order
 *  mark and empty lines are passed over), read into memory. Numbers are as in C, with a point
 *  in every locale, decimal. Columns that are in neither x nor y may hold any text. Fields:
 *  x [columns], y [columns] (also if it is one: a batch has [n, 1], as a net's output), or
 *  label y. opts may be NULL.
 *  Errors: REEL_ERR_IO; REEL_ERR_FORMAT naming file, line and column for what is not a number,
 *  is beyond the dtype, no class, missing; for a line of more or fewer fields than the first,
 *  a quote that does not end, no rows; REEL_ERR_ARG for a column that is not there or there
 *  twice. */
REEL_API reel_dataset *reel_csv(const char *path, const reel_csv_opts *opts);

/** Samples indices[0], ..., indices[n-1] of `ds`, of which it keeps a share; an index may
 *  come more than once. The indices are copied.
 *  Errors: REEL_ERR_ARG for n < 1 or an index out of range. */
REEL_API reel_dataset *reel_dataset_subset(reel_dataset *ds, const int64_t *indices,
                                           int64_t n);
/** Cuts `ds` at random into `n` datasets out[0], ..., out[n-1] that have no sample in common:
 *  of these lengths, which add up to its length, or of these fractions, which add up to 1
 *  (rounded down; what is left over goes to the first ones, a sample each). A function of
 *  (ds, lengths, seed). On failure out is all NULL.
 *  Errors: REEL_ERR_ARG for other sums, a length that is negative or not whole, a part
 *  without samples. */
REEL_API reel_status reel_dataset_random_split(reel_dataset *ds, const double *lengths,
                                               int n, uint64_t seed, reel_dataset **out);
/** The samples of `n` datasets, one after the other, of each of which it keeps a share. All
 *  must have the same fields, which the loader checks. Classes are those of the one that has
 *  most. Errors: REEL_ERR_ARG for none, or one that is NULL. */
REEL_API reel_dataset *reel_dataset_concat(reel_dataset *const *parts, int n);

/** A dataset of your own. `get` may be called by several threads at once; it adds the
 *  fields, the same ones to every sample in the same order (reel_sample_add,
 *  reel_sample_borrow, reel_sample_label), or sets out->skip. On failure it calls
 *  reel_fail(). */
typedef struct reel_dataset_fns {
    const char *name; /* for errors; static */
    int64_t (*length)(void *self);
    reel_status (*get)(void *self, int64_t index, reel_sample *out);
    int64_t (*label)(void *self, int64_t index);      /* optional: without decoding */
    reel_shape (*shape)(void *self);                  /* optional */
    int64_t (*classes)(void *self);                   /* optional */
    const char *(*class_name)(void *self, int64_t k); /* optional */
    int64_t (*skipped)(void *self);                   /* optional */
    void (*free)(void *self);                         /* optional */
    REEL_FUTURE;
} reel_dataset_fns;
/** Wraps `self`, which the dataset then owns: fns->free(self) is called with the last
 *  share, or at once if this fails. `fns` must outlive it (make it static const). */
REEL_API reel_dataset *reel_dataset_new(const reel_dataset_fns *fns, void *self);

/* ---- transforms -------------------------------------------------------------------- */

/** What changes one sample on its way into a batch. Opaque, reference counted.
 *  reel_transform_compose and reel_loader_new TAKE OVER the transforms given to them, also when
 *  they fail; reel_transform_keep() first if you need one twice. */
typedef struct reel_transform reel_transform;

/** Stream of random numbers of one sample: a function of (seed, epoch, index).
 *  Philox4x32-10. Fields are private. */
typedef struct reel_draw {
    uint64_t key, block;
    uint32_t word[4];
    int used;
} reel_draw;
/** A stream for these three numbers. */
REEL_API reel_draw reel_draw_at(uint64_t seed, uint64_t epoch, uint64_t index);
/** The next 32 random bits. */
REEL_API uint32_t reel_draw_u32(reel_draw *d);
/** Uniform in [0, 1). */
REEL_API float reel_draw_f32(reel_draw *d);
/** Uniform in 0 .. n-1, without bias; 0 if n < 2. Source: Lemire 2019,
 *  arXiv:1805.10941. */
REEL_API uint32_t reel_draw_below(reel_draw *d, uint32_t n);

/* reel_transform_random_crop, reel_transform_random_hflip and reel_transform_resize change every
 * image of a sample alike, so that an image and its mask or target stay together.
 * reel_transform_cutout changes the first image, reel_transform_normalize the first field. */

/** Pads with zeros on each side, then cuts size x size out at a random place. Images of
 *  equal size, of any dtype. Errors when applied: REEL_ERR_SHAPE if the padded image is
 *  smaller than that. */
REEL_API reel_transform *reel_transform_random_crop(int size, int padding);
/** Mirrors left and right with probability p. Images of any dtype. */
REEL_API reel_transform *reel_transform_random_hflip(float p);
/** (x - mean[c]) / std[c] over the last dimension, which must be `channels` (1..65536) long, of
 *  u8, which is first divided by 255, or f32. Result f32. Both arrays are copied. std must not be
 *  0. */
REEL_API reel_transform *reel_transform_normalize(const float *mean, const float *std,
                                                  int channels);
/** reel_transform_normalize with the mean and the deviation (divided by n) of the samples of
 *  `ds`, of which every one is read: give it the training set. A channel that is constant becomes
 *  0. Errors: as reel_transform_normalize; those of reading; REEL_ERR_SHAPE for samples of
 *  unequal channels. */
REEL_API reel_transform *reel_transform_standardize(reel_dataset *ds);
/** Sets a square of side `size` to 0 around a random place; what hangs over the border is
 *  cut off. After reel_transform_normalize 0 is the mean. Images.
 *  Source: DeVries & Taylor 2017, arXiv:1708.04552. */
REEL_API reel_transform *reel_transform_cutout(int size);
/** Bilinear to height x width; when shrinking, the triangle filter widens with the scale
 *  (antialias, as Pillow does). Images of u8 and f32; those of other integers and of bool
 *  hold classes, of which each output pixel takes the one at its centre. */
REEL_API reel_transform *reel_transform_resize(int height, int width);
/** The `n` parts one after the other; takes them over. NULL if a part is NULL (the parts
 *  are released). A NULL at the end is ignored. */
REEL_API reel_transform *reel_transform_compose_n(reel_transform *const *parts, int n);
/** reel_transform_compose(a, b, c): the same with the parts written in place (C only). A NULL at
 *  the end is allowed. */
#define reel_transform_compose(...)                                                      \
    reel_transform_compose_n(                                                            \
        (reel_transform *[]){__VA_ARGS__},                                               \
        (int)(sizeof((reel_transform *[]){__VA_ARGS__}) / sizeof(reel_transform *)))

/** Your own: changes fields of `s` (reel_sample_field, reel_field_out) or adds some
 *  (reel_sample_add), and draws from `d`. Called by
 *  several threads at once. On failure it calls reel_fail(). */
typedef reel_status (*reel_transform_fn)(void *self, reel_sample *s, reel_draw *d);
/** Makes a transform of a function. free_fn(self) is called with the last share, or at
 *  once if this fails; it may be NULL. */
REEL_API reel_transform *reel_transform_new(reel_transform_fn fn, void *self,
                                            void (*free_fn)(void *self));
/** Applies it to one sample. */
REEL_API reel_status reel_transform_apply(reel_transform *t, reel_sample *s,
                                          reel_draw *d);
/** Takes another share. Returns `t`. NULL in, NULL out. */
REEL_API reel_transform *reel_transform_keep(reel_transform *t);
/** Gives one share back; the last one frees. NULL is allowed. */
REEL_API void reel_transform_free(reel_transform *t);

/* ---- batches ----------------------------------------------------------------------- */

/** One tensor of a batch. */
typedef struct reel_batch_field {
    const char *name; /* as in the samples */
    reel_tensor *tensor;
} reel_batch_field;

/** One batch. What it points to belongs to the loader. */
typedef struct reel_batch {
    reel_tensor *x;          /* the first field: images f32 [n, c, h, w], ... */
    reel_tensor *y;          /* the second: labels i64 [n], ...; NULL if there is none */
    int64_t size;            /* n */
    int64_t index;           /* number of the batch in this epoch, from 0 */
    int64_t epoch;           /* number of the epoch, from 0 */
    const int64_t *samples;  /* [n] index in the dataset of each row */
    reel_batch_field *field; /* [fields] */
    int fields;
    int room; /* private */
    REEL_FUTURE;
} reel_batch;

/** Tensor `name` of a batch, which owns it.
 *  Errors: REEL_ERR_ARG if there is none, naming those that there are; NULL then. */
REEL_API reel_tensor *reel_batch_get(const reel_batch *b, const char *name);

/** What makes a batch of samples, where stacking equal shapes is not it. Opaque, reference
 *  counted. reel_loader_new TAKES OVER the one given to it, also when it fails. */
typedef struct reel_collate reel_collate;

/** Your own: puts the tensors of `n` samples (at least 1) into `out` with reel_batch_put()
 *  or the two functions below; out->size, samples, index and epoch are there already. It
 *  runs in a scope of its own, on the CPU; several threads call it at once. On failure it
 *  calls reel_fail(). */
typedef reel_status (*reel_collate_fn)(void *user, const reel_sample *samples, int64_t n,
                                       reel_batch *out);
/** Makes one of a function. free_user(user) is called with the last share, or at once if
 *  this fails; it may be NULL. */
REEL_API reel_collate *reel_collate_new(reel_collate_fn fn, void *user,
                                        void (*free_user)(void *user));
/** In a collate: adds tensor `name`, of which the batch keeps a share. The name is kept,
 *  not copied: it must live as long as the loader. The first is b.x, the second b.y.
 *  Errors: REEL_ERR_ARG for no name, one that is there, no tensor; REEL_ERR_STATE for a
 *  batch that is made already. */
REEL_API reel_status reel_batch_put(reel_batch *out, const char *name, reel_tensor *t);
/** In a collate: stacks field `name` of the samples as the loader does without one.
 *  Errors: REEL_ERR_SHAPE, REEL_ERR_DTYPE if the samples differ, naming two of them. */
REEL_API reel_status reel_collate_stack(const reel_sample *samples, int64_t n,
                                        const char *name, reel_batch *out);

/** A field that is padded to the longest of the batch: an array [length, ...] in its first
 *  dimension, behind what is there; an image in height and width, below and to the right. */
typedef struct reel_pad_field {
    const char *name;
    double value;        /* what fills it up, such as REEL_IGNORE_INDEX */
    const char *mask;    /* name of one more tensor, bool [n, longest] (of images
                          * [n, h, w]): true where the sample has something; NULL: none */
    const char *lengths; /* name of one more tensor, i64 [n] (of images [n, 2]: height and
                          * width): the sizes before; NULL: none */
    REEL_FUTURE;
} reel_pad_field;
/** In a collate: pads and stacks one field, and adds what it asks for beside it.
 *  Errors: REEL_ERR_SHAPE if what is not padded differs, or a field is a scalar. */
REEL_API reel_status reel_collate_pad(const reel_sample *samples, int64_t n,
                                      const reel_pad_field *field, reel_batch *out);
/** Pads the `n` fields and stacks all others, in the order of the samples' fields; masks
 *  and lengths follow at the end. Names are copied.
 *  Errors: REEL_ERR_ARG for no fields or one without name; when used, for a field that the
 *  samples do not have. */
REEL_API reel_collate *reel_pad_collate(const reel_pad_field *fields, int n);
/** Takes another share. Returns `c`. NULL in, NULL out. */
REEL_API reel_collate *reel_collate_keep(reel_collate *c);
/** Gives one share back; the last one frees. NULL is allowed. */
REEL_API void reel_collate_free(reel_collate *c);

/* ---- loader ------------------------------------------------------------------------ */

/** Makes batches of a dataset, epoch after epoch. Opaque. One thread uses it at a
 *  time. */
typedef struct reel_loader reel_loader;

/** Options of reel_loader_new. Zero is the default. */
typedef struct reel_loader_opts {
    int64_t batch;  /* samples a batch; 0 means 32 */
    bool shuffle;   /* a new order each epoch, from seed and epoch */
    bool drop_last; /* leave out every batch that is not full: the last, and those in
                      * which the dataset skipped samples */
    int workers;    /* threads that prepare ahead; 0: in the calling thread */
    int prefetch;   /* batches kept ready; 0 means 2 a worker */
    uint64_t seed;  /* of the order and of the transforms */
    reel_transform *transform; /* taken over; NULL: none */
    reel_collate *collate;     /* taken over; NULL: fields of equal shapes are stacked */
    const double *weights; /* [samples], copied: an epoch draws samples with replacement,
                            * each with a probability in proportion to its weight; NULL:
                            * each sample once. Not with shuffle. A sample that comes
                            * twice is not transformed alike: its random numbers are a
                            * function of its place in the epoch */
    int64_t draws; /* samples an epoch with weights; 0 means as many as there are */
    REEL_FUTURE;
} reel_loader_opts;

/** A loader over `ds`, of which it keeps a share. opts may be NULL.
 *  Errors: REEL_ERR_ARG for a negative number, more than 256 workers, an empty dataset,
 *  weights that are negative, not finite or all 0, weights and shuffle, draws without
 *  weights. */
REEL_API reel_loader *reel_loader_new(reel_dataset *ds, const reel_loader_opts *opts);
/** What a loop over one epoch begins with: an empty batch. Begins the next epoch if a loop
 *  before left one early (break, an error); after reel_loader_set_state() it goes on there.
 *  A loop of reel_loader_next() alone, without it, goes on where the last one stopped. */
REEL_API reel_batch reel_loader_begin(reel_loader *loader);
/** The next batch; false at the end of the epoch (the next call begins the next one) or
 *  on an error, which is then pending. Tensors and samples belong to the loader and are
 *  valid until the next call; reel_keep() a tensor to hold it longer. An error met by a
 *  worker arrives here, at the batch where it arose; the loader can go on with the batch
 *  after it once the error is cleared. `out` is all zero when false.
 *  Errors: REEL_ERR_SHAPE, REEL_ERR_DTYPE, REEL_ERR_ARG for samples of unequal fields;
 *  REEL_ERR_ARG for a label below 0 that is not REEL_IGNORE_INDEX, with the sample's
 *  index; those of dataset, transform and collate. */
REEL_API bool reel_loader_next(reel_loader *loader, reel_batch *out);
/** Number of batches an epoch (fewer come if the dataset skips samples); -1 for NULL. */
REEL_API int64_t reel_loader_batches(const reel_loader *loader);

/** The next epoch, for reel_loader_reset(): this one if no batch of it was given out. */
#define REEL_NEXT_EPOCH INT64_C(-1)
/** Goes to the first batch of an epoch (from 0), or of REEL_NEXT_EPOCH. Waits for workers
 *  that are busy. Errors: REEL_ERR_ARG for an epoch out of range. */
REEL_API reel_status reel_loader_reset(reel_loader *loader, int64_t epoch);

/** Where a loader stands: what a checkpoint stores. */
typedef struct reel_loader_state {
    uint64_t seed;
    int64_t epoch;    /* epochs completed */
    int64_t position; /* samples of this epoch given out so far */
    REEL_FUTURE;
} reel_loader_state;
/** Where `loader` stands; batches that are only prepared do not count. Zero for NULL. */
REEL_API reel_loader_state reel_loader_get_state(const reel_loader *loader);
/** Goes there: the same batches follow as followed then. Waits for workers that are busy.
 *  Errors: REEL_ERR_ARG for a position that is not a multiple of the batch size or too
 *  far. */
REEL_API reel_status reel_loader_set_state(reel_loader *loader, reel_loader_state state);
/** Stops the workers and frees. Safe at any time. NULL is allowed. */
REEL_API void reel_loader_free(reel_loader *loader);

#ifdef __cplusplus
}
#endif
#endif
