"""reel against ONNX Runtime: the same files, the same threads, in turn (A B A B ...), so that
both meet the same noise.

    ./run bench onnx [--model NAME]... [--batch N]... [--rounds N] [--threads N]
                     [--require R] [--passes] [--int8] [--json FILE]

Prints a line a model and batch size with the ratios of time and of peak memory; above 1, reel
is better. Time is the median over the rounds of ONNX Runtime / reel. Memory counts from each
process's size before the file is opened: loading and running. With --passes each pass of reel
is left out in turn: what it gives is the time without it over the time with all. With --int8 the
same models in integers, and how many times as fast they are as in floats, here and there."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "build", "release", "bench", "bench_onnx")
FOLDER = os.path.join(HERE, "..", "build", "onnx-models")
# Of one row; bench_onnx writes these models.
SHAPES = {"resnet20": (3, 32, 32), "resnet18_32": (3, 32, 32), "resnet18_224": (3, 224, 224),
          "mobilenet_v2_32": (3, 32, 32), "mobilenet_v2_224": (3, 224, 224),
          "encoder": (64, 256), "vit": (3, 32, 32)}
REST = 0.02  # seconds after a turn, until threads that spin have gone to sleep


def memory_row(name):
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


def reset_peak():
    try:
        with open("/proc/self/clear_refs", "w") as f:
            f.write("5")
    except OSError:
        pass


def peer(path, shape, threads):
    """ONNX Runtime's side, in a process of its own; the protocol is bench_onnx's."""
    import numpy as np
    import onnxruntime as ort
    x = np.random.default_rng(1).standard_normal(shape, dtype=np.float32)
    before = memory_row("VmRSS")
    reset_peak()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    feed = {session.get_inputs()[0].name: x}
    session.run(None, feed)
    print("ready", flush=True)
    for line in sys.stdin:
        n = int(line)
        start = time.perf_counter()
        for _ in range(n):
            session.run(None, feed)
        t = (time.perf_counter() - start) / n
        print(f"{t:.9f} {memory_row('VmHWM') - before}", flush=True)


class Worker:
    def __init__(self, command, threads):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True, env=env)
        self.read()  # "ready"

    def read(self):
        line = self.p.stdout.readline().strip()
        if not line:
            sys.exit(f"onnx_compare: {' '.join(self.p.args)} ended early")
        return line

    def run(self, n):
        self.p.stdin.write(f"{n}\n")
        self.p.stdin.flush()
        seconds, kib = self.read().split()
        time.sleep(REST)
        return float(seconds), int(kib)

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def ours(model, batch, threads, *without):
    return Worker([BENCH, "run", *place(model, batch), str(threads), *without], threads)


def theirs(model, batch, threads):
    command = [sys.executable, os.path.abspath(__file__), "--peer"]
    return Worker([*command, *place(model, batch), str(threads)], threads)


def place(model, batch):
    return (os.path.join(FOLDER, model + ".onnx"),
            "x".join(str(n) for n in (batch, *SHAPES[model.removesuffix(".int8")])))


def interleave(a, b, rounds, seconds):
    """[(seconds of each round, KiB)] of both"""
    steps = [max(1, min(10000, int(seconds / w.run(1)[0]))) for w in (a, b)]
    times, peak = ([], []), [0, 0]
    for _ in range(rounds):
        for k, w in enumerate((a, b)):
            t, peak[k] = w.run(steps[k])
            times[k].append(t)
    a.close()
    b.close()
    return list(zip(times, peak))


def ratio(other, own):
    """The median over the rounds of other / own."""
    return statistics.median(q / p for q, p in zip(other, own))


def compare(model, batch, a):
    (x, x_kib), (y, y_kib) = interleave(ours(model, batch, a.threads),
                                        theirs(model, batch, a.threads), a.rounds, a.seconds)
    return {"model": model, "batch": batch, "reel_ms": statistics.median(x) * 1e3,
            "ort_ms": statistics.median(y) * 1e3, "time_ratio": ratio(y, x),
            "reel_mib": x_kib / 1024, "ort_mib": y_kib / 1024,
            "memory_ratio": y_kib / max(x_kib, 1)}


def what_passes_give(a):
    names = subprocess.run([BENCH, "passes"], text=True, capture_output=True,
                           check=True).stdout.split()
    cases = [(m, b) for m in a.model for b in a.batch]
    rows = []
    print(f"\n{'without':18}" + "".join(f"{f'{m} b{b}':>18}" for m, b in cases))
    for without in ["all", *names]:
        print(f"{without:18}", end="", flush=True)
        for model, batch in cases:
            (x, _), (y, _) = interleave(ours(model, batch, a.threads),
                                        ours(model, batch, a.threads, without),
                                        a.rounds, a.seconds)
            rows.append({"without": without, "model": model, "batch": batch,
                         "gain": ratio(y, x)})
            print(f"{rows[-1]['gain']:18.2f}", end="", flush=True)
        print()
    return rows


def in_integers(a):
    rows = []
    print(f"\n{'in integers':16} {'batch':>5} {'reel ms':>9} {'ORT ms':>9} {'time':>6}   "
          f"{'reel: over float':>16} {'ORT: over float':>16} {'reel MiB':>8} {'ORT MiB':>8}")
    for model in a.model:
        for batch in a.batch:
            r = compare(model + ".int8", batch, a)
            for whose, side in (("reel", ours), ("ort", theirs)):
                (x, _), (y, _) = interleave(side(model + ".int8", batch, a.threads),
                                            side(model, batch, a.threads), a.rounds,
                                            a.seconds)
                r[whose + "_gain"] = ratio(y, x)
            rows.append(r)
            print(f"{model:16} {batch:5} {r['reel_ms']:9.3f} {r['ort_ms']:9.3f} "
                  f"{r['time_ratio']:6.2f}   {r['reel_gain']:16.2f} {r['ort_gain']:16.2f} "
                  f"{r['reel_mib']:8.1f} {r['ort_mib']:8.1f}", flush=True)
    return rows


def arguments():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", action="append", choices=list(SHAPES))
    p.add_argument("--batch", action="append", type=int)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    p.add_argument("--seconds", type=float, default=0.4, help="of one turn")
    p.add_argument("--passes", action="store_true", help="what each pass gives")
    p.add_argument("--int8", action="store_true", help="the models in integers alone")
    p.add_argument("--require", type=float, help="exit 1 if a ratio of time is below")
    p.add_argument("--json", metavar="FILE", help="write the figures to a file")
    a = p.parse_args()
    if min(a.rounds, a.threads, *(a.batch or [1])) < 1 or a.seconds <= 0:
        p.error("numbers must be above 0")
    a.model = a.model or list(SHAPES)
    a.batch = a.batch or [1, 32]
    return a


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--peer":
        peer(sys.argv[2], tuple(int(n) for n in sys.argv[3].split("x")), int(sys.argv[4]))
        return 0
    a = arguments()
    subprocess.run([BENCH, "write", FOLDER], check=True)
    rows = in_integers(a) if a.int8 else []
    if not a.int8:
        print(f"{'model':16} {'batch':>5} {'reel ms':>9} {'ORT ms':>9} {'time':>6}   "
              f"{'reel MiB':>8} {'ORT MiB':>8} {'memory':>6}")
    for model in [] if a.int8 else a.model:
        for batch in a.batch:
            r = compare(model, batch, a)
            rows.append(r)
            print(f"{model:16} {batch:5} {r['reel_ms']:9.3f} {r['ort_ms']:9.3f} "
                  f"{r['time_ratio']:6.2f}   {r['reel_mib']:8.1f} {r['ort_mib']:8.1f} "
                  f"{r['memory_ratio']:6.2f}", flush=True)
    gains = what_passes_give(a) if a.passes else []
    if a.json:
        with open(a.json, "w") as f:
            json.dump({"threads": a.threads, "models": rows, "passes": gains}, f, indent=1)
    low = [r for r in rows if a.require and r["time_ratio"] < a.require]
    for r in low:
        print(f"onnx_compare: {r['model']} batch {r['batch']}: below {a.require}",
              file=sys.stderr)
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
