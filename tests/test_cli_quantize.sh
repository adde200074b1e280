#!/bin/sh
# `reel quantize` as its users call it, and what the other commands say of what it writes. Where
# there is ONNX Runtime (build/onnx, as `./run test` makes it), it runs the file too.
set -u
source=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/support/shell.sh
. "$(dirname "$0")/support/shell.sh"

"$REEL_BINARY_DIR/examples/trace_export" . >said 2>stderr || fail "trace_export failed"
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

# array FILE DESCR SHAPE: a .npy file; its numbers come from stdin.
array()
{
    {
        printf '\223NUMPY\001\000\166\000'
        printf '%-117s\n' "{'descr': '$2', 'fortran_order': False, 'shape': ($3), }"
        cat
    } >"$1"
}

# rows N: bytes of f32 [N, 3, 32, 32], of both signs and no pattern that 32 columns have.
rows()
{
    : >piece
    for i in 1 0 3 2 1 3 0; do
        # shellcheck disable=SC2059 # the format is what is written: -1, 0.5, and another
        printf "\\000\\000\\200\\277\\000\\000\\000\\077\\000\\000\\${i}00\\076" >>piece
    done
    while [ "$(wc -c <piece)" -lt $(($1 * 12288)) ]; do
        cat piece piece >more && mv more piece
    done
    head -c $(($1 * 12288)) piece
}

rows 12 | array rows.npy '<f4' '12, 3, 32, 32'
mkdir many none
rows 5 | array many/a.npy '<f4' '5, 3, 32, 32'
rows 2 | array many/b.npy '<f4' '2, 3, 32, 32'
echo 'no array' >many/readme.txt

# ---- what it does ------------------------------------------------------------------------------------
ok '^layers   22 of 22 in integers' quantize net.onnx --calibrate rows.npy -o int8.onnx
grep -q 'over 12 rows' stdout || fail "it says: $(cat stdout)"
grep -q 'output0: [2-9][0-9]\.[0-9] dB' stdout || fail "it is far off: $(cat stdout)"
grep -q '^lint' stdout && fail "the linter finds: $(cat stdout)"
grep -q '^size .* -> ' stdout || fail "no sizes: $(cat stdout)"
[ $(($(wc -c <int8.onnx) * 3)) -lt "$(wc -c <net.onnx)" ] || fail "the file is not a third"
grep -q 'calibrate 1/1' stderr || fail "no progress: $(cat stderr)"
grep -a -q 'target ort; method average; rows 12' int8.onnx || fail "the file does not say how it was made"
ok 'over 7 rows' quantize net.onnx --calibrate many -o folder.onnx --batch 4 --strict
ok 'over 4 rows' quantize net.onnx --calibrate many -o part.reel --batch 4 --batches 1
for m in average minmax percentile entropy mse; do
    ok "ranges by $m" quantize net.onnx --calibrate many -o method.reel --method $m
done
ok 'ranges by percentile' quantize net.onnx --calibrate many -o method.reel \
    --method percentile --percentile 99
for t in ort tensorrt per_tensor; do
    ok "for $t" quantize net.onnx --calibrate many -o $t.onnx --target $t --opset 13 --strict
    ok 'all well' check $t.onnx --opset 13
done
ok '22 of 22' quantize net.onnx --calibrate many -o per_tensor.onnx --target per_tensor \
    --equalize --bias-correct
grep -q 'correct' stderr || fail "biases were not corrected: $(cat stderr)"
grep -a -q 'rows 7; equalized; biases corrected' per_tensor.onnx || fail "the file hides it"
# Of one layer, since learning takes its time; nothing is behind a layer norm here.
ok '^layers   1 of 22' quantize net.onnx --calibrate many -o round.onnx --smooth --adaround \
    --exclude 'layer*, conv1' --batch 7
grep -q 'round' stderr || fail "no rounding was learned: $(cat stderr)"
grep -a -q 'rows 7; smoothed; rounding learned; in f32: layer' round.onnx || fail "the file hides it"
ok '^layers   20 of 22' quantize net.onnx --calibrate many -o ends.reel --keep-first --keep-last
grep -q '^float    conv2d conv1: left out by the options' stdout || fail "first: $(cat stdout)"
grep -q '^float    linear fc: left out by the options' stdout || fail "last: $(cat stdout)"
ok '^layers   15 of 22' quantize net.onnx --calibrate many -o some.reel \
    --exclude 'layer1.*.conv1, layer2.*.conv2, fc'
ok 'layer1.1.conv1: left out' quantize net.onnx --calibrate many -o some.reel --exclude 'layer1.1'
cp net.onnx place.onnx
ok '^layers   22' quantize place.onnx --calibrate many -o place.onnx # in its own place
echo "ok: what it does"

