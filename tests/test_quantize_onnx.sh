#!/bin/sh
# Quantized models that we export, run by ONNX Runtime in the virtual environment build/onnx, which
# `./run test` makes: every convolution, sum and linear layer becomes an operator on integers there,
# and computes what ours do. Without it the test is skipped, or fails if REEL_REQUIRE_ONNX=1.
set -u
source=$(cd "$(dirname "$0")/.." && pwd)
python=$source/build/onnx/bin/python

if ! "$python" -c 'import onnx, onnxruntime' 2>/dev/null; then
    echo "build/onnx has no ONNX Runtime: ./run test sets it up"
    [ "${REEL_REQUIRE_ONNX:-}" = 1 ] && exit 1
    exit 77
fi

folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

"${REEL_BINARY_DIR:?is the build folder}/tests/test_quantize_files" --write "$folder" &&
    "$python" "$source/tests/onnx/quantized.py" "$folder"
