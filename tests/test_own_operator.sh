#!/bin/sh
# examples/own_operator.c: gradients are right, it learns, the graph that comes back from a file
# computes the same, and nothing is left.
set -u
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/support/shell.sh"

program=$REEL_BINARY_DIR/examples/own_operator
run || fail "it failed: $(cat stderr)"
grep -q '^gradients of both, and the second one of mish, are right$' stdout ||
    fail "gradients are not right"
awk '/^step/ { if (!first) first = $4; last = $4 }
     END { exit !(last + 0 < first / 20) }' stdout || fail "it does not learn"
grep -q '^the loaded graph is off by 0$' stdout || fail "the loaded graph differs"
grep -q '^0 objects are left$' stdout || fail "objects are left"
[ -s own_operator.onnx ] || fail "there is no ONNX file"
echo "ok: own_operator"
