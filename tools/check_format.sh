#!/bin/sh
# Is every source formatted as .clang-format says? usage: tools/check_format.sh [--fix]
# Exits 1 with the lines that differ, or formats them with --fix. clang-format 14, because
# every version has its own opinion.
set -u
cd "$(dirname "$0")/.." || exit 2

case ${1:---check} in
--check | --fix) mode=${1:---check} ;;
*)
    echo "usage: tools/check_format.sh [--check | --fix]" >&2
    exit 2
    ;;
esac

for tool in clang-format-14 clang-format ''; do
    [ -n "$tool" ] || {
        echo "check_format: clang-format 14 is needed (Debian: clang-format-14)" >&2
        exit 2
    }
    "$tool" --version 2>/dev/null | grep -q 'version 14\.' && break
done

files=$(find include src tests examples bench tools \
    -name '*.[ch]' -o -name '*.inc' 2>/dev/null | sort)
# shellcheck disable=SC2086 # a list of words
if [ "$mode" = --fix ]; then
    "$tool" --style=file -i $files
    "$tool" --style=file -i $files # its first answer is not always its last
    exit
fi

# shellcheck disable=SC2016,SC2086 # expanded by the inner shell; a list of words
printf '%s\n' $files | xargs -n 8 -P "$(nproc 2>/dev/null || echo 2)" sh -c '
    bad=0
    for file; do
        "$0" --style=file "$file" | diff -u0 --label "$file" --label formatted "$file" - || bad=1
    done
    exit $bad' "$tool" && exit
echo "check_format: run ./run format" >&2
exit 1
