/* reel/data.h: datasets, transforms, loader.
 *
 *     reel_dataset *train = reel_cifar10("cifar-10-batches-bin", REEL_TRAIN);
 *     reel_transform *augment =
 *         reel_compose(reel_random_crop(32, 4), reel_random_hflip(0.5f),
 *                      reel_normalize(mean, std, 3));
 *     reel_loader *loader = reel_loader_new(train, &(reel_loader_opts){
 *                               .batch = 128, .shuffle = true, .transform = augment });
 *     for (reel_batch b; reel_loader_next(loader, &b); ) ...   // one epoch
 *     reel_loader_free(loader);
 *     reel_dataset_free(train);
 *
 * A dataset gives samples by index, a transform changes one sample, a loader makes
 * batches. Samples are images [h, w, c] (u8 0..255 or f32) or f32 arrays of any shape,
 * each with one i64 label. In a batch an image is f32 [n, c, h, w] in channels-last
 * memory.
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

/** One sample. Start with {0}, reuse it for any number of reel_dataset_get() calls (its
 *  memory is reused too), end with reel_sample_free(). One thread at a time. */
typedef struct reel_sample {
    reel_dtype dtype; /* REEL_U8 or REEL_F32 */
    reel_shape shape; /* [h, w, c] of an image, else any of rank 0 to 7 */
    bool image;       /* rank 3, height x width x channels */
    bool skip;        /* the dataset has nothing to give here: the loader leaves it out */
    const void *data; /* row-major; of the dataset or of this sample. Never free it */
    int64_t label;    /* class */
    void *own[2];     /* private: buffers of reel_sample_out() */
    size_t own_size[2]; /* private */
} reel_sample;

/** Memory for the next form of a sample: room for `shape` elements of `dtype` (REEL_U8 or
 *  REEL_F32), owned by the sample. Sets s->dtype, s->shape and s->data to it. What
 *  s->data pointed to before stays valid, apart from the new memory, until the next call.
 *  Errors: REEL_ERR_DTYPE, REEL_ERR_SHAPE, REEL_ERR_MEMORY; NULL then, `s` unchanged. */
REEL_API void *reel_sample_out(reel_sample *s, reel_dtype dtype, reel_shape shape);
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
/** Shape of every sample, [h, w, c] of images; rank 0 if unknown or not all the same. */
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
 *  10,000). All is read into memory (150 MB). Samples: u8 [32, 32, 3], label 0..9.
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
} reel_image_opts;

/** Images in one folder a class: dir/<class>/<file>.{jpg,jpeg,png} (any case). Classes
 *  are the folder names in byte order, files likewise; hidden files and other names are
 *  left out, links to files are followed. Samples: u8 [h, w, channels]. A file is corrupt
 *  if it is no regular file, is empty, too large (256 MB), cut short, or does not decode;
 *  PNG checksums are checked.
 *  Errors: REEL_ERR_IO for a folder that cannot be read; REEL_ERR_FORMAT for a corrupt
 *  file (named), no class, no image; REEL_ERR_SHAPE for images of unequal size;
 *  REEL_ERR_UNSUPPORTED if reel was built without stb_image. */
REEL_API reel_dataset *reel_image_folder(const char *dir, const reel_image_opts *opts);

/** Arrays in memory, copied. x: [n, ...]; rank 4 is images [n, c, h, w]; u8 stays u8,
 *  every other dtype becomes f32. y: integers [n], not negative.
 *  Errors: REEL_ERR_SHAPE, REEL_ERR_DTYPE; REEL_ERR_ARG for a negative label. */
REEL_API reel_dataset *reel_arrays(reel_tensor *x, reel_tensor *y);

/** Drawn data: `n` images u8 [32, 32, 3] of 10 classes of shapes and textures at random
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

/** A dataset of your own. `get` may be called by several threads at once; it points
 *  out->data at memory that lives as long as `self`, or fills what reel_sample_out()
 *  gives; it sets dtype, shape, image and label. On failure it calls reel_fail(). */
typedef struct reel_dataset_fns {
    const char *name; /* for errors; static */
    int64_t (*length)(void *self);
    reel_status (*get)(void *self, int64_t index, reel_sample *out);
    reel_shape (*shape)(void *self);                  /* optional */
    int64_t (*classes)(void *self);                   /* optional */
    const char *(*class_name)(void *self, int64_t k); /* optional */
    int64_t (*skipped)(void *self);                   /* optional */
    void (*free)(void *self);                         /* optional */
} reel_dataset_fns;
/** Wraps `self`, which the dataset then owns: fns->free(self) is called with the last
 *  share, or at once if this fails. `fns` must outlive it (make it static const). */
REEL_API reel_dataset *reel_dataset_new(const reel_dataset_fns *fns, void *self);

/* ---- transforms -------------------------------------------------------------------- */

/** What changes one sample on its way into a batch. Opaque, reference counted.
 *  reel_compose and reel_loader_new TAKE OVER the transforms given to them, also when
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
REEL_API reel_draw reel_draw_new(uint64_t seed, uint64_t epoch, uint64_t index);
/** The next 32 random bits. */
REEL_API uint32_t reel_draw_u32(reel_draw *d);
/** Uniform in [0, 1). */
REEL_API float reel_draw_f32(reel_draw *d);
/** Uniform in 0 .. n-1, without bias; 0 if n < 2. Source: Lemire 2019,
 *  arXiv:1805.10941. */
