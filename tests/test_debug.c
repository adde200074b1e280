/* REEL_DEBUG=1: the mistakes that it finds, with names; programs that are right, of which it says
 * nothing; and that every public function that takes a tensor knows one whose scope has ended: the
 * headers are read to see that none is missing in dead_calls.def. */
#include "temp_folder.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>
#include <unistd.h>

#include <reel/reel.h>

#include "base/debug.h"
#include "data/batch.h"
#include "support/misuse.h"
#include "support/own_ops.h"
#include "support/small_trainer.h"

/* The pending error is this one, from its beginning; "..." in it is anything. */
static void said(const char *wanted, int line)
{
    const char *message = reel_error_message(), *at = message;
    bool good = reel_error_status() == REEL_ERR_STATE, first = true;
    for (const char *part = wanted, *end; good && *part; part = end, first = false) {
        end = strstr(part, "...");
        size_t n = end ? (size_t)(end - part) : strlen(part);
        while (!first && *at && strncmp(at, part, n) != 0) at++;
        good = strncmp(at, part, n) == 0;
        at += good ? n : 0;
        end = end ? end + 3 : part + n;
    }
    if (!good) COMPLAIN("line %d: \"%s\", expected \"%s\"\n", line, message, wanted);
    reel_error_clear();
}
#define SAID(wanted) said(wanted, __LINE__)
#define OK() assert_string_equal(reel_error_message(), "")

/* ---- a tensor after its scope --------------------------------------------------------------- */

static reel_tensor *ended(reel_tensor *(*fn)(reel_tensor *), reel_tensor *x)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *t = fn(x);
    reel_scope_end(s);
    return t;
}

static void test_after_its_scope(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(3, 4), REEL_F32), *gone = ended(reel_exp, x);
    assert_null(reel_add(gone, x));
    SAID("add: input 0, f32[3,4] made by exp, is used after its scope ended; "
         "reel_keep() it or hand it out with reel_scope_return()");
    assert_null(reel_mse_loss(x, gone, REEL_MEAN));
    SAID("mse_loss: ...input 1, f32[3,4] made by exp, is used after its scope");
    assert_int_equal(reel_rank(gone), -1);
    SAID("rank: the tensor, f32[3,4] made by exp, is used after its scope ended");
    reel_module *net = reel_nn_linear(4, 4, NULL);
    reel_tensor *y = ended(reel_neg, reel_forward(net, x));
    reel_module_free(net);
    assert_int_equal(reel_backward(y, NULL), REEL_ERR_STATE);
    SAID("backward: the tensor, f32[3,4] made by neg, is used after its scope");
}

/* The value between: where in a model it was made. */
static reel_tensor *between;
static reel_tensor *look(void *user, reel_module *m, reel_tensor *x, reel_tensor *y)
{
    (void)user, (void)m, (void)x;
    between = y;
    return NULL;
}

static void test_which_module(void **state)
{
    (void)state;
    reel_module *net = reel_nn_sequential(reel_nn_linear(4, 5, NULL), reel_nn_relu(),
                                          reel_nn_linear(5, 4, NULL));
    reel_module *first = reel_module_child(net, 0);
    reel_module_add_hook(first, &(reel_module_hook){.after = look});
    bool was = reel_set_grad_enabled(false);
    reel_scope s = reel_scope_begin();
    OK();
    assert_non_null(reel_forward(net, reel_ones(REEL_SHAPE(3, 4), REEL_F32)));
    reel_scope_end(s);
    (void)reel_set_grad_enabled(was);
    assert_null(reel_relu(between));
    SAID("relu: input 0, f32[3,5] made by linear in 0, is used after");
    reel_tensor *weight = reel_parameters(net).tensor[0];
    s = reel_scope_begin();
    assert_non_null(reel_forward(net, reel_ones(REEL_SHAPE(3, 4), REEL_F32)));
    reel_scope_end(s);
    reel_module_free(net);
    assert_null(reel_relu(weight));
    SAID("relu: input 0, \"0.weight of sequential\" f32[5,4] made by ..., is used after "
         "what held it was freed or changed");
}

/* ---- every function ------------------------------------------------------------------------- */

