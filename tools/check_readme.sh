#!/bin/sh
# Is the program in README.md (its first ```c block) at most 40 lines long, and does it compile
# against the public headers without a warning?
set -u
cd "$(dirname "$0")/.." || exit 2

program=$(awk '/^```c$/ { inside = 1; next } /^```$/ && inside { exit } inside' README.md)
lines=$(printf '%s\n' "$program" | wc -l)
[ -n "$program" ] && [ "$lines" -le 40 ] || {
    echo "check_readme: the program in README.md has $lines lines, must be 1 to 40" >&2
    exit 1
}
printf '%s\n' "$program" | ${CC:-cc} -x c -std=c11 -Wall -Wextra -Wpedantic -Wshadow \
    -Wconversion -Werror -Iinclude -fsyntax-only - || {
    echo "check_readme: the program in README.md does not compile" >&2
    exit 1
}
