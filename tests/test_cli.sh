#!/bin/sh
# The program reel as its users call it, rightly and wrongly: results, exit codes, messages,
# files that stay as they were.
set -u
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/support/shell.sh"

commands='info run bench optimize quantize compare view check ops passes'
"$REEL_BINARY_DIR/examples/trace_export" . >said 2>stderr || fail "trace_export failed"
grep -q 'batch 64: off by' said || fail "trace_export said: $(cat said)"
mv resnet20.onnx net.onnx
program=$REEL_BINARY_DIR/tools/reel

# ok TEXT ARGS...: exit 0, and this text on stdout.
ok()
{
    text=$1
    shift
    run "$@" || fail "reel $*: exit $?"
    grep -q -e "$text" stdout || fail "reel $*: expected to read \"$text\" in: $(cat stdout)"
}

# ---- help, and command lines that are wrong ------------------------------------------------------
ok 'usage: reel COMMAND' -h
ok 'usage: reel COMMAND' --help
ok '^reel [0-9]*\.[0-9]*\.[0-9]*$' --version
for c in $commands; do
    grep -q "^  $c " stdout || run -h
    grep -q "^  $c " stdout || fail "reel -h does not list $c"
    ok "usage: reel $c" "$c" -h
    ok "usage: reel $c" "$c" --help
    grep -q -e --json stdout || fail "reel $c -h does not list --json"
    fails 2 '--bogus is not an option' "$c" --bogus
done
fails 2 'usage: reel COMMAND'
fails 2 'no command train' train
for c in info run bench check 'optimize -o x.onnx' 'view -o x.html' 'compare net.onnx'; do
    # shellcheck disable=SC2086 # words are meant to split
    fails 2 'the name of a file is missing' $c
done
fails 2 'one argument too many' info net.onnx net.onnx
fails 2 'one argument too many' ops all
fails 2 'needs a value' info net.onnx --batch
fails 2 'whole number from 1 to 1048576, not 0' info net.onnx --batch 0
fails 2 ', not 2.5' bench net.onnx --batch 2.5
fails 2 ', not nan' bench net.onnx --seconds nan
fails 2 ', not 1e999' compare net.onnx net.onnx --seed 1e999
fails 2 ', not 12' optimize net.onnx -o x.onnx --opset 12
fails 2 ', not many' run net.onnx --threads many
fails 2 '-o FILE is missing' optimize net.onnx
fails 2 'must end in .onnx or .reel' optimize net.onnx -o x.bin
fails 2 'cannot keep what --tune finds' optimize net.onnx -o x.onnx --tune
fails 2 '-o PAGE.html is missing' view net.onnx
fails 2 'belong together' info net.onnx --gflops 10
fails 1 'names "lint"; passes are' optimize net.onnx -o x.onnx --only lint

# ---- what they do ----------------------------------------------------------------------------------
ok 'input   input0 f32\[7,3,32,32\]' info net.onnx --batch 7 --nodes --gflops 50 --gbytes 10
grep -q 'conv2d 21' stdout || fail "info does not count convolutions"
ok '^input input0 f32\[batch,3,32,32\]' info net.onnx --text
ok 'all well' check net.onnx --opset 13
ok 'were' optimize net.onnx -o opt.reel
ok 'were' optimize net.onnx -o opt.onnx --opset 13
run optimize net.onnx -o exact.reel --exact --log || fail "optimize --exact failed"
grep -q 'changes' stderr || fail "--log says nothing"
ok 'conv2d_fused' info opt.reel
ok 'were' optimize net.onnx -o tuned.reel --tune --batch 2 --threads 1
ok 'all well' check opt.reel
for b in opt.reel opt.onnx exact.reel tuned.reel; do
    ok '^output *output0 ' compare net.onnx $b --batch 3
    ok '^layer *fc ' compare $b net.onnx --seed 5