static struct {
    reel_module *net, *box, *bn, *attention;
    reel_optim *sgd, *adam;
    reel_custom_op *op;
    reel_graph *graph;
    reel_executor *executor;
    reel_compiled *step;
    reel_tensor_map *map;
    reel_batch batch;
} w;

static reel_tensor *identity(void *user, reel_tensor *const x[], int n)
{
    (void)user, (void)n;
    return reel_neg(x[0]);
}

static reel_status identity_n(void *user, reel_tensor *const x[], int n_x,
                              reel_tensor *y[], int n_y)
{
    (void)user, (void)n_x, (void)n_y;
    y[0] = reel_neg(x[0]);
    return reel_error_status();
}

static reel_tensor *hook(void *user, reel_tensor *g)
{
    (void)user;
    return g;
}

static void make_world(void)
{
    reel_tensor *x = reel_ones(REEL_SHAPE(3, 4), REEL_F32);
    w.net = reel_nn_linear(4, 4, NULL);
    w.box = reel_module_new(sizeof(reel_module), "box", NULL);
    w.bn = reel_nn_batch_norm2d(3, NULL);
    w.attention = reel_nn_attention(4, 2, NULL);
    w.sgd = reel_sgd(reel_parameters(w.net), NULL);
    w.adam = reel_adam(reel_parameters(w.net), NULL);
    w.op = own_cube("debug_cube", NULL);
    w.graph = reel_trace(w.net, x, NULL);
    w.executor = reel_executor_new(w.graph, NULL);
    w.step = reel_compile(identity_n, NULL, NULL);
    w.map = reel_tensor_map_new();
    OK();
}

static void free_world(void)
{
    reel_compiled_free(w.step);
    reel_executor_free(w.executor);
    reel_graph_free(w.graph);
    reel_custom_op_free(w.op);
    reel_optim_free(w.sgd);
    reel_optim_free(w.adam);
    reel_tensor_map_free(w.map);
    reel__batch_clear(&w.batch);
    reel_module_free(w.attention);
    reel_module_free(w.bn);
    reel_module_free(w.box);
    reel_module_free(w.net);
}

/* The tensors that the letters of dead_calls.def mean. */
static reel_tensor *make(char kind)
{
    static const struct {
        char kind;
        reel_dtype dtype;
        reel_shape shape;
    } of[] = {
        {'f', REEL_F32, {2, {3, 4}}},       {'x', REEL_F32, {2, {4, 2}}},
        {'i', REEL_I64, {2, {3, 4}}},       {'b', REEL_BOOL, {2, {3, 4}}},
        {'s', REEL_F32, {0, {0}}},          {'d', REEL_F64, {0, {0}}},
        {'m', REEL_F32, {4, {2, 3, 4, 4}}}, {'w', REEL_F32, {4, {4, 3, 3, 3}}},
        {'v', REEL_F32, {1, {4}}},          {'c', REEL_F32, {1, {3}}},
        {'l', REEL_I64, {1, {3}}},          {'q', REEL_F32, {3, {2, 3, 4}}},
        {'k', REEL_F32, {2, {3, 3}}},       {'h', REEL_F64, {2, {3, 4}}},
    };
    if (kind == 'g') return reel_requires_grad(make('h'), true); /* a leaf */
    if (kind == 'y') return reel_neg(make('g'));                 /* the result of one */
    for (size_t i = 0; i < sizeof of / sizeof *of; i++)
        if (of[i].kind == kind) return reel_zeros(of[i].shape, of[i].dtype);
    fail_msg("no tensor is meant by '%c'", kind);
    return NULL;
}

static reel_tensor *make_dead(char kind)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *t = make(kind);
    reel_scope_end(s);
    return t;
}

enum { MOST = 8 };
static double room[64];

#define LIST ((reel_params){t, NULL, 1})
#define CALL(name, kinds, call)                                                          \
    static void call_##name(reel_tensor **t)                                             \
    {                                                                                    \
        reel_tensor *out[MOST] = {NULL};                                                 \
        (void)out;                                                                       \
        (void)(call);                                                                    \
    }
#define CALL_OF CALL
#include "dead_calls.def"
#undef CALL
#undef CALL_OF

typedef struct row {
    const char *name, *kinds;
    void (*call)(reel_tensor **t);
    bool says_another; /* the name of what it is made of */
} row;

