#!/bin/sh
# Programs whose locale has a decimal comma: the tests of graphs, passes, texts and files pass
# there too.
. "$(dirname "$0")/support/comma_locale.sh"
tests=${REEL_BINARY_DIR:?is the build folder}/tests

status=0
passes() # name, command
{
    name=$1
    shift
    if "$@" >"$folder/log" 2>&1; then
        echo "ok: $name"
    else
        tail -40 "$folder/log"
        echo "FAILED: $name"
        status=1
    fi
}
# test_base first: it fails if the locale did not take effect.
for name in base progress safetensors checkpoint_file npy nn op_table hostile_attrs graph_file \
    graph_view graph_pages passes trace executor onnx_file onnx_hostile onnx_import \
    onnx_export; do
    passes "$name" "$tests/test_$name"
done
passes random_graphs "$tests/test_random_graphs" --count 100
exit $status
