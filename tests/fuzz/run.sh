#!/bin/sh
# Fuzzes what reads files of strangers: tests/fuzz/run.sh [SECONDS [LIBFUZZER ARGS]].
# Needs clang with libFuzzer. What was found before is kept in build/fuzz/corpus and tried
# first; an input that fails is left in build/fuzz as crash-*, and this exits with 1.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-60}
[ $# -eq 0 ] || shift

cmake --preset fuzz >/dev/null
cmake --build --preset fuzz -j "$(nproc 2>/dev/null || echo 2)" --target fuzz_programs

cd build/fuzz
mkdir -p corpus seeds
./fuzz/seeds seeds
ASAN_OPTIONS=allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1 \
    ./fuzz/fuzz_onnx -max_total_time="$seconds" -max_len=65536 -timeout=10 \
    -rss_limit_mb=2048 -print_final_stats=1 "$@" corpus seeds || exit 1