static const row rows[] = {
#define CALL(name, kinds, call) {#name, kinds, call_##name, false},
#define CALL_OF(name, kinds, call) {#name, kinds, call_##name, true},
#include "dead_calls.def"
#undef CALL
#undef CALL_OF
};
enum { ROWS = sizeof rows / sizeof *rows };

static void call_with_dead(const row *r, int place)
{
    reel_tensor *t[MOST] = {NULL};
    reel_scope s = reel_scope_begin();
    for (int i = 0; r->kinds[i]; i++)
        t[i] = i == place ? make_dead(r->kinds[i]) : make(r->kinds[i]);
    OK();
    r->call(t);
    char call[80];
    (void)snprintf(call, sizeof call, "reel_%s(", r->name);
    if (!reel_failed() || !strstr(reel_error_message(), "used after its scope ended"))
        COMPLAIN("%s with argument %d dead: \"%s\"\n", r->name, place,
                 reel_error_message());
    else if (!r->says_another)
        names_called(call, __LINE__);
    reel_error_clear();
    if (reel_capturing()) reel_capture_cancel();
    for (int i = 0; r->kinds[i]; i++) /* those that live still do */
        if (i != place) assert_true(reel_rank(t[i]) >= 0);
    reel_scope_end(s);
    OK();
}

static void test_every_function(void **state)
{
    (void)state;
    make_world();
    for (int i = 0; i < ROWS; i++)
        for (int place = 0; rows[i].kinds[place]; place++)
            call_with_dead(&rows[i], place);
    free_world();
}

/* Tensors, or lists of them, that a function with these arguments, from '(', is given: not those
 * of functions that it is given, nor room for what it makes. */
static int tensors_in(const char *arguments)
{
    int depth = 0, n = 0;
    for (const char *at = arguments; *at; at++) {
        depth += *at == '(' ? 1 : *at == ')' ? -1 : 0;
        if (depth == 0) break;
        if (depth > 1 || strncmp(at, "reel_tensor *(*", 15) == 0 ||
            (strncmp(at, "reel_tensor *", 13) != 0 &&
             strncmp(at, "reel_params ", 12) != 0))
            continue;
        size_t end = strcspn(at, ",)");
        bool is_list = memchr(at, '[', end) != NULL;
        n += !is_list || strncmp(at, "reel_tensor *const", 18) == 0;
    }
    return n;
}

