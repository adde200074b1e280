"""Runs the models that `test_onnx_export --write DIR` wrote in ONNX Runtime, checks them with
the onnx checker, and compares with reel's results. All in one process, for speed.

    check.py DIR
"""
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

# What a dtype's last bits allow: operators are composed of several, each of which rounds.
TOLERANCE = {"f4": 2e-5, "f8": 1e-6, "f2": 1e-2}


def session(model):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def differ(ours, theirs, tolerances):
    """Why two arrays are not equal; None if they are."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return f"{theirs.dtype}{list(theirs.shape)}, expected {ours.dtype}{list(ours.shape)}"
    if ours.dtype.kind != "f":
        return None if np.array_equal(ours, theirs) else f"{theirs}, expected {ours}"
    tolerance = tolerances[ours.dtype.str[1:]]
    if np.allclose(theirs, ours, rtol=tolerance, atol=tolerance, equal_nan=True):
        return None
    return f"off by {np.abs(theirs.astype(float) - ours.astype(float)).max()}"


class Skip(Exception):
    """ONNX Runtime has no kernel for this, or does not know the opset."""


def load(file):
    """A session, and the names of its inputs, after the onnx checker has passed the file."""
    onnx.checker.check_model(onnx.load(file), full_check=True)
    try:
        model = session(str(file))
    except ort_errors.NotImplemented as error:
        raise Skip(str(error).split("Could not find an implementation for ")[-1]) from None
    return model, [i.name for i in model.get_inputs()]


def compute(model, feed):
    try:
        return model.run(None, feed)
    except ort_errors.RuntimeException as error:
        if "is not supported with" not in str(error):
            raise
        raise Skip(str(error).split("provider: ")[-1]) from None


def run_case(folder, name, opset, n_in, n_out):
    """A model of one operator."""
    model, inputs = load(folder / f"{name}.{opset}.onnx")
    feed = {i: np.load(folder / f"{name}.{i}.npy") for i in inputs}
    results = compute(model, feed)
    if len(results) != int(n_out) or len(inputs) != int(n_in):
        raise ValueError(f"{len(inputs)} inputs and {len(results)} outputs")
    for i, theirs in enumerate(results):
        why = differ(np.load(folder / f"{name}.y{i}.npy"), theirs, TOLERANCE)
        if why:
            raise ValueError(f"output {i}: {why}")


def run_model(folder, name, opset, batches):
    """A whole model, at several batch sizes."""
    model, (x,) = load(folder / f"{name}.{opset}.onnx")
    for batch in batches.split(","):
        at = folder / f"{name}.b{batch}"
        (theirs,) = compute(model, {x: np.load(f"{at}.x0.npy")})
        ours = np.load(f"{at}.y0.npy")
        why = differ(ours, theirs, {"f4": 1e-4 * max(1, np.abs(ours).max(initial=0))})
        if why:
            raise ValueError(f"batch {batch}: {why}")


def main(folder):
    count, skipped, failed = Counter(), defaultdict(list), []
    for line in (folder / "cases.txt").read_text().splitlines():
        kind, name, rest = line.split(" ", 2)
        count[kind] += 1
        if kind == "none":
            print(f"no form: {name}: {rest}")
            continue
        opset = rest.split()[0]
        try:
            {"case": run_case, "model": run_model}[kind](folder, name, *rest.split())
            count["run"] += 1
        except Skip as reason:
            skipped[str(reason)].append(f"{name}.{opset}")
        except Exception as error:  # each is reported, none hides the others
            failed.append(f"{name} at opset {opset}: {str(error)[:300]}")
    for reason, names in sorted(skipped.items()):
        print(f"no kernel in ONNX Runtime: {reason}: {', '.join(names)}")
    for line in failed:
        print(f"FAILED: {line}")
    print(f"ONNX Runtime {ort.__version__}, onnx {onnx.__version__}: "
          f"{count['case']} models of one operator and {count['model']} whole ones: "
          f"{count['run']} agree, {sum(map(len, skipped.values()))} without a kernel, "
          f"{len(failed)} failed; {count['none']} without a form in ONNX")
    return 1 if failed or not count["run"] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
