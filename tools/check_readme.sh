#!/bin/sh
# Are the programs in README.md (its ```c blocks) at most 40 lines long, and do they compile
# against the public headers without a warning? Is each function that it names in the headers?
# (reel_static is a library.)
set -u
cd "$(dirname "$0")/.." || exit 2

n=$(grep -c '^```c$' README.md)
[ "$n" -gt 0 ] || {
    echo "check_readme: README.md has no program" >&2
    exit 1
}
for i in $(seq "$n"); do
    program=$(awk -v want="$i" '/^```c$/ { inside = ++block == want; next }
                                /^```$/ { inside = 0 } inside' README.md)
    lines=$(printf '%s\n' "$program" | wc -l)
    [ -n "$program" ] && [ "$lines" -le 40 ] || {
        echo "check_readme: program $i in README.md has $lines lines, must be 1 to 40" >&2
        exit 1
    }
    printf '%s\n' "$program" | ${CC:-cc} -x c -std=c11 -Wall -Wextra -Wpedantic -Wshadow \
        -Wconversion -Werror -Iinclude -fsyntax-only - || {
        echo "check_readme: program $i in README.md does not compile" >&2
        exit 1
    }
done

unknown=$(grep -oE '`[^`]*`' README.md | grep -oE '\breel_[a-z0-9_]+' | sort -u | grep -vx reel_static |
    while read -r name; do
        grep -rqE "\b$name\b" include/reel || echo "$name"
    done)
[ -z "$unknown" ] || {
    echo "check_readme: README.md names what no public header has:" $unknown >&2
    exit 1
}
