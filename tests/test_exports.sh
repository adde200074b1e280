#!/bin/sh
# The shared library exports what the public headers declare: all of it, and nothing else.
set -eu
headers=$(dirname "$0")/../include/reel
library=$REEL_BINARY_DIR/libreel.so
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

nm -D --defined-only "$library" | awk '{ print $3 }' | sort >"$out/exported"
# The name that stands before the first parenthesis of each declaration; comments go first.
cat "$headers"/*.h | sed 's|/\*.*\*/||' |
    awk '/^REEL_API / { line = $0
             while (line !~ /\(/) { getline more; line = line " " more }
             sub(/ *\(.*/, "", line); sub(/.*[ *]/, "", line); print line }' |
    sort >"$out/declared"

[ -s "$out/declared" ] || { echo "no declarations found" >&2; exit 1; }
diff -u "$out/declared" "$out/exported" || {
    echo "test_exports: - is declared and not defined, + is exported and not declared" >&2
    exit 1
}
