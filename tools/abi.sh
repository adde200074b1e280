#!/bin/sh
# The public ABI beside that of the release before, by libabigail:
#   tools/abi.sh check [BUILD]   every function and struct that went or changed is named in
#                                CHANGELOG.md, in "Changed" or "Removed" of what is unreleased
#   tools/abi.sh show [BUILD]    what changed, at length
#   tools/abi.sh write [BUILD]   this is the release from now on (tests/abi/reel.abi.gz)
# BUILD has a libreel.so that was built with gcc -gctf; build/bare if it is not given. (Of DWARF
# abidw keeps the first entry of a name, which may be a declaration: it would miss functions.)
set -eu
cd "$(dirname "$0")/.."
before=tests/abi/reel.abi.gz
build=${2:-build/bare}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

[ -e "$build/libreel.so" ] || {
    echo "abi: no $build/libreel.so: cmake --preset bare && cmake --build build/bare" >&2
    exit 2
}
abidw --ctf --headers-dir include --drop-private-types --no-show-locs --no-comp-dir-path \
    --no-corpus-path "$build/libreel.so" >"$work/now.abi" 2>"$work/said" || true
grep -q "elf-symbol-id='reel_version'" "$work/now.abi" || {
    cat "$work/said" >&2
    echo "abi: abidw finds no types; the library is to be built with gcc -gctf" >&2
    exit 2
}

# Harmless to it are names of members, too, by which programs are written.
# abidiff's exit status: bit 0 an error, bit 1 a wrong call, bits 2 and 3 that something changed.
compare()
{
    gzip -dc "$before" >"$work/before.abi"
    status=0
    abidiff --harmless "$@" "$work/before.abi" "$work/now.abi" >"$work/report" || status=$?
    [ $((status & 3)) = 0 ] || { cat "$work/report" >&2; exit 2; }
}

is_public() # a struct or enum that a header defines
{
    grep -Eqs "^(typedef )?(struct|enum) $1 \{" include/reel/*.h
}

# Structs that headers only name are not part of it.
changed_names()
{
    sed -nE "s/^ *\[[DC]\] .*function .* \*?(reel_[a-z0-9_]+)\(.*/\1/p" "$work/report"
    sed -nE "s/^'(struct|enum) (reel_[a-z0-9_]+)( at [^']*)?' changed:.*/\2/p" "$work/report" |
        while read -r name; do
            if is_public "$name"; then echo "$name"; fi
        done
}

case ${1:-} in
check)
    compare --leaf-changes-only --no-added-syms
    awk '/^## / { on = /Unreleased/; part = 0 } /^### / { part = /Changed|Removed/ } on && part' \
        CHANGELOG.md >"$work/unreleased"
    missing=0
    for name in $(changed_names | sort -u); do
        grep -qw "$name" "$work/unreleased" && continue
        echo "abi: $name went or changed, and CHANGELOG.md does not name it" >&2
        missing=1
    done
    [ $missing = 0 ] || { echo "abi: see tools/abi.sh show" >&2; exit 1; }
    echo "abi: $(changed_names | sort -u | wc -l) public names went or changed; all are listed"
    ;;
show)
    compare --no-added-syms
    cat "$work/report"
    ;;
write)
    mkdir -p "$(dirname "$before")"
    gzip -9nc "$work/now.abi" >"$before"
    ;;
*)
    sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
