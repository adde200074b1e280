#!/bin/sh
# Fuzzes what reads files of strangers: tests/fuzz/run.sh [SECONDS [TARGET...]].
# SECONDS for each target that is named (onnx safetensors npy graph image cifar folder csv); with
# none, of all together: half for ONNX, the rest for the others. Needs clang with libFuzzer.
# What was found before is kept in build/fuzz/corpus and tried first; an input that fails is
# left in build/fuzz as crash-*, and this exits with 1.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# -eq 0 ] || shift

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -j "$(nproc 2>/dev/null || echo 2)" --target fuzz_programs

cd build/fuzz
rm -rf seeds
mkdir -p seeds
./fuzz/seeds seeds

# In memory, where there is such a place: one file is written for each input.
memory=/dev/shm
[ -w "$memory" ] || memory=${TMPDIR:-/tmp}
folder=$(mktemp -d "$memory/reel-fuzz-XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

fuzz() # target, seconds
{
    echo "==== $1, $2 s"
    mkdir -p "corpus/$1" "seeds/$1" "$folder/$1"
    export REEL_FUZZ_FOLDER="$folder/$1"
    ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
        "./fuzz/fuzz_$1" -max_total_time="$2" -max_len=65536 -timeout=10 \
        -rss_limit_mb=2048 -print_final_stats=1 "corpus/$1" "seeds/$1"
}

if [ $# -eq 0 ]; then
    fuzz onnx $((seconds / 2))
    for target in safetensors npy graph image cifar folder csv; do
        fuzz "$target" $((seconds / 14 + 1))
    done
else
    for target in "$@"; do fuzz "$target" "$seconds"; done
fi
