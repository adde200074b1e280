#!/bin/sh
# Opened, trained with, shut down and closed twice, the shared library leaves no memory behind, no
# thread and no destructor that would run in what is gone: valgrind says so.
set -eu
command -v valgrind >/dev/null || {
    echo "test_unload_valgrind: valgrind is not installed (Debian: valgrind); not tested" >&2
    exit 77
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
valgrind --quiet --leak-check=full --errors-for-leak-kinds=definite,indirect,possible \
    --show-leak-kinds=all --keep-debuginfo=yes --error-exitcode=9 --log-file="$log" \
    "$REEL_BINARY_DIR/tests/test_unload" cycle || {
    echo "test_unload_valgrind: the program ended with $?; valgrind says:" >&2
    cat "$log" >&2
    exit 1
}
