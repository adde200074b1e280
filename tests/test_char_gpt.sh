#!/bin/sh
# The example of a language model: it learns, writes what it has learned, goes on bit for bit
# after a stop, and its file has the tied weight once.
set -u
source=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/support/shell.sh"
program=$REEL_BINARY_DIR/examples/char_gpt
reel=$REEL_BINARY_DIR/tools/reel

if ! run 120; then
    grep -q 'built without jansson' stderr && exit 77
    fail "it failed"
fi
awk '/^step 0 / { first = $4 } /^step/ { last = $4 } END { exit !(last < first / 2) }' stdout ||
    fail "it has not learned: $(cat stdout)"
tail -n 1 stdout | grep -q -x '2+[0-9+=;]*' || fail "these are not sums: $(tail -n 1 stdout)"
echo "ok: $(tail -n 1 stdout)"

# The same in three parts.
mv char_gpt.ckpt whole.ckpt
for steps in 40 41 120; do run $steps || fail "it failed at $steps steps"; done
same whole.ckpt char_gpt.ckpt "a run in parts does not end as one in whole"
grep -q '^step 100 ' stdout && ! grep -q '^step 40 ' stdout || fail "it did not go on"
echo "ok: it goes on bit for bit"

# The embedding is the head: one initializer in the file.
"$reel" info char_gpt.onnx >info 2>stderr || fail "reel info does not read the file"
[ "$(grep -a -c 'wte.weight' char_gpt.onnx)" -gt 0 ] || fail "the file has no wte.weight"
! grep -q -a 'head.weight' char_gpt.onnx || fail "the file has the tied weight twice"
python=$source/../build/onnx/bin/python3
if "$python" -c 'import onnxruntime' 2>/dev/null; then
    "$python" -c "
import numpy, onnxruntime
s = onnxruntime.InferenceSession('char_gpt.onnx')
y, = s.run(None, {s.get_inputs()[0].name: numpy.zeros((3, 32), numpy.int64)})
assert y.shape == (3, 32, 128) and numpy.isfinite(y).all(), y.shape" ||
        fail "ONNX Runtime does not run the file"
    echo "ok: ONNX Runtime runs the file"
fi

# A text of one's own.
rm char_gpt.ckpt
i=0
while [ $i -lt 40 ]; do echo 'the quick brown fox'; i=$((i + 1)); done >text
run 60 text || fail "it failed with a file"
rm char_gpt.ckpt
echo ok: with a text: "$(tail -n 2 stdout | head -n 1)"
fails 1 'none.txt' 5 none.txt
