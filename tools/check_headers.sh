#!/bin/sh
# Does every public header compile alone, as C11 and as C++17, with gcc and with clang, without
# a warning? Compilers that are not installed are skipped by name, but one must be there.
set -u
cd "$(dirname "$0")/.." || exit 2

warnings='-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror'
bad=0 checked=0

check() # compiler, language, standard, header
{
    # shellcheck disable=SC2086 # a list of words
    echo "#include <reel/$4>" |
        "$1" -x "$2" -std="$3" $warnings -Iinclude -fsyntax-only - && return
    echo "check_headers: <reel/$4> does not compile alone by $1 as $3" >&2
    bad=1
}

for pair in gcc:g++ clang:clang++; do
    cc=${pair%:*} cxx=${pair#*:}
    command -v "$cc" >/dev/null && command -v "$cxx" >/dev/null || {
        echo "check_headers: $cc or $cxx is not installed, skipped"
        continue
    }
    for header in include/reel/*.h; do
        check "$cc" c c11 "${header##*/}"
        check "$cxx" c++ c++17 "${header##*/}"
        checked=$((checked + 2))
    done
done
[ $checked -gt 0 ] || {
    echo "check_headers: no compiler" >&2
    exit 2
}
exit $bad
