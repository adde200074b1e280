/* test_random_inplace.c: programs of views and in-place operators, drawn from a seed.
 *
 * Each program is run beside a model of it without any sharing: a root is one flat row, a view
 * a list of places in it, and a change in place another row with the new values scattered into
 * the old one. Values and gradients of both must agree; gradients are also compared with finite
 * differences, second ones too, and with those of a graph of the program, plain and optimized.
 *
 *     test_random_inplace --seed 7 --count 1      one of them again */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/tensor.h"

#include <reel/reel.h>

#ifdef __SANITIZE_ADDRESS__
enum { DEFAULT_COUNT = 100 };
#else
enum { DEFAULT_COUNT = 1000 };
#endif
enum { LEAVES = 3, LEAF = 60, POOL = 40, ROOTS = 24 };

/* A wrong tape, to show that it is found. */
typedef enum fault {
    NONE,
    FORGETS_ROOT, /* the root of a changed view keeps its history */
    FORGETS_VIEWS /* the other views keep theirs */
} fault;

/* A tensor of the program: the real one, and which elements of which root it looks at. */
typedef struct entry {
    reel_tensor *real, *places; /* places: i64, of real's shape */
    int root;
    bool expanded; /* elements share memory: not changed */
} entry;

typedef struct program {
    uint64_t at;  /* random stream */
    bool careful; /* nothing that is saved is changed later: never refused */
    bool smooth;  /* no change without gradients: finite differences hold */
    bool model;   /* whether the model runs too */
    fault plant;
    reel_tensor *const *leaf;
    reel_tensor *row[ROOTS]; /* model: the value of each root, flat */
    int n_root;
    entry e[POOL];
    int n;
} program;

/* ---- drawing ------------------------------------------------------------------------------- */

