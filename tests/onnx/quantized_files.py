"""Files that ONNX Runtime's quantizer makes of our float exports, in reel and in ONNX Runtime:
quantized_files.py REEL TRAINER FOLDER, where `test_onnx_fusion --write FOLDER` wrote the nets and
TRAINER is test_graph_fake. Static files go on training for a step too, dynamic ones say why not.

Measure: distance of outputs in steps of the last quantizer, which a dynamic file has not: there it
is 1/255 of the output's range. ONNX Runtime runs without optimizations, for with them it is up to 5
steps from itself on the encoder (its distance is printed). One rounding the other way in a layer is
a step of that layer, and grows on its way through the others: most outputs are within one step,
none is beyond WORST. Without our own optimizations a dynamic file gives ONNX Runtime's numbers."""
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import (CalibrationDataReader, QuantFormat, QuantType,
                                      quantize_dynamic, quantize_static)

import both

SHAPES = {"resnet20": (3, 32, 32), "mobilenet_v2": (3, 32, 32), "encoder": (6, 32)}
KINDS = {  # format, per channel
    "qdq": (QuantFormat.QDQ, False),
    "qdq_each": (QuantFormat.QDQ, True),
    "qoperator": (QuantFormat.QOperator, False),
    "qoperator_each": (QuantFormat.QOperator, True),
    "dynamic": None,
}
BATCHES = (1, 3)
WORST, BEYOND = 3.001, 0.1  # steps; share of the outputs more than one step apart
FLOAT = ("conv2d", "conv2d_fused", "linear", "linear_fused")
INTEGER = ("conv2d_int8", "linear_int8")


class Reader(CalibrationDataReader):
    def __init__(self, name, batches):
        self.left = [{name: x} for x in batches]

    def get_next(self):
        return self.left.pop() if self.left else None


def quantized(net, kind, folder, rng):
    """The quantizer's file, from the float file with batch norms folded, as its makers advise."""
    plain, path = folder / f"{net}.plain.onnx", folder / f"{net}.{kind}.onnx"
    if not plain.exists():
        both.session(folder / f"{net}.onnx", both.BASIC, plain)
    name = both.session(plain).get_inputs()[0].name
    options = {"weight_type": QuantType.QInt8, "reduce_range": not both.exact()}
    if KINDS[kind] is None:
        quantize_dynamic(plain, path, **options)
        return path
    form, each = KINDS[kind]
    batches = [rng.normal(size=(4, *SHAPES[net])).astype(np.float32) for _ in range(2)]
    quantize_static(plain, path, Reader(name, batches), quant_format=form, per_channel=each,
                    activation_type=QuantType.QUInt8, **options)
    return path


def last_step(path):
    """The scale of the output's quantizer; None: there is none."""
    graph = onnx.load(path).graph
    kept = {t.name: t for t in graph.initializer}
    last = next(n for n in graph.node if graph.output[0].name in n.output)
    if last.op_type != "DequantizeLinear":
        return None
    return float(numpy_helper.to_array(kept[last.input[1]]).max())


def layers_left(path, reel, folder):
    """Layers that run on floats once the file is optimized, and those on integers."""
    optimized = folder / "optimized.reel"
    subprocess.run([reel, "optimize", path, "-o", optimized], check=True, capture_output=True)
    said = subprocess.run([reel, "info", optimized, "--json"], check=True, capture_output=True)
    have = json.loads(said.stdout)["operators"]
    return [sum(have.get(name, 0) for name in names) for names in (FLOAT, INTEGER)]


def trained(path, kind, trainer):
    """What is wrong, or None; and what it said."""
    done = subprocess.run([trainer, "--train", path], capture_output=True, text=True, check=False)
    right = (done.returncode == 1 and "no gradient goes through" in done.stdout
             if kind == "dynamic" else done.returncode == 0)
    return not right, done.stdout.strip()


def check(net, kind, reel, trainer, folder, rng):
    """What is wrong, or None; and what was seen."""
    path = quantized(net, kind, folder, rng)
    step, plain, fused = last_step(path), both.session(path, both.OFF), both.session(path)
    name = plain.get_inputs()[0].name
    apart, itself, unoptimized = [], [], []
    for batch in BATCHES:
        feed = {name: rng.normal(size=(batch, *SHAPES[net])).astype(np.float32)}
        (theirs,) = plain.run(None, feed)
        (ours,) = both.in_reel(reel, path, feed, 1, folder)
        as_it_is = theirs
        if kind == "dynamic":
            (as_it_is,) = both.in_reel(reel, path, feed, 1, folder, ["--plain"])
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            raise ValueError(f"{ours.dtype}{list(ours.shape)}, {theirs.dtype}{list(theirs.shape)}")
        unit = step or float(np.ptp(theirs)) / 255
        for to, y in ((apart, ours), (itself, fused.run(None, feed)[0]), (unoptimized, as_it_is)):
            to.append(np.abs(y - theirs).ravel() / unit)
    apart, itself, unoptimized = map(np.concatenate, (apart, itself, unoptimized))
    beyond = float((apart > 1.001).mean())
    floats, integers = layers_left(path, reel, folder)
    seen = (f"{apart.max():.2f} steps apart, {100 * beyond:.1f} % beyond one "
            f"(ONNX Runtime from itself {itself.max():.2f}); "
            f"{integers} layers in integers, {floats} not")
    untrained, said = trained(path, kind, trainer)
    seen += f"\n    {said}"
    wrong = (untrained or apart.max() > WORST or beyond > BEYOND or floats or not integers or
             unoptimized.max() > 1.001)
    return wrong, seen


def main():
    reel, trainer, folder = *sys.argv[1:3], Path(sys.argv[3])
    logging.disable(logging.WARNING)  # what the quantizer would like to be given
    rng = np.random.default_rng(1)
    failed = 0
    for net in SHAPES:
        for kind in KINDS:
            try:
                wrong, seen = check(net, kind, reel, trainer, folder, rng)
            except (both.Refused, ValueError) as error:
                wrong, seen = True, str(error)
            print(f"{'FAILED: ' if wrong else ''}{net} {kind}: {seen}")
            failed += bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
