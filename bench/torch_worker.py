"""The cases of bench/bench/, in PyTorch, with the same protocol: `torch_worker.py CASE
THREADS MODE` (channels-last, contiguous or compile) prints "ready", then for each line N read the seconds of N steps and the peak memory
in KiB above the size before the first step."""
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

LAST = torch.channels_last


def memory_row(name):
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


class Block(nn.Module):
    def __init__(self, c, k, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c, k, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(k)
        self.conv2 = nn.Conv2d(k, k, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(k)
        self.downsample = None
        if stride != 1 or c != k:
            self.downsample = nn.Sequential(nn.Conv2d(c, k, 1, stride, bias=False),
                                            nn.BatchNorm2d(k))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        y += self.downsample(x) if self.downsample is not None else x
        return F.relu(y, inplace=True)


class ResNet(nn.Module):
    """State-dict names are torchvision's."""

    def __init__(self, width, blocks, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        c = width
        self.stages = len(blocks)
        for i, n in enumerate(blocks):
            k = width << i
            layers = []
            for j in range(n):
                layers.append(Block(c, k, 2 if i and not j else 1))
                c = k
            setattr(self, f"layer{i + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(c, classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


def resnet20(classes=10):
    return ResNet(16, [3, 3, 3], classes)


def resnet18(classes=10):
    return ResNet(64, [2, 2, 2, 2], classes)


def conv_norm(c, k, size, stride, groups, *activation):
    return [nn.Conv2d(c, k, size, stride, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(k), *activation]


def conv_norm_relu6(c, k, size=1, stride=1, groups=1):
    return nn.Sequential(*conv_norm(c, k, size, stride, groups, nn.ReLU6(inplace=True)))


class InvertedResidual(nn.Module):
    def __init__(self, c, k, stride, expand):
        super().__init__()
        wide = c * expand
        widen = [conv_norm_relu6(c, wide)] if expand != 1 else []
        self.conv = nn.Sequential(*widen, conv_norm_relu6(wide, wide, 3, stride, wide),
                                  *conv_norm(wide, k, 1, 1, 1))
        self.has_shortcut = stride == 1 and c == k

    def forward(self, x):
        return x + self.conv(x) if self.has_shortcut else self.conv(x)


class MobileNetV2(nn.Module):
    """At width 1; state-dict names are torchvision's."""

    def __init__(self, classes, small, dropout):
        super().__init__()
        layers, c = [conv_norm_relu6(3, 32, 3, 1 if small else 2)], 32
        for expand, k, n, stride in ((1, 16, 1, 1), (6, 24, 2, 1 if small else 2),
                                     (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
                                     (6, 160, 3, 2), (6, 320, 1, 1)):
            for i in range(n):
                layers.append(InvertedResidual(c, k, 1 if i else stride, expand))
                c = k
        self.features = nn.Sequential(*layers, conv_norm_relu6(c, 1280))
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(1280, classes))
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.classifier[1].weight, 0, 0.01)
        nn.init.zeros_(self.classifier[1].bias)

    def forward(self, x):
        return self.classifier(self.features(x).mean((2, 3)))


def mobilenet(classes=10, small=True, dropout=0.2):
    return MobileNetV2(classes, small, dropout)


def mobilenet_224():
    return mobilenet(small=False)


class Gpt(nn.Module):
    def __init__(self, vocab, length, dim, depth, heads):
        super().__init__()
        self.tokens = nn.Embedding(vocab, dim)
        self.positions = nn.Parameter(torch.randn(length, dim) * 0.02)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(dim, heads, 4 * dim, 0.0, "gelu", batch_first=True,
                                       norm_first=True) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, vocab, bias=False)
        self.mask = nn.Transformer.generate_square_subsequent_mask(length)

    def forward(self, x):
        h = self.tokens(x) + self.positions
        for block in self.blocks:
            h = block(h, src_mask=self.mask, is_causal=True)
        return self.head(self.norm(h))


def compiled(net, mode):
    return torch.compile(net) if mode == "compile" else net


def trainer(net, optim, x, y):
    def step():
        logits = net(x)
        F.cross_entropy(logits.flatten(0, 1) if y.dim() > 1 else logits,
                        y.flatten()).backward()
        optim.step()
        optim.zero_grad()
    return step


def format_of(mode):
    return torch.contiguous_format if mode == "contiguous" else LAST


def train_images(make, n, mode, side=32):
    memory_format = format_of(mode)
    net = make().to(memory_format=memory_format).train()
    x = torch.randn(n, 3, side, side).to(memory_format=memory_format)
    optim = torch.optim.SGD(net.parameters(), 0.01, 0.9, weight_decay=5e-4, nesterov=True)
    return trainer(compiled(net, mode), optim, x, torch.randint(0, 10, (n,)))


def infer_images(make, n, mode):
    memory_format = format_of(mode)
    net = compiled(make().to(memory_format=memory_format).eval(), mode)
    x = torch.randn(n, 3, 32, 32).to(memory_format=memory_format)

    def step():
        with torch.inference_mode():
            net(x)
    return step


def train_mlp(n, mode):
    net = nn.Sequential(nn.Linear(3072, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(),
                        nn.Linear(256, 10))
    optim = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.01, fused=True)
    return trainer(compiled(net, mode), optim, torch.randn(n, 3072), torch.randint(0, 10, (n,)))


def train_gpt(n, t, dim, depth, heads, vocab, mode):
    net = Gpt(vocab, t, dim, depth, heads)
    optim = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=0.01, fused=True)
    return trainer(compiled(net, mode), optim, torch.randint(0, vocab, (n, t)),
                   torch.randint(0, vocab, (n, t)))


def op(fn, *inputs, backward=True):
    leaves = [x.requires_grad_() if x.is_floating_point() else x for x in inputs]
    gy = torch.ones_like(fn(*leaves))

    def step():
        y = fn(*leaves)
        if backward:
            y.backward(gy)
            for x in leaves:
                x.grad = None
    return step


def add(n, backward, inner):
    x, y = torch.randn(n, requires_grad=True), torch.randn(n)

    def step():
        for _ in range(inner):
            z = x + y
            if backward:
                z.backward(y)
                x.grad = None
    return step


def conv(n, c, h, k, r, stride):
    return op(lambda x, w: F.conv2d(x, w, None, stride, r // 2),
              torch.randn(n, c, h, h).to(memory_format=LAST),
              torch.randn(k, c, r, r).to(memory_format=LAST))


def batch_norm(n, c, h):
    return op(lambda x, w, b: F.relu(F.batch_norm(x, None, None, w, b, True), inplace=True),
              torch.randn(n, c, h, h).to(memory_format=LAST), torch.ones(c), torch.zeros(c))


CASES = {
    "train_resnet20_b128": lambda f: train_images(resnet20, 128, f),
    "train_resnet18_b32": lambda f: train_images(resnet18, 32, f),
    "train_resnet18_b128": lambda f: train_images(resnet18, 128, f),
    "train_mobilenet_b32": lambda f: train_images(mobilenet, 32, f),
    "train_mobilenet_224_b8": lambda f: train_images(mobilenet_224, 8, f, 224),
    "train_mlp_b128": lambda f: train_mlp(128, f),
    "train_gpt_b12": lambda f: train_gpt(12, 64, 128, 4, 4, 65, f),
    "infer_resnet20_b1": lambda f: infer_images(resnet20, 1, f),
    "infer_resnet20_b64": lambda f: infer_images(resnet20, 64, f),
    "infer_resnet18_b1": lambda f: infer_images(resnet18, 1, f),
    "infer_resnet18_b64": lambda f: infer_images(resnet18, 64, f),
    "infer_mobilenet_b1": lambda f: infer_images(mobilenet, 1, f),
    "infer_mobilenet_b64": lambda f: infer_images(mobilenet, 64, f),
    "op_add_1": lambda f: add(1, False, 1000),
    "op_add_4m": lambda f: add(4 << 20, True, 1),
    "op_conv_16x32": lambda f: conv(128, 16, 32, 16, 3, 1),
    "op_conv_64x32": lambda f: conv(32, 64, 32, 64, 3, 1),
    "op_conv_128x16": lambda f: conv(32, 128, 16, 128, 3, 1),
    "op_conv_512x4": lambda f: conv(32, 512, 4, 512, 3, 1),
    "op_conv_s2": lambda f: conv(32, 64, 32, 128, 3, 2),
    "op_conv_1x1": lambda f: conv(32, 256, 16, 256, 1, 1),
    "op_bn_relu": lambda f: batch_norm(128, 64, 32),
    "op_linear_768": lambda f: op(F.linear, torch.randn(256, 768), torch.randn(3072, 768),
                                  torch.randn(3072)),
    "op_linear_128": lambda f: op(F.linear, torch.randn(768, 128), torch.randn(512, 128),
                                  torch.randn(512)),
    "op_softmax": lambda f: op(lambda x: F.softmax(x, -1), torch.randn(8192, 1024)),
    "op_gelu": lambda f: op(F.gelu, torch.randn(4096, 1024)),
    "op_layer_norm": lambda f: op(lambda x, w, b: F.layer_norm(x, (768,), w, b),
                                  torch.randn(4096, 768), torch.randn(768), torch.randn(768)),
    "op_relu": lambda f: op(F.relu, torch.randn(4096, 1024)),
    "op_attention": lambda f: op(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        *(torch.randn(8, 12, 256, 64) for _ in range(3))),
    "op_cross_entropy": lambda f: op(F.cross_entropy, torch.randn(256, 50257),
                                     torch.randint(0, 50257, (256,))),
}
INNER = {"op_add_1": 1000}


def main():
    name, threads, mode = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    step = CASES[name](mode)
    before = memory_row("VmRSS")
    print("ready", flush=True)
    for line in sys.stdin:
        n = int(line)
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")  # the peak counts from here
        start = time.perf_counter()
        for _ in range(n):
            step()
        t = (time.perf_counter() - start) / n / INNER.get(name, 1)
        print(f"{t:.9f} {memory_row('VmHWM') - before}", flush=True)


if __name__ == "__main__":
    main()
