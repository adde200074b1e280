"""reel against ONNX Runtime: the same files, the same threads, in turn (A B A B ...).

    ./run bench onnx [--rounds N] [--threads N] [--require R] [--passes] [--json FILE]

Prints a line a model and batch size with the ratios of time and of peak memory; above 1, reel
is better. Time is the median over the rounds of ONNX Runtime / reel. Memory counts from each
process's size before the file is opened. With --passes each pass of reel is left out in turn:
what it gives is the time without it over the time with all."""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.path.join(HERE, "..", "build", "release", "bench", "bench_onnx")
FOLDER = os.path.join(HERE, "..", "build", "onnx-models")
SHAPES = {"resnet20": (3, 32, 32), "resnet18_32": (3, 32, 32), "resnet18_224": (3, 224, 224),
          "vit": (3, 32, 32), "encoder": (64, 256)}
BATCHES = (1, 32)


def memory_row(name):
    with open("/proc/self/status") as f:
        for line in f:
            if line.startswith(name + ":"):
                return int(line.split()[1])
    return 0


def peer(path, batch, threads):
    """The same protocol as bench_onnx: ONNX Runtime's side, in a process of its own."""
    import time
    import numpy as np
    import onnxruntime as ort
    shape = SHAPES[os.path.basename(path).removesuffix(".onnx")]
    x = np.random.default_rng(1).standard_normal((batch, *shape), dtype=np.float32)
    before = memory_row("VmRSS")
    o = ort.SessionOptions()
    o.intra_op_num_threads = threads
    o.inter_op_num_threads = 1
    o.log_severity_level = 3
    session = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
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
        self.read()

    def read(self):
        line = self.p.stdout.readline().strip()
        if not line:
            sys.exit(f"onnx_compare: {' '.join(self.p.args)} ended early")
        return line

    def run(self, n):
        self.p.stdin.write(f"{n}\n")
        self.p.stdin.flush()
        seconds, kib = self.read().split()
        return float(seconds), int(kib)

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def interleave(workers, rounds, seconds):
    """{name: ([seconds of each round], KiB)}"""
    steps = {k: max(1, int(seconds / w.run(1)[0])) for k, w in workers.items()}
    times, peak = {k: [] for k in workers}, {}
    for _ in range(rounds):
        for k, w in workers.items():
            t, peak[k] = w.run(steps[k])
            times[k].append(t)
    for w in workers.values():
        w.close()
    return {k: (times[k], peak[k]) for k in workers}


def ours(path, batch, threads, *passes):
    return Worker([BENCH, "run", path, str(batch), str(threads), *passes], threads)


def compare(name, batch, a):
    path = os.path.join(FOLDER, name + ".onnx")
    command = [sys.executable, os.path.abspath(__file__), "--peer", path, str(batch),
               str(a.threads)]
    r = interleave({"reel": ours(path, batch, a.threads), "ort": Worker(command, a.threads)},
                   a.rounds, a.seconds)
    (x, x_kib), (y, y_kib) = r["reel"], r["ort"]
    return {"model": name, "batch": batch, "reel_ms": statistics.median(x) * 1e3,
            "ort_ms": statistics.median(y) * 1e3,
            "time_ratio": statistics.median(q / p for p, q in zip(x, y)),
            "reel_mib": x_kib / 1024, "ort_mib": y_kib / 1024,
            "memory_ratio": y_kib / max(x_kib, 1)}


def what_passes_give(a):
    names = subprocess.run([BENCH, "passes"], text=True, capture_output=True,
                           check=True).stdout.split()
    print(f"\n{'without':20}" + "".join(f"{m + ' b1':>18}{'b32':>8}" for m in SHAPES))
    for without in names:
        row = f"{without:20}"
        for model in SHAPES:
            for batch in BATCHES:
                path = os.path.join(FOLDER, model + ".onnx")
                some = ",".join(n for n in names if n != without)
                r = interleave({"all": ours(path, batch, a.threads),
                                "some": ours(path, batch, a.threads, some)}, 3, 0.3)
                gain = statistics.median(q / p for p, q in zip(r["all"][0], r["some"][0]))
                row += f"{gain:{18 if batch == 1 else 8}.2f}"
        print(row, flush=True)


def main():
    if len(sys.argv) == 5 and sys.argv[1] == "--peer":
        return peer(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    p.add_argument("--seconds", type=float, default=0.4, help="of one turn")
    p.add_argument("--model", action="append", choices=list(SHAPES))
    p.add_argument("--passes", action="store_true", help="what each pass gives")
    p.add_argument("--require", type=float, help="exit 1 if a ratio is below")
    p.add_argument("--json")
    a = p.parse_args()
    subprocess.run([BENCH, "write", FOLDER], check=True)
    rows = []
    print(f"{'model':14} {'batch':>5} {'reel ms':>9} {'ORT ms':>9} {'time':>6}   "
          f"{'reel MiB':>8} {'ORT MiB':>8} {'memory':>6}")
    for name in a.model or SHAPES:
        for batch in BATCHES:
            r = compare(name, batch, a)
            rows.append(r)
            print(f"{r['model']:14} {r['batch']:5} {r['reel_ms']:9.3f} {r['ort_ms']:9.3f} "
                  f"{r['time_ratio']:6.2f}   {r['reel_mib']:8.1f} {r['ort_mib']:8.1f} "
                  f"{r['memory_ratio']:6.2f}", flush=True)
    if a.passes:
        what_passes_give(a)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(rows, f, indent=1)
    low = [r for r in rows if a.require and r["time_ratio"] < a.require]
    for r in low:
        print(f"{r['model']} batch {r['batch']}: below {a.require}", file=sys.stderr)
    return 1 if low else 0


if __name__ == "__main__":
    sys.exit(main())
