"""Runs the models that `test_quantize_files --write DIR` wrote in ONNX Runtime: which operators
they become in its optimized graph, and whether it computes what we do.

    quantized.py DIR
"""
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

# What no graph of these targets may have left: layers in f32.
FLOAT = {"Conv", "FusedConv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "Sigmoid",
         "LeakyRelu", "AveragePool", "GlobalAveragePool", "BatchNormalization"}
# Quantized operators of each model.
EXPECTED = {
    "table": {"QLinearConv": 4, "QLinearAdd": 1, "QLinearMul": 1, "QLinearSigmoid": 1,
              "QLinearConcat": 1, "QLinearLeakyRelu": 1, "QLinearAveragePool": 1,
              "QLinearGlobalAveragePool": 1, "QGemm": 1, "MaxPool": 1},
    "resnet20": {"QLinearConv": 21, "QLinearAdd": 9, "QLinearGlobalAveragePool": 1, "QGemm": 1},
    "mobilenet_v2": {"QLinearConv": 52, "QLinearAdd": 12, "QLinearGlobalAveragePool": 1,
                     "QGemm": 1},
}


def optimized(file, folder):
    """Operators of the graph that ONNX Runtime makes of the file, and its session."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # Beyond it, layouts of this machine come in between.
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized")
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(folder / "optimized").graph
    return Counter(node.op_type for node in graph.node), session


def steps(a, b, step):
    """Largest distance, in steps of the last quantizer."""
    return float(np.abs(a.astype(np.float64) - b).max() / step)


def distance(a, b):
    return float(np.linalg.norm(a.astype(np.float64) - b) / np.linalg.norm(b))


def last_step(model):
    """The scale of the last DequantizeLinear."""
    name = [n for n in model.graph.node if n.op_type == "DequantizeLinear"][-1].input[1]
    state = {i.name: i for i in model.graph.initializer}
    return float(onnx.numpy_helper.to_array(state[name]))


def check(file, folder):
    """What is wrong with a file, or None."""
    name, target, opset = file.stem.split(".")
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    x, y, int8 = (np.load(f"{file.with_suffix('')}.{part}.npy") for part in ("x", "y", "int8"))
    counts, session = optimized(file, folder)
    theirs = session.run(None, {session.get_inputs()[0].name: x})[0]
    if target == "tensorrt":
        # For another runtime: here much of it runs in f32, and the rest rounds elsewhere.
        off = distance(theirs, y)
        print(f"{name:14} {target:10} {opset}: off by {off:.4f}")
        return None if off < 0.06 else "other values"
    left = {op: n for op, n in counts.items() if op in FLOAT}
    lacks = {op: n for op, n in EXPECTED[name].items() if counts[op] != n}
    off = steps(theirs, y, last_step(model)), steps(theirs, int8, last_step(model))
    print(f"{name:14} {target:10} {opset}: {sum(EXPECTED[name].values())} in integers, "
          f"{off[0]:.2f} steps from our nodes, {off[1]:.2f} from our integers")
    if off[0] > 3.01 or off[1] > 1.01:
        return "other values"
    if left or lacks:
        return f"left in f32: {left}; expected {lacks}, got {dict(counts)}"
    return None


def main():
    folder = Path(sys.argv[1])
    bad = 0
    files = sorted(folder.glob("*.onnx"))
    for file in files:
        why = check(file, folder)
        bad += why is not None
        if why:
            print(f"{file.name}: {why}")
    print(f"{len(files)} files by ONNX Runtime {ort.__version__}, {bad} wrong")
    return bad or not files


sys.exit(main() != 0)
