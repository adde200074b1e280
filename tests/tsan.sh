#!/bin/sh
# What threads do, under ThreadSanitizer: the pool, the loader, collates, plans, allocators, and kernels
# as plans and training run them. No suppressions: all threads of the library are its own.
#   tests/tsan.sh [CTEST ARGS]
set -eu
cd "$(dirname "$0")/.."
subjects='parallel loader fields executor memory'

targets=
for subject in $subjects; do targets="$targets tests_test_$subject"; done
cmake --preset tsan >/dev/null
# shellcheck disable=SC2086 # a list of words
cmake --build build/tsan -j "$(nproc 2>/dev/null || echo 2)" --target $targets >/dev/null
TSAN_OPTIONS=halt_on_error=1 ctest --test-dir build/tsan --output-on-failure \
    -R "^test_($(echo "$subjects" | tr ' ' '|'))\$" "$@"
