#!/usr/bin/env python3
"""Writes tests/golden/golden.bin: what PyTorch computes for every record that it can express.

    python3 tests/golden/make_golden.py build/release/tests/test_golden

The argument is the test program that reads the file: asked with --records it prints every
record with its sample inputs, so cases follow the records. Needs torch (2.15); the test does
not. PyTorch computes in f64 on inputs as the dtype under test holds them; results are rounded
to that dtype once.

Format, little endian, read by tests/test_golden.c:
    "REELGOLD"  u32 version  u32 cases
    a case:     text record, text attributes          text: u16 length, bytes
                u8 n, n tensors: inputs               tensor: u8 dtype (255: absent), u8 rank,
                u8 n, n x (u8 place, tensor): results         u32 sizes, elements
                tensor gy; absent: values only        place: output number, 128 + i: input i
                u8 n, n tensors: gradients of inputs         after the call
"""
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import torch
import torch.nn.functional as F

aten = torch.ops.aten
DTYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64,
          torch.int32, torch.int8, torch.uint8, torch.bool]
F32, F64, F16, BF16 = DTYPES[:4]
HALVES = (F16, BF16)
INTS = DTYPES[4:8]
INTEGERS = dict(zip(("i64", "i32", "i8", "u8"), INTS))  # as samples name them
AFTER = 128  # place of input i after the call


class Stat:
    """A statistic: f32 where the operator works on half precision."""

    def __init__(self, t):
        self.t = t


# ---- records in terms of PyTorch ------------------------------------------------------------
# name -> f(a, *inputs) -> result or list of results; a has every attribute: a.dim, a.scale ...

def dims_of(mask, x):
    return [i for i in range(x.dim()) if mask >> i & 1]


def reduced(f):
    """f over the dimensions of the mask, which stay as size 1."""
    return lambda a, x: f(a, x, dims_of(a.mask, x))


