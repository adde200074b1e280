#!/bin/sh
# examples/own_optimizer.c learns, and its checkpoint has the same bits eager, as a captured step,
# and after a resume of one by the other.
set -u
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/support/shell.sh"
program=$REEL_BINARY_DIR/examples/own_optimizer

# train STEPS FILE [eager]
train()
{
    run "$@" || fail "own_optimizer $* failed"
}

train 400 step.ckpt
grep -q '^step 400 .* as a graph$' stdout || fail "no graph ran: $(cat stdout)"
loss=$(sed -n 's/.* loss \([0-9.]*\).*/\1/p' stdout)
awk "BEGIN { exit !($loss < 0.001) }" || fail "the loss is $loss, expected below 0.001"
train 400 eager.ckpt eager
grep -q graph stdout && fail "a graph ran: $(cat stdout)"
same eager.ckpt step.ckpt 'a captured step has other bits'
for stop in 1 37 399; do
    rm -f got.ckpt
    train $stop got.ckpt
    train 400 got.ckpt eager
    same got.ckpt step.ckpt "interrupted after $stop steps, resumed eager"
    rm -f got.ckpt
    train $stop got.ckpt eager
    train 400 got.ckpt
    same got.ckpt step.ckpt "interrupted after $stop steps, resumed as a graph"
done
echo 'not a checkpoint' >bad.ckpt
fails 1 bad.ckpt 10 bad.ckpt
fails 2 'STEPS FILE'
echo "ok: $loss"
