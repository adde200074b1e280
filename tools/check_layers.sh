#!/bin/sh
# Who includes whom? The rooms of src/ stand in one order, and no arrow runs upward:
#
#   base <- { backend, onnx } <- tensor <- ops <- { autograd, trace } <- { nn, optim, data, io }
#        <- { training, quantize }
#
#   base .. trace         headers of their own room and of the rooms below
#   nn, optim, data, io   the public headers of these rooms and those below, base/, and headers
#   and training          of their own room
#   quantize              edits graphs and makes modules of them, so it is at home in all rooms
#                         below: their headers, too
#   examples, tools       the public headers
#   bench                 the public headers; bench/bench_*.c measure one kernel from inside
#   include/reel          public headers of their own room and of the rooms below
#
# One way to a backend's kernels: reel__launch() (backend/registry.c) alone calls `launch`.
#
# A public header counts as its room's: <reel/ops.h> is not for the backend. Tests may include
# anything. Prints each line that breaks the rule and exits 1.
#
# Shares of tensors: only tensor/ names reel_keep() and reel_release(), which count a program's
# (base/shares.h).
#
# And locks: fork() must know all of them, so only base/ names what POSIX calls a mutex or a
# condition; the rest of the library has base/lock.h.
set -u
cd "$(dirname "$0")/.." || exit 2

bad=0
grep -rn -- '->launch(' src | grep -v '^src/backend/registry.c:' && {
    echo "   <-- kernels are run by reel__launch()"
    bad=1
}
grep -rnE 'pthread_(mutex|cond|rwlock|spin)|mtx_|cnd_(init|wait)' src include \
    --include='*.[ch]' --include='*.inc' --include='*.def' | grep -v '^src/base/' && {
    echo "   <-- a lock that fork() does not know: base/lock.h"
    bad=1
}
grep -rnE '\breel_(keep|release)\([^)]' src --include='*.[ch]' | grep -v '^src/tensor/' && {
    echo "   <-- a program's shares; the library's are base/shares.h"
    bad=1
}

find include/reel src examples tools bench \
    \( -name '*.[ch]' -o -name '*.inc' -o -name '*.def' -o -name '*.cu' \) -print 2>/dev/null |
    sort | xargs grep -Hn '^[[:space:]]*#[[:space:]]*include[[:space:]]*[<"]' |
    awk '
BEGIN {
    level["base"] = 0; level["backend"] = level["onnx"] = 1; level["tensor"] = 2
    level["ops"] = 3
    level["autograd"] = level["trace"] = 4
    level["nn"] = level["optim"] = level["data"] = level["io"] = 5
    level["training"] = level["quantize"] = 6
    level["program"] = 7
    # public headers that are not named as their room
    room_of["progress"] = "base"; room_of["profile"] = room_of["custom_op"] = "ops"; room_of["executor"] = "trace"; room_of["compile"] = "nn"
    room_of["reel"] = "program"
    room_of["onnx"] = "trace" # src/onnx/ is the file format alone, reel/onnx.h is of graphs
}

# The room of a source file.
function room(path,    part)
{
    split(path, part, "/")
    if (part[1] == "src") return part[2]
    if (part[1] == "include") return public_room(part[3])
    if (path ~ /^bench\/bench_/) return "kernel bench"
    return "program"
}

# The room of a public header: reel/ops.h belongs to ops.
function public_room(header)
{
    sub(/\.h$/, "", header)
    return header in room_of ? room_of[header] : header
}

# Why `from` may not include `target`, a header of ours; "" if it may.
function offence(from, target, public,    to)
{
    to = target
    sub(/\/.*/, "", to)
    if (public) to = public_room(substr(target, 6))
    if (!(to in level)) return "no such room: " to
    if (!(from in level)) return "no such room: " from
    if (from == to) return ""
    if (public) return level[to] > level[from] ? "runs upward" : ""
    if (from == "program") return "programs use the public headers only"
    if (from == "quantize" && level[to] < level[from]) return ""
    if (level[from] >= 5 && to != "base") return "only the public headers and base/"
    if (level[to] >= level[from]) return level[to] > level[from] ? "runs upward" : "runs sideways"
    return ""
}

{
    path = $0; sub(/:.*/, "", path)
    from = room(path)
    if (from == "kernel bench") next
    target = $0; sub(/^[^<"]*[<"]/, "", target); sub(/[>"].*/, "", target)
    quoted = $0 ~ /include[[:space:]]*"/
    why = ""
    if (!quoted && target ~ /^reel\//) why = offence(from, target, 1)
    else if (quoted && target ~ /\.\./) why = "write the path from src/, without .."
    else if (quoted && target ~ /\// && path ~ /^(src|include)\//) why = offence(from, target, 0)
    else if (quoted && target ~ /\//) {
        # examples/NAME/ holds more sources of examples/NAME.c
        first = target; sub(/\/.*/, "", first)
        if (first in level) why = offence(from, target, 0)
    } else if (path ~ /^include\// && quoted) why = "public headers include <reel/...>"
    if (why != "") { print $0 "   <-- " from ": " why; bad = 1 }
}
END { exit bad }' || bad=1

# REEL__CALLED gives the name of the function in which it stands: one of the public ones.
grep -rnE '^[a-z][^;]*[ *][a-z0-9_]+\(|REEL__CALLED;$' src --include='*.c' | awk '
/REEL__CALLED;$/ {
    if (name !~ /^reel_[a-z]/) { print $0 "   <-- in " name "(), which no program calls"; bad = 1 }
    next
}
{ line = $0; sub(/\(.*/, "", line); sub(/.*[ *:]/, "", line); name = line }
END { exit bad }' || bad=1

# A type that only the source knows begins with reel__, as its functions do.
public=$(cat include/reel/*.h | grep -Eo '\breel_[a-z0-9_]+' | sort -u)
grep -rnE '^(\} |typedef [^;{]*[ *(])reel_[a-z][a-z0-9_]*[);]' src --include='*.[ch]' |
    while IFS= read -r line; do
        name=$(echo "$line" | grep -Eo 'reel_[a-z][a-z0-9_]*[);]' | head -1 | tr -d ');')
        echo "$public" | grep -qx "$name" || echo "$line   <-- internal: reel__${name#reel_}"
    done | grep . && bad=1
exit "$bad"
