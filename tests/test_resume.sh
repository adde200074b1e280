#!/bin/sh
# A run computes the same bits on any number of threads, and when it is killed or interrupted
# and goes on from its checkpoint.
set -u
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/support/shell.sh"

small='--samples 200 --batch 8 --epochs 4 --threads 1' # 100 steps
checkpointed="$small --checkpoint run.ckpt --checkpoint-every 5"

# Options as words are meant to split.
# shellcheck disable=SC2086
{
    # The reference, on one thread.
    run $small --log-steps want.csv --log want_epochs.csv --out want ||
        fail "the run failed"
    [ "$(rows want.csv)" = 101 ] || fail "$(rows want.csv) rows are not 100 and a header"

    run $small --threads 2 --workers 2 --log-steps two.csv --out two || fail "the run failed"
    same want.csv two.csv "losses on 1 and on 2 threads"
    same want/resnet20.safetensors two/resnet20.safetensors "weights of 1 and of 2 threads"
    echo "ok: the same on 1 and on 2 threads"

    # start: begins the checkpointed run, and waits until it is a good way on.
    start()
    {
        "$program" $checkpointed --log-steps got.csv --log epochs.csv --out got "$@" \
            >stdout 2>stderr &
        child=$!
        until [ "$(rows got.csv)" -gt "$enough" ]; do
            kill -0 "$child" 2>/dev/null || fail "the run ended too early"
            sleep 0.02
        done
    }
    finish()
    {
        child=
        run $checkpointed --log-steps got.csv --log epochs.csv --out got --resume ||
            fail "the run did not go on"
        grep -q '^going on from run.ckpt' stdout || fail "it began at the start"
        same want.csv got.csv "losses of a run that was stopped"
        same want/resnet20.safetensors got/resnet20.safetensors "weights of a stopped run"
        cut -d , -f 1-6 want_epochs.csv >a # the last column is time
        cut -d , -f 1-6 epochs.csv >b
        same a b "the log by epoch of a run that was stopped"
    }

    # Killed twice. The log has rows beyond the checkpoint then, or half a row.
    enough=20
    start
    kill -9 "$child"
    wait "$child" 2>/dev/null
    [ $? = 137 ] || fail "the run was not killed"
    printf '99,3,0.1' >>got.csv
    enough=50
    start --resume --threads 2
    kill -9 "$child"
    wait "$child" 2>/dev/null
    [ $? = 137 ] || fail "the run was not killed"
    finish
    echo "ok: the same after kill -9, twice"

    # Interrupted: a checkpoint of the very step.
    rm -f run.ckpt got.csv
    enough=30
    start
    kill -INT "$child"
    wait "$child"
    rc=$?
    [ $rc = 130 ] || fail "exit $rc after an interrupt, expected 130"
    grep -q 'resume' stderr || fail "it does not say how to go on"
    done=$(($(rows got.csv) - 1))
    finish
    grep -q " $done steps are done" stdout || fail "step $done was not the checkpoint's"
    echo "ok: the same after an interrupt"

    # A run that is finished only shows what it has; another run's checkpoint is refused.
    finish
    fails 1 'of another run' $checkpointed --lr 0.1 --resume
    cp run.ckpt whole.ckpt
    head -c 5000 whole.ckpt >run.ckpt
    fails 1 'run.ckpt' $checkpointed --resume
    cp whole.ckpt run.ckpt
    dd if=/dev/zero of=run.ckpt bs=1 seek=200000 count=100 conv=notrunc 2>/dev/null
    fails 1 'damaged' $checkpointed --resume
    cp whole.ckpt run.ckpt
    echo 'my notes' >notes
    fails 1 'not a log to go on with' $checkpointed --resume --log-steps notes
    [ "$(cat notes)" = 'my notes' ] || fail "another file was taken for a log"
}
