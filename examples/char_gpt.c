/* char_gpt.c: a small GPT that writes text, character by character.
 *
 *     char_gpt [STEPS [TEXT.txt]]
 *
 * Learns from a file, or from sums that it makes itself. What it has learned stands in
 * char_gpt.ckpt: another run goes on from there to STEPS. In the end it writes some text, and
 * char_gpt.onnx. Radford et al. 2019; the weights of embedding and head are tied. */
#include <reel/reel.h>
#include <stdio.h>
#include <stdlib.h>

enum { VOCABULARY = 128, CONTEXT = 32, WIDTH = 48, HEADS = 3, BATCH = 16 };

/* ---- the model --------------------------------------------------------------------------- */

typedef struct gpt {
    reel_module m;
    reel_module *wte, *layers, *norm, *head;
    reel_tensor *wpe; /* [CONTEXT, WIDTH] */
} gpt;

/* [n, t] i64 -> [n, t, VOCABULARY] */
static reel_tensor *gpt_forward(reel_module *self, reel_tensor *x)
{
    gpt *g = (gpt *)self;
    reel_tensor *at = reel_narrow(g->wpe, 0, 0, reel_size(x, 1));
    reel_tensor *h = reel_add(reel_forward(g->wte, x), at);
    return reel_forward(g->head, reel_forward(g->norm, reel_forward(g->layers, h)));
}

static reel_module *layer(void)
{
    return reel_nn_encoder_layer(
        WIDTH, HEADS,
        &(reel_nn_encoder_layer_opts){.hidden = 4 * WIDTH,
                                      .activation = REEL_ACT_GELU,
                                      .norm_first = true,
                                      .causal = true});
}

static reel_module *gpt_new(void)
{
    gpt *g = reel_module_new(sizeof *g, "gpt", gpt_forward);
    if (!g) return NULL;
    g->wte = reel_module_add(&g->m, "wte", reel_nn_embedding(VOCABULARY, WIDTH));
    g->wpe =
        reel_module_param(&g->m, "wpe", reel_zeros(REEL_SHAPE(CONTEXT, WIDTH), REEL_F32));
    g->layers = reel_module_add(&g->m, "layers", reel_nn_sequential(layer(), layer()));
    g->norm = reel_module_add(&g->m, "norm", reel_nn_layer_norm(REEL_SHAPE(WIDTH), NULL));
    g->head = reel_module_add(
        &g->m, "head",
        reel_nn_linear(WIDTH, VOCABULARY, &(reel_nn_linear_opts){.no_bias = true}));
    reel_init_normal(reel_module_find(&g->m, "wte.weight"), 0, 0.02);
    reel_init_normal(g->wpe, 0, 0.02);
    reel_module_tie(&g->m, "head.weight", "wte.weight");
    return reel_module_done(&g->m);
}

/* ---- text -------------------------------------------------------------------------------- */

/* Sums such as "12+7=19;", or the file: [n] i64. */
static reel_tensor *read_text(const char *path)
{
    enum { MOST = 1 << 20 };
    static char text[MOST];
    static int64_t code[MOST];
    size_t n = 0;
    FILE *f = path ? fopen(path, "rb") : NULL;
    if (f) n = fread(text, 1, MOST, f);
    if (f) fclose(f);
    for (int i = 0; !path && i < 900; i++)
        n += (size_t)snprintf(text + n, 32, "%d+%d=%d;", i / 30, i % 30, i / 30 + i % 30);
    for (size_t i = 0; i < n; i++) code[i] = text[i] & (VOCABULARY - 1);
    if (n <= CONTEXT) reel_fail(REEL_ERR_IO, "%s: not a file of some length", path);
    return reel_from(code, REEL_SHAPE((int64_t)n), REEL_I64);
}

/* BATCH random places of it: [BATCH, CONTEXT + 1] */
static reel_tensor *draw(reel_tensor *text)
{
    reel_tensor *first =
        reel_randint(0, reel_size(text, 0) - CONTEXT, REEL_SHAPE(BATCH, 1), REEL_I64);
    reel_tensor *at = reel_add(first, reel_arange_i64(0, CONTEXT + 1, 1, REEL_I64));
    at = reel_reshape(at, REEL_SHAPE(-1));
    return reel_reshape(reel_index_select(text, 0, at), REEL_SHAPE(BATCH, -1));
}

