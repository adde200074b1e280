#!/bin/sh
# The example of quantization: each row of its table is there, and its file runs in integers, a
# quarter of the size. How good integers are is for test_quantize_flow.
set -u
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/support/shell.sh"
program=$REEL_BINARY_DIR/examples/qat_resnet

# row: the accuracy and the agreement with floats in the row that begins so.
row()
{
    sed -n "s/^$1 *\([0-9.]*\) % *\([0-9.]*\) %$/\1 \2/p" stdout
}

run --samples 160 --epochs 2 --qat-epochs 1 --batch 32 --calibrate 32 --threads 2 || fail "it failed"
for name in float 'PTQ, min-max' 'PTQ, moving average' 'PTQ, percentile' 'PTQ, entropy' \
    'PTQ, mean square error' '  and biases corrected' '  and layers equalized' QAT; do
    [ -n "$(row "$name")" ] || fail "no row of $name: $(cat stdout)"
done
[ "$(row float | cut -d ' ' -f 2)" = 100.00 ] || fail "floats are not as floats"
echo "ok: $(row QAT) after training"

"$REEL_BINARY_DIR/tools/reel" optimize resnet20.int8.onnx -o int8.reel >said ||
    fail "the file is not read"
"$REEL_BINARY_DIR/tools/reel" info int8.reel >info || fail "what was written is not read"
grep -q 'conv2d_int8 21' info || fail "layers are not in integers: $(grep nodes info)"
if grep -q 'conv2d [0-9]' info; then fail "a convolution is in floats: $(grep nodes info)"; fi
float=$(wc -c <resnet20.onnx) int8=$(wc -c <resnet20.int8.onnx)
[ $((int8 * 3)) -lt "$float" ] || fail "$int8 bytes of integers, $float of floats"
echo "ok: $int8 bytes, $float in floats"

fails 2 'not an option' --quick
fails 2 'does not take' --batch none
fails 2 'ort, tensorrt or per_tensor' --target phone
fails 1 'nowhere' --data nowhere
fails 1 'missing.safetensors' --weights missing.safetensors --samples 1280
