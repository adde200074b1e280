/* cli.h: what the commands of the program share. */
#ifndef TOOLS_REEL_CLI_H
#define TOOLS_REEL_CLI_H

#include <reel/reel.h>
#include <stdio.h>

typedef struct command {
    const char *name, *args, *about;
    int (*run)(const struct command *self, int argc, char **argv); /* the exit status */
} command;

int cmd_info(const command *self, int argc, char **argv);
int cmd_run(const command *self, int argc, char **argv);
int cmd_bench(const command *self, int argc, char **argv);
int cmd_optimize(const command *self, int argc, char **argv);
int cmd_quantize(const command *self, int argc, char **argv);
int cmd_compare(const command *self, int argc, char **argv);
int cmd_view(const command *self, int argc, char **argv);
int cmd_check(const command *self, int argc, char **argv);
int cmd_ops(const command *self, int argc, char **argv);
int cmd_passes(const command *self, int argc, char **argv);

/* ---- options.c ------------------------------------------------------------------------ */

typedef enum option_kind {
    OPTION_FLAG, /* bool */
    OPTION_INT,  /* int64_t, from low to high */
    OPTION_REAL, /* double, from low to high */
    OPTION_TEXT, /* const char * */
    OPTION_LIST  /* text_list: may come several times */
} option_kind;

enum { MOST_TEXTS = 16 };
typedef struct text_list {
    const char *text[MOST_TEXTS];
    int n;
} text_list;

typedef struct option {
    const char *name; /* "--batch" */
    option_kind kind;
    void *to;
    const char *about;
    double low, high;
} option;

/* Rows that commands share. A table ends with OPTIONS_END. */
#define OPTION_JSON(to)                                                                  \
    {                                                                                    \
        "--json", OPTION_FLAG, (to), "the result as JSON", 0, 0                          \
    }
#define OPTION_BATCH(to, about)                                                          \
    {                                                                                    \
        "--batch", OPTION_INT, (to), (about), 1, 1 << 20                                 \
    }
#define OPTION_THREADS(to)                                                               \
    {                                                                                    \
        "--threads", OPTION_INT, (to), "default: all", 0, 1024                           \
    }
#define OPTION_GFLOPS(to)                                                                \
    {                                                                                    \
        "--gflops", OPTION_REAL, (to), "1e9 operations a second at best", 1e-9, 1e9      \
    }
#define OPTION_GBYTES(to)                                                                \
    {                                                                                    \
        "--gbytes", OPTION_REAL, (to), "1e9 bytes a second at best: for time bounds",    \
            1e-9, 1e9                                                                    \
    }
#define OPTIONS_END                                                                      \
    {                                                                                    \
        NULL, OPTION_FLAG, NULL, NULL, 0, 0                                              \
    }

/* Reads options and `n` file names, in any order. -1: go on; else the exit status, after help
 * (-h) or a message. */
int parse(const command *self, const option *options, const char *files[], int n,
          int argc, char **argv);
/* A message "reel COMMAND: WHAT WHY; ..." on stderr; gives 2. */
int wrong(const command *self, const char *what, const char *why);
/* -1 if both peaks are given or none; else a message, and the exit status. */
int check_peaks(const command *self, const reel_roofline *peaks);

/* ---- file.c ----------------------------------------------------------------------------- */

/* A graph from an ONNX file or a saved one, at a batch size (0: as it is in the file). NULL
 * with a pending error. */
reel_graph *open_graph(const char *path, int64_t batch);
/* Whether write_graph() knows what to write: the name ends in .onnx or .reel. */
bool can_write(const char *path);
/* Whether it would keep what reel_graph_tune() found. */
bool can_keep_choices(const char *path);
reel_status write_graph(reel_graph *g, const char *path, int opset);

/* Tensors of the inputs or outputs of a graph. */
typedef struct values {
    reel_tensor **at;
    int n;
} values;
/* All NULL; values_free() frees the list, not the tensors. */
reel_status values_new(values *v, int n);
void values_free(values *v);
/* Inputs at the graph's batch size, drawn from a seed: floats from a normal distribution,
 * integers 0 or 1. */
reel_status draw_inputs(const reel_graph *g, uint64_t seed, values *x);
/* Inputs from .npy files: in order, or "NAME=FILE.npy". `x` is as values_new() makes it. */
reel_status read_inputs(const reel_graph *g, const text_list *files, values *x);
#define OPTION_INPUT(to)                                                                 \
    {                                                                                    \
        "--input", OPTION_LIST, (to), "a .npy file, or NAME=FILE; again for each input", \
            0, 0                                                                         \
    }

/* ---- rows.c ----------------------------------------------------------------------------- */

/* The rows of a .npy file, or of all in a folder by name, as the field "x": they must fit the
 * one input of g and be finite. NULL with an error that names the file. */
reel_dataset *read_rows(const char *path, const reel_graph *g);
/* Batches of them in order: as many rows as g is fixed at, or `batch`; 0: 32. */
reel_loader *rows_loader(reel_dataset *rows, const reel_graph *g, int64_t batch);

/* ---- json.c ------------------------------------------------------------------------------- */

/* Writes JSON to stdout; commas come by themselves. Keys are NULL in a list. */
typedef struct json {
    bool after; /* something stands before in this object or list */
} json;

void json_open(json *j, const char *key, char bracket); /* '{' or '[' */
void json_close(json *j, char bracket);
void json_text(json *j, const char *key, const char *text); /* NULL: null */
void json_number(json *j, const char *key, double number);
void json_whole(json *j, const char *key, int64_t number);
void json_bool(json *j, const char *key, bool yes);
void json_end(void); /* the line's end */

/* ---- ints.c ------------------------------------------------------------------------------- */

/* How well results keep to those of another graph, over all that were added. */
typedef struct fidelity {
    double signal, noise; /* sums of squares: of what is wanted, of the difference */
    int64_t rows,
        agree; /* of results [n, k]: all, and those with the same largest number */
} fidelity;
/* Both of one shape. */
void fidelity_add(fidelity *f, reel_tensor *want, reel_tensor *is);
double fidelity_db(const fidelity *f); /* infinite: they are equal */
const char *db_text(double db, char to[16]);
void put_fidelity(json *j, const fidelity *f);

/* Layers: products of data with weights, or of data. */
bool is_layer(const char *op);
bool is_int8(const char *op);
/* Whether a node computes or reads quantized values. */
bool has_integers(const reel_graph *g);
typedef struct integers {
    int layers, ints; /* those of them that run in integers */
    double share;     /* of all operations */
} integers;
reel_status count_integers(const reel_graph *g, integers *out);
/* The same of what the passes make of g. */
reel_status count_lowered(const reel_graph *g, integers *out);

#endif
