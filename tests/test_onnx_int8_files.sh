#!/bin/sh
# Quantized files, judged by ONNX Runtime in the virtual environment build/onnx, which `./run test`
# makes: nodes and whole files of others in reel, graphs of ours in ONNX Runtime. Without it the test
# is skipped, or fails if REEL_REQUIRE_ONNX=1.
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
folder=$(mktemp -d "$memory/reel-int8-XXXXXX") || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

failed=0
judge() # script, arguments
{
    script=$1
    shift
    "$python" "$source/tests/onnx/$script" "$@" || failed=1
}
"$build/tests/test_onnx_fusion" --write "$folder" || exit 1
judge quantized_nodes.py "$build/tools/reel" "$folder"
judge fusion.py "$folder"
judge quantized_files.py "$build/tools/reel" "$build/tests/test_graph_fake" "$folder"
exit $failed