# ---- what the others say of it -----------------------------------------------------------------------
ok '^int8    22 layers of 22' info int8.onnx
grep -q '; i8 271[0-9]*' stdout || fail "info does not tell the bytes: $(cat stdout)"
ok 'constants  *2[0-9][0-9] kB' info int8.onnx --nodes
ok '^int8    20 layers of 22' info ends.reel
run info net.onnx
grep -q '^int8' stdout && fail "a graph of floats has integers: $(cat stdout)"
ok '^int8  *22 layers of 22' bench int8.onnx --seconds 0.02
ok '^int8  *0 layers of 22' bench int8.onnx --plain --seconds 0.02
ok 'nodes' view int8.onnx --optimize -o page.html
grep -q 'conv2d_int8' page.html || fail "the page has no layer in integers"
ok '^layer .* dB .*%.*%' compare net.onnx int8.onnx --snr 10 --input rows.npy
grep -q '^layer  *layer2.0.conv1 .*%' stdout || fail "no layer by name: $(cat stdout)"
grep -q '^output .* dB  the same largest in [0-9]* of 12 rows' stdout ||
    fail "no agreement: $(cat stdout)"
fails 1 'less than 200 dB' compare net.onnx int8.onnx --snr 200 --input rows.npy
fails 1 'outputs differ by more than' compare net.onnx int8.onnx
ok 'exact' compare int8.onnx int8.onnx
ok '^layer' compare int8.onnx net.onnx --snr 10 --input rows.npy
run compare net.onnx net.onnx
grep -q '%' stdout && fail "floats are at the ends of a grid: $(cat stdout)"
# A tenth of the range at most: both ends are met.
head -c 100000 /dev/zero | tr '\000' '\101' | head -c 49152 | array loud.npy '<f4' '4, 3, 32, 32'
ok '[1-9][0-9.]*%$' compare net.onnx int8.onnx --snr 1e-9 --input loud.npy
echo "ok: what the others say"

# ---- wrong ---------------------------------------------------------------------------------------------
# shellcheck disable=SC2086 # words of $q are meant to split
{
q='quantize net.onnx -o int8.onnx'
cp int8.onnx before.onnx
fails 2 '--calibrate FILE.npy or FOLDER is missing' $q
fails 2 'the name of a file is missing' quantize --calibrate many -o x.onnx
fails 2 '-o FILE is missing' quantize net.onnx --calibrate many
fails 2 'must end in .onnx or .reel' quantize net.onnx --calibrate many -o x.bin
fails 2 'npu is not a target: ort, tensorrt, per_tensor' $q --calibrate many --target npu
fails 2 'best is not a method' $q --calibrate many --method best
fails 2 '--percentile belongs to' $q --calibrate many --percentile 99
fails 2 'not 20' $q --calibrate many --method percentile --percentile 20
fails 1 'names no operator' $q --calibrate many --exclude nobody
fails 1 'all is left out' $q --calibrate many --exclude '*'
ok nodes optimize net.onnx -o fused.reel
fails 1 'fused.reel is optimized' quantize fused.reel --calibrate many -o x.onnx
fails 1 'int8.onnx has quantized values already' quantize int8.onnx --calibrate many -o x.onnx
fails 1 'nowhere.npy' $q --calibrate nowhere.npy
fails 1 'no .npy file' $q --calibrate none
: >empty.npy
fails 1 'empty.npy' $q --calibrate empty.npy
: | array zero.npy '<f4' '0, 3, 32, 32'
fails 1 'zero.npy: f32\[0,3,32,32\] cannot be .* f32\[n,3,32,32\]' $q --calibrate zero.npy
rows 1 | array flat.npy '<f4' '1, 3072'
fails 1 'flat.npy: f32\[1,3072\] cannot be' $q --calibrate flat.npy
rows 2 | array wide.npy '<f8' '1, 3, 32, 32'
fails 1 'wide.npy: f64\[1,3,32,32\] cannot be' $q --calibrate wide.npy
{ rows 2; printf '\000\000\300\177'; rows 1 | head -c 12284; } | array nan.npy '<f4' '3, 3, 32, 32'
fails 1 'nan.npy: row 2 holds a number that is not finite' $q --calibrate nan.npy
cp nan.npy many/c.npy
fails 1 'many/c.npy: row 2 holds' $q --calibrate many
rm many/c.npy
head -c 5000 net.onnx >cut.onnx
fails 1 'cut.onnx' quantize cut.onnx --calibrate many -o int8.onnx
fails 1 'missing.onnx' quantize missing.onnx --calibrate many -o int8.onnx
mkdir blocked.onnx
fails 1 'blocked.onnx' quantize net.onnx --calibrate many -o blocked.onnx
fails 1 'nowhere/x.onnx' quantize net.onnx --calibrate many -o nowhere/x.onnx
}
same before.onnx int8.onnx "a failure changed the file that was there"
echo "ok: wrong"

# ---- JSON, and ONNX Runtime ----------------------------------------------------------------------------
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
    python3 -c 'import json, sys
