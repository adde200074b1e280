"""Golden losses of whole training runs, made with PyTorch 2.15 on the CPU:

    python tests/golden/make_training.py > tests/golden/training.txt

A line a step: model, step, loss in f32, the same run's loss in f64. tests/test_training_golden.c
runs the same in reel. Weights and batches are functions of a name and an index that both sides
compute to the last bit, so nothing large is committed.

Conditioning. A residual net at its usual start doubles a difference in rounding every step or
so (PyTorch's own f32 and f64 are 1e-2 apart after 20 steps at a rate of 0.02), and no
implementation could be compared with another at 1e-4. Two things make it tame: residual branches
that begin at a quarter of their scale, and a rate of 0.01. MobileNetV2, where 7 of 17 blocks have
no shortcut, wants more: most values between 0 and 6, where ReLU6 has no kink, and a rate of 0.001.
The distance of the last two columns shows how tame; it is at most 1e-5."""
import pathlib
import sys

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "bench"))
from torch_worker import mobilenet, resnet20  # noqa: E402

STEPS = 20
BRANCH_ENDS = "bn2.weight", "conv.3.weight"  # scales of the norms at the ends of branches


# ---- numbers from names ----------------------------------------------------------------------

def fnv1a(name):
    h = 0xcbf29ce484222325
    for byte in name.encode():
        h = (h ^ byte) * 0x100000001b3 & 0xffffffffffffffff
    return h


def uniform(name, n):
    """n numbers in [-1, 1), multiples of 2^-23: splitmix64 of (hash of the name + index)."""
    with np.errstate(over="ignore"):
        z = np.uint64(fnv1a(name)) + np.arange(1, n + 1, dtype=np.uint64) * np.uint64(
            0x9e3779b97f4a7c15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xbf58476d1ce4e5b9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94d049bb133111eb)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2**-23) - np.float32(1)


def weight(name, shape):
    u = uniform(name, int(np.prod(shape)))
    if len(shape) > 1:  # variance 1 / fan_in, 2 / fan_in before ReLU
        gain = 6 if len(shape) == 4 else 3
        u *= np.float32(np.sqrt(gain / np.prod(shape[1:])))
    else:
        u *= np.float32(0.125)
        if not name.endswith("bias"):
            u += np.float32(1)  # scale of a norm
        if name.startswith("features.") and name.endswith(".1.bias"):
            u += np.float32(2)  # before ReLU6, away from its kinks: see the top
        if name.endswith(BRANCH_ENDS):
            u *= np.float32(0.25)  # residual branches begin small: see the top
    return u.reshape(shape)


def squares(name, n):
    """n images [3, 32, 32] of 8 x 8 squares of one colour each."""
    u = uniform(name, n * 3 * 64).reshape(n, 3, 8, 8)
    return u.repeat(4, axis=2).repeat(4, axis=3)


def batch(step, n):
    """One pattern a class, coarse and fine noise over it: there is something to learn. The
    factors are powers of two, so that a fused multiply-add gives the same bits."""
    y = (np.arange(n) * 7 + step) % 10
    x = squares(f"batch.{step}", n) * np.float32(0.5)
    x = x + uniform(f"noise.{step}", n * 3072).reshape(x.shape) * np.float32(0.125)
    return torch.from_numpy(x + squares("classes", 10)[y]), torch.from_numpy(y)


# ---- models ----------------------------------------------------------------------------------

class Vit(nn.Module):
    """reel_vit_tiny, under the names that reel/nn.h documents."""

    def __init__(self, dim=128, depth=6, heads=4, patch=4, image=32, classes=10):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, (image // patch) ** 2, dim))
        self.patch_embed = nn.Conv2d(3, dim, patch, patch)
        self.layers = nn.Sequential(*(
            nn.TransformerEncoderLayer(dim, heads, 4 * dim, 0.0, "gelu", batch_first=True,
                                       norm_first=True) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, classes)

    def forward(self, x):
        h = self.patch_embed(x).flatten(2).transpose(1, 2) + self.pos_embed
        return self.head(self.norm(self.layers(h)).mean(1))


RUNS = {  # model, batch, optimizer
    "resnet20": (resnet20, 32, lambda p: torch.optim.SGD(
        p, 0.01, 0.9, weight_decay=5e-4, nesterov=True)),
    "mobilenet_v2": (lambda: mobilenet(dropout=0), 16, lambda p: torch.optim.SGD(
        p, 0.001, 0.9, weight_decay=5e-4, nesterov=True)),
    "vit-tiny": (Vit, 16, lambda p: torch.optim.AdamW(p, 3e-4, weight_decay=0.05)),
}


def run(name, dtype):
    make, n, optimizer = RUNS[name]
    net = make().to(dtype).train()
    with torch.no_grad():
        for path, p in net.named_parameters():
            p.copy_(torch.from_numpy(weight(path, tuple(p.shape))))
    optim = optimizer(net.parameters())
    losses = []
    for step in range(STEPS):
        x, y = batch(step, n)
        loss = F.cross_entropy(net(x.to(dtype)), y)
        optim.zero_grad()
        loss.backward()
        optim.step()
        losses.append(loss.item())
    return losses


def main():
    for name in RUNS:
        runs = run(name, torch.float32), run(name, torch.float64)
        for step, (single, double) in enumerate(zip(*runs)):
            print(f"{name} {step} {single:.9g} {double:.17g}")


if __name__ == "__main__":
    main()