done
ok '1: f\|nodes' view opt.reel -o page.html --batch 2
grep -q '</svg>' page.html || fail "the page has no picture"
ok 'latency' bench opt.onnx --batch 2 --threads 1 --seconds 0.05 --nodes
ok 'conv2d.*13' ops
ok 'fold_batch_norm' passes

# Two networks that differ, and one that is no such network at all.
"$REEL_BINARY_DIR/examples/resnet_cifar" --samples 40 --batch 8 --epochs 1 --threads 1 \
    --out other >said 2>stderr || fail "resnet_cifar failed"
fails 1 'outputs differ' compare net.onnx other/resnet20.onnx
"$REEL_BINARY_DIR/examples/resnet_cifar" --samples 40 --batch 8 --epochs 1 --threads 1 \
    --model mlp --out other >said 2>stderr || fail "resnet_cifar failed"
ok 'linear' info other/mlp.onnx

# Arrays: what run writes it can read, and all ways to run agree.
ok 'output0 -> y.npy' run net.onnx --input other/images.npy --output y.npy
ok 'output0 -> plain.npy' run net.onnx --plain --input input0=other/images.npy \
    --output plain.npy --threads 1
ok '^output0' run net.onnx --input other/images.npy
[ "$(wc -c <y.npy)" = "$(wc -c <plain.npy)" ] || fail "results differ in shape"
fails 1 'input0=FILE.npy is missing' run net.onnx
fails 1 'one too many' run net.onnx --input y.npy --input y.npy
fails 1 'input0.*4,10' run net.onnx --input y.npy
fails 1 '--output comes 2 times' run net.onnx --input other/images.npy --output a.npy \
    --output b.npy
[ ! -e a.npy ] || fail "an output was written before the error"

# ---- files that are wrong ----------------------------------------------------------------------------
size=$(wc -c <net.onnx)
head -c $((size / 2)) net.onnx >cut.onnx
head -c 3000 opt.reel >cut.reel
: >empty.onnx
echo 'this is not a network' >text.onnx
{ head -c 2000 net.onnx; printf '\377\377\377\377'; tail -c +2005 net.onnx; } >bad.onnx
{ head -c 40 opt.reel; printf '\001\002\003\004'; tail -c +45 opt.reel; } >bad.reel
mkdir -p folder.onnx
mkfifo pipe.onnx
for f in missing.onnx cut.onnx cut.reel empty.onnx text.onnx bad.reel folder.onnx pipe.onnx; do
    for c in info check bench 'run --input y.npy' 'optimize -o out.onnx' 'view -o out.html' \
        'compare net.onnx'; do
        # shellcheck disable=SC2086 # words are meant to split
        fails 1 "$f" $c $f >/dev/null
    done
done
[ ! -e out.onnx ] && [ ! -e out.html ] || fail "something was made of a file that is wrong"
run check cut.onnx --json && fail "a cut file is good"
grep -q '"good": false, "error": ".*cut.onnx' stdout || fail "check said: $(cat stdout)"
run check bad.onnx # four bytes of a weight: still a network, or an error; never a crash
[ $? -le 1 ] || fail "check bad.onnx: exit $?"
fails 1 'outputs differ' compare net.onnx other/mlp.onnx
echo "ok: wrong files"

# ---- places that cannot be written ---------------------------------------------------------------------
mkdir blocked.onnx blocked.reel blocked.html blocked.npy
fails 1 'blocked.onnx' optimize net.onnx -o blocked.onnx
fails 1 'blocked.reel' optimize net.onnx -o blocked.reel
fails 1 'blocked.html' view net.onnx -o blocked.html
fails 1 'blocked.npy' run net.onnx --input other/images.npy --output blocked.npy
fails 1 'nowhere/x.onnx' optimize net.onnx -o nowhere/x.onnx
fails 1 'nowhere/x.html' view net.onnx -o nowhere/x.html
if [ -w /dev/full ]; then
    rc=0
    "$program" ops >/dev/full 2>stderr || rc=$?
    [ $rc = 1 ] || fail "output that was lost: exit $rc"
    grep -q 'cannot write the output' stderr || fail "lost output is not an error"
