#!/bin/sh
# Files that we export, judged by others: the onnx checker and ONNX Runtime, in the virtual
# environment build/onnx, which `./run test` makes. Without it the test is skipped, or fails
# if REEL_REQUIRE_ONNX=1.
set -u
source=$(cd "$(dirname "$0")/.." && pwd)
python=$source/build/onnx/bin/python

if ! "$python" -c 'import onnx, onnxruntime' 2>/dev/null; then
    echo "build/onnx has no ONNX Runtime: ./run test sets it up"
    [ "${REEL_REQUIRE_ONNX:-}" = 1 ] && exit 1
    exit 77
fi

# Some 5,000 files, each of which is synced: in memory, where there is room in it.
memory=/dev/shm
[ -w "$memory" ] || memory=${TMPDIR:-/tmp}
folder=$(mktemp -d "$memory/reel-onnx-XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

"${REEL_BINARY_DIR:?is the build folder}/tests/test_onnx_export" --write "$folder" &&
    "$python" "$source/tests/onnx/check.py" "$folder"
