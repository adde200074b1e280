#!/bin/sh
# Numbers in texts have a point in every locale: src/base/decimal.h is the one place that prints
# and reads them. Nothing else in src/ reads a floating number, prints one with printf's family,
# or takes a va_list to it, whose format may hold anything; and nobody sets a locale, which
# is the program's that uses us. Prints each statement that breaks the rule and exits 1.
set -u
cd "$(dirname "$0")/.." || exit 2

find src include tools examples -name '*.[ch]' ! -path src/base/decimal.c | sort |
    while read -r file; do
        awk -v file="$file" '
# A statement in one line: calls are longer than a line, strings are written in pieces.
function check(    rest)
{
    if (text ~ /[^_a-z]setlocale *\(/) say("sets a locale")
    if (file !~ /^src\//) return
    if (text ~ /[^_a-z](strto(d|f|ld)|atof|[vfs]*scanf) *\(/) say("reads a number")
    if (text ~ /[^_a-z]v[a-z]*printf *\(/) say("prints what it is given")
    rest = text
    while (match(rest, /[^_a-z](f|s|sn|d|as)?printf *\(/)) {
        rest = substr(rest, RSTART + RLENGTH)
        if (rest ~ /%[-+ #0-9.*]*[lL]?[aefgAEFG]/) { say("prints a number"); return }
    }
}
function say(what)
{
    printf "%s:%d: %s   <-- use base/decimal.h\n", file, begins, what
    bad = 1
}
{
    line = $0
    sub(/^[ \t]*\/?\*.*/, "", line) # comments
    sub(/\/\*.*\*\//, "", line)
    if (text == "") begins = FNR
    text = text " " line
    if (line ~ /[;{}][ \t]*$/ || line == "") { check(); text = "" }
}
END { check(); exit bad }' "$file" || echo bad
    done | { ! grep -v "^bad$"; }
