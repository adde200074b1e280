/* random_life.h: the life of a training program, drawn from a seed: a network, an optimizer and
 * what stands around it, and what happens between its steps. The same seed gives the same life;
 * `lived` says how it is lived: as plain calls, or with graphs, files and exports between. */
#ifndef TESTS_SUPPORT_RANDOM_LIFE_H
#define TESTS_SUPPORT_RANDOM_LIFE_H

#include <reel/reel.h>

enum { LIFE_STEPS = 14, LIFE_MODULES = 10, LIFE_PARAMS = 24 };

/* Mistakes that a test plants behind the library's back, to see that they are found. */
typedef enum life_plant {
    LIFE_HONEST,
    LIFE_STALE_FOLD,    /* an executor is told that folded weights are of now */
    LIFE_MISSED_FREEZE, /* a graph is told that what asks for gradients is as it was */
    LIFE_UNSEEN_READ    /* the function reads memory from C */
} life_plant;

/* What a seed decides once. */
typedef struct life_plan {
    uint64_t seed;
    bool exact; /* exact passes alone: every bit must be the same */
    reel_dtype dtype;
    int net, optim, average, schedule, clearing;
    bool clips, checkpoints, average_inside;
    int held;  /* parameters at the end that join the optimizer later */
    int looks; /* evaluations: by chance, after each step, or for days on end */
    int own;   /* an operator of the program's own, or none */
    bool calm; /* little happens between steps, so that graphs grow old */
} life_plan;
life_plan life_plan_of(uint64_t seed);

typedef struct life {
    life_plan plan;
    life_plant plant;
    bool graphs; /* steps run as graphs, runs are saved and resumed, nets exported */
    const char *folder; /* for files */
    reel_custom_op *op; /* or NULL */
    reel_module *net;
    reel_optim *optim;
    reel_ema *ema;
    reel_schedule *schedule;
    reel_compiled *train, *eval;
    /* what was set so far, so that a resumed run can be set the same way */
    bool joined, still[LIFE_MODULES], frozen[LIFE_PARAMS];
    bool around[LIFE_MODULES]; /* children that are in another module */
    int activation;            /* 0: those that the net was made with */
    const float *secret;       /* LIFE_UNSEEN_READ */
    int as_graph;              /* calls that ran as one */
} life;

/* What one step of a life shows. */
typedef struct life_day {
    double loss, norm, state, seen; /* seen: of the evaluation; 0 where there was none */
} life_day;

/* Lives it. False with an error of reel's. */
bool life_live(life *l, life_day day[LIFE_STEPS]);

#endif
