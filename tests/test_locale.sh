#!/bin/sh
# Programs whose locale has a decimal comma: the tests of graphs, passes, texts and files pass
# there too. Skipped where there is no localedef (libc-bin), or it knows no locales.
set -u
source=$(cd "$(dirname "$0")/.." && pwd)
tests=${REEL_BINARY_DIR:?is the build folder}/tests
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

command -v localedef >/dev/null || {
    echo "there is no localedef"
    exit 77
}
# It warns of the categories that are not defined: only the one that is defined is taken.
localedef -c -i "$source/tests/locale/comma" "$folder/comma" 2>"$folder/log"
find "$folder/comma" -mindepth 1 ! -name LC_NUMERIC -exec rm -rf {} + 2>/dev/null
[ -f "$folder/comma/LC_NUMERIC" ] || {
    cat "$folder/log"
    echo "localedef makes no locale"
    exit 77
}
unset LC_ALL
export LOCPATH="$folder" LC_NUMERIC=comma REEL_TEST_LOCALE=1

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
# Programs set no locale, whatever the environment says.
passes cli sh "$source/tests/test_cli.sh"
exit $status