static const row *find_row(const char *name)
{
    for (int i = 0; i < ROWS; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

static int rows_found;

static void look_for_tensors(const char *header, char *text)
{
    char name[64];
    for (char *at = text; (at = next_function(at)) != NULL;) {
        at = declared_name(at, name, sizeof name);
        int n = tensors_in(at);
        const row *r = find_row(name + strlen("reel_"));
        if (n > (r ? (int)strlen(r->kinds) : 0))
            COMPLAIN("%s of %s: a row with %d tensors is needed\n", name, header, n);
        rows_found += n > 0;
    }
}

static void test_every_function_is_here(void **state)
{
    (void)state;
    each_header(look_for_tensors);
    assert_int_equal(rows_found, ROWS);
}

/* ---- shares --------------------------------------------------------------------------------- */

static void test_release_of_what_is_borrowed(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32);
    reel_release(x);
    SAID("release: the tensor, f32[3] made by full, is borrowed: its "
         "scope, or what holds it");
    assert_true(reel_item(reel_sum(x, REEL_ALL, false)) == 3); /* it lives */
    reel_module *net = reel_nn_linear(4, 2, NULL);
    reel_tensor *weight = reel_parameters(net).tensor[0];
    reel_release(weight);
    SAID("release: the tensor, f32[2,4] made by ..., is borrowed");
    reel_optim *sgd = reel_sgd(reel_parameters(net), NULL);
    reel_release(weight);
    SAID("release: ...is borrowed");
    assert_ptr_equal(reel_keep(weight), weight); /* one's own share is something else */
    reel_release(weight);
    OK();
    reel_optim_free(sgd);
    reel_module_free(net);
}

static void test_released_twice(void **state)
{
    (void)state;
    reel_tensor *x = reel_keep(reel_ones(REEL_SHAPE(3), REEL_F32));
    reel_release(x);
    OK();
    reel_release(x);
    SAID("release: the tensor, f32[3] made by full, was released already as "
         "often as it was kept (1)");
    reel_scope s = reel_scope_begin();
    x = reel_keep(reel_ones(REEL_SHAPE(3), REEL_F32));
    reel_scope_end(s);
    reel_release(x);
    OK();
    reel_release(x);
    SAID("release: the tensor, f32[3] made by full, is used after reel_release() "
         "gave its last share back");
}

/* ---- scopes --------------------------------------------------------------------------------- */

static void test_ended_twice(void **state)
{
    (void)state;
    reel_scope s = reel_scope_begin();
    (void)reel_exp(reel_ones(REEL_SHAPE(3), REEL_F32));
    reel_scope_end(s);
    reel_tensor *x = reel_ones(REEL_SHAPE(2), REEL_F32);
    reel_scope_end(s);
    SAID("scope_end: scope ... was ended before; it held 2 results, the last one "
         "f32[3] made by exp");
    assert_true(reel_rank(x) == 1); /* without the mode it would be gone */
    assert_null(reel_scope_return(s, x));
    SAID("scope_return: scope ... was ended before");
    assert_true(reel_rank(x) == 1);
    for (int i = 0; i < 1000; i++) reel_scope_end(reel_scope_begin());
    reel_scope_end(s);
    SAID("scope_end: scope ... is not open in this thread");
}

static void test_out_of_order(void **state)
{
    (void)state;
    reel_scope outer = reel_scope_begin(), inner = reel_scope_begin();
    (void)reel_ones(REEL_SHAPE(3), REEL_F32);
    reel_scope_end(outer);
    OK();
    reel_scope_end(inner);
    SAID("scope_end: scope ..., which held 1 results, the last one f32[3] made "
         "by full, ended when scope ... around it was ended; end the inner one first");
}

static void *ends_it(void *scope)
{
    reel_scope_end(*(reel_scope *)scope);
    SAID("scope_end: scope ... is not open in this thread: ...another thread began it");
    return NULL;
}

static void in_another(void *(*fn)(void *), void *arg)
{
    pthread_t other;
    assert_int_equal(pthread_create(&other, NULL, fn, arg), 0);
    assert_int_equal(pthread_join(other, NULL), 0);
}

static void test_scope_of_another_thread(void **state)
{
    (void)state;
    reel_scope s = reel_scope_begin();
    in_another(ends_it, &s);
    reel_scope_end(s);
    OK();
}

static reel_tensor *returns_early(reel_tensor *x)
{
    (void)reel_scope_begin(); /* lost */
    return reel_neg(x);
}

static void test_scopes_that_are_right(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32);
    for (int i = 0; i < 3; i++) {
        reel_scope outer = reel_scope_begin();
        for (int k = 0; k < 5; k++) (void)returns_early(x);
        reel_scope inner = reel_scope_begin();
        reel_tensor *y = reel_scope_return(inner, reel_exp(x));
        y = reel_scope_return(outer, returns_early(y));
        assert_true(reel_numel(y) == 3);
    }
    (void)reel_scope_begin();
    reel_scope_end(0);
    reel_scope_end(0); /* all that there is, as often as one likes */
    OK();
    assert_int_equal(reel_live_objects(), 0);
}

/* A scope that there was no memory to note is one all the same. */
static void *without_memory(void *unused)
{
    reel__fault_alloc(1, false);
    reel_scope s = reel_scope_begin();
    reel__fault_alloc(0, false);
    assert_int_equal(reel_error_status(), REEL_ERR_MEMORY);
    reel_error_clear();
    reel_tensor *x = reel_ones(REEL_SHAPE(3), REEL_F32);
    reel_scope inner = reel_scope_begin();
    reel_scope_end(inner);
    reel_scope_end(s);
    OK();
    assert_int_equal(reel_rank(x), -1);
    SAID("rank: the tensor, f32[3] made by full, is used after its scope ended");
    return unused;
}

static void test_scope_without_memory(void **state)
{
    (void)state;
    in_another(without_memory, NULL);
}

/* ---- two threads in one training -------------------------------------------------------------- */

