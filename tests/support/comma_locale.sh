# shellcheck shell=sh
# comma_locale.sh: what tests in a locale with a decimal comma share. They source it first; it
# makes the locale, in a folder that goes at the end, and sets it in the environment. Test
# programs take it because of REEL_TEST_LOCALE. Ends with 77, skipped, where there is no localedef
# (libc-bin), or it makes none.
set -u
source=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM

command -v localedef >/dev/null || {
    echo "there is no localedef"
    exit 77
}
# It warns of the categories that are not defined: only the one that is defined is taken.
localedef -c -i "$source/tests/locale/comma" "$folder/comma" 2>"$folder/log"
find "$folder/comma" -mindepth 1 ! -name LC_NUMERIC -exec rm -rf {} + 2>/dev/null
[ -f "$folder/comma/LC_NUMERIC" ] || {
    cat "$folder/log"
    echo "localedef makes no locale"
    exit 77
}
unset LC_ALL
export LOCPATH="$folder" LC_NUMERIC=comma REEL_TEST_LOCALE=1

