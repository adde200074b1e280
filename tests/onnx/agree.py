"""A trained network's file in ONNX Runtime and in `reel run`, at batch sizes 1, 7 and 64; and
the same network at every opset from 13 to the newest, judged by the onnx checker:
agree.py REEL FILE, in an empty folder."""
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort

TOLERANCE = 1e-4


def in_reel(reel, path, x):
    np.save("x.npy", x)
    subprocess.run([reel, "run", path, "--input", "x.npy", "--output", "y.npy"], check=True,
                   stdout=subprocess.DEVNULL)
    return np.load("y.npy")


def in_runtime(path, x):
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def main():
    reel, path = sys.argv[1:]
    random = np.random.default_rng(1)
    for batch in (1, 7, 64):
        x = random.standard_normal((batch, 3, 32, 32), dtype=np.float32)
        want, have = in_runtime(path, x), in_reel(reel, path, x)
        off = float(np.abs(want - have).max() / (1 + np.abs(want).max()))
        print(f"batch {batch:2}: off by {off:.2g}")
        if not (want.shape == have.shape and off <= TOLERANCE):
            sys.exit(f"{path}: batch {batch}: ONNX Runtime and reel differ by {off}")
    newest = min(onnx.defs.onnx_opset_version(), 26)
    for opset in range(13, newest + 1):
        out = f"opset{opset}.onnx"
        subprocess.run([reel, "optimize", path, "-o", out, "--opset", str(opset)], check=True,
                       stdout=subprocess.DEVNULL)
        model = onnx.load(out)
        onnx.checker.check_model(model, full_check=True)
        if model.opset_import[0].version != opset:
            sys.exit(f"{out} has opset {model.opset_import[0].version}")
    print(f"opsets 13 to {newest}: the onnx checker has no complaint")


if __name__ == "__main__":
    main()
