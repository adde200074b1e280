"""Runs the models that `test_onnx_export --write DIR` wrote in ONNX Runtime, checks them with
the onnx checker, and compares with reel's results. All in one process, for speed.

    check_operators.py DIR
"""
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

# What a dtype's last bits allow: operators are composed of several, each of which rounds.
TOLERANCE = {"f32": 2e-5, "f64": 1e-6, "f16": 1e-2}


def session(model):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def differ(ours, theirs, dtype):
    """Why two arrays are not equal; None if they are."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"{theirs.dtype}{list(theirs.shape)}, expected {ours.dtype}{list(ours.shape)}"
    if ours.dtype.kind != "f":
        return None if np.array_equal(ours, theirs) else f"{theirs}, expected {ours}"
    tolerance = TOLERANCE[{4: "f32", 8: "f64", 2: "f16"}[ours.dtype.itemsize]]
    if np.allclose(theirs, ours, rtol=tolerance, atol=tolerance):
        return None
    return f"off by {np.abs(theirs.astype(float) - ours.astype(float)).max()}"


class Skip(Exception):
    """ONNX Runtime has no kernel for this."""


def run(folder, name, opset, n_in, n_out):
    file = folder / f"{name}.{opset}.onnx"
    onnx.checker.check_model(onnx.load(file), full_check=True)
    try:
        model = session(str(file))
    except ort.capi.onnxruntime_pybind11_state.NotImplemented as error:
        raise Skip(str(error).split("Could not find an implementation for ")[-1]) from None
    feed = {f"x{i}": np.load(folder / f"{name}.x{i}.npy") for i in range(n_in)}
    feed = {i.name: feed[i.name] for i in model.get_inputs()}
    try:
        results = model.run(None, feed)
    except ort.capi.onnxruntime_pybind11_state.RuntimeException as error:
        if "is not supported with" not in str(error):
            raise
        raise Skip(str(error).split("provider: ")[-1]) from None
    for i, theirs in enumerate(results):
        why = differ(np.load(folder / f"{name}.y{i}.npy"), theirs, name.rsplit(".", 1)[-1])
        if why:
            raise ValueError(f"output {i}: {why}")


def main(folder):
    count, skipped, failed = Counter(), defaultdict(list), []
    for line in (folder / "cases.txt").read_text().splitlines():
        kind, name, rest = line.split(" ", 2)
        count[kind] += 1
        if kind == "none":
            print(f"no form: {name}: {rest}")
            continue
        opset, n_in, n_out = map(int, rest.split())
        try:
            run(folder, name, opset, n_in, n_out)
            count["run"] += 1
        except Skip as reason:
            skipped[str(reason)].append(f"{name}.{opset}")
        except Exception as error:  # each is reported, none hides the others
            failed.append(f"{name} at opset {opset}: {str(error)[:300]}")
    for reason, names in sorted(skipped.items()):
        print(f"no kernel in ONNX Runtime: {reason}: {', '.join(names)}")
    for line in failed:
        print(f"FAILED: {line}")
    print(f"{count['case']} models: {count['run']} agree, "
          f"{sum(map(len, skipped.values()))} without a kernel, {len(failed)} failed; "
          f"{count['none']} without a form")
    return 1 if failed or not count["run"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