/* Draws from softmax(logits / temperature): the largest after Gumbel noise. */
static reel_tensor *sample(reel_tensor *logits, double temperature)
{
    reel_tensor *u = reel_rand(reel_shape_of(logits), REEL_F32);
    reel_tensor *noise = reel_neg(reel_log(reel_neg(reel_log(u))));
    return reel_argmax(reel_add(reel_mul_scalar(logits, 1 / temperature), noise), -1,
                       true);
}

static void write_text(reel_module *net, const char *prompt, int length,
                       double temperature)
{
    int64_t seen[CONTEXT], n = 0;
    for (; prompt[n]; n++) seen[n] = prompt[n];
    printf("%s", prompt);
    for (int i = 0; i < length && !reel_failed(); i++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *y = reel_forward(net, reel_from(seen, REEL_SHAPE(1, n), REEL_I64));
        y = sample(reel_narrow(y, 1, n - 1, 1), temperature);
        if (n == CONTEXT)
            for (n = 0; n < CONTEXT - 1; n++) seen[n] = seen[n + 1];
        seen[n++] = reel_item_i64(y);
        printf("%c", (char)seen[n - 1]);
        reel_scope_end(s);
    }
    printf("\n");
}

/* ---- training ---------------------------------------------------------------------------- */

static void train(reel_training *run, reel_tensor *text, int64_t steps)
{
    for (; run->batch < steps && !reel_failed(); run->batch++) {
        reel_scope s = reel_scope_begin();
        reel_tensor *t = draw(text);
        reel_tensor *logits = reel_forward(run->module, reel_narrow(t, 1, 0, CONTEXT));
        reel_tensor *next = reel_reshape(reel_narrow(t, 1, 1, CONTEXT), REEL_SHAPE(-1));
        logits = reel_reshape(logits, REEL_SHAPE(-1, VOCABULARY));
        reel_tensor *loss = reel_cross_entropy(logits, next, NULL);
        reel_backward(loss, NULL);
        reel_clip_grad_norm(reel_parameters(run->module), 1);
        reel_optim_step(run->optim);
        reel_optim_zero_grad(run->optim);
        reel_schedule_step(run->schedule);
        if (run->batch % 20 == 0)
            printf("step %d loss %.3f\n", (int)run->batch, reel_item(loss));
        reel_scope_end(s);
    }
    reel_training_save(run, "char_gpt.ckpt");
}

int main(int argc, char **argv)
{
    int64_t steps = argc > 1 ? atoi(argv[1]) : 300;
    reel_seed(1);
    reel_module *net = gpt_new();
    reel_optim *opt =
        reel_adamw(reel_parameters(net),
                   &(reel_adam_opts){.lr = 3e-3, .beta2 = 0.95, .weight_decay = 0.1});
    reel_schedule *rate =
        reel_schedule_warmup(reel_schedule_cosine(opt, 1000, 3e-4), 20, 0.1);
    reel_training run = {.module = net, .optim = opt, .schedule = rate};
    FILE *earlier = fopen("char_gpt.ckpt", "rb");
    if (earlier && !fclose(earlier)) reel_training_load(&run, "char_gpt.ckpt");
    train(&run, read_text(argc > 2 ? argv[2] : NULL), steps);

    reel_train(net, false);
    reel_set_grad_enabled(false);
    write_text(net, argc > 2 ? "\n" : "2+", 60, 0.5);
    reel_tensor *like = reel_zeros(REEL_SHAPE(2, CONTEXT), REEL_I64);
    reel_module_export(net, like, "char_gpt.onnx", NULL);

    reel_schedule_free(rate);
    reel_optim_free(opt);
    reel_module_free(net);
    reel_scope_end(0);
    if (reel_failed()) fprintf(stderr, "char_gpt: %s\n", reel_error_message());
    return reel_failed() || reel_live_objects() > 0;
}
