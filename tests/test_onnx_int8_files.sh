#!/bin/sh
# Quantized files of others, judged by ONNX Runtime in the virtual environment build/onnx, which
# `./run test` makes. Without it the test is skipped, or fails if REEL_REQUIRE_ONNX=1.
set -u
source=$(cd "$(dirname "$0")/.." && pwd)
python=$source/build/onnx/bin/python
build=${REEL_BINARY_DIR:?is the build folder}

if ! "$python" -c 'import onnx, onnxruntime' 2>/dev/null; then
    echo "build/onnx has no ONNX Runtime: ./run test sets it up"
    [ "${REEL_REQUIRE_ONNX:-}" = 1 ] && exit 1
    exit 77
fi
memory=/dev/shm
[ -w "$memory" ] || memory=${TMPDIR:-/tmp}
folder=$(mktemp -d "$memory/reel-quantized-XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

"$python" "$source/tests/onnx/quantized_nodes.py" "$build/tools/reel" "$folder"
