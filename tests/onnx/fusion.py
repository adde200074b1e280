"""What ONNX Runtime makes of graphs with QuantizeLinear and DequantizeLinear: the table of
docs/quantization-runtimes.md, row by row, on files that `test_onnx_fusion --write FOLDER` wrote:
fusion.py FOLDER. And that results with and without its optimizations are a step apart at most."""
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import both

# Words of the rows: what is left between the quantize in front and the dequantize behind.
# "float": each layer between dequantize and quantize as it was, the weight and an i32 bias too.
FUSED = {
    "conv_relu.13": "QLinearConv",
    "conv_relu.17": "QLinearConv",
    "conv_relu.25": "QLinearConv",
    "conv_clip6.17": "QLinearConv",
    "conv_relu6.17": "QLinearConv",
    "conv_f32_bias.17": "QLinearConv",
    "conv_f32_weight.17": "QLinearConv",
    "conv_no_bias.17": "QLinearConv",
    "conv_depthwise.17": "QLinearConv",
    "conv_s8.17": "QLinearConv",
    "conv_s8_low_relu.17": "QLinearConv",
    "conv_u8_middle.17": "QLinearConv",
    "residual.17": "QLinearConv QLinearAdd",
    "global_average_pool.17": "QLinearGlobalAveragePool",
    "average_pool.17": "QLinearAveragePool",
    "max_pool.17": "MaxPool",
    "linear.17": "Reshape QGemm",
    "linear_no_bias.17": "Reshape QGemm",
    "matmul.17": "QLinearMatMul",
    "concat.17": "QuantizeLinear QLinearConcat",
    "mul.17": "QuantizeLinear QLinearMul",
    "sigmoid.17": "QLinearSigmoid",
    "softmax.17": "QLinearSoftmax",
    "leaky_relu.17": "QLinearLeakyRelu",
}
# Without a quantize behind the last operator.
FLOAT_RESULT = {
    "linear_float_result.17": "QuantizeLinear Reshape QGemm",
    "matmul_float_result.17": "QuantizeLinear MatMulIntegerToFloat",
    "conv_float_result.17": "QuantizeLinear Conv " + 3 * "DequantizeLinear ",
}
IN_FLOAT = {
    "conv_s8_relu.17": "FusedConv",
    "conv_u8_middle_relu.17": "FusedConv",
    "conv_clip6_beyond.17": "FusedConv",
    "conv_leaky.17": "FusedConv",
    "conv_other_bias.17": "Conv",
    "conv_hardswish.17": "Conv HardSigmoid Mul",
    "conv_batch_norm.17": "Conv BatchNormalization",
    "residual_float_branch.17": "Conv Add DequantizeLinear",
    "hardswish.17": "HardSigmoid Mul",
    "tanh.17": "Tanh",
}
STEP = 0.05


def expected(name):
    if name in FLOAT_RESULT:
        words = FLOAT_RESULT[name]
    elif name in FUSED:
        words = "QuantizeLinear DequantizeLinear " + FUSED[name]
    else:
        operators = IN_FLOAT[name]
        words = 2 * "QuantizeLinear DequantizeLinear " + operators
        if "Conv" in operators:
            words += 2 * " DequantizeLinear"
    return Counter(words.split())


def optimized(model, folder, level=both.EXTENDED):
    """A session, and which operators are in its graph."""
    path = folder / "optimized.onnx"
    session = both.session(model, level, path)
    return session, Counter(n.op_type for n in onnx.load(path).graph.node)


def check(name, path, folder, rng):
    session, have = optimized(path, folder)
    if have != expected(name):
        return f"{dict(have)}, expected {dict(expected(name))}"
    shape = [3 if not isinstance(d, int) else d for d in session.get_inputs()[0].shape]
    x = rng.normal(size=shape).astype(np.float32)
    (fused,), (plain,) = session.run(None, {"x": x}), both.in_runtime(path, {"x": x}, both.OFF)
    off = float(np.abs(fused - plain).max())
    return None if off <= STEP * 1.001 else f"off by {off / STEP} steps from itself"


def blocks(dtype, block, rng):
    """x [n,128] times a weight in blocks, and that weight."""
    low, high = {"INT4": (-8, 8), "INT8": (-128, 128)}[dtype]
    q = rng.integers(low, high, (128, 64))
    scale = rng.uniform(0.005, 0.02, (128 // block, 64)).astype(np.float32)
    nodes = [helper.make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0,
                              block_size=block),
             helper.make_node("MatMul", ["x", "w"], ["y"])]
    kept = [helper.make_tensor("q", getattr(TensorProto, dtype), q.shape, q.ravel()),
            helper.make_tensor("z", getattr(TensorProto, dtype), scale.shape,
                               np.zeros(scale.size, np.int8)),
            numpy_helper.from_array(scale, "s")]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [info("x", TensorProto.FLOAT, ["n", 128])],
                              [info("y", TensorProto.FLOAT, None)], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return model.SerializeToString(), (q * np.repeat(scale, block, 0)).astype(np.float32)


def check_blocks(dtype, folder, rng):
    """MatMulNBits quantizes x too unless it is told not to."""
    model, weight = blocks(dtype, 32, rng)
    x = rng.normal(size=(8, 128)).astype(np.float32)
    want = x @ weight
    session, have = optimized(model, folder)
    if have != Counter({"MatMulNBits": 1}):
        return f"{dict(have)}, expected MatMulNBits"
    told = both.session(model, both.ALL, None,
                        {"session.qdq_matmulnbits_accuracy_level": "1"})
    off = [float(np.abs(y - want).max() / np.abs(want).max()) for y in
           (session.run(None, {"x": x})[0], told.run(None, {"x": x})[0],
            both.in_runtime(model, {"x": x}, both.OFF)[0])]
    print(f"{dtype} in blocks: off by {off[0]:.2g} of the largest value, at accuracy level 1 "
          f"{off[1]:.2g}, without optimizations {off[2]:.2g}")
    return None if 1e-3 < off[0] < 0.05 and max(off[1:]) < 1e-5 else "other errors than before"


def main():
    folder = Path(sys.argv[1])
    rng = np.random.default_rng(1)
    rows = {**FUSED, **FLOAT_RESULT, **IN_FLOAT}
    written = {p.name.removesuffix(".onnx"): p for p in folder.glob("*.[0-9]*.onnx")}
    failed = {name: check(name, written[name], folder, rng) for name in rows if name in written}
    failed |= {name: "in the table or in test_onnx_fusion.c alone"
               for name in set(rows) ^ set(written)}
    failed |= {dtype: check_blocks(dtype, folder, rng) for dtype in ("INT4", "INT8")}
    for name, why in failed.items():
        if why:
            print(f"FAILED: {name}: {why}")
    wrong = sum(bool(why) for why in failed.values())
    print(f"ONNX Runtime {both.ort.__version__}: {len(failed)} rows, {wrong} wrong")
    return 1 if wrong or not failed else 0


if __name__ == "__main__":
    sys.exit(main())
