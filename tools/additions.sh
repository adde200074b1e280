#!/bin/sh
# What does an addition cost? Counts, from the tree, the files in which things that are there
# already had to be written, and compares the table in CONTRIBUTING.md with that.
#
#   tools/additions.sh          prints the table
#   tools/additions.sh --check  fails if CONTRIBUTING.md says something else, or if a kind of
#                               addition needs more files than it may
#
# A file counts if it must know the thing: sources, public headers, lists, and what tests need to
# be told (the row of golden values). Generated files do not count, nor do those that use it.
set -u
cd "$(dirname "$0")/.." || exit 2

# row KIND EXAMPLE MOST FILE...
row()
{
    kind=$1 example=$2 most=$3
    shift 3
    [ "$#" -le "$most" ] && [ "$#" -gt 0 ] || {
        echo "additions: $kind ($example): $# files, may be $most: $*" >&2
    }
    printf '| %s | %s | %s |%s\n' "$kind" "$example" "$#" \
        "$(printf ' `%s`' "$@") |"
}

# Files under the rest of the arguments that match the extended pattern.
files()
{
    pattern=$1
    shift
    grep -rlE -- "$pattern" "$@" 2>/dev/null | sort
}

# The files that must know operator $1 with kernel row $2; $3: what else names it in src/backend.
operator()
{
    files "reel__op reel__$1 =|^[A-Z_]+\($1, K_$2|^(PW|KERNEL)\($2,|(^| )OP\($1\)|REEL_API reel_tensor \*reel_$1\(" \
        src include
    [ -z "${3:-}" ] || files "$3" src/backend
    files "(^|[^a-z0-9_])$1=|\"$1\"| $1 " tests/golden/make_golden.py
}

table()
{
    echo '| what | example | files | which |'
    echo '|---|---|---|---|'
    row 'pointwise operator' '`log1p`' 5 $(operator log1p LOG1P | sort -u)
    row 'heavy operator' '`cross_entropy`' 9 \
        $(operator cross_entropy CROSS_ENTROPY 'cross_entropy' | sort -u)
    row "module of one's own" '`examples/03_own_module.c`' 1 \
        $(files 'reel_module_new\(sizeof' examples/03_own_module.c)
    row "optimizer of one's own" '`examples/own_optimizer.c`' 1 \
        $(files 'reel_optim_new\(' examples/own_optimizer.c)
    row 'optimizer of ours' '`reel_sgd`' 3 \
        $(files '^reel_optim \*reel_sgd\(|REEL_API reel_optim \*reel_sgd\(' src include)
    row 'data set of ours' '`reel_cifar10`' 2 \
        $(files '^reel_dataset \*reel_cifar10\(|REEL_API reel_dataset \*reel_cifar10\(' src include)
    row 'pass' '`cse`' 2 \
        $(files '^const reel__pass reel__pass_cse|^(LAST_)?PASS\(cse\)' src/trace/passes)
}

text=$(table 2>&1)
bad=$(printf '%s\n' "$text" | grep -c '^additions:')
if [ "${1:-}" = --check ]; then
    there=$(awk '/^<!-- additions -->$/ { on = 1; next } /^<!-- end -->$/ { on = 0 } on' \
        CONTRIBUTING.md)
    [ "$there" = "$text" ] || {
        echo "additions: the table in CONTRIBUTING.md is not what tools/additions.sh prints" >&2
        exit 1
    }
else
    printf '%s\n' "$text"
fi
[ "$bad" -eq 0 ]