fi
rc=0
"$REEL_BINARY_DIR/examples/trace_export" nowhere other/resnet20.safetensors >said 2>stderr || rc=$?
[ $rc = 1 ] && grep -q 'nowhere/resnet20.onnx' stderr || fail "trace_export nowhere: $rc"
rc=0
"$REEL_BINARY_DIR/examples/trace_export" --help >said 2>stderr || rc=$?
[ $rc = 2 ] && grep -q 'usage' stderr || fail "trace_export --help: $rc"
rc=0
"$REEL_BINARY_DIR/examples/trace_export" . missing.safetensors >said 2>stderr || rc=$?
[ $rc = 1 ] && grep -q 'missing.safetensors' stderr || fail "trace_export: $rc"
echo "ok: places that cannot be written"

# ---- JSON ----------------------------------------------------------------------------------------------
if ! command -v python3 >/dev/null; then
    echo "SKIPPED: what --json writes: there is no python3"
    exit 0
fi

# json CONDITION ARGS...: one JSON value on stdout, of which the condition on `d` holds.
json()
{
    condition=$1
    shift
    run "$@" --json || fail "reel $* --json: exit $?"
    python3 -m json.tool <stdout >/dev/null || fail "reel $* --json: no JSON"
    python3 -c 'import json, sys
d = json.load(open("stdout"))
sys.exit(0 if eval("(" + sys.argv[1] + ")") else 1)' "$condition" ||
        fail "reel $* --json: not so: $condition: $(head -c 2000 stdout)"
}

json 'd["parameters"] == 271690 and d["batch"] == 4 and d["inputs"][0]["type"] == "f32[4,3,32,32]"
    and len(d["nodes"]) == d["n_nodes"] and abs(sum(n["flops"] for n in d["nodes"]) - d["flops"])
    < 1 and d["flops"] > 3e8 and d["text"].startswith("batch 4")' \
    info net.onnx --batch 4 --nodes --text
json 'd["outputs"][0]["shape"] == [4, 10] and d["outputs"][0]["file"] == "y.npy"' \
    run net.onnx --input other/images.npy --output y.npy
json '0 < d["latency_s"]["best"] <= d["latency_s"]["p50"] <= d["latency_s"]["p99"] <=
    d["latency_s"]["worst"] < 60 and d["runs"] >= 3 and d["threads"] == 1 and d["batch"] == 2 and
    0 < d["lower_bound_bytes"] <= d["arena_bytes"] and d["state_bytes"] > 1e6 and
    d["rows_per_s"] * d["latency_s"]["best"] <= 2.001 and
    sum(n["seconds"] for n in d["nodes"]) > 0' \
    bench net.onnx --batch 2 --threads 1 --seconds 0.05 --nodes
json 'd["nodes"] < d["nodes_before"]' optimize net.onnx -o again.onnx
json 'd["same"] and d["outputs"][0]["error"] < 1e-3 and len(d["layers"]) > 20 and
    max(r["error"] for r in d["layers"]) < 1e-2' compare net.onnx again.onnx
json 'd["file"] == "page.html" and d["nodes"] > 20' view net.onnx -o page.html
json 'd["good"] and d["error"] is None' check net.onnx
json 'len(d) > 100 and {r["name"]: r for r in d}["conv2d"]["onnx_since"] == 13 and
    all((r["onnx_since"] > 0) != bool(r["no_onnx"]) for r in d)' ops
json 'all(r["name"] and r["about"] for r in d) and len(d) > 5' passes
run compare net.onnx other/resnet20.onnx --json && fail "they do not differ"
python3 -c 'import json; assert json.load(open("stdout"))["same"] is False' ||
    fail "compare --json of two that differ"
echo "ok: JSON"
