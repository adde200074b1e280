"""A file in reel and in ONNX Runtime."""
import subprocess

import numpy as np
import onnxruntime as ort

OFF = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
BASIC = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
EXTENDED = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
ALL = ort.GraphOptimizationLevel.ORT_ENABLE_ALL


def exact():
    """Whether ONNX Runtime's products of u8 and s8 are exact here. Without VNNI it adds pairs of
    them in 16 bits, which saturates unless weights keep to 7 bits."""
    try:
        with open("/proc/cpuinfo", encoding="ascii") as file:
            return "vnni" in file.read()
    except OSError:
        return False


def session(model, level=ALL, optimized=None, entries=None):
    """`model`: bytes, or a path; `optimized`: where its graph is written; `entries`: of the
    configuration."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = level
    for key, value in (entries or {}).items():
        options.add_session_config_entry(key, value)
    if optimized:
        options.optimized_model_filepath = str(optimized)
    return ort.InferenceSession(model if isinstance(model, bytes) else str(model), options,
                                providers=["CPUExecutionProvider"])


def in_runtime(model, feed, level=ALL):
    return session(model, level).run(None, feed)


class Refused(Exception):
    """What reel said."""


def in_reel(reel, path, feed, n_out, folder, options=()):
    """The results of `reel run`, in order."""
    words = [reel, "run", str(path), *options]
    for name, array in feed.items():
        np.save(folder / f"{name}.npy", np.array(array, order="C"))
        words += ["--input", f"{name}={folder / name}.npy"]
    results = [folder / f"result{i}.npy" for i in range(n_out)]
    for result in results:
        words += ["--output", str(result)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stderr.strip() or f"ended with {done.returncode}")
    return [np.load(result) for result in results]
