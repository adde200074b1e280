#!/bin/sh
# A run whose step is a graph has the losses of one whose step is not, goes on after an
# interrupt, and ends like it: with a file that others run.
set -u
source=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/support/shell.sh"

reel=$REEL_BINARY_DIR/tools/reel
small='--samples 160 --batch 8 --epochs 5 --threads 1 --lr 0.02' # 100 steps

# near A B: the losses of two logs differ by less than 1e-4 of their size.
near()
{
    [ "$(rows "$1")" = "$(rows "$2")" ] || fail "$1 and $2 have not as many rows"
    paste -d , "$1" "$2" | awk -F , '
        NR > 1 { d = ($4 - $8) / $4; if (d < 0) d = -d; if (!(d <= 1e-4)) bad = NR }
        END { exit bad != 0 || NR < 10 }' || fail "losses of $1 and $2 differ"
}

# Options as words are meant to split.
# shellcheck disable=SC2086
for model in resnet20 'mlp --ema'; do
    rm -f run.ckpt
    run --model $model $small --log-steps want.csv --out want || fail "the run failed"
    run --model $model $small --log-steps traced.csv --out traced --traced ||
        fail "the traced run failed"
    near want.csv traced.csv
    grep -q 'the step is a graph of [1-9][0-9]* nodes' stdout || fail "no graph ran"
    echo "ok: $model: $(grep 'the step is' stdout)"

    # Interrupted on its way.
    checkpointed="$small --checkpoint run.ckpt --log-steps got.csv --out got --traced"
    rm -f got.csv
    "$program" --model $model $checkpointed --checkpoint-every 1 >stdout 2>stderr &
    child=$!
    until [ "$(rows got.csv)" -gt 12 ]; do
        kill -0 "$child" 2>/dev/null || fail "the run ended too early"
        sleep 0.02
    done
    kill -INT "$child"
    wait "$child"
    rc=$?
    child=
    [ $rc = 130 ] || fail "exit $rc after an interrupt, expected 130"
    fails 1 'of another run' --model $model $small --checkpoint run.ckpt --resume
    run --model $model $checkpointed --resume || fail "it did not go on"
    near want.csv got.csv
    echo "ok: $model: the same after an interrupt"
done

# What it leaves: the file runs, with the names and the facts that were promised.
run --samples 40 --batch 8 --epochs 1 --threads 1 --out out || fail "the run failed"
command=$(grep "python3 -c .*InferenceSession('out/resnet20.onnx')" stdout) ||
    fail "it does not say how to run the file"
grep -q '    reel run out/resnet20.onnx --input out/images.npy' stdout ||
    fail "it does not say how to run the file with reel"
"$reel" run out/resnet20.onnx --input images=out/images.npy --output y.npy >said 2>stderr ||
    fail "the file does not run"
grep -q 'logits -> y.npy' said || fail "reel run said: $(cat said)"
for text in 'disc,square,triangle' '0.5000,0.5000,0.5000' 'test_accuracy' 'resnet20'; do
    grep -q -a -e "$text" out/resnet20.onnx || fail "the file does not say $text"
done
grep -q '</svg>' out/resnet20.html || fail "the page has no picture"
echo "ok: the exported file runs"

# The very line that was printed, where there is an ONNX Runtime (`./run test` makes one).
python=$source/../build/onnx/bin
if "$python/python3" -c 'import onnx, onnxruntime' 2>/dev/null; then
    PATH=$python:$PATH sh -c "$command" >said 2>stderr || fail "$command does not run"
    grep -q '^\[[0-9] [0-9] [0-9] [0-9]\]$' said || fail "$command said: $(cat said)"
    echo "ok: so it does in ONNX Runtime"
    "$python/python3" "$source/onnx/agree.py" "$reel" out/resnet20.onnx || fail "they disagree"
elif [ "${REEL_REQUIRE_ONNX:-}" = 1 ]; then
    fail "build/onnx has no ONNX Runtime: ./run test sets it up"
else
    echo "SKIPPED: the printed line: build/onnx has no ONNX Runtime"
fi

# Without a place for the file: an error, after the weights were saved.
mkdir -p blocked/resnet20.onnx
fails 1 'blocked/resnet20.onnx' --samples 40 --batch 8 --epochs 1 --threads 1 --out blocked
[ -s blocked/resnet20.safetensors ] || fail "the weights were lost"