d = json.load(open("stdout"))
sys.exit(0 if eval("(" + sys.argv[1] + ")") else 1)' "$condition" ||
        fail "reel $* --json: not so: $condition: $(head -c 2000 stdout)"
}

json 'd["file"] == "int8.onnx" and d["target"] == "ort" and d["rows"] == 12 and d["layers"] == 22
    and d["integer_layers"] == 21 and 0.9 < d["integer_operations"] <= 1 and d["lint"] == "" and
    d["float_layers"] == [{"op": "linear", "where": "fc", "why": "left out by the options"}] and
    3 * d["bytes"] < d["bytes_before"] and d["outputs"][0]["snr_db"] > 15 and
    not d["outputs"][0]["exact"] and 0 <= d["outputs"][0]["top1_agreement"] <= 1 and
    d["quantized_weights"] == 21 and d["quantized_values"] > 21' \
    quantize net.onnx --calibrate rows.npy -o int8.onnx --keep-last --method minmax
json 'd["integer_layers"] == 21 and d["layers"] == 22 and d["state_dtypes"]["i8"] > 270000 and
    d["state_bytes"] < 300000' info int8.onnx
json 'd["integer_layers"] == 21 and d["integer_operations"] > 0.9' bench int8.onnx --seconds 0.02
json 'd["same"] and d["outputs"][0]["snr_db"] > 10 and
    0 <= d["outputs"][0]["top1_agreement"] <= 1 and
    all(0 <= r["at_high_end"] < 0.1 and 0 <= r["at_low_end"] < 0.1 for r in d["layers"]
        if r["name"] not in ("conv1", "fc"))' compare net.onnx int8.onnx --snr 10 --input rows.npy
echo "ok: JSON"

python=$source/build/onnx/bin/python
if ! "$python" -c 'import numpy, onnx, onnxruntime' 2>/dev/null; then
    echo "SKIPPED: ONNX Runtime: build/onnx has none; ./run test sets it up"
    [ "${REEL_REQUIRE_ONNX:-}" = 1 ] && exit 1
    exit 0
fi
ok 'y.npy' run ort.onnx --input rows.npy --output y.npy
"$python" -c '
import numpy, onnx, onnxruntime
meta = {p.key: p.value for p in onnx.load("ort.onnx").metadata_props}
assert meta["quantization"].endswith("; target ort; method average; rows 7"), meta
options = onnxruntime.SessionOptions()
options.optimized_model_filepath = "optimized.onnx"
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
session = onnxruntime.InferenceSession("ort.onnx", options, providers=["CPUExecutionProvider"])
y = session.run(None, {session.get_inputs()[0].name: numpy.load("rows.npy")})[0]
kinds = [n.op_type for n in onnx.load("optimized.onnx").graph.node]
assert kinds.count("QLinearConv") == 21 and "Conv" not in kinds, kinds
ours = numpy.load("y.npy")
step = numpy.unique(numpy.round(numpy.diff(numpy.unique(ours)), 6)).min()
assert abs(ours - y).max() <= 3.01 * step, (abs(ours - y).max(), step)
' || fail "ONNX Runtime does not take the file as it is meant"
echo "ok: ONNX Runtime"

# Graphs that only others write: with a batch size that is fixed, with two outputs, two inputs.
"$python" -c '
import onnx
from onnx import TensorProto, helper
m = onnx.load("net.onnx")
for v in [*m.graph.input, *m.graph.output]:
    v.type.tensor_type.shape.dim[0].dim_value = 3
onnx.save(m, "fixed.onnx")
m = onnx.load("net.onnx")
m.graph.node.append(helper.make_node("Relu", [m.graph.output[0].name], ["other"]))
m.graph.output.append(helper.make_tensor_value_info("other", TensorProto.FLOAT, ["batch", 10]))
onnx.save(m, "two.onnx")
m = onnx.load("net.onnx")
m.graph.node.append(helper.make_node("Add", [m.graph.output[0].name, "more"], ["sum"]))
m.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, ["batch", 10]))
m.graph.output[0].name = "sum"
onnx.save(m, "both.onnx")
' || fail "onnx"
ok 'over 6 rows' quantize fixed.onnx --calibrate many -o fixed.int8.onnx
fails 1 'fixed at 3$' quantize fixed.onnx --calibrate many -o x.onnx --batch 4
rows 2 | array few.npy '<f4' '2, 3, 32, 32'
fails 1 'fixed at 3; there are 2 rows' quantize fixed.onnx --calibrate few.npy -o x.onnx
fails 1 '1 inputs and 2 outputs, expected one of each' quantize two.onnx --calibrate many -o x.onnx
fails 1 'the graph has 2 inputs' quantize both.onnx --calibrate many -o x.onnx
[ ! -e x.onnx ] || fail "a failure wrote a file"
echo "ok: graphs of others"
