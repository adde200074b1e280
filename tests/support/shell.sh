# shellcheck shell=sh
# shell.sh: what the shell tests share. They source it first; it makes an empty folder, goes
# there, and removes it at the end.

program=${REEL_BINARY_DIR:?is the build folder}/examples/resnet_cifar
folder=$(mktemp -d)
child=
trap '[ -z "$child" ] || kill -9 "$child" 2>/dev/null; cd /; rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM
cd "$folder" || exit 1

fail()
{
    echo "FAILED: $*" >&2
    [ ! -s stderr ] || sed 's/^/  stderr: /' stderr >&2
    exit 1
}

# Runs the program and keeps what it says, in stdout and stderr.
run()
{
    "$program" "$@" >stdout 2>stderr
}

# fails STATUS TEXT OPTIONS...: the run ends with this status and says this text on stderr.
fails()
{
    status=$1 text=$2
    shift 2
    rc=0
    run "$@" || rc=$?
    [ "$rc" = "$status" ] || fail "$(basename "$program") $*: exit $rc, expected $status"
    grep -q -e "$text" stderr || fail "$(basename "$program") $*: expected to read \"$text\""
    echo "ok: $*: $(grep -m 1 -e "$text" stderr | cut -c 1-100)"
}

same()
{
    cmp "$1" "$2" || fail "$1 and $2 differ: $3"
}

rows()
{
    if [ -f "$1" ]; then wc -l <"$1"; else echo 0; fi
}