def sum_(a, x, dims):
    y = x.sum(dims, keepdim=True) if dims else x.clone()
    if not x.is_floating_point():
        return y.to(torch.int64)
    return y * a.scale / (x.numel() // max(1, y.numel()) if a.mean else 1)


def norm(a, x, dims):
    return ((x * x).sum(dims, keepdim=True) * a.scale + a.eps).sqrt()


def over_each(f):
    def run(a, x, dims):
        y = x != 0
        for d in dims:
            y = f(y, d, keepdim=True)
        return y
    return run


def arg(f):
    def run(a, x, dims):
        if len(dims) == 1:
            return f(x, dims[0], keepdim=True)
        return f(x).reshape([1] * x.dim())
    return run


def through(f):
    """The gradient record of f: (saved input, gradient) -> gradient of the input."""
    def run(a, x, g):
        x = x if x.requires_grad else x.detach().requires_grad_()
        return torch.autograd.grad(f(a, x), x, g, create_graph=True)[0]
    return run


def conv_args(a):
    return dict(stride=a.stride, padding=a.padding, dilation=a.dilation, groups=a.groups)


def max_pool2d(a, x):
    return list(F.max_pool2d(x, a.kernel, a.stride, a.padding, a.dilation, bool(a.ceil_mode),
                             return_indices=True))


def max_pool2d_backward(a, g, index):
    n, c = g.shape[:2]
    out = torch.zeros(n, c, a.size[0] * a.size[1], dtype=g.dtype)
    out.scatter_add_(2, index.flatten(2), g.flatten(2))
    return out.reshape(n, c, *a.size)


def avg_pool2d(a, x):
    return F.avg_pool2d(x, a.kernel, a.stride, a.padding, bool(a.ceil_mode),
                        bool(a.count_include_pad))


def unpooled(f):
    """The gradient of a linear pooling: (gradient) -> gradient of an input of a.size."""
    def run(a, g):
        x = torch.zeros(*g.shape[:2], *a.size, dtype=g.dtype, requires_grad=True)
        return torch.autograd.grad(f(a, x, g), x, g, create_graph=True)[0]
    return run


def batch_norm(a, x, w, b, mean, var, residual, update=False):
    dims = [i for i in range(x.dim()) if i != 1]
    m, v = (mean.clone(), var.clone()) if mean is not None else (None, None)
    y = F.batch_norm(x, m, v, w, b, bool(a.training), a.momentum, a.eps)
    if residual is not None:
        y = y + residual
    if a.relu:
        y = F.relu(y)
    if a.training:
        used, spread = x.mean(dims), x.var(dims, correction=0)
    else:
        used, spread = mean, var
    out = [y, Stat(used), Stat(1 / torch.sqrt(spread + a.eps))]
    return out + [(AFTER + 3, Stat(m)), (AFTER + 4, Stat(v))] if update else out


def fold_batch_norm(a, mean, var, w, b, gamma, beta):
    t = torch.promote_types(mean.dtype, torch.float32)
    s = (gamma.to(t) if gamma is not None else 1) / torch.sqrt(var + a.eps)
    shift = (b.to(t) if b is not None else 0) - mean
    bias = shift * s + (beta.to(t) if beta is not None else 0)
    if w is None:
        return [s, bias]
    column = s.reshape(-1, *[1] * (w.dim() - 1))
    return [(w.to(t) * column).to(w.dtype), bias.to(w.dtype)]


def layer_norm(a, x, w, b):
    dims = list(range(x.dim() - a.dims, x.dim()))
    y = F.layer_norm(x, x.shape[-a.dims:], w, b, a.eps)
    rstd = 1 / torch.sqrt(x.var(dims, correction=0) + a.eps)
    return [y, Stat(x.mean(dims)), Stat(rstd)]


def cross_entropy(a, x, t, w):
    def loss(x, reduction):
        return F.cross_entropy(x, t, w, ignore_index=a.ignore_index, reduction=reduction,
                               label_smoothing=a.smoothing)
    reduction = ("mean", "sum", "none")[a.reduction]
    leaf = x.detach().requires_grad_()
    gradient = torch.autograd.grad(loss(leaf, reduction).sum(), leaf)[0]
    return [loss(x, reduction), gradient]


def attention(a, q, k, v, mask):
    scores = q @ k.transpose(-2, -1) * a.scale
    see = torch.ones(scores.shape[-2:], dtype=torch.bool)
    see = see.tril() if a.causal else see
    if mask is not None and mask.dtype == torch.bool:
        see = see & mask
    elif mask is not None:
        scores = scores + mask
    scores = scores.masked_fill(~see, -torch.inf)
    top = scores.amax(-1, keepdim=True)
    stats = torch.cat([top, (scores - top).exp().sum(-1, keepdim=True)], -1)
    return [torch.softmax(scores, -1) @ v, Stat(stats)]


def attention_backward(a, g, *inputs):
    leaves = [t.detach().requires_grad_() for t in inputs if t is not None]
    y = attention(a, *(leaves if len(leaves) == 4 else leaves + [None]))[0]
    return list(torch.autograd.grad(y, leaves, g))


def pad(a, x):
    sizes = []
    for i in reversed(range(x.dim())):
        sizes += [a.before[i], a.after[i]]
    if x.is_floating_point():
        return F.pad(x, sizes, value=a.value)
    y = F.pad(x, sizes)  # which takes its number through a double
    inside = F.pad(torch.ones_like(x), sizes) != 0
    return torch.where(inside, y, torch.tensor(int(a.value)).to(x.dtype))


def index_add(a, g, index):
    shape = list(g.shape)
    shape[a.dim] = a.size
    return torch.zeros(shape, dtype=g.dtype).index_add(a.dim, index, g)


def slice_(a, x):
    return x.index_select(a.dim, torch.tensor(places(a, x.shape[a.dim]), dtype=torch.int64))


def places(a, n):
    """Elements of a dimension of size n that a slice takes."""
    at = list(range(n))
    return [at[a.start]] if a.how == 2 else at[a.start:a.end:a.step]


def unslice(a, g):
    shape = list(g.shape)
    shape[a.dim] = a.size
    at = torch.tensor(places(a, a.size), dtype=torch.int64)
    return torch.zeros(shape, dtype=g.dtype).index_add(a.dim, at, g)


def reshape(a, x):
    return x.reshape([x.shape[-2 - n] if n < -1 else n for n in made(a)])


def range_(a):
    dtype = DTYPES[a.dtype]
    whole_ = all(isinstance(v, int) for v in (a.start, a.end, a.step))
    return torch.arange(a.start, a.end, a.step, dtype=torch.int64 if whole_ else F64).to(dtype)


def made(a):
    return [a.dim[i] for i in range(a.rank)]


def steps(a, x, s, z):
    """The zero point of faked quantization, which is learned straight through; x / s, rounded;
    where that is inside; and the bound where it is not."""
    low, high = a.a
    zero = z + (torch.clamp(torch.round(z), low, high) - z).detach()
    q = torch.round(x / s) + zero.detach()
    return zero, torch.round(x / s), (q >= low) & (q <= high), \
        torch.where(q < low, low, high).to(x.dtype)


def fake_quantize(a, x, s, z):  # LSQ, LSQ+
    zero, rounded, inside, bound = steps(a, x, s, z)
    through_ = x / s + (rounded - x / s).detach()
    return torch.where(inside, through_, bound - zero) * s


def fake_quantize_slope(a, x, s, z):
    zero, rounded, inside, bound = steps(a, x, s, z)
    return torch.where(inside, rounded.detach() - x / s, bound - zero)


RELUS = dict(
    relu=lambda a, x: F.relu(x), relu6=lambda a, x: F.relu6(x),
    leaky_relu=lambda a, x: F.leaky_relu(x, a.a[0]), elu=lambda a, x: F.elu(x, a.a[0]),
    gelu=lambda a, x: F.gelu(x), gelu_tanh=lambda a, x: F.gelu(x, approximate="tanh"),
    silu=lambda a, x: F.silu(x), hardsigmoid=lambda a, x: F.hardsigmoid(x),
    hardswish=lambda a, x: F.hardswish(x))

ARITH = dict(
    div_trunc=lambda a, x, y: torch.div(x, y, rounding_mode="trunc"),
    div_floor=lambda a, x, y: torch.div(x, y, rounding_mode="floor"),
    fmod=lambda a, x, y: torch.fmod(x, y), remainder=lambda a, x, y: torch.remainder(x, y),
    add=lambda a, x, y: x + y, sub=lambda a, x, y: x - y, mul=lambda a, x, y: x * y,
    div=lambda a, x, y: x / y, add_scaled=lambda a, x, y: torch.add(x, y, alpha=a.a[0]),
    lerp=lambda a, x, y: torch.lerp(*torch.broadcast_tensors(x, y), a.a[0]),
    mul_scalar=lambda a, x: x * whole(a.a[0], x),
    clamp=lambda a, x: torch.clamp(x, whole(a.a[0], x), whole(a.a[1], x)))


def whole(value, x):
    """A scalar attribute, as an integer where x holds integers."""
    return value if x.is_floating_point() else int(value)


TABLE = dict(
    **ARITH, **{name + "_": f for name, f in ARITH.items()},
    **RELUS, relu_=RELUS["relu"],
    **{name + "_grad": through(f) for name, f in RELUS.items()
       if name not in ("relu", "hardsigmoid")},  # as PyTorch cannot differentiate them
    relu_grad=lambda a, y, g: aten.threshold_backward(g, y, 0),
    sigmoid_grad=lambda a, y, g: aten.sigmoid_backward(g, y),
    tanh_grad=lambda a, y, g: aten.tanh_backward(g, y),
    clamp_grad=through(ARITH["clamp"]),
    hardsigmoid_grad=lambda a, x, g: torch.where((x <= -3) | (x >= 3), 0, g / 6),
    pow=lambda a, x, y: torch.pow(x, y), maximum=lambda a, x, y: torch.maximum(x, y),
    minimum=lambda a, x, y: torch.minimum(x, y),
    add_scalar=lambda a, x: x + whole(a.a[0], x),
    pow_scalar=lambda a, x: torch.pow(x, torch.full_like(x, a.a[0])),
    eq=lambda a, x, y: x == y, ne=lambda a, x, y: x != y, lt=lambda a, x, y: x < y,
    le=lambda a, x, y: x <= y, gt=lambda a, x, y: x > y, ge=lambda a, x, y: x >= y,
    logical_and=lambda a, x, y: torch.logical_and(x, y),
    logical_or=lambda a, x, y: torch.logical_or(x, y),
    logical_xor=lambda a, x, y: torch.logical_xor(x, y),
    logical_not=lambda a, x: torch.logical_not(x), isfinite=lambda a, x: torch.isfinite(x),
    where=lambda a, c, x, y: torch.where(c, x, y),
    quantize=lambda a, x, s, z: torch.clamp(torch.round(x / s) + z, *a.a).to(z.dtype),
    dequantize=lambda a, q, s, z: (q.to(F64) - z.to(F64)) * s,
    fake_quantize=fake_quantize, fake_quantize_slope=fake_quantize_slope,
    fake_quantize_inside=lambda a, *x: steps(a, *x)[2].expand(x[0].shape),
    **{name: lambda a, x, f=getattr(torch, name): f(x) for name in (
        "neg abs sign square exp log log1p expm1 sqrt rsqrt reciprocal sin cos tanh erf "
        "floor ceil round sigmoid").split()},
    softplus=lambda a, x: F.softplus(x),
    scale=lambda a, x, s: x * s,
    norm=reduced(norm),
    sum=reduced(sum_), var=reduced(lambda a, x, d: x.var(d, correction=a.scale, keepdim=True)),
    max=reduced(lambda a, x, d: x.amax(d, keepdim=True) if d else x.clone()),
    min=reduced(lambda a, x, d: x.amin(d, keepdim=True) if d else x.clone()),
    argmax=reduced(arg(torch.argmax)), argmin=reduced(arg(torch.argmin)),
    any=reduced(over_each(torch.any)), all=reduced(over_each(torch.all)),
    matmul=lambda a, x, y: x @ y, linear=lambda a, x, w, b: F.linear(x, w, b),
    conv2d=lambda a, x, w, b: F.conv2d(x, w, b, **conv_args(a)),
    conv2d_input=lambda a, g, w: torch.nn.grad.conv2d_input(a.input, w, g, **conv_args(a)),
    conv2d_weight=lambda a, g, x: torch.nn.grad.conv2d_weight(x, a.input, g, **conv_args(a)),
    max_pool2d=max_pool2d, max_pool2d_backward=max_pool2d_backward, avg_pool2d=avg_pool2d,
    avg_pool2d_backward=unpooled(lambda a, x, g: avg_pool2d(a, x)),
    adaptive_avg_pool2d=lambda a, x: F.adaptive_avg_pool2d(x, a.size),
    adaptive_avg_pool2d_backward=unpooled(
        lambda a, x, g: F.adaptive_avg_pool2d(x, g.shape[2:])),
    batch_norm=batch_norm, batch_norm_update=lambda a, *x: batch_norm(a, *x, update=True),
    layer_norm=layer_norm, fold_batch_norm=fold_batch_norm,
    softmax=lambda a, x: torch.softmax(x, a.dim),
    softmax_backward=lambda a, g, y: y * (g - (g * y).sum(a.dim, keepdim=True)),
    log_softmax=lambda a, x: torch.log_softmax(x, a.dim),
    log_softmax_backward=lambda a, g, y: g - y.exp() * g.sum(a.dim, keepdim=True),
    logsumexp=lambda a, x: torch.logsumexp(x, a.dim, keepdim=True),
    cross_entropy=cross_entropy, squared_error=lambda a, x, t: (x - t) ** 2,
    bce_with_logits=lambda a, x, t: F.binary_cross_entropy_with_logits(x, t, reduction="none"),
    attention=attention,
    index_select=lambda a, x, i: x.index_select(a.dim, i), index_add=index_add,
    gather=lambda a, x, i: x.gather(a.dim, i),
    scatter_add=lambda a, x, i, s: x.scatter_add(a.dim, i, s),
    one_hot=lambda a, i: F.one_hot(i, a.size).to(DTYPES[a.dtype]),
    reshape=reshape, permute=lambda a, x: x.permute(made(a)),
    expand=lambda a, x: x.expand(made(a)), slice=slice_, unslice=unslice,
    copy=lambda a, x: x.to(DTYPES[a.dtype]), copy_=lambda a, x, y: y.clone(),
    fill_=lambda a, x: torch.full_like(x, a.value),
    cat=lambda a, *x: torch.cat(x, a.dim), pad=pad,
    flip=lambda a, x: x.flip(dims_of(a.mask, x)),
    full=lambda a: torch.full(made(a), a.value, dtype=DTYPES[a.dtype]),
    arange=range_,
    linspace=lambda a: torch.linspace(a.start, a.end, a.dim[0], dtype=F64).to(DTYPES[a.dtype]),
)

# Integers that no double holds; the ends of the range are doubles.
LARGE = "i64[64] in -9223372036854775808..9223372036854774784"

# More samples than the records have: where rounding adds up, vector tails, other paths.
MORE = dict(
    full=["| value=3 rank=2 dim=2,3 dtype=0", "| value=-1.5 rank=1 dim=5 dtype=1",
          "| value=7 rank=0 dtype=4", "| value=1 rank=1 dim=3 dtype=8",
          "| value=9007199254740993 rank=1 dim=3 dtype=4",
          "| value=-9223372036854775808 rank=0 dtype=4"],
    arange=["| start=2 end=21 step=3 dtype=4", "| start=1 end=-8 step=-0.25",
            "| start=0.5 end=1.1 step=0.125 dtype=1",
            "| start=9007199254740993 end=9007199254741093 step=7 dtype=4",
            "| start=9223372036854775807 end=9223372036854775700 step=-3 dtype=4"],
    linspace=["| start=-1 end=2 rank=1 dim=7", "| start=3 end=0.1 rank=1 dim=11 dtype=1",
              "| start=5 end=6 rank=1 dim=1"],
    add_scalar=[LARGE + " | a=9007199254740993"], mul_scalar=[LARGE + " | a=4611686018427387905"],
    clamp=[LARGE + " | a=-9007199254740993,9007199254740995"],
    fill_=[LARGE + " | value=9007199254740993"],
    pad=["i64[5] in 0..9 | before=1 after=2 value=-9007199254740993"],
    **{name: [LARGE + "; " + LARGE] for name in (
        "sub div_trunc div_floor fmod remainder maximum minimum lt le").split()},
    add=[LARGE + "; " + LARGE, "f[5,67]; f[67]", "f[3,1,5]; f[2,1]"],
    mul=[LARGE + "; " + LARGE, "f[5,67]; f[67]"],
    neg=[LARGE], abs=[LARGE], square=[LARGE], sign=[LARGE], copy=[LARGE + " | dtype=5"],
    expm1=["f[133] in -3..3"],
    sum=[LARGE + " | mask=1 scale=1", "f[7,131] | mask=2 scale=1", "f[131,7] | mask=1 scale=0.1",
         "f[3,5,2,4] | mask=13 scale=1"],
    min=[LARGE + " | mask=1"], max=[LARGE + " | mask=1", "f[7,131] | mask=2", "f[3,5,2,4] | mask=13"],
    argmax=[LARGE + " | mask=1", "f[7,131] | mask=2", "f[3,4] | mask=3"], argmin=["f[3,4] | mask=3"],
    exp=["f[133] in -20..20"], log=["f[133] in 0.001..40"], tanh=["f[133] in -9..9"],
    sigmoid=["f[133] in -30..30"], gelu=["f[133] in -9..9"], erf=["f[133] in -5..5"],
    sin=["f[133] in -30..30"], cos=["f[133] in -30..30"],
    log1p=["f[133] in -0.9..9"], softplus=["f[133] in -30..30"], silu=["f[133] in -20..20"],
    matmul=["f[17,33]; f[33,19]", "f[3,9,16]; f[3,16,8]"],
    linear=["f[13,37]; f[21,37]; f[21]"],
    conv2d=["f[2,8,9,9]; f[16,8,3,3]; f[16] | stride=1,1 padding=1,1 dilation=1,1 groups=1",
            "f[2,8,9,9]; f[8,8,3,3]; - | stride=2,2 padding=1,1 dilation=1,1 groups=1",
            "f[1,6,8,8]; f[4,6,1,1]; f[4] | stride=1,1 dilation=1,1 groups=1",
            "f[1,3,11,11]; f[4,3,5,5]; - | stride=2,2 padding=2,2 dilation=1,1 groups=1",
            "f[1,8,7,7]; f[8,1,3,3]; - | stride=2,2 padding=1,1 dilation=1,1 groups=8",
            "f[1,4,9,9]; f[4,2,3,3]; - | stride=1,1 padding=2,2 dilation=2,2 groups=2"],
    softmax=["f[5,67] in -9..9 | dim=1", "f[67,5] in -9..9 | dim=0"],
    log_softmax=["f[5,67] in -9..9 | dim=1"], logsumexp=["f[5,67] in -9..9 | dim=1"],
    softmax_backward=["f[5,7]; f[5,7] in 0..1 | dim=1", "f[4,3]; f[4,3] in 0..1 | dim=0"],
    log_softmax_backward=["f[5,7]; f[5,7] in -3..0 | dim=1", "f[4,3]; f[4,3] in -3..0"],
    layer_norm=["f[5,67]; f[67]; f[67] | dims=1 eps=1e-5"],
    batch_norm=["f[6,16,4,4]; f[16]; f[16]; -; -; - | eps=1e-5 training=1",
                "f[6,16,4,4]; f[16]; f[16]; s[16]; s[16] in 0.5..2; - | eps=1e-5"],
    cross_entropy=["f[9,67] in -4..4; i64[9] in 0..67; - | ignore_index=-1 want_grad=1"],
    attention=["f[2,17,16]; f[2,19,16]; f[2,19,16]; - | scale=0.25",
               "f[2,17,8]; f[2,17,8]; f[2,17,8]; - | scale=0.3 causal=1",
               "f[2,3,17,8]; f[2,3,19,8]; f[2,3,19,8]; f[3,17,19] | scale=0.3",
               "f[2,3,17,8]; f[2,3,19,8]; f[2,3,19,8]; f[2,1,1,19] | scale=0.3",
               "f[2,3,17,8]; f[2,3,19,8]; f[2,3,19,8]; f[17,1] | scale=0.3"],
    eq=[LARGE + "; " + LARGE, "i64[20] in 0..3; i64[20] in 0..3"], round=["f[31] in -4..4"],
    index_select=["f[9,33]; i64[7] in 0..9 | dim=0"],
    avg_pool2d=["f[2,5,9,9] | kernel=3,3 stride=1,1 padding=1,1 dilation=1,1 "
                "count_include_pad=1"],
    max_pool2d=["f[2,5,9,9] | kernel=3,3 stride=1,1 padding=1,1 dilation=1,1"],
    adaptive_avg_pool2d=["f[2,5,9,7] | size=3,3"],
)

# Integer operands: small, so that nothing overflows; u8 where results stay positive.
INT_RECORDS = ("add sub mul maximum minimum eq ne lt le gt ge logical_and logical_or "
               "logical_xor logical_not neg abs sign square sum max min argmax argmin any all "
               "relu_ add_ sub_ mul_ div_trunc div_floor fmod remainder cat flip where scatter_add index_select gather reshape "
               "permute slice expand copy_").split()
NO_U8 = "sub sub_ neg sign abs".split()


QUOTIENTS = "div_trunc div_floor fmod remainder".split()


# ---- cases ---------------------------------------------------------------------------------

class Record:
    def __init__(self, line):
        name, dtypes, vjp, schema, samples = line.rstrip("\n").split("\t")
        self.name, self.dtypes, self.vjp = name, int(dtypes), vjp == "1"
        self.schema = [field.split(":") for field in schema.split(",") if field]
        self.samples = [s for s in samples.split("\x1f") if s]

    def takes(self, dtype):
        return not self.dtypes or self.dtypes >> DTYPES.index(dtype) & 1


def number(text):
    """Whole if it is written so: exactly."""
    try:
        return int(text)
    except ValueError:
        return float(text)


class Attrs:
    """Attributes as the schema names them, zero where the text is silent."""

    def __init__(self, record, text):
        given = dict(part.split("=") for part in text.split())
        for name, kind, count in record.schema:
            read = {"int": int, "real": float, "number": number}[kind]
            value = [read(v) for v in given.pop(name, "0").split(",")]
            value += [0] * (int(count) - len(value))
            setattr(self, name, value if int(count) > 1 else value[0])
        if given:
            raise ValueError(f"{record.name}: unknown attributes {given}")


def parse_input(text):
    """kind, shape, low, high of "f[2,3] in -1..1"."""
    kind, rest = text.split("[", 1)
    shape, rest = rest.split("]", 1)
    low, high = (rest.split(" in ")[1].split("..") if " in " in rest else (-1, 1))
    return kind, [int(n) for n in shape.split(",") if n], float(low), float(high)


def draw(rng, text, dtype):
    if text == "-":
        return None
    kind, shape, low, high = parse_input(text)
    if kind == "bool":
        return torch.randint(0, 2, shape, generator=rng).to(torch.bool)
    if kind in INTEGERS:
        return torch.randint(int(low), int(high), shape, generator=rng).to(INTEGERS[kind])
    if dtype in INTS:
        least = 0 if dtype == torch.uint8 else -4
        return torch.randint(least, 6, shape, generator=rng).to(dtype)
    if kind == "c64":
        dtype = F64
    if kind == "s" and dtype in HALVES:
        dtype = F32  # a statistic
    u = torch.rand(shape, generator=rng, dtype=F64)
    return (low + (high - low) * u).to(dtype)


def wide(t):
    """As PyTorch computes with it: f64 for floats."""
    return t.to(F64) if t is not None and t.is_floating_point() else t


def stored(value, dtype):
    """A result as the record gives it in `dtype`."""
    if isinstance(value, Stat):
        return value.t.to(F32 if dtype in HALVES else dtype)
    return value.to(dtype) if value.is_floating_point() else value


def results_of(record, attrs, inputs, dtype):
    out = TABLE[record.name](attrs, *inputs)
    placed = []
    for i, value in enumerate(out if isinstance(out, list) else [out]):
        place, value = value if isinstance(value, tuple) else (i, value)
        if record.name in ("copy", "full", "arange", "linspace", "one_hot") or (
                record.name == "norm" and attrs.wide):
            placed.append((place, value))  # the attributes name the dtype
        elif dtype in INTS and value.dtype not in (torch.bool, torch.int64):
            placed.append((place, value.to(dtype)))
        else:
            placed.append((place, stored(value, dtype)))
    return placed


def gradients_of(record, attrs, inputs, kinds, dtype, rng):
    leaves = [t.detach().requires_grad_() if k == "f" else t for t, k in zip(inputs, kinds)]
    out = TABLE[record.name](attrs, *leaves)
    y = out[0] if isinstance(out, list) else out
    gy = (torch.rand(y.shape, generator=rng, dtype=F64) * 2 - 1).to(dtype)
    wanted = [t for t, k in zip(leaves, kinds) if k == "f"]
    if y.requires_grad:
        got = torch.autograd.grad(y, wanted, gy.to(y.dtype), allow_unused=True)
    else:
        got = [None] * len(wanted)
    got = iter([torch.zeros_like(w) if g is None else g for g, w in zip(got, wanted)])
    return gy, [next(got).to(dtype) if k == "f" else None for k in kinds]


def adjust(record, inputs):
    """What the drawn inputs of some records must also satisfy."""
    if record.name in QUOTIENTS and not inputs[1].is_floating_point():
        inputs[1][inputs[1] == 0] = 3  # PyTorch divides no integer by 0
    if record.name == "attention" and inputs[3] is not None:
        if inputs[3].dtype == torch.bool:
            inputs[3][..., 0] = True  # PyTorch gives NaN for a row that sees nothing
    return inputs


def sampled_case(record, text, dtype, seed):
    inputs_text, _, attr_text = text.partition("|")
    attr_text = attr_text.strip()
    parts = [p.strip() for p in inputs_text.split(";") if p.strip()]
    rng = torch.Generator().manual_seed(
        zlib.crc32(f"{record.name} {text} {dtype} {seed}".encode()))
    inputs = adjust(record, [draw(rng, p, dtype) for p in parts])
    attrs = Attrs(record, attr_text)
    kinds = [p[0] if t is not None and t.is_floating_point() else "-"
             for p, t in zip(parts, inputs)]
    used = [wide(t) for t in inputs]
    results = results_of(record, attrs, used, dtype)
    gy, grads = None, []
    if record.vjp and dtype in (F32, F64) and results[0][1].is_floating_point():
        out_dtype = results[0][1].dtype
        gy, grads = gradients_of(record, attrs, used, kinds, dtype, rng)
        gy = gy.to(out_dtype)
        # The gradient is of the gradient as it is stored.
        if out_dtype != dtype:
            gy, grads = None, []
    return attr_text, inputs, results, gy, grads


def sampled_cases(record):
    for text in record.samples + MORE.get(record.name, []):
        if "dropout=" in text:
            continue  # another random stream than PyTorch's
        floats = [d for d in (F64, F32, F16, BF16) if record.takes(d)]
        if "f[" not in text:
            floats = [F64]  # nothing depends on the dtype
        for dtype in floats:
            big = "67" in text or "13" in text
            for seed in range(2 if dtype in (F64, F32) and not big else 1):
                yield sampled_case(record, text, dtype, seed)
        if record.name not in INT_RECORDS or "f[" not in text or "scale=0" in text \
                or "mean=1" in text:
            continue
        for dtype in INTS:
            if record.takes(dtype) and not (dtype == torch.uint8 and record.name in NO_U8):
                yield sampled_case(record, text, dtype, 0)
    # Their dtype masks speak of an operand that is no value.
    values = dict(where=(F32, F16, BF16, *INTS), dequantize=(F64, F32, F16, BF16))
    for dtype in values.get(record.name, ()):
        for text in record.samples:
            yield sampled_case(record, text, dtype, 0)


# ---- NaN, infinities, zeros, numbers that overflow ---------------------------------------------

EDGES = [torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 3.0, -3.0,
         6.0, 20.5, -20.5, 88.5, -88.5, 104.0, -104.0, 710.0, -710.0, 1e4, -1e4, 1e30, -1e30]
PAIRED = [torch.nan, torch.inf, -torch.inf, 0.0, -0.0, 1.0, 2.0, -3.5, 0.5, 1e30, -1e30]
EDGES_OF_ONE = ("add_scalar mul_scalar pow_scalar clamp isfinite logical_not neg abs sign square "
                "exp log log1p expm1 sqrt rsqrt reciprocal sin cos tanh erf floor ceil round relu "
                "relu6 leaky_relu elu gelu gelu_tanh silu softplus sigmoid hardsigmoid "
                "hardswish").split()
EDGES_OF_TWO = ("add sub mul div div_trunc fmod remainder pow maximum minimum eq ne lt le gt ge "
                "logical_and logical_or logical_xor squared_error lerp add_scaled").split()
SOFTMAXES = "softmax log_softmax logsumexp".split()
EDGES_REDUCED = "sum norm max min argmax argmin any all".split() + SOFTMAXES


def hard_rows(dtype):
    """Rows of equal numbers of any size, and with numbers that differ by all there is."""
    lowest, tiny = torch.finfo(dtype).min, torch.finfo(dtype).smallest_normal / 8
    x = torch.zeros(12, 19, dtype=dtype)
    for i, value in enumerate([1e9, -1e9, 1e30, -lowest, lowest, tiny, -torch.inf]):
        x[i] = value
    x[7] = torch.linspace(0, 3, 19) + 1e6
    x[8], x[8, 4] = lowest, 1
    x[9, 18], x[10, 0] = 1e30, -1e30
    x[11] = torch.linspace(-200, 0, 19)
    return x


def hard_softmax_cases(record):
    for dtype in (F64, F32):
        for dim in (0, 1):
            x = hard_rows(dtype)
            inputs = [x if dim else x.t().contiguous()]
            attrs = Attrs(record, f"dim={dim}")
            yield f"dim={dim}", inputs, results_of(record, attrs, [wide(inputs[0])], dtype), \
                None, []


def hard_cross_entropy_cases(record):
    for dtype in (F64, F32):
        x = hard_rows(dtype)[[0, 1, 2, 3, 4, 5, 7, 9, 10, 11]]
        t, w = torch.arange(10) + 3, torch.linspace(0.5, 2, 19, dtype=dtype)
        for text in ("smoothing=0", "smoothing=0.1"):
            for reduction, weight in ((2, None), (2, w)):
                attr_text = f"{text} ignore_index=-1 reduction={reduction} want_grad=1"
                used = [wide(x), t, wide(weight)]
                results = results_of(record, Attrs(record, attr_text), used, dtype)
                yield attr_text, [x, t, weight], results, None, []


# Where reel's rule is another than PyTorch's (docs/edges.md): a NaN is beyond no bound, so it
# passes the gradient on, where PyTorch has 0, or NaN in vectors and 1 in what is left of them;
# gelu_tanh's slope far out is its limit.
def slope_of_ours(record, x):
    at_nan = dict(clamp=1, relu6=1, hardswish=1, elu=1, hardsigmoid=1 / 6)
    slope = torch.full_like(x, -1)
    if record.name in at_nan:
        slope[x.isnan()] = at_nan[record.name]
    if record.name == "gelu_tanh":
        slope[x == torch.inf], slope[x == -torch.inf] = 1, 0
    return slope


def edge_gradients(record, attrs, inputs, dtype):
    """Of a result that is a float; None for others."""
    leaves = [wide(t).clone().requires_grad_() for t in inputs]
    y = TABLE[record.name](attrs, *leaves)
    if not record.vjp or not y.is_floating_point() or record.name in EDGES_REDUCED:
        return None, []
    gy = torch.linspace(0.5, 2, y.numel()).reshape(y.shape).to(dtype)
    grads = torch.autograd.grad(y, leaves, wide(gy))
    ours = slope_of_ours(record, wide(inputs[0]))
    grads = [torch.where(ours >= 0, ours * wide(gy), grads[0]), *grads[1:]]
    return gy, [g.to(dtype) for g in grads]


def edge_cases(record):
    texts = record.samples[:1] if record.name != "pow_scalar" else record.samples
    for dtype in (F64, F32):
        for text in texts:
            attr_text = text.partition("|")[2].strip()
            if record.name in EDGES_OF_ONE:
                inputs = [torch.tensor(EDGES)]
                if record.name == "clamp":
                    attr_text = "a=-0.5,2.5"  # bounds that are among them
            elif record.name in EDGES_OF_TWO:
                x = torch.tensor(PAIRED)
                inputs = [x.repeat_interleave(len(x)), x.repeat(len(x))]
            elif record.name in EDGES_REDUCED:
                # rows that are ordinary, and rows with one thing or two that are not
                x = torch.linspace(-2, 3, 8 * 19).reshape(8, 19)
                x[1, 5], x[2, 17], x[3, 0] = torch.nan, torch.inf, -torch.inf
                x[4, 3], x[4, 9], x[5, 2], x[5, 11] = torch.inf, -torch.inf, 64, -64
                x[6], x[7, 18], x[7, 4] = 0, torch.nan, torch.inf
                inputs = [x]
                attr_text = ("dim=1" if record.name in ("softmax", "log_softmax", "logsumexp")
                             else "mask=2 scale=1")
            else:
                return
            inputs = [t.to(dtype) for t in inputs]
            attrs = Attrs(record, attr_text)
            results = results_of(record, attrs, [wide(t) for t in inputs], dtype)
            yield attr_text, inputs, results, *edge_gradients(record, attrs, inputs, dtype)


def hard_attention_cases(record):
    """Rows that a finite number hides on every key: computed in the dtype itself, whose rounding
    makes all of their scores equal."""
    for dtype in (F64, F32):
        rng = torch.Generator().manual_seed(350)
        q, k, v, gy = (randn(rng, 2, *s).to(dtype) for s in ((4, 8), (5, 8), (5, 3), (4, 3)))
        mask = randn(rng, 4, 5).to(dtype)
        mask[0] = -1e20 if dtype == F64 else -1e9
        mask[2] = torch.finfo(dtype).min
        mask[3, 1:4] = -torch.inf
        text = "scale=0.35"
        leaves = [t.clone().requires_grad_() for t in (q, k, v, mask)]
        out = attention(Attrs(record, text), *leaves)
        grads = torch.autograd.grad(out[0], leaves, gy)
        results = [(0, out[0]), (1, out[1].t)]
        yield text, [q, k, v, mask], results, gy, list(grads)


# ---- records whose inputs must fit together, and optimizers over several steps -----------------

def randn(rng, *shape):
    return torch.randn(shape, generator=rng, dtype=F64)


def batch_norm_backward_cases(record):
    for i, (shape, weighted, relu) in enumerate([((4, 3, 2, 2), 1, 0), ((5, 3), 1, 1),
                                                 ((4, 8, 3, 3), 0, 0), ((4, 8, 3, 3), 1, 1)]):
        for dtype in (F64, F32):
            rng = torch.Generator().manual_seed(100 + i)
            text = f"eps=1e-5 training=1 relu={relu} want={15 if relu else 7}"
            a = Attrs(record, text)
            g, x = randn(rng, *shape).to(dtype), randn(rng, *shape).to(dtype)
            w = randn(rng, shape[1]).to(dtype) if weighted else None
            ones = torch.ones(shape[1], dtype=F64)
            leaves = [wide(x), wide(w) if weighted else ones, torch.zeros_like(ones),
                      torch.zeros(shape, dtype=F64)]
            leaves = [t.clone().requires_grad_() for t in leaves]
            y, mean, invstd = batch_norm(a, leaves[0], leaves[1], leaves[2], None, None,
                                         leaves[3] if relu else None)
            got = torch.autograd.grad(y, leaves, wide(g), allow_unused=True)
            inputs = [g, x, w, mean.t.detach().to(dtype), invstd.t.detach().to(dtype),
                      y.detach().to(dtype) if relu else None]
            results = [(k, t.to(dtype)) for k, t in enumerate(got[:4 if relu else 3])]
            yield text, inputs, results, None, []


def layer_norm_backward_cases(record):
    for i, (shape, dims, weighted) in enumerate([((3, 5), 1, 1), ((2, 3, 4), 2, 1),
                                                 ((2, 4), 1, 0), ((7, 67), 1, 1)]):
        for dtype in (F64, F32):
            rng = torch.Generator().manual_seed(200 + i)
            text = f"dims={dims} eps=1e-5 want=7"
            a = Attrs(record, text)
            g, x = randn(rng, *shape).to(dtype), randn(rng, *shape).to(dtype)
            w = randn(rng, *shape[-dims:]).to(dtype) if weighted else None
            ones = torch.ones(shape[-dims:], dtype=F64)
            leaves = [wide(x), wide(w) if weighted else ones, torch.zeros_like(ones)]
            leaves = [t.clone().requires_grad_() for t in leaves]
            y, mean, rstd = layer_norm(a, *leaves)
            got = torch.autograd.grad(y, leaves, wide(g))
            inputs = [g, x, w, mean.t.detach().to(dtype), rstd.t.detach().to(dtype)]
            yield text, inputs, [(k, t.to(dtype)) for k, t in enumerate(got)], None, []


def attention_backward_cases(record):
    for i, (lead, lq, lk, d, dv, causal, mask) in enumerate([
            ((2,), 3, 5, 4, 2, 0, None), ((1, 2), 4, 4, 3, 3, 1, None),
            ((2, 2), 17, 19, 8, 8, 0, None), ((2, 3), 17, 19, 8, 8, 0, (3, 17, 19)),
            ((2, 3), 17, 19, 8, 8, 0, (2, 1, 1, 19)), ((3,), 5, 5, 4, 4, 1, (5, 1))]):
        for dtype in (F64, F32):
            rng = torch.Generator().manual_seed(300 + i)
            text = f"scale=0.5 causal={causal} want={15 if mask else 7}"
            a = Attrs(record, text)
            q, k, v, g = (randn(rng, *lead, *s).to(dtype)
                          for s in ((lq, d), (lk, d), (lk, dv), (lq, dv)))
            m = randn(rng, *mask).to(dtype) if mask else None
            y, stats = attention(a, wide(q), wide(k), wide(v), wide(m))
            inputs = [g, q, k, v, m, y.to(dtype), stats.t.to(dtype)]
            out = attention_backward(a, *(wide(t) for t in (g, q, k, v, m)))
            yield text, inputs, [(n, t.to(dtype)) for n, t in enumerate(out)], None, []


def optimizer_steps(dtype, make, steps, state_of, case_of):
    """One case a step: parameter and state before it, and after it as torch.optim says."""
    rng = torch.Generator().manual_seed(400)
    p = torch.nn.Parameter(randn(rng, 5, 7).to(dtype))
    opt = make([p])
    for step in range(steps):
        p.grad = randn(rng, 5, 7).to(dtype)
        before = [t.detach().clone() for t in [p, *state_of(opt, p)]]
        grad = p.grad.clone()
        opt.step()
        after = [t.detach().clone() for t in [p, *state_of(opt, p)]]
        yield case_of(step, before, grad, after)


SGDS = [dict(), dict(weight_decay=0.1), dict(momentum=0.9),
        dict(momentum=0.9, nesterov=True, weight_decay=5e-4),
        dict(momentum=0.8, dampening=0.3), dict(momentum=0.5, maximize=True)]


def sgd_step_cases(record):
    lr = torch.tensor(0.1, dtype=F64)

    def state_of(opt, p):
        buf = opt.state[p].get("momentum_buffer") if p in opt.state else None
        return [buf if buf is not None else torch.zeros_like(p)]

    for o in SGDS:
        def case_of(step, before, grad, after, o=o):
            text = " ".join(f"{k}={int(v) if isinstance(v, bool) else v}"
                            for k, v in dict(o, first=step == 0).items())
            has = "momentum" in o
            inputs = [before[0], grad, before[1] if has else None, lr]
            results = [(AFTER, after[0])] + ([(AFTER + 2, after[1])] if has else [])
            return text, inputs, results, None, []
        for dtype in (F64, F32):
            yield from optimizer_steps(
                dtype, lambda ps, o=o: torch.optim.SGD(ps, lr=0.1, foreach=False, **o), 4,
                state_of, case_of)


ADAMS = [(False, dict(weight_decay=0.0)), (False, dict(weight_decay=0.1)),
         (True, dict(weight_decay=0.1)), (True, dict(weight_decay=0.02, maximize=True))]


def adam_step_cases(record):
    lr = torch.tensor(0.05, dtype=F64)

    def state_of(opt, p):
        s = opt.state[p] if p in opt.state else {}
        zero = torch.zeros_like(p)
        return [s.get("exp_avg", zero), s.get("exp_avg_sq", zero)]

    for decoupled, o in ADAMS:
        kind = torch.optim.AdamW if decoupled else torch.optim.Adam
        text = (f"beta1=0.9 beta2=0.99 eps=1e-6 weight_decay={o['weight_decay']} "
                f"decoupled={int(decoupled)} maximize={int(o.get('maximize', False))}")

        def case_of(step, before, grad, after, text=text):
            count = torch.tensor(float(step + 1), dtype=F64)
            inputs = [before[0], grad, before[1], before[2], lr, count]
            results = [(AFTER, after[0]), (AFTER + 2, after[1]), (AFTER + 3, after[2])]
            return text, inputs, results, None, []
        for dtype in (F64, F32):
            yield from optimizer_steps(
                dtype, lambda ps, kind=kind, o=o: kind(ps, lr=0.05, betas=(0.9, 0.99),
                                                       eps=1e-6, foreach=False, **o),
                4, state_of, case_of)


SPECIAL = dict(
    batch_norm_backward=batch_norm_backward_cases,
    layer_norm_backward=layer_norm_backward_cases,
    attention_backward=attention_backward_cases, sgd_step=sgd_step_cases,
    adam_step=adam_step_cases)
HARD = dict(
    **{name: hard_softmax_cases for name in SOFTMAXES},
    cross_entropy=hard_cross_entropy_cases, attention=hard_attention_cases)

# ---- file -------------------------------------------------------------------------------------


def text_bytes(text):
    raw = text.encode()
    return struct.pack("<H", len(raw)) + raw


def tensor_bytes(t):
    if t is None:
        return b"\xff\x00"
    t = t.detach().contiguous()
    head = struct.pack("<BB", DTYPES.index(t.dtype), t.dim())
    head += struct.pack(f"<{t.dim()}I", *t.shape)
    if t.dtype == torch.bfloat16:
        t = t.view(torch.int16)
    return head + t.numpy().tobytes()


def case_bytes(name, case):
    attr_text, inputs, results, gy, grads = case
    parts = [text_bytes(name), text_bytes(attr_text), bytes([len(inputs)])]
    parts += [tensor_bytes(t) for t in inputs]
    parts.append(bytes([len(results)]))
    parts += [bytes([place]) + tensor_bytes(t) for place, t in results]
    parts += [tensor_bytes(gy), bytes([len(grads)])]
    parts += [tensor_bytes(g) for g in grads]
    return b"".join(parts)


def main():
    lines = subprocess.run([sys.argv[1], "--records"], check=True, capture_output=True,
                           text=True).stdout.splitlines()
    out, without = [], []
    for record in map(Record, lines):
        if record.name in SPECIAL:
            cases = SPECIAL[record.name](record)
        elif record.name in TABLE:
            cases = [*sampled_cases(record), *edge_cases(record)]
            if record.name in HARD:
                cases += HARD[record.name](record)
        else:
            without.append(record.name)
            continue
        before = len(out)
        out += [case_bytes(record.name, case) for case in cases]
        if len(out) == before:
            without.append(record.name)
    data = b"REELGOLD" + struct.pack("<II", 1, len(out)) + b"".join(out)
    path = Path(__file__).with_name("golden.bin")
    path.write_bytes(data)
    print(f"{path}: {len(out)} cases, {len(data)} bytes; without: {' '.join(without)}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
