/* reel: looks at, runs, times, optimizes, compares and draws graphs in files.
 *
 *     reel COMMAND [ARGS]       `reel -h` lists the commands, `reel COMMAND -h` explains one
 *
 * A FILE is ONNX or a graph that reel saved; its first bytes tell. Exit codes: 0 done, 1 it
 * failed (a file that is wrong, a comparison that differs), 2 the command line is wrong. */
#include "reel/cli.h"

#include <errno.h>
#include <string.h>

static const command commands[] = {
    {"info", "FILE", "inputs, outputs, operators, size and cost", cmd_info},
    {"run", "FILE --input X.npy --output Y.npy", "run it on arrays", cmd_run},
    {"bench", "FILE", "time it: latency, throughput, memory", cmd_bench},
    {"optimize", "FILE -o OUT", "apply the passes and write the result", cmd_optimize},
    {"quantize", "FILE --calibrate ROWS.npy -o OUT", "from floats to integers, by data",
     cmd_quantize},
    {"compare", "A B", "run both on the same numbers: error by output and layer",
     cmd_compare},
    {"view", "FILE -o PAGE.html", "draw it as a page", cmd_view},
    {"check", "FILE", "read it, verify it, plan it", cmd_check},
    {"ops", "", "the operators: dtypes, gradients, ONNX", cmd_ops},
    {"passes", "", "the passes, in the order in which they run", cmd_passes},
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static int usage(FILE *to)
{
    fprintf(to, "usage: reel COMMAND [ARGS]\n\n");
    for (int i = 0; i < N_COMMANDS; i++)
        fprintf(to, "  %-8s %-34s %s\n", commands[i].name, commands[i].args,
                commands[i].about);
    fprintf(to,
            "\nFILE is .onnx, or .reel as `reel optimize` writes it. `reel COMMAND -h` "
            "lists a command's\noptions; all take --json. `reel --version` says which "
            "reel this is.\n\nExit status: 0 done; 1 it failed, or what was compared "
            "differs; 2 a wrong command line.\n");
    return to == stdout ? 0 : 2;
}

static int run(const command *c, int argc, char **argv)
{
    reel_set_grad_enabled(false);
    int status = c->run(c, argc, argv);
    if (reel_failed()) {
        fprintf(stderr, "reel %s: %s\n", c->name, reel_error_message());
        if (!status) status = 1;
    }
    reel_scope_end(0);
    return status;
}

static int choose(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) return usage(stdout);
    if (strcmp(name, "--version") == 0) return printf("reel %s\n", reel_version()) < 0;
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(name, commands[i].name) == 0)
            return run(&commands[i], argc - 2, argv + 2);
    if (*name) fprintf(stderr, "reel: there is no command %s\n\n", name);
    return usage(stderr);
}

/* What the library has to say, such as of a file that is newer than it. */
static void say(void *user, reel_log_level level, const char *line)
{
    (void)user;
    if (level >= REEL_LOG_WARN) fprintf(stderr, "reel: %s\n", line);
}

/* What was said but could not be written was not done. */
int main(int argc, char **argv)
{
    reel_set_log(say, NULL);
    int status = choose(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, "reel: cannot write the output: %s\n", strerror(errno));
    return status ? status : 1;
}
