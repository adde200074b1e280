"""resnet_cifar's recipe in PyTorch: `torch_cifar.py DIR [--epochs 6] [--seed 1] [--threads 0]`
trains ResNet-20 on DIR/train and DIR/test, one folder of 32x32 images a class, and prints a
line an epoch like resnet_cifar's. Needs Pillow beside bench/requirements.txt.

The same by design: model, initialization, SGD 0.9 nesterov with weight decay on every weight,
one cycle without momentum cycling, batches of 128 without the last that is not full, padded
crop and mirror, constants of normalization. Different: random numbers."""
import argparse
import pathlib
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from torch_worker import resnet20

MEAN = torch.tensor([0.4914, 0.4822, 0.4465]).view(1, 3, 1, 1)
STD = torch.tensor([0.2470, 0.2435, 0.2616]).view(1, 3, 1, 1)


def load(folder, classes):
    """All images as one u8 tensor [n, 3, 32, 32], and their labels."""
    files = [(f, k) for k, name in enumerate(classes)
             for f in sorted((folder / name).iterdir())]
    x = np.stack([np.asarray(Image.open(f).convert("RGB")) for f, _ in files])
    return (torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(),
            torch.tensor([k for _, k in files]))


def normalize(x):
    x = (x.float() / 255 - MEAN) / STD
    return x.contiguous(memory_format=torch.channels_last)


def augment(x, generator, padding=4):
    """Zeros around, a random 32x32 window, mirrored half of the time; each image its own."""
    n, _, h, w = x.shape
    x = F.pad(x, (padding,) * 4)
    top, left = (torch.randint(2 * padding + 1, (n, 1), generator=generator) for _ in "yx")
    mirror = torch.rand(n, 1, generator=generator) < 0.5
    rows, columns = top + torch.arange(h), left + torch.arange(w)
    columns = torch.where(mirror, columns.flip(1), columns)
    image = torch.arange(n).view(n, 1, 1)
    return x.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


@torch.inference_mode()
def test(net, x, y, batch):
    net.eval()
    loss = correct = 0
    for i in range(0, len(x), batch):
        logits = net(normalize(x[i:i + batch]))
        loss += F.cross_entropy(logits, y[i:i + batch], reduction="sum").item()
        correct += (logits.argmax(1) == y[i:i + batch]).sum().item()
    return loss / len(x), correct / len(x)


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("data", type=pathlib.Path)
    p.add_argument("--epochs", type=int, default=6)
    p.add_argument("--batch", type=int, default=128)
    p.add_argument("--lr", type=float, default=0.2)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=0)
    o = p.parse_args()
    if o.threads:
        torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    draw = torch.Generator().manual_seed(o.seed)

    classes = sorted(d.name for d in (o.data / "train").iterdir() if d.is_dir())
    start = time.perf_counter()
    x, y = load(o.data / "train", classes)
    test_x, test_y = load(o.data / "test", classes)
    print(f"resnet20 in PyTorch {torch.__version__}; {len(x)} training and {len(test_x)} test "
          f"images of {len(classes)} classes, decoded in {time.perf_counter() - start:.1f} s; "
          f"{torch.get_num_threads()} threads", flush=True)

    net = resnet20(len(classes)).to(memory_format=torch.channels_last)
    optim = torch.optim.SGD(net.parameters(), o.lr, 0.9, weight_decay=5e-4, nesterov=True)
    steps = len(x) // o.batch
    rate = torch.optim.lr_scheduler.OneCycleLR(optim, o.lr, total_steps=o.epochs * steps,
                                               cycle_momentum=False)
    for epoch in range(o.epochs):
        net.train()
        start = time.perf_counter()
        loss_sum = correct = 0
        order = torch.randperm(len(x), generator=draw)
        for i in range(steps):
            pick = order[i * o.batch:(i + 1) * o.batch]
            logits = net(normalize(augment(x[pick], draw)))
            loss = F.cross_entropy(logits, y[pick])
            loss.backward()
            optim.step()
            optim.zero_grad()
            rate.step()
            loss_sum += loss.item()
            correct += (logits.argmax(1) == y[pick]).sum().item()
        seconds = time.perf_counter() - start
        test_loss, accuracy = test(net, test_x, test_y, o.batch)
        print(f"epoch {epoch + 1}/{o.epochs}  training loss {loss_sum / steps:.4f} accuracy "
              f"{100 * correct / (steps * o.batch):.2f} %  test loss {test_loss:.4f} accuracy "
              f"{100 * accuracy:.2f} %  {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