static uint64_t next(program *p)
{
    uint64_t z = p->at += UINT64_C(0x9e3779b97f4a7c15); /* SplitMix64 */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int draw(program *p, int n)
{
    return (int)(next(p) % (uint64_t)n);
}

static int64_t count(reel_shape s)
{
    int64_t n = 1;
    for (int d = 0; d < s.rank; d++) n *= s.dim[d];
    return n;
}

static reel_shape draw_shape(program *p)
{
    reel_shape s = {.rank = draw(p, 4)};
    for (int d = 0; d < s.rank; d++) s.dim[d] = draw(p, 12) ? 1 + draw(p, 4) : 0;
    return count(s) <= LEAF ? s : REEL_SHAPE(3, 4);
}

/* Values of a leaf, as this shape. */
static reel_tensor *of_leaf(program *p, reel_shape s)
{
    int64_t n = count(s);
    reel_tensor *x = p->leaf[draw(p, LEAVES)];
    return reel_reshape(reel_narrow(x, 0, draw(p, (int)(LEAF - n) + 1), n), s);
}

static reel_tensor *constant(program *p, reel_shape s)
{
    return reel_add_scalar(reel_mul_scalar(reel_ones(s, REEL_F64), draw(p, 5) * 0.2),
                           0.3);
}

/* ---- the model ------------------------------------------------------------------------------- */

static reel_tensor *flat(reel_tensor *x)
{
    return reel_reshape(x, REEL_SHAPE(reel_numel(x)));
}

static reel_tensor *model_of(const program *p, const entry *e)
{
    reel_tensor *v = reel_index_select(p->row[e->root], 0, flat(e->places));
    return reel_reshape(v, reel_shape_of(e->real));
}

/* Root `r` with `value` at the places of e. */
static void model_put(program *p, const entry *e, reel_tensor *value)
{
    reel_tensor *row = p->row[e->root], *at = flat(e->places);
    reel_tensor *hit = reel_scatter_add(reel_zeros(reel_shape_of(row), REEL_F64), 0, at,
                                        reel_ones(reel_shape_of(at), REEL_F64));
    reel_tensor *there = reel_scatter_add(reel_zeros(reel_shape_of(row), REEL_F64), 0, at,
                                          flat(reel_copy(value)));
    reel_tensor *keep = reel_gt(reel_scalar(0.5, REEL_F64), hit);
    p->row[e->root] = reel_where(keep, row, there);
}

/* The same values without a gradient of the change: what a change under no_grad is. */
static void model_put_unseen(program *p, const entry *e, reel_tensor *value)
{
    reel_tensor *old = p->row[e->root];
    model_put(p, e, value);
    p->row[e->root] = reel_add(old, reel_detach(reel_sub(p->row[e->root], old)));
}

/* ---- the pool -------------------------------------------------------------------------------- */

static void add_root(program *p, reel_tensor *real, reel_tensor *value)
{
    if (!real || p->n == POOL || p->n_root == ROOTS) return;
    int64_t n = reel_numel(real);
    reel_tensor *all = reel_arange(0, (double)n, 1, REEL_I64);
    p->row[p->n_root] = p->model ? flat(value) : NULL;
    p->e[p->n++] =
        (entry){real, reel_reshape(all, reel_shape_of(real)), p->n_root++, false};
}

/* What one operator makes of e: a view, or values of its own if it had to copy. */
static void add_view(program *p, const entry *e, reel_tensor *real, reel_tensor *places)
{
    if (!real || p->n == POOL) return;
    if (real->storage != e->real->storage) {
        entry moved = {real, places, e->root, false};
        add_root(p, real, p->model ? model_of(p, &moved) : NULL);
    } else if (real != e->real) {
        p->e[p->n++] = (entry){real, reel_copy(places), e->root, e->expanded};
    }
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void step_root(program *p)
{
    reel_shape s = draw_shape(p);
    reel_tensor *a = of_leaf(p, s), *y[2];
    int kind = draw(p, 6), d = s.rank ? draw(p, s.rank) : 0;
    for (int i = 0; i < 2; i++) { /* two of them: one for the model */
        switch (kind) {
        case 0: y[i] = reel_zeros(s, REEL_F64); break; /* a buffer */
        case 1: y[i] = s.rank ? reel_sum(a, REEL_DIMS(d), false) : reel_sin(a); break;
        case 2: y[i] = s.rank ? reel_logsumexp(a, d, false) : reel_neg(a); break;
        case 3: y[i] = reel_exp(a); break;
        case 4: y[i] = reel_div(a, reel_add_scalar(reel_square(a), 1)); break;
        default: y[i] = reel_mul_scalar(a, 1.5);
        }
        if (kind == 3 && p->careful) y[i] = reel_mul_scalar(y[i], 1); /* it saves y */
        if (kind == 2 && s.rank && (p->careful || !s.dim[d])) /* that too; or is -inf */
            y[i] = reel_mul_scalar(reel_sum(a, REEL_DIMS(d), false), 0.7);
    }
    add_root(p, y[0], y[1]);
}

static void step_view(program *p)
{
    entry e = p->e[draw(p, p->n)];
    reel_shape s = reel_shape_of(e.real);
    int r = s.rank, d = r ? draw(p, r) : 0, kind = draw(p, 7);
    int64_t n = r ? s.dim[d] : 0, a = n ? draw(p, (int)n) : 0;
    int64_t b = a + (n ? draw(p, (int)(n - a) + 1) : 0), by = 1 + draw(p, 2);
    reel_tensor *two[] = {e.real, e.places}, *y[2];
    for (int i = 0; i < 2; i++) {
        reel_tensor *x = y[i] = two[i];
        switch (kind) {
        case 0: y[i] = r ? reel_slice(x, d, a, b, by) : x; break;
        case 1: y[i] = r && n ? reel_select(x, d, a) : x; break;
        case 2: y[i] = r > 1 ? reel_transpose(x, 0, r - 1) : x; break;
        case 3: y[i] = reel_reshape(x, REEL_SHAPE(reel_numel(x))); break;
        case 4:
            y[i] = r == 1 && n % 2 == 0 ? reel_reshape(x, REEL_SHAPE(2, n / 2)) : x;
            break;
        case 5: y[i] = r < 4 ? reel_unsqueeze(x, d) : x; break;
        default:
            if (r == 0 || n != 1) break;
            s.dim[d] = 2;
            y[i] = reel_expand(x, s);
            e.expanded = true;
        }
    }
    add_view(p, &e, y[0], y[1]);
}

static void step_chunk(program *p)
{
    entry e = p->e[draw(p, p->n)];
    reel_tensor *real[4], *places[4];
    if (reel_rank(e.real) == 0) return;
    int64_t n = reel_size(e.real, 0);
    if (n == 0) return;
    int k = reel_split(e.real, (n + 1) / 2, 0, real, 4);
    (void)reel_split(e.places, (n + 1) / 2, 0, places, 4);
    for (int i = 0; i < k; i++) add_view(p, &e, real[i], places[i]);
}

/* An operand for a change of e, and its value in the model. */
static void draw_operand(program *p, const entry *e, bool plain, reel_tensor *x[2])
{
    reel_shape s = reel_shape_of(e->real);
    if (!plain && draw(p, 2)) /* another tensor of the pool, of the same memory perhaps */
        for (int k = 0, i = draw(p, p->n); k < p->n; k++, i = (i + 1) % p->n) {
            reel_shape t = reel_shape_of(p->e[i].real);
            if (t.rank != s.rank || memcmp(t.dim, s.dim, (size_t)s.rank * sizeof *s.dim))
                continue;
            x[0] = p->careful ? reel_tanh(reel_copy(p->e[i].real)) : p->e[i].real;
            x[1] = p->model ? model_of(p, &p->e[i]) : NULL;
            if (p->careful && p->model) x[1] = reel_tanh(x[1]);
            return;
        }
    if (s.rank && draw(p, 3) == 0) s.dim[0] = s.dim[0] ? 1 : 0; /* broadcast */
    x[0] = x[1] = plain || draw(p, 4) == 0 ? constant(p, s) : of_leaf(p, s);
}

/* One change; `to` gets what the model makes of it. */
typedef enum change {
    ADD,
    SUB,
    MUL,
    DIV,
    ADD_SCALED,
    LERP,
    COPY,
    MUL_SCALAR,
    FILL,
    RELU,
    CLAMP,
    CHANGES
} change;

static reel_tensor *in_place(change k, reel_tensor *x, reel_tensor *y)
{
    switch (k) {
    case ADD: return reel_add_(x, y);
    case SUB: return reel_sub_(x, y);
    case MUL: return reel_mul_(x, y);
    case DIV: return reel_div_(x, y);
    case ADD_SCALED: return reel_add_scaled_(x, y, -0.5);
    case LERP: return reel_lerp_(x, y, 0.25);
    case COPY: return reel_copy_(x, y);
    case MUL_SCALAR: return reel_mul_scalar_(x, 1.25);
    case FILL: return reel_fill_(x, 0.4);
    case RELU: return reel_relu_(x);
    default: return reel_clamp_(x, -2, 2);
    }
}

static reel_tensor *out_of_place(change k, reel_tensor *x, reel_tensor *y)
{
    switch (k) {
    case ADD: return reel_add(x, y);
    case SUB: return reel_sub(x, y);
    case MUL: return reel_mul(x, y);
    case DIV: return reel_div(x, y);
    case ADD_SCALED: return reel_add_scaled(x, y, -0.5);
    case LERP: return reel_lerp(x, y, 0.25);
    case COPY: return reel_add(reel_mul_scalar(x, 0), y);
    case MUL_SCALAR: return reel_mul_scalar(x, 1.25);
    case FILL: return reel_add_scalar(reel_mul_scalar(x, 0), 0.4);
    case RELU: return reel_relu(x);
    default: return reel_clamp(x, -2, 2);
    }
}

static void plant_it(program *p, entry *e, reel__node_head *old, int old_out)
{
    reel_tensor *root = e->real;
    while (reel__viewed(root)) root = reel__viewed(root);
    if (p->plant == FORGETS_ROOT && root != e->real) {
        reel__node_release(root->node);
        root->node = reel__node_retain(old);
        root->node_out = old_out;
    }
    for (int i = 0; i < p->n && p->plant == FORGETS_VIEWS; i++)
        if (p->e[i].root == e->root && reel__viewed(p->e[i].real))
            atomic_store(&p->e[i].real->epoch, p->e[i].real->storage->epoch);
}

static void step_change(program *p)
{
    entry *e = &p->e[draw(p, p->n)];
    if (e->expanded) return;
    bool unseen = !p->smooth && draw(p, 5) == 0;
    change k = (change)draw(p, p->careful ? RELU : CHANGES);
    reel_tensor *y[2], *root = e->real;
    draw_operand(p, e, unseen, y);
    if (k == DIV)
        for (int i = 0; i < 2; i++)
            if (y[i]) y[i] = reel_add_scalar(reel_square(y[i]), 0.5);
    reel_tensor *value = p->model ? out_of_place(k, model_of(p, e), y[1]) : NULL;
    if (value && unseen) model_put_unseen(p, e, value);
    if (value && !unseen) model_put(p, e, value);
    while (reel__viewed(root)) root = reel__viewed(root);
    reel__node_head *old = reel__node_retain(root->node);
    int old_out = root->node_out;
    bool was = reel_set_grad_enabled(!unseen);
    (void)in_place(k, e->real, y[0]);
    (void)reel_set_grad_enabled(was);
    if (!unseen) plant_it(p, e, old, old_out);
    reel__node_release(old);
}

static void step_use(program *p)
{
    const entry e = p->e[draw(p, p->n)];
    reel_tensor *x = p->careful ? reel_copy(e.real) : e.real;
    reel_tensor *m = p->model ? model_of(p, &e) : NULL;
    bool cut = !p->smooth && draw(p, 8) == 0;
    if (cut) x = reel_copy(reel_detach(x)), m = m ? reel_detach(m) : NULL;
    switch (draw(p, 3)) {
    case 0:
        x = reel_tanh(x);
        if (p->careful) x = reel_mul_scalar(x, 1); /* tanh saves its result */
        add_root(p, x, m ? reel_tanh(m) : NULL);
        break;
    case 1: add_root(p, reel_mul_scalar(x, -1), m ? reel_mul_scalar(m, -1) : NULL); break;
    default: add_root(p, reel_sin(x), m ? reel_sin(m) : NULL);
    }
}

/* ---- a program --------------------------------------------------------------------------------- */

/* All that is left in the pool, as one number. */
static reel_tensor *total(program *p, bool model)
{
    reel_tensor *sum = reel_scalar(0, REEL_F64);
    for (int i = 0; i < p->n; i++) {
        reel_tensor *x = model ? model_of(p, &p->e[i]) : p->e[i].real;
        reel_tensor *w = reel_reshape(
            reel_add_scalar(reel_arange(0, (double)reel_numel(x), 1, REEL_F64), 1.5 + i),
            reel_shape_of(x));
        sum = reel_add(sum,
                       reel_sum(reel_mul(x, reel_mul_scalar(w, 0.01)), REEL_ALL, false));
    }
    return sum;
}

static void run(program *p, uint64_t seed)
{
    p->at = seed * 977 + 13;
    p->n = p->n_root = 0;
    step_root(p);
    int steps = 4 + draw(p, 14);
    for (int i = 0; i < steps && !reel_failed(); i++) {
        switch (draw(p, 10)) {
        case 0: step_root(p); break;
        case 1: step_use(p); break;
        case 2: step_chunk(p); break;
        case 3:
        case 4:
        case 5: step_view(p); break;
        default: step_change(p);
        }
    }
}

static program program_of(uint64_t seed)
{
    return (program){.careful = seed % 2, .smooth = seed / 2 % 2};
}

static void draw_leaves(uint64_t seed, reel_tensor *leaf[LEAVES])
{
    reel_seed(seed);
    for (int i = 0; i < LEAVES; i++) {
        leaf[i] = reel_add_scalar(reel_rand(REEL_SHAPE(LEAF), REEL_F64), 0.2);
        leaf[i] = reel_requires_grad(reel_copy(leaf[i]), true);
    }
}

/* ---- comparing ----------------------------------------------------------------------------------- */

static double off_by(reel_tensor *a, reel_tensor *b)
{
    double x[LEAF] = {0}, y[LEAF] = {0}, worst = 0;
    if (a) (void)reel_read(a, x, REEL_F64);
    if (b) (void)reel_read(b, y, REEL_F64);
    for (int i = 0; i < LEAF; i++) {
        double off = fabs(x[i] - y[i]) / (1 + fabs(y[i]));
        if (!(off <= worst)) worst = off;
    }
    return worst;
}

/* A refusal that is right: something saved was changed. */
static bool refused(const program *p)
{
    bool saved = reel_failed() &&
                 strstr(reel_error_message(), "was changed in place after it was saved");
    if (!saved || p->careful) return false;
    reel_error_clear();
    return true;
}

static bool complain(uint64_t seed, const char *what, double off)
{
    fprintf(stderr, "seed %llu: %s: off by %g%s%s\n", (unsigned long long)seed, what, off,
            reel_failed() ? "; " : "", reel_failed() ? reel_error_message() : "");
    reel_error_clear();
    return false;
}

static int n_refused, n_compared, n_graphs;

static bool gradients_of(reel_tensor *y, reel_tensor *const leaf[], reel_tensor *g[])
{
    const reel_backward_opts unused = {.allow_unused = true, .retain_graph = true};
    for (int i = 0; i < LEAVES; i++) g[i] = NULL;
    return !reel_needs_grad(y) || !reel_grad(&y, 1, NULL, leaf, LEAVES, g, &unused);
}

static bool against_model(uint64_t seed, fault plant)
{
    program p = program_of(seed);
    reel_tensor *leaf[LEAVES], *g[LEAVES], *want[LEAVES];
    draw_leaves(seed, leaf);
    p.leaf = leaf;
    p.model = true;
    p.plant = plant;
    run(&p, seed);
    reel_tensor *y = total(&p, false), *m = total(&p, true);
    if (!reel_failed() &&
        fabs(reel_item(y) - reel_item(m)) > 1e-9 * (1 + fabs(reel_item(m))))
        return complain(seed, "value", reel_item(y) - reel_item(m));
    bool good = gradients_of(y, leaf, g);
    if (!good && refused(&p)) return ++n_refused;
    if (!good || !gradients_of(m, leaf, want)) return complain(seed, "gradients", NAN);
    for (int i = 0; i < LEAVES; i++) {
        double off = off_by(g[i], want[i]);
        if (!(off <= 1e-9)) return complain(seed, "gradient", off);
    }
    return ++n_compared;
}

/* ---- finite differences, and graphs --------------------------------------------------------- */

typedef struct job {
    uint64_t seed;
    bool gradients; /* outputs: the gradients too */
} job;

static reel_tensor *played(void *user, reel_tensor *const x[], int n)
{
    const job *j = user;
    program p = program_of(j->seed);
    (void)n;
    p.leaf = x;
    run(&p, j->seed);
    return total(&p, false);
}

static bool against_differences(uint64_t seed)
{
    job j = {.seed = seed};
    program p = program_of(seed);
    reel_tensor *leaf[LEAVES];
    draw_leaves(seed, leaf);
    if (!p.smooth || !reel_needs_grad(played(&j, leaf, LEAVES))) return true;
    const reel_gradcheck_opts o = {.eps = 1e-6, .atol = 1e-4, .rtol = 1e-3};
    bool good = !reel_gradcheck(played, &j, leaf, LEAVES, &o);
    if (good && p.careful && seed % 16 == 3)
        good = !reel_gradgradcheck(played, &j, leaf, LEAVES, &o);
    return good || refused(&p) || complain(seed, "finite differences", NAN);
}

/* The whole program, backward included, as a graph: run on other leaves. */
static reel_graph *capture(uint64_t seed, reel_tensor *leaf[])
{
    job j = {.seed = seed};
    reel_tensor *out[1 + LEAVES];
    if (reel_capture_begin()) return NULL;
    for (int i = 0; i < LEAVES; i++) (void)reel_capture_input(leaf[i], NULL);
    out[0] = played(&j, leaf, LEAVES);
    if (reel_needs_grad(out[0]) && gradients_of(out[0], leaf, out + 1))
        for (int i = 0; i < LEAVES; i++)
            out[1 + i] = out[1 + i] ? reel_mul_scalar(out[1 + i], 1)
                                    : reel_zeros(REEL_SHAPE(LEAF), REEL_F64);
    else
        return reel_capture_cancel(), NULL;
    return reel_capture_end(out, 1 + LEAVES, NULL);
}

static bool graph_agrees(uint64_t seed, const char *what, reel_graph *g, bool planned,
                         reel_tensor *leaf[], reel_tensor *want[])
{
    const reel_executor_opts poison = {.poison = true};
    reel_tensor *y[1 + LEAVES] = {NULL};
    reel_executor *e = planned ? reel_executor_new(g, &poison) : NULL;
    bool was = reel_set_grad_enabled(false);
    reel_status st = planned ? reel_executor_run(e, leaf, LEAVES, y, 1 + LEAVES)
                             : reel_graph_run(g, leaf, LEAVES, y, 1 + LEAVES);
    (void)reel_set_grad_enabled(was);
    reel_executor_free(e);
    if (st) return complain(seed, what, NAN);
    for (int i = 0; i <= LEAVES; i++) {
        double off =
            i ? off_by(y[i], want[i]) : fabs(reel_item(y[0]) - reel_item(want[0]));
        if (!(off <= 1e-9 * (1 + (i ? 0 : fabs(reel_item(want[0]))))))
            return complain(seed, what, off);
    }
    return true;
}

static bool against_graph(uint64_t seed)
{
    reel_tensor *leaf[LEAVES], *other[LEAVES], *want[1 + LEAVES];
    program p = program_of(seed);
    job j = {.seed = seed};
    draw_leaves(seed, leaf);
    draw_leaves(seed + 1, other);
    want[0] = played(&j, other, LEAVES);
    if (!reel_needs_grad(want[0])) return true;
    if (!gradients_of(want[0], other, want + 1))
        return refused(&p) || complain(seed, "gradients", NAN);
    reel_graph *g = capture(seed, leaf);
    if (!g) return complain(seed, "capture", NAN);
    bool good = graph_agrees(seed, "graph", g, false, other, want);
    good = good && graph_agrees(seed, "planned graph", g, true, other, want);
    if (good && reel_graph_optimize(g, NULL)) good = complain(seed, "optimize", NAN);
    good = good && graph_agrees(seed, "optimized graph", g, false, other, want);
    good = good && graph_agrees(seed, "planned optimized graph", g, true, other, want);
    reel_graph_free(g);
    n_graphs++;
    return good;
}

static int failures_of(uint64_t first, int n, fault plant)
{
    int failures = 0;
    for (int i = 0; i < n; i++) {
        uint64_t seed = first + (uint64_t)i;
        reel_scope s = reel_scope_begin();
        bool good = against_model(seed, plant);
        if (good && !plant && seed % 8 < 4) good = against_differences(seed);
        if (good && !plant && seed % 4 == 1) good = against_graph(seed);
        failures += !good;
        reel_scope_end(s);
    }
    return failures;
}

static long long number(int argc, char **argv, const char *name, long long otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0) return strtoll(argv[i + 1], NULL, 10);
    return otherwise;
}

int main(int argc, char **argv)
{
    uint64_t first = (uint64_t)number(argc, argv, "--seed", 1);
    int n = (int)number(argc, argv, "--count", DEFAULT_COUNT);
    int failures = failures_of(first, n, NONE);
    printf("%d programs: %d compared, %d rightly refused, %d graphs, %d failures\n", n,
           n_compared, n_refused, n_graphs, failures);
    if (n < DEFAULT_COUNT) return failures != 0;
    if (n_compared < n / 2) failures++, puts("too few were compared");
    fputs("two wrong tapes, whose complaints follow:\n", stderr);
    for (fault plant = FORGETS_ROOT; plant <= FORGETS_VIEWS; plant++)
        if (!failures_of(1, 40, plant)) {
            printf("plant %d was not found\n", (int)plant);
            failures++;
        }
    if (reel_live_objects())
        failures++, printf("%d objects left\n", (int)reel_live_objects());
    return failures != 0;
}
