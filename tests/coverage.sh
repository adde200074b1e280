#!/bin/sh
# Which lines and branches of src/ the tests run, against the thresholds that we set
# ourselves: 95 and 85 % of all, 100 and 95 % of parsers and of autograd. Needs gcc, and python3
# with venv and pip: Debian's gcovr 5.2 stops where two functions of a header share a name.
#   tests/coverage.sh [CTEST ARGS]
# It reports, and fails only if a test does. build/coverage/index.html shows every line.
set -eu
cd "$(dirname "$0")/.."
jobs=$(nproc 2>/dev/null || echo 2)

gcovr=build/gcovr/bin/gcovr
[ -x "$gcovr" ] || {
    python3 -m venv --clear build/gcovr
    build/gcovr/bin/python -m pip install --quiet --disable-pip-version-check gcovr==8.8
}
cmake --preset coverage >/dev/null
cmake --build build/coverage -j "$jobs" >build/coverage/build.log 2>&1 || {
    grep -v '^\[ *[0-9]*%\]' build/coverage/build.log
    exit 1
}
find build/coverage -name '*.gcda' -delete
ctest --test-dir build/coverage -j "$jobs" -LE slow --output-on-failure "$@" \
    >build/coverage/tests.log 2>&1 || {
    cat build/coverage/tests.log
    exit 1
}
# Kernels count in registers, so two threads can make a count negative; and some count far.
"$gcovr" --root . --filter src/ --exclude-unreachable-branches --exclude-throw-branches \
    --merge-mode-functions separate --gcov-ignore-parse-errors=negative_hits.warn_once_per_file \
    --gcov-suspicious-hits-threshold 0 -j "$jobs" --json build/coverage/all.json build/coverage \
    >build/coverage/gcovr.log 2>&1 || {
    tail -20 build/coverage/gcovr.log
    exit 1
}
"$gcovr" --root . -a build/coverage/all.json --html-details build/coverage/index.html \
    2>>build/coverage/gcovr.log

met() # percent, threshold
{
    awk -v is="$1" -v least="$2" 'BEGIN { print(is >= least ? "met" : "NOT MET") }'
}

report() # name, threshold of lines, of branches, filters...
{
    name=$1 lines=$2 branches=$3
    shift 3
    summary=$("$gcovr" --root . -a build/coverage/all.json "$@" --print-summary 2>/dev/null |
        sed -n 's/^\(lines\|branches\): \([0-9.]*\)%.*/\1 \2/p')
    l=$(echo "$summary" | sed -n 's/^lines //p')
    b=$(echo "$summary" | sed -n 's/^branches //p')
    printf '%-10s lines %5s %% of %3s: %-8s branches %5s %% of %2s: %s\n' "$name" "$l" \
        "$lines" "$(met "$l" "$lines")" "$b" "$branches" "$(met "$b" "$branches")"
}

report all 95 85
report autograd 100 95 --filter src/autograd/
report parsers 100 95 --filter src/onnx/ --filter src/io/ --filter src/trace/text/ \
    --filter src/data/