/* Two that meet: one is in the middle of something, the other does something meanwhile. */
static sem_t inside, go_on;

typedef struct meeting {
    small_trainer t;
    reel_tensor *x, *y;
} meeting;

/* Of the module, before it runs; of a gradient. */
static void stay(void *user, reel_module *m, reel_tensor *x)
{
    (void)user, (void)m, (void)x;
    sem_post(&inside);
    sem_wait(&go_on);
}

static reel_tensor *stay_in_backward(void *user, reel_tensor *g)
{
    stay(user, NULL, NULL);
    return g;
}

static reel_tensor *loss_of(const meeting *m, small_trainer t)
{
    return reel_cross_entropy(reel_forward(t.net, m->x), m->y, NULL);
}

static void *runs_forward(void *arg)
{
    const meeting *m = arg;
    reel_module *first = reel_module_child(m->t.net, 0);
    int hook = reel_module_add_hook(first, &(reel_module_hook){.before = stay});
    assert_non_null(reel_forward(m->t.net, m->x));
    assert_int_equal(reel_module_remove_hook(first, hook), REEL_OK);
    OK(); /* who was there first is not disturbed */
    return NULL;
}

static void *runs_backward(void *arg)
{
    const meeting *m = arg;
    reel_tensor *loss = loss_of(m, m->t);
    assert_int_equal(reel_register_hook(loss, stay_in_backward, NULL), REEL_OK);
    assert_int_equal(reel_backward(loss, NULL), REEL_OK);
    OK();
    return NULL;
}

static void *steps(void *arg)
{
    const meeting *m = arg;
    assert_int_equal(reel_optim_step(m->t.optim), REEL_OK);
    OK();
    return NULL;
}

static meeting meet(void)
{
    meeting m = {.t = small_trainer_new(small_trainer_net(), true)};
    small_trainer_data(1, &m.x, &m.y);
    assert_int_equal(sem_init(&inside, 0, 0), 0);
    assert_int_equal(sem_init(&go_on, 0, 0), 0);
    return m;
}

static void part(meeting *m)
{
    small_trainer_free(m->t);
    sem_destroy(&inside);
    sem_destroy(&go_on);
}

/* What this thread does while another is inside. */
static void while_inside(void *(*other_does)(void *), meeting *m,
                         void (*fn)(const meeting *, reel_tensor *loss))
{
    pthread_t other;
    reel_tensor *loss = loss_of(m, m->t);
    assert_int_equal(pthread_create(&other, NULL, other_does, m), 0);
    sem_wait(&inside);
    fn(m, loss);
    sem_post(&go_on);
    assert_int_equal(pthread_join(other, NULL), 0);
    OK();
}

static void all_three_refused(const meeting *m, reel_tensor *loss, const char *other)
{
    char want[128];
    assert_null(reel_forward(m->t.net, m->x));
    snprintf(want, sizeof want,
             "forward: \"0.weight of sequential\" f32[...another thread just now, which "
             "runs %s",
             other);
    SAID(want);
    assert_int_equal(reel_backward(loss, NULL), REEL_ERR_STATE);
    snprintf(want, sizeof want, "backward: \"... of sequential\" f32[... which runs %s",
             other);
    SAID(want);
    assert_int_equal(reel_optim_step(m->t.optim), REEL_ERR_STATE);
    snprintf(
        want, sizeof want,
        "optim_step: \"... of sequential\" f32[...which runs %s; one thread at a time "
        "trains a module",
        other);
    SAID(want);
}

static void in_forward(const meeting *m, reel_tensor *loss)
{
    all_three_refused(m, loss, "forward");
    reel_tensor *x[1] = {m->x}, *y[1] = {m->x};
    assert_int_equal(reel_forward_n(m->t.net, x, 1, y, 1), REEL_ERR_STATE);
    SAID("forward...: \"0.weight of sequential\"");
    assert_null(y[0]);
}

static void in_backward(const meeting *m, reel_tensor *loss)
{
    all_three_refused(m, loss, "backward");
}

static void test_two_in_one_training(void **state)
{
    (void)state;
    meeting m = meet();
    while_inside(runs_forward, &m, in_forward);
    while_inside(runs_backward, &m, in_backward);
    part(&m);
}

