/* test_random_lives.c: lives of training programs, drawn from a seed, each lived twice: as plain
 * calls, and with graphs, saved and resumed runs, exports between. Both must agree: bit for bit
 * where only exact passes run, else closely. And mistakes that are planted must be found.
 *
 *     test_random_lives --seed 7 --count 1      one of them again
 *     test_random_lives --count 20000           a night's work */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/random_life.h"

/* A sanitizer is twenty times slower; CI runs both. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { DEFAULT_COUNT = 40 };
#else
enum { DEFAULT_COUNT = 400 };
#endif

static char folder[] = "/tmp/reel-lives-XXXXXX";

static bool close_to(const life_plan *p, double a, double b)
{
    if (memcmp(&a, &b, sizeof a) == 0 || (isnan(a) && isnan(b))) return true;
    return !p->exact && fabs(a - b) <= 1e-6 * (1 + fabs(a));
}

static bool same_day(const life_plan *p, const life_day *a, const life_day *b)
{
    return close_to(p, a->loss, b->loss) && close_to(p, a->norm, b->norm) &&
           close_to(p, a->state, b->state) && close_to(p, a->seen, b->seen);
}

static void tell(const life_plan *p, int step, const life_day *a, const life_day *b)
{
    fprintf(stderr,
            "seed %llu (%s, net %d, optimizer %d, average %d, schedule %d), step %d:\n"
            "  loss %.17g, with graphs %.17g\n  norm %.17g, %.17g\n"
            "  state %.17g, %.17g\n  evaluation %.17g, %.17g\n",
            (unsigned long long)p->seed, p->exact ? "exact" : "all passes", p->net,
            p->optim, p->average, p->schedule, step, a->loss, b->loss, a->norm, b->norm,
            a->state, b->state, a->seen, b->seen);
}

/* True if both ways agree. `graphs` counts calls that ran as one. */
static bool try_seed(uint64_t seed, life_plant plant, bool quiet, int *graphs)
{
    life_day day[2][LIFE_STEPS];
    int64_t before = reel_live_objects();
    memset(day, 0, sizeof day);
    for (int way = 0; way < 2; way++) {
        life l = {.plan = life_plan_of(seed),
                  .plant = plant,
                  .graphs = way == 1,
                  .folder = folder};
        if (!life_live(&l, day[way])) {
            if (!quiet)
                fprintf(stderr, "seed %llu, %s: %s\n", (unsigned long long)seed,
                        way ? "with graphs" : "as calls", reel_error_message());
            reel_error_clear();
            return false;
        }
        *graphs += l.as_graph;
    }
    const life_plan p = life_plan_of(seed);
    for (int i = 0; i < LIFE_STEPS; i++)
        if (!same_day(&p, &day[0][i], &day[1][i])) {
            if (!quiet) tell(&p, i, &day[0][i], &day[1][i]);
            return false;
        }
    if (reel_live_objects() == before) return true;
    fprintf(stderr, "seed %llu: %lld objects are left\n", (unsigned long long)seed,
            (long long)(reel_live_objects() - before));
    return false;
}

/* A quarter of these lives must go wrong: fewer would say that hardly any meets the mistake. */
static bool is_found(life_plant plant, const char *what)
{
    int found = 0, graphs = 0, lives = 40;
    for (int i = 0; i < lives; i++) found += !try_seed((uint64_t)i, plant, true, &graphs);
    printf("planted %s: found in %d of %d lives\n", what, found, lives);
    return 4 * found >= lives;
}

static long long number(const char *text)
{
    char *end;
    long long n = strtoll(text, &end, 10);
    if (*text && !*end && n >= 0) return n;
    fprintf(stderr, "test_random_lives: %s is not a number\n", text);
    exit(2);
}

static int live_all(long long first, long long count)
{
    int failures = 0, graphs = 0;
    for (long long i = 0; i < count; i++)
        failures += !try_seed((uint64_t)(first + i), LIFE_HONEST, false, &graphs);
    printf("%lld lives, %d failures; %d calls ran as graphs\n", count, failures, graphs);
    return failures || (count > 20 && graphs < 5 * count);
}

int main(int argc, char **argv)
{
    long long seed = 0, count = DEFAULT_COUNT;
    bool plants = argc == 1;
    for (int i = 1; i < argc; i += 2) {
        bool is_seed = strcmp(argv[i], "--seed") == 0;
        if ((!is_seed && strcmp(argv[i], "--count") != 0) || i + 1 == argc) {
            fprintf(stderr, "usage: test_random_lives [--seed N] [--count N]\n");
            return 2;
        }
        *(is_seed ? &seed : &count) = number(argv[i + 1]);
    }
    if (!mkdtemp(folder)) return 1;
    int bad = live_all(seed, count);
    if (plants) {
        bad += !is_found(LIFE_STALE_FOLD, "stale fold");
        bad += !is_found(LIFE_MISSED_FREEZE, "missed freeze");
        bad += !is_found(LIFE_UNSEEN_READ, "unseen read");
    }
    char command[64];
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) || bad;
}