REEL_API uint32_t reel_draw_below(reel_draw *d, uint32_t n);

/** Pads with zeros on each side, then cuts size x size out at a random place.
 *  Images. Errors when applied: REEL_ERR_SHAPE if the padded image is smaller than
 *  that. */
REEL_API reel_transform *reel_random_crop(int size, int padding);
/** Mirrors left and right with probability p. Images. */
REEL_API reel_transform *reel_random_hflip(float p);
/** (x - mean[c]) / std[c] over the last dimension, which must be `channels` (1..16) long;
 *  u8 is first divided by 255. Result f32. Both arrays are copied. std must not be 0. */
REEL_API reel_transform *reel_normalize(const float *mean, const float *std,
                                        int channels);
/** Sets a square of side `size` to 0 around a random place; what hangs over the border is
 *  cut off. After reel_normalize 0 is the mean. Images.
 *  Source: DeVries & Taylor 2017, arXiv:1708.04552. */
REEL_API reel_transform *reel_cutout(int size);
/** Bilinear to height x width; when shrinking, the triangle filter widens with the scale
 *  (antialias, as Pillow does). Images. */
REEL_API reel_transform *reel_resize(int height, int width);
/** The `n` parts one after the other; takes them over. NULL if a part is NULL (the parts
 *  are released). A NULL at the end is ignored. */
REEL_API reel_transform *reel_compose_n(reel_transform *const *parts, int n);
/** reel_compose(a, b, c): the same with the parts written in place (C only). A NULL at
 *  the end is allowed. */
#define reel_compose(...)                                                                \
    reel_compose_n(                                                                      \
        (reel_transform *[]){__VA_ARGS__},                                               \
        (int)(sizeof((reel_transform *[]){__VA_ARGS__}) / sizeof(reel_transform *)))

/** Your own: changes `s` in place (see reel_sample_out) and draws from `d`. Called by
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

/* ---- loader ------------------------------------------------------------------------ */

/** Makes batches of a dataset, epoch after epoch. Opaque. One thread uses it at a
 *  time. */
typedef struct reel_loader reel_loader;

/** Options of reel_loader_new. Zero is the default. */
typedef struct reel_loader_opts {
    int64_t batch;             /* samples a batch; 0 means 32 */
    bool shuffle;              /* a new order each epoch, from seed and epoch */
    bool drop_last;            /* leave out a last batch that is not full */
    int workers;               /* threads that prepare ahead; 0: in the calling thread */
    int prefetch;              /* batches kept ready; 0 means 2 a worker */
    uint64_t seed;             /* of the order and of the transforms */
    reel_transform *transform; /* taken over; NULL: none. u8 becomes x / 255 at the end */
} reel_loader_opts;

/** One batch. */
typedef struct reel_batch {
    reel_tensor *x;         /* f32 [n, c, h, w] in channels-last memory, or [n, ...] */
    reel_tensor *y;         /* i64 [n] */
    int64_t size;           /* n */
    int64_t index;          /* number of the batch in this epoch, from 0 */
    int64_t epoch;          /* number of the epoch, from 0 */
    const int64_t *samples; /* [n] index in the dataset of each row */
} reel_batch;

/** A loader over `ds`, of which it keeps a share. opts may be NULL.
 *  Errors: REEL_ERR_ARG for a negative number, more than 256 workers, an empty
 *  dataset. */
REEL_API reel_loader *reel_loader_new(reel_dataset *ds, const reel_loader_opts *opts);
/** The next batch; false at the end of the epoch (the next call begins the next one) or
 *  on an error, which is then pending. x, y and samples belong to the loader and are
 *  valid until the next call; reel_keep() x or y to hold them longer. An error met by a
 *  worker arrives here, at the batch where it arose; the loader can go on with the batch
 *  after it once the error is cleared. `out` is all zero when false.
 *  Errors: REEL_ERR_SHAPE for samples of unequal shape; those of dataset and
 *  transform. */
REEL_API bool reel_loader_next(reel_loader *loader, reel_batch *out);
/** Number of batches an epoch; -1 for NULL. */
REEL_API int64_t reel_loader_batches(const reel_loader *loader);

/** Where a loader stands: what a checkpoint stores. */
typedef struct reel_loader_state {
    uint64_t seed;
    int64_t epoch;    /* epochs completed */
    int64_t position; /* samples of this epoch given out so far */
} reel_loader_state;
/** Where `loader` stands; batches that are only prepared do not count. Zero for NULL. */
REEL_API reel_loader_state reel_loader_get_state(const reel_loader *loader);
/** Goes there: the same batches follow as followed then. Waits for workers that are busy.
 *  Errors: REEL_ERR_ARG for a position that is no multiple of the batch size or too
 *  far. */
REEL_API reel_status reel_loader_set_state(reel_loader *loader, reel_loader_state state);
/** Stops the workers and frees. Safe at any time. NULL is allowed. */
REEL_API void reel_loader_free(reel_loader *loader);

#ifdef __cplusplus
}
#endif
#endif
