"""Models of one node on quantized operands, drawn at random, in reel and in ONNX Runtime:
quantized_nodes.py REEL FOLDER [SEED]. Integers may differ by one step, since ONNX Runtime rounds
products of scales where reel divides; sums of integers are equal."""
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

import both

EACH = 2  # cases of each row of the table
MICROSOFT = "com.microsoft"
TYPES = {np.dtype(name): getattr(TensorProto, name.upper()) for name in
         ("uint8", "int8", "int32", "int64", "bool")} | {
             np.dtype("float32"): TensorProto.FLOAT, np.dtype("float64"): TensorProto.DOUBLE}


class Draw:
    """A node in the making: operands that are drawn, most of them kept by the file."""

    def __init__(self, rng):
        self.rng, self.names, self.feed, self.kept, self.attributes = rng, [], {}, [], {}
        self.opset = 17
        self.blocks = False

    def one_of(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def size(self, least=1, most=9):
        return int(self.rng.integers(least, most + 1))

    def add(self, array, fed=False):
        array = np.asarray(array)
        name = f"x{len(self.names)}"
        self.names.append(name)
        if fed:
            self.feed[name] = array
        else:
            self.kept.append(numpy_helper.from_array(array, name))

    def absent(self):
        self.names.append("")

    def byte(self):
        return np.dtype(self.one_of("uint8", "int8"))

    def integers(self, shape, dtype, narrow=False):
        info = np.iinfo(dtype)
        low, high = info.min, info.max + 1
        if narrow and dtype == np.int8 and not both.exact():
            low, high = -64, 64
        return self.rng.integers(low, high, shape).astype(dtype)

    def scale(self, shape=(), low=0.005, high=0.05):
        return self.rng.uniform(low, high, shape).astype(np.float32)

    def zero(self, dtype, shape=()):
        info = np.iinfo(dtype)
        return self.rng.integers(info.min // 4, info.max // 4 + 1, shape).astype(dtype)

    def grid(self, dtype, shape=(), may_lack=False, **range_):
        """Scale and zero point, as the next two operands."""
        self.add(self.scale(shape, **range_))
        if may_lack and self.rng.random() < 0.3:
            self.absent()
        else:
            self.add(self.zero(dtype, shape))

    def quantized(self, shape, dtype, may_lack=False):
        """An operand that is fed, its scale and its zero point."""
        self.add(self.integers(shape, dtype), fed=True)
        self.grid(dtype, may_lack=may_lack)


# ---- the rows: each draws operands and attributes --------------------------------------------


def planes(d, channels):
    return (d.one_of(1, 3), channels, d.size(4, 9), d.size(4, 9))


def window(d, x, kernel):
    a = d.attributes
    if d.rng.random() < 0.2:
        a["auto_pad"] = d.one_of("SAME_UPPER", "SAME_LOWER", "VALID")
    else:
        a["pads"] = [int(d.rng.integers(0, k)) for k in kernel * 2]
    a["strides"] = [d.size(1, 2) for _ in kernel]
    return x


def filters(d):
    """x, the weight's shape and the attributes of a convolution."""
    groups = d.one_of(1, 1, 2, 4)
    channels, kernel = groups * d.size(1, 3), (d.size(1, 3), d.size(1, 3))
    x = planes(d, channels)
    d.attributes |= {"group": groups, "kernel_shape": kernel}
    if d.rng.random() < 0.3 and "auto_pad" not in d.attributes:
        d.attributes["dilations"] = [1, 2] if x[3] > 5 else [1, 1]
    window(d, x, kernel)
    return x, (groups * d.size(1, 3), channels // groups, *kernel)


def bias(d, n):
    if d.rng.random() < 0.7:
        d.add(d.rng.integers(-2000, 2000, n).astype(np.int32))


def conv_types(d):
    """ONNX Runtime has no kernel of i8 by u8."""
    return [np.dtype(t) for t in d.one_of(("uint8", "int8"), ("int8", "int8"),
                                          ("uint8", "uint8"))]


def weight_grid(d, dtype, n):
    """Per channel zero points differ only where there is one: ONNX Runtime wants them equal."""
    each = d.rng.random() < 0.6
    d.add(d.scale((n,) if each else ()))
    if dtype == np.int8:
        d.add(np.zeros((n,) if each and d.rng.random() < 0.5 else (), dtype))
    else:
        d.add(d.zero(dtype))


def qlinear_conv(d):
    x, w = filters(d)
    a, b = conv_types(d)
    d.quantized(x, a)
    d.add(d.integers(w, b, narrow=True))
    weight_grid(d, b, w[0])
    d.grid(a, low=0.05, high=0.3)
    bias(d, w[0])


def qlinear_conv_of_lines(d):
    a, b = conv_types(d)
    c, k = d.size(1, 4), d.size(1, 4)
    d.attributes["pads"] = [0, 1]
    d.quantized((2, c, 9), a)
    d.add(d.integers((k, c, 3), b, narrow=True))
    weight_grid(d, b, k)
    d.grid(a, low=0.05, high=0.3)
    bias(d, k)


def channels_last_conv(d):
    x, w = filters(d)
    d.attributes["channels_last"] = 1
    a, b = np.dtype("uint8"), np.dtype("int8")
    d.quantized((x[0], *x[2:], x[1]), a)
    d.add(d.integers(w, b, narrow=True))
    weight_grid(d, b, w[0])
    d.grid(a, low=0.05, high=0.3)
    bias(d, w[0])


def conv_integer(d):
    x, w = filters(d)
    d.add(d.integers(x, np.uint8), fed=True)
    b = d.byte()
    d.add(d.integers(w, b, narrow=True))
    if d.rng.random() < 0.8:
        d.add(d.zero(np.uint8), fed=d.rng.random() < 0.5)
        if d.rng.random() < 0.7:
            d.add(d.zero(b))


def matrices(d):
    k, n = d.size(1, 40), d.size(1, 9)
    batch = d.one_of((), (), (2,), (3, 2))
    return (*batch, d.size(), k), (k, n)


def qlinear_matmul(d):
    x, w = matrices(d)
    a, b = [np.dtype(t) for t in d.one_of(("uint8", "int8"), ("int8", "int8"),
                                          ("uint8", "uint8"))]
    d.quantized(x, a)
    fed = d.rng.random() < 0.3
    if fed:
        w = (*x[:-2], *w)
    d.add(d.integers(w, b, narrow=True), fed)
    if fed:
        d.grid(b)
    else:
        weight_grid(d, b, w[1])
    d.grid(a, low=0.1, high=0.3)


def matmul_integer(d):
    x, w = matrices(d)
    a, b = d.byte(), d.byte()
    if a == np.int8:
        b = a
    d.add(d.integers(x, a), fed=True)
    fed = d.rng.random() < 0.3
    d.add(d.integers((*x[:-2], *w) if fed else w, b, narrow=True), fed)
    if d.rng.random() < 0.8:
        d.add(d.zero(a), fed=d.rng.random() < 0.5)
        if d.rng.random() < 0.7:
            each = not fed and d.rng.random() < 0.5
            d.add(d.zero(b, (w[1],) if each else ()))


def matmul_to_float(d):
    x, w = matrices(d)
    a, b = d.byte(), d.byte()
    each = (w[1],) if d.rng.random() < 0.5 else ()
    d.add(d.integers(x, a), fed=True)
    d.add(d.integers(w, b, narrow=True))
    d.add(d.scale())
    d.add(d.scale(each))
    if d.rng.random() < 0.8:
        d.add(d.zero(a))
        d.add(d.zero(b, each)) if d.rng.random() < 0.7 else d.absent()
        if d.rng.random() < 0.5:
            d.add(d.rng.normal(size=w[1]).astype(np.float32))


def dynamic_matmul(d):
    x, w = matrices(d)
    b = d.byte()
    each = (w[1],) if d.rng.random() < 0.5 else ()
    d.add(d.rng.normal(size=x).astype(np.float32), fed=True)
    d.add(d.integers(w, b, narrow=True))
    d.add(d.scale(each))
    d.add(d.zero(b, each)) if d.rng.random() < 0.7 else d.absent()
    if d.rng.random() < 0.5:
        d.add(d.rng.normal(size=w[1]).astype(np.float32))


def qgemm(d):
    m, k, n = d.size(), d.size(1, 40), d.size()
    turn_x, turn_y = d.one_of(0, 1), d.one_of(0, 1)
    d.attributes |= {"transA": turn_x, "transB": turn_y, "alpha": d.one_of(1.0, 1.0, 0.5)}
    d.quantized((k, m) if turn_x else (m, k), np.dtype("uint8"))
    b = d.byte()
    d.add(d.integers((n, k) if turn_y else (k, n), b, narrow=True))
    each = (n,) if d.rng.random() < 0.5 else ()
    d.add(d.scale(each))
    d.add(np.zeros(each, b) if b == np.int8 else d.zero(b, each))
    shape = d.one_of(None, (n,), (n,), (1, n), (m, n))
    d.add(d.rng.integers(-2000, 2000, shape).astype(np.int32)) if shape else d.absent()
    if d.rng.random() < 0.6:
        d.grid(np.dtype("uint8"), low=0.1, high=0.3)


def pair(d):
    t = d.byte()
    shape = (d.size(), d.size(), d.size())
    other = d.one_of(shape, (1, *shape[1:]), shape[1:], (shape[2],), ())
    for s in d.one_of((shape, other), (other, shape)):
        d.add(d.integers(s, t), fed=True)
        d.grid(t)
    d.grid(t)


def qlinear_where(d):
    t = d.byte()
    shape = (d.size(), d.size())
    d.add(d.rng.random(shape) < 0.5, fed=True)
    for _ in range(2):
        d.quantized(shape, t)
    d.grid(t)


def qlinear_concat(d):
    t = d.byte()
    shape, axis = [d.size(), d.size(), d.size()], d.size(0, 2)
    d.attributes["axis"] = axis
    d.grid(t)
    for _ in range(d.size(1, 4)):
        shape[axis] = d.size()
        d.quantized(shape, t)


def unary(d):
    t = d.byte()
    d.quantized((d.size(), d.size(), d.size()), t, may_lack=True)
    d.grid(t, may_lack=True)


def leaky(d):
    unary(d)
    if d.rng.random() < 0.7:
        d.attributes["alpha"] = float(d.rng.uniform(0.01, 0.5))


def qlinear_softmax(d):
    t = d.byte()
    # of one element ONNX Runtime (1.31) makes 0 where that is 1
    d.quantized((d.size(2), d.size(2), d.size(2)), t, may_lack=True)
    d.add(np.float32(1 / 256))
    d.add(t.type(np.iinfo(t).min))
    d.attributes |= {"axis": d.one_of(-1, 1, 2), "opset": d.one_of(11, 13)}


def average(d):
    t = d.byte()
    kernel = (d.size(1, 3), d.size(1, 3))
    x = window(d, planes(d, d.size()), kernel)
    d.attributes |= {"kernel_shape": kernel, "count_include_pad": d.one_of(0, 1)}
    last = d.attributes["channels_last"] = d.one_of(0, 1)
    d.quantized((x[0], *x[2:], x[1]) if last else x, t)
    d.grid(t)


def global_average(d):
    t = d.byte()
    x = planes(d, d.size())
    last = d.attributes["channels_last"] = d.one_of(0, 1)
    d.quantized((x[0], *x[2:], x[1]) if last else x, t)
    d.grid(t)


def max_pool(d):
    kernel = (d.size(1, 3), d.size(1, 3))
    x = window(d, planes(d, d.size()), kernel)
    d.attributes["kernel_shape"] = kernel
    d.add(d.integers(x, d.byte()), fed=True)


def place(d, t, many, may_lack=True):
    """Scale and zero point for x [2,4,6]: one, or some along an axis, or blocks."""
    kind, axis = d.one_of(*many), d.size(0, 2)
    if kind == "one":
        return d.grid(t, may_lack=may_lack)
    shape = [2, 4, 6]
    d.attributes["axis"] = d.one_of(axis, axis - 3)
    if kind == "axis":
        return d.grid(t, (shape[axis],), may_lack=may_lack)
    d.attributes["block_size"] = 2
    d.blocks = True
    shape[axis] //= 2
    return d.grid(t, tuple(shape), may_lack=may_lack)


def quantize(d, many=("one", "axis")):
    d.add(d.rng.normal(scale=2, size=(2, 4, 6)).astype(np.float32), fed=True)
    place(d, d.byte(), many)


def quantize_13(d):
    d.opset = 13
    quantize(d)


def quantize_21(d):
    d.opset = d.one_of(21, 23)
    quantize(d, ("one", "axis", "blocks"))
    if not d.names[-1]:
        d.attributes["output_dtype"] = d.one_of(TensorProto.INT8, TensorProto.UINT8)


def dequantize(d, many=("one", "axis")):
    t = d.byte()
    d.add(d.integers((2, 4, 6), t), fed=True)
    place(d, t, many)


def dequantize_13(d):
    d.opset = 13
    dequantize(d)


def dequantize_21(d):
    d.opset = d.one_of(21, 23)
    dequantize(d, ("one", "axis", "blocks"))


def dequantize_23(d):
    d.opset = 23
    dequantize(d, ("one", "axis", "blocks"))
    d.attributes["output_dtype"] = d.one_of(TensorProto.FLOAT, TensorProto.FLOAT16)


def quantize_23(d):
    d.opset = 23
    quantize(d)
    d.attributes["precision"] = TensorProto.FLOAT


def dequantize_i32(d):
    d.opset = d.one_of(13, 17, 21)
    d.add(d.rng.integers(-99999, 99999, (4, 6)).astype(np.int32), fed=True)
    axis = d.attributes["axis"] = d.one_of(0, 1)
    d.add(d.scale(d.one_of((), ((4, 6)[axis],))))


def dynamic_quantize(d):
    shift = d.one_of(0, 0, 5, -5)
    d.add((d.rng.normal(size=(3, d.size(2, 9))) + shift).astype(np.float32), fed=True)


ROWS = [
    ("QLinearConv", "", qlinear_conv),
    ("QLinearConv", "", qlinear_conv_of_lines),
    ("QLinearConv", MICROSOFT, channels_last_conv),
    ("ConvInteger", "", conv_integer),
    ("QLinearMatMul", "", qlinear_matmul),
    ("MatMulInteger", "", matmul_integer),
    ("MatMulIntegerToFloat", MICROSOFT, matmul_to_float),
    ("DynamicQuantizeMatMul", MICROSOFT, dynamic_matmul),
    ("QGemm", MICROSOFT, qgemm),
    ("QLinearAdd", MICROSOFT, pair),
    ("QLinearMul", MICROSOFT, pair),
    ("QLinearWhere", MICROSOFT, qlinear_where),
    ("QLinearConcat", MICROSOFT, qlinear_concat),
    ("QLinearSigmoid", MICROSOFT, unary),
    ("QLinearLeakyRelu", MICROSOFT, leaky),
    ("QLinearSoftmax", MICROSOFT, qlinear_softmax),
    ("QLinearAveragePool", MICROSOFT, average),
    ("QLinearGlobalAveragePool", MICROSOFT, global_average),
    ("MaxPool", "", max_pool),
    ("QuantizeLinear", "", quantize_13),
    ("QuantizeLinear", "", quantize_21),
    ("QuantizeLinear", MICROSOFT, quantize),
    ("DequantizeLinear", "", dequantize_13),
    ("DequantizeLinear", "", dequantize_21),
    ("DequantizeLinear", "", dequantize_23),
    ("QuantizeLinear", "", quantize_23),
    ("DequantizeLinear", "", dequantize_i32),
    ("DequantizeLinear", MICROSOFT, dequantize),
    ("DynamicQuantizeLinear", "", dynamic_quantize),
]


# ---- running ------------------------------------------------------------------------------------


def model_of(op, domain, d):
    outputs = ["y", "s", "z"] if op == "DynamicQuantizeLinear" else ["y"]
    while not domain and not d.names[-1]:  # ONNX Runtime's own operators want them named
        d.names.pop()
    node = helper.make_node(op, d.names, outputs, "the node", domain=domain, **d.attributes)
    values = [helper.make_tensor_value_info(n, TYPES[x.dtype], x.shape)
              for n, x in d.feed.items()]
    undefined = [onnx.ValueInfoProto(name=n) for n in outputs]
    graph = helper.make_graph([node], "g", values, undefined, d.kept)
    opsets = [helper.make_opsetid("", d.opset)]
    if domain:
        opsets.append(helper.make_opsetid(domain, 1))
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def difference(op, ours, theirs):
    """None, or what is wrong."""
    if ours.dtype != theirs.dtype or ours.shape != theirs.shape:
        return f"{ours.dtype}{list(ours.shape)}, {theirs.dtype}{list(theirs.shape)}"
    if ours.dtype.kind == "f":
        off = np.abs(ours - theirs).max(initial=0)
        most = 1e-5 * max(1, np.abs(theirs).max(initial=0))
        return None if off <= most else f"off by {off}"
    steps = np.abs(ours.astype(np.int64) - theirs).max(initial=0)
    most = 1 if ours.dtype.itemsize == 1 and op != "MaxPool" else 0
    return f"{steps} steps apart" if steps > most else None


def main():
    reel, folder = sys.argv[1], Path(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    rng = np.random.default_rng(seed)
    ran, skipped, failed = Counter(), Counter(), []
    for op, domain, draw in ROWS:
        row = draw.__name__ + " " + op
        for i in range(3 * EACH):
            if ran[row] == EACH:
                break
            d = Draw(rng)
            draw(d)
            model = model_of(op, domain, d).SerializeToString()
            try:
                theirs = both.in_runtime(model, d.feed, both.OFF)
            except (ort_errors.Fail, ort_errors.NotImplemented, ort_errors.InvalidArgument,
                    ort_errors.InvalidGraph, ort_errors.RuntimeException) as error:
                skipped[f"{row}: {str(error)[-150:]}"] += 1
                continue
            path = folder / "node.onnx"
            path.write_bytes(model)
            ran[row] += 1
            try:
                ours = both.in_reel(reel, path, d.feed, len(theirs), folder)
                whys = [difference(op, a, b) for a, b in zip(ours, theirs)]
            except both.Refused as error:
                whys = [str(error)]
            for why in filter(None, whys):
                failed.append(f"{row}, case {i}: {why}")
    for reason, n in sorted(skipped.items()):
        print(f"ONNX Runtime refuses {n}: {reason}")
    for line in failed:
        print(f"FAILED (seed {seed}): {line}")
    short = [f"{d.__name__} {op}" for op, _, d in ROWS if ran[f"{d.__name__} {op}"] < EACH]
    for row in short:
        print(f"FAILED: {row}: only {ran[row]} cases, {EACH} are wanted")
    print(f"{sum(ran.values())} models of {len(ROWS)} rows, {len(failed)} differ")
    return 1 if failed or short else 0


if __name__ == "__main__":
    sys.exit(main())
