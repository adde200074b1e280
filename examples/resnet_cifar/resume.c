/* resume.c: writes and reads checkpoints. */
#include "resume.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* The options that decide what a run computes, as text. */
static void describe(const options *o, const session *s, char *text, size_t size)
{
    snprintf(
        text, size,
        "--model %s --epochs %lld --batch %lld --lr %g --schedule %s --weight-decay %g "
        "--label-smoothing %g --augment %s --seed %lld%s%s on %lld %s images",
        o->model, (long long)o->epochs, (long long)o->batch, o->lr, o->schedule,
        o->weight_decay, o->label_smoothing, o->augment, (long long)o->seed,
        o->ema ? " --ema" : "", o->traced ? " --traced" : "",
        (long long)reel_dataset_length(s->train), o->data ? "real" : "drawn");
}

static reel_training training_of(session *s, int64_t epoch)
{
    return (reel_training){.module = s->net,
                           .optim = s->optim,
                           .schedule = s->schedule,
                           .ema = s->ema,
                           .loader = s->train_loader,
                           .epoch = epoch};
}

static reel_status put(reel_tensor_map *map, const char *name, const void *values,
                       int64_t n, int64_t columns)
{
    reel_scope s = reel_scope_begin();
    reel_tensor *t = reel_from(values, REEL_SHAPE(n, columns), REEL_F64);
    reel_status st = t ? reel_tensor_map_set(map, name, t) : reel_error_status();
    reel_scope_end(s);
    return st;
}

reel_status save_checkpoint(const options *o, session *s, progress *p, int64_t epoch)
{
    if (!o->checkpoint) return REEL_OK;
    if (csv_flush(&p->log) || csv_flush(&p->steps)) return reel_error_status();
    const double now[4] = {p->loss_sum, p->correct, p->seen, p->seconds};
    char text[512];
    describe(o, s, text, sizeof text);
    reel_training run = training_of(s, epoch);
    if (!(run.extra = reel_tensor_map_new())) return reel_error_status();
    reel_status st = put(run.extra, "progress", now, 1, 4);
    if (!st && p->rows) st = put(run.extra, "rows", p->row, p->rows, REPORT_COLUMNS);
    if (!st) st = reel_tensor_map_set_text(run.extra, "options", text);
    if (!st) st = reel_training_save(&run, o->checkpoint);
    reel_tensor_map_free(run.extra);
    return st;
}

/* Reads what save_checkpoint() put into `extra`. */
static reel_status take(const options *o, const reel_tensor_map *extra, progress *p)
{
    double now[4];
    reel_tensor *sums = reel_tensor_map_get(extra, "progress");
    reel_tensor *rows = reel_tensor_map_get(extra, "rows");
    if (reel_numel(sums) != 4 || (rows && (reel_size(rows, 0) > o->epochs ||
                                           reel_size(rows, 1) != REPORT_COLUMNS)))
        return reel_fail(REEL_ERR_FORMAT, "%s has not what this program puts there",
                         o->checkpoint);
    if (reel_read(sums, now, REEL_F64)) return reel_error_status();
    p->loss_sum = now[0], p->correct = now[1], p->seen = now[2], p->seconds = now[3];
    p->rows = rows ? reel_size(rows, 0) : 0;
    return rows ? reel_read(rows, p->row, REEL_F64) : REEL_OK;
}

static reel_status check_options(const options *o, const session *s,
                                 const reel_tensor_map *extra)
{
    char now[512];
    describe(o, s, now, sizeof now);
    const char *then = reel_tensor_map_text(extra, "options");
    if (then && strcmp(now, then) == 0) return REEL_OK;
    return reel_fail(REEL_ERR_ARG,
                     "%s is of another run; it was made with\n  %s\nand this is"
                     "\n  %s",
                     o->checkpoint, then ? then : "another program", now);
}

reel_status resume(const options *o, session *s, progress *p, int64_t *epoch)
{
    if (!o->resume) return REEL_OK;
    if (access(o->checkpoint, F_OK) != 0) {
        printf("no %s yet: beginning at the start\n", o->checkpoint);
        return REEL_OK;
    }
    reel_training run = training_of(s, 0);
    if (!(run.extra = reel_tensor_map_new())) return reel_error_status();
    /* First the options: they explain more than a shape that differs would. */
    reel_status st =
        reel_training_load(&(reel_training){.extra = run.extra}, o->checkpoint);
    if (!st) st = check_options(o, s, run.extra);
    if (!st) st = reel_training_load(&run, o->checkpoint);
    if (!st) st = take(o, run.extra, p);
    reel_tensor_map_free(run.extra);
    if (st) return st;
    *epoch = run.epoch;
    printf("going on from %s: %lld of %lld epochs, %lld steps are done\n", o->checkpoint,
           (long long)run.epoch, (long long)o->epochs,
           (long long)reel_schedule_count(s->schedule));
    return REEL_OK;
}