/* So is the step as a graph. */
static reel_executor *captured;
static void runs_graph(const meeting *m, reel_tensor *loss)
{
    reel_tensor *x[] = {m->x, m->y}, *y = NULL;
    (void)loss;
    assert_int_equal(reel_executor_run(captured, x, 2, &y, 1), REEL_ERR_STATE);
    SAID("executor_run: \"...of sequential\" f32[...which runs forward; one thread");
    assert_null(y);
}

static void test_graph_in_one_training(void **state)
{
    (void)state;
    meeting m = meet();
    reel_tensor *x[] = {m.x, m.y}, *y = NULL;
    assert_non_null(small_trainer_step(m.t, m.x, m.y));
    reel_graph *g = small_trainer_capture(m.t, m.x, m.y, &y);
    captured = reel_executor_new(g, NULL);
    OK();
    while_inside(runs_forward, &m, runs_graph);
    assert_int_equal(reel_executor_run(captured, x, 2, &y, 1), REEL_OK);
    reel_executor_free(captured);
    reel_graph_free(g);
    part(&m);
}

/* Another module, and this one for use or without gradients. */
static void is_right_meanwhile(const meeting *m, reel_tensor *loss)
{
    (void)loss;
    small_trainer mine = small_trainer_new(small_trainer_net(), false);
    assert_non_null(small_trainer_step(mine, m->x, m->y));
    small_trainer_free(mine);
    bool was = reel_set_grad_enabled(false);
    assert_non_null(reel_conv2d(m->x, reel_parameters(m->t.net).tensor[0], NULL, NULL));
    (void)reel_set_grad_enabled(was);
    OK();
}

static void *runs_for_use(void *arg)
{
    const meeting *m = arg;
    reel_module *first = reel_module_child(m->t.net, 0);
    reel_tensor *y = reel_forward(m->t.net, m->x);
    (void)first;
    assert_non_null(y);
    stay(NULL, NULL, NULL);
    assert_non_null(reel_forward(m->t.net, m->x));
    OK();
    return NULL;
}

static void uses_it(const meeting *m, reel_tensor *loss)
{
    (void)loss;
    assert_non_null(reel_forward(m->t.net, m->x));
    OK();
}

static void test_threads_that_are_right(void **state)
{
    (void)state;
    meeting m = meet();
    while_inside(runs_forward, &m, is_right_meanwhile);
    /* from hand to hand: forward here, backward here, the step there */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(reel_backward(loss_of(&m, m.t), NULL), REEL_OK);
        in_another(steps, &m);
        OK();
    }
    reel_train(m.t.net, false);
    while_inside(runs_for_use, &m, uses_it);
    part(&m);
}

/* A thread that ends in the middle of a forward leaves the module to others. */
static void leave_for_good(void *user, reel_module *m, reel_tensor *x)
{
    (void)user, (void)m, (void)x;
    pthread_exit(NULL);
}

static void *ends_inside(void *arg)
{
    const meeting *m = arg;
    (void)reel_forward(m->t.net, m->x);
    return NULL;
}

static void test_thread_that_ends_inside(void **state)
{
    (void)state;
    meeting m = meet();
    int hook =
        reel_module_add_hook(m.t.net, &(reel_module_hook){.before = leave_for_good});
    in_another(ends_inside, &m);
    assert_int_equal(reel_module_remove_hook(m.t.net, hook), REEL_OK);
    assert_non_null(small_trainer_step(m.t, m.x, m.y));
    OK();
    part(&m);
}

/* So does a forward that was entered and lost, with the scope around it. */
static void *enters(void *arg)
{
    const meeting *m = arg;
    reel_scope s = reel_scope_begin();
    (void)reel_module_enter(m->t.net, m->x);
    reel_scope_end(s);
    stay(NULL, NULL, NULL);
    return NULL;
}

static void trains_it(const meeting *m, reel_tensor *loss)
{
    (void)loss;
    assert_non_null(small_trainer_step(m->t, m->x, m->y));
    OK();
}

static void test_lost_forward(void **state)
{
    (void)state;
    meeting m = meet();
    while_inside(enters, &m, trains_it);
    part(&m);
}

