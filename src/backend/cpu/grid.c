/* grid.c: see grid.h. */
#include "backend/cpu/grid.h"

static int64_t magnitude(int64_t x)
{
    return x < 0 ? -x : x;
}

/* Stride of `m` along dimension d of a shape of rank `rank`. */
static int64_t stride_along(const reel__meta *m, int rank, int d)
{
    int i = d - (rank - m->rank);
    return i < 0 || m->dim[i] == 1 ? 0 : m->stride[i];
}

/* Puts dimension d of the output into the grid, further out than all with a smaller
 * stride of the output. */
static void insert(reel__grid *p, const reel__meta *const arg[], int d)
{
    const reel__meta *out = arg[0];
    int64_t key = magnitude(out->stride[d]);
    int k = p->rank++;
    for (; k > 0 && magnitude(p->step[0][k - 1]) > key; k--) {
        p->size[k] = p->size[k - 1];
        for (int a = 0; a < p->n_arg; a++) p->step[a][k] = p->step[a][k - 1];
    }
    p->size[k] = out->dim[d];
    p->step[0][k] = out->stride[d];
    for (int a = 1; a < p->n_arg; a++) p->step[a][k] = stride_along(arg[a], out->rank, d);
}

static bool continues(const reel__grid *p, int inner, int outer)
{
    for (int a = 0; a < p->n_arg; a++)
        if (p->step[a][outer] != p->step[a][inner] * p->size[inner]) return false;
    return true;
}

static void merge(reel__grid *p)
{
    int last = 0;
    for (int k = 1; k < p->rank; k++) {
        if (continues(p, last, k)) {
            p->size[last] *= p->size[k];
            continue;
        }
        last++;
        p->size[last] = p->size[k];
        for (int a = 0; a < p->n_arg; a++) p->step[a][last] = p->step[a][k];
    }
    if (p->rank > 0) p->rank = last + 1;
}

void reel__make_grid(reel__grid *p, int n_arg, const reel__meta *const arg[])
{
    const reel__meta *out = arg[0];
    p->rank = 0;
    p->n_arg = n_arg;
    p->n = 1;
    for (int d = out->rank - 1; d >= 0; d--) {
        p->n *= out->dim[d];
        if (out->dim[d] != 1) insert(p, arg, d);
    }
    merge(p);
    for (; p->rank < 2; p->rank++) {
        p->size[p->rank] = 1;
        for (int a = 0; a < n_arg; a++) p->step[a][p->rank] = 0;
    }
}

bool reel__grid_in_cells(const reel__grid *p, int arg, int64_t rows)
{
    bool line = p->size[0] == 1 || p->step[arg][0] == 1;
    return line && (rows == 1 || p->step[arg][1] == p->size[0]);
}

/* ---- blocks ------------------------------------------------------------------------ */

/* Small calls come through here: a division would be a good part of their time. */
static int64_t pieces(int64_t size, int64_t piece)
{
    return size <= piece ? 1 : (size + piece - 1) / piece;
}

reel__cells reel__cells_of(const reel__grid *p, int64_t cols, int64_t rows)
{
    reel__cells b = {.grid = p, .cols = cols, .rows = rows};
    b.n_cols = pieces(p->size[0], cols);
    b.n_rows = pieces(p->size[1], rows);
    b.n = b.n_cols * b.n_rows;
    for (int k = 2; k < p->rank; k++) b.n *= p->size[k];
    return b;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Sizes and starts from the place. */
static void place(const reel__cells *b, reel__cell *at)
{
    const reel__grid *p = b->grid;
    int64_t c = at->col * b->cols, r = at->row * b->rows;
    at->cols = least(b->cols, p->size[0] - c);
    at->rows = least(b->rows, p->size[1] - r);
    for (int a = 0; a < p->n_arg; a++) {
        at->at[a] = c * p->step[a][0] + r * p->step[a][1];
        for (int k = 2; k < p->rank; k++) at->at[a] += at->index[k] * p->step[a][k];
    }
}

/* The innermost digit of i in base n. */
static int64_t take(int64_t *i, int64_t n)
{
    if (*i == 0) return 0;
    int64_t digit = *i % n;
    *i /= n;
    return digit;
}

void reel__cell_first(const reel__cells *b, int64_t i, reel__cell *at)
{
    at->col = take(&i, b->n_cols);
    at->row = take(&i, b->n_rows);
    for (int k = 2; k < b->grid->rank; k++) at->index[k] = take(&i, b->grid->size[k]);
    place(b, at);
}

void reel__cell_next(const reel__cells *b, reel__cell *at)
{
    if (++at->col == b->n_cols) {
        at->col = 0;
        if (++at->row == b->n_rows) {
            at->row = 0;
            for (int k = 2; k < b->grid->rank; k++) {
                if (++at->index[k] < b->grid->size[k]) break;
                at->index[k] = 0;
            }
        }
    }
    place(b, at);
}
