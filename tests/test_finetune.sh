#!/bin/sh
# The example of fine-tuning: it makes its weights, takes all of them but the head, and learns;
# with a file it only learns; and it says what is wrong with a file.
set -u
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/support/shell.sh"
program=$REEL_BINARY_DIR/examples/finetune

# learned: of the two losses printed last the second is below half of the first.
learned()
{
    grep loss stdout | tail -n 2 | awk '{ l[NR] = $2 } END { exit !(l[2] < l[1] / 2) }' ||
        fail "it has not learned: $(cat stdout)"
}

# right: most answers are.
right()
{
    awk '/^right/ { ok = $2 > 0.9 } END { exit !ok }' stdout ||
        fail "few answers are right: $(cat stdout)"
}

if ! run weights.safetensors; then
    grep -q 'built without jansson' stderr && exit 77
    fail "it failed"
fi
learned
right
[ "$(grep -c '^loss' stdout)" = 4 ] || fail "it did not train twice: $(cat stdout)"
[ "$(grep '^new' stdout)" = 'new: fc.weight
new: fc.bias' ] || fail "more than the head is new, or less: $(cat stdout)"
head -c 128 features.npy | grep -q -a "'shape': (256, 64" || fail "these are not a features"
echo "ok: $(grep '^right' stdout)"

cp weights.safetensors before.safetensors
run weights.safetensors || fail "it failed with a file"
[ "$(grep -c '^loss' stdout)" = 2 ] || fail "it trained the whole net again"
learned
right
same weights.safetensors before.safetensors "the file was written again"
echo "ok: with a file"

echo 'no weights' >broken.safetensors
fails 1 'broken.safetensors' broken.safetensors 2