/* A child has this thread alone: what the others were in the middle of is nobody's. */
static void forks(const meeting *m, reel_tensor *loss)
{
    (void)loss;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(60);
        sem_post(&go_on); /* the hook stands in its way too */
        reel_tensor *gone = ended(reel_exp, m->x);
        bool good = small_trainer_step(m->t, m->x, m->y) && !reel_failed() &&
                    !reel_exp(gone) && reel_failed();
        _exit(good ? 0 : 1);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_fork(void **state)
{
    (void)state;
    meeting m = meet();
    while_inside(runs_forward, &m, forks);
    part(&m);
}

/* ---- programs that are right ------------------------------------------------------------------ */

static void test_tensors_that_are_right(void **state)
{
    (void)state;
    reel_scope s = reel_scope_begin();
    reel_tensor *x = reel_keep(reel_ones(REEL_SHAPE(4, 4), REEL_F32));
    reel_tensor *view = reel_keep(reel_select(x, 0, 1));
    reel_tensor *again = reel_keep(reel_keep(view));
    reel_scope_end(s);
    assert_non_null(reel_fill_(view, 3)); /* a view outlives what it is a view of */
    reel_release(x);
    assert_true(reel_item(reel_sum(again, REEL_ALL, false)) == 12);
    for (int i = 0; i < 3; i++) reel_release(view);
    OK();
    s = reel_scope_begin();
    reel_tensor *leaf = reel_keep(make('g'));
    assert_int_equal(reel_backward(reel_sum(reel_exp(leaf), REEL_ALL, false), NULL),
                     REEL_OK);
    reel_scope_end(s);
    reel_tensor *g = reel_grad_of(leaf); /* the leaf's */
    assert_true(reel_item(reel_sum(g, REEL_ALL, false)) == 12);
    reel_release(leaf);
    OK();
    assert_null(reel_exp(g));
    SAID("exp: input 0, f64[3,4] ...is used after reel_release() gave");
}

static reel_status train_once(void *user, reel_tensor *const x[], int n_x,
                              reel_tensor *y[], int n_y)
{
    (void)n_x, (void)n_y;
    y[0] = small_trainer_step(*(small_trainer *)user, x[0], x[1]);
    return reel_error_status();
}

/* A step that becomes a graph, and an executor that fills the same tensor again and again. */
static void test_graphs_that_are_right(void **state)
{
    (void)state;
    meeting m = meet();
    reel_compiled *step = reel_compile(train_once, &m.t, NULL);
    for (int i = 0; i < 5; i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *x[] = {m.x, m.y}, *y = NULL;
        assert_int_equal(reel_compiled_run(step, x, 2, &y, 1), REEL_OK);
        assert_true(reel_item(y) > 0);
        reel_scope_end(s);
    }
    reel_compiled_free(step);
    reel_train(m.t.net, false);
    reel_graph *g = reel_trace(m.t.net, m.x, NULL);
    reel_executor *e = reel_executor_new(g, NULL);
    reel_tensor *y = NULL;
    assert_int_equal(reel_executor_run(e, &m.x, 1, &y, 1), REEL_OK);
    for (int i = 0; i < 5; i++) {
        reel_scope s = reel_scope_begin();
        assert_int_equal(reel_executor_run_into(e, &m.x, 1, &y, 1), REEL_OK);
        reel_scope_end(s);
    }
    /* what it would do to one that is gone */
    reel_tensor *gone = ended(reel_neg, y);
    assert_int_equal(reel_executor_run_into(e, &m.x, 1, &gone, 1), REEL_ERR_STATE);
    SAID("executor_run_into: output 0, f32[4,4] made by neg, is used after its scope");
    reel_executor_free(e);
    reel_graph_free(g);
    part(&m);
}

/* The structs that are left are no live objects, a shutdown frees them, and no more of them than
 * a bound are ever there. */
static void test_what_is_left(void **state)
{
    (void)state;
    reel_tensor *x = reel_ones(REEL_SHAPE(2), REEL_F32), *first = ended(reel_exp, x);
    const int64_t live = reel_live_objects();
    reel_scope s = reel_scope_begin();
    for (int i = 0; i < 60000; i++) {
        (void)reel_scalar(1, REEL_F32);
        if (i % 1000 == 0) {
            reel_scope_end(s);
            s = reel_scope_begin();
        }
    }
    reel_scope_end(s);
    assert_int_equal(reel_live_objects(), live);
    assert_null(reel_exp(first)); /* among the newest 65536 */
    SAID("exp: input 0, f32[2] made by exp, is used after");
    reel_shutdown();
    assert_non_null(reel_exp(x));
    OK();
}

/* ---- what code of the program hands back --------------------------------------------------------- */

static reel_tensor *ended_square(void *user, reel_tensor *g)
{
    (void)user;
    return ended(reel_square, g);
}

enum { DEAD_Y = 1, DEAD_GX = 2 };
static reel_tensor *dead_or(int bit, const void *user, reel_tensor *x)
{
    return *(const int *)user & bit ? ended(reel_neg, x) : reel_neg(x);
}
static reel_status negates(void *user, reel_custom_call *c, reel_tensor *const x[],
                           reel_tensor *y[])
{
    (void)c;
    y[0] = dead_or(DEAD_Y, user, x[0]);
    return reel_error_status();
}
static reel_status negates_back(void *user, reel_custom_call *c, reel_tensor *const x[],
                                reel_tensor *const y[], reel_tensor *const gy[],
                                reel_tensor *gx[])
{
    (void)c, (void)x, (void)y;
    gx[0] = dead_or(DEAD_GX, user, gy[0]);
    return reel_error_status();
}

static void test_what_is_handed_back(void **state)
{
    (void)state;
    for (int inner = 0; inner < 2; inner++) {
        reel_tensor *x = reel_requires_grad(reel_ones(REEL_SHAPE(3), REEL_F32), true);
        reel_tensor *y = inner ? reel_mul(x, x) : x;
        reel_register_hook(y, ended_square, NULL);
        assert_int_equal(reel_backward(reel_sum(y, REEL_ALL, false), NULL),
                         REEL_ERR_STATE);
        SAID(
            "backward: hook: the tensor, f32[3] made by square, is used after its scope");
        reel_scope_end(0);
        assert_int_equal(reel_live_objects(), 0);
    }
    for (int what = DEAD_Y; what <= DEAD_GX; what++)
        for (int operators = 0; operators < 2; operators++) {
            reel_custom_op *op = reel_custom_op_new(
                "negates", &(reel_custom_op_opts){.n_in = 1,
                                                  .n_out = 1,
                                                  .forward = negates,
                                                  .backward = negates_back,
                                                  .backward_in_operators = operators,
                                                  .user = &what});
            reel_tensor *x = reel_requires_grad(reel_ones(REEL_SHAPE(3), REEL_F32), true);
            reel_tensor *y = reel_custom(op, &x, 1, NULL);
            if (y) reel_backward(reel_sum(y, REEL_ALL, false), NULL);
            SAID("...negates: the tensor, f32[3] made by neg, is used after its scope");
            reel_scope_end(0);
            reel_custom_op_free(op);
            assert_int_equal(reel_live_objects(), 0);
        }
}

static int each(void **state)
{
    (void)state;
    reel_error_clear();
    reel_scope_end(0);
    if (reel_live_objects()) COMPLAIN("%d objects\n", (int)reel_live_objects());
    return misuse_ended();
}

#define TEST(name) cmocka_unit_test_teardown(name, each)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_after_its_scope),
        TEST(test_which_module),
        TEST(test_every_function),
        TEST(test_every_function_is_here),
        TEST(test_release_of_what_is_borrowed),
        TEST(test_released_twice),
        TEST(test_ended_twice),
        TEST(test_out_of_order),
        TEST(test_scope_of_another_thread),
        TEST(test_scopes_that_are_right),
        TEST(test_scope_without_memory),
        TEST(test_two_in_one_training),
        TEST(test_graph_in_one_training),
        TEST(test_threads_that_are_right),
        TEST(test_thread_that_ends_inside),
        TEST(test_lost_forward),
        TEST(test_fork),
        TEST(test_tensors_that_are_right),
        TEST(test_graphs_that_are_right),
        TEST(test_what_is_handed_back),
        TEST(test_what_is_left),
    };
    if (setenv("REEL_DEBUG", "1", 1)) return 2;
    return cmocka_run_group_tests(tests, temp_open, temp_remove);
}
