"""reel against PyTorch: the same work, in turn (A B A B ...), so that both meet the same noise.

    ./run bench torch [--case NAME]... [--rounds N] [--threads N] [--require R] [--json FILE]

Prints a line a case with the ratios of time and of peak memory; above 1, reel is better. Time
is the median over the rounds of torch / reel; memory counts from each process's size before
the first step. PyTorch runs channels-last and contiguous and its better one is taken."""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
REEL = os.path.join(HERE, "..", "build", "release", "bench", "bench")
# Only convolutional models have a choice.
LAYOUTS = {"train_resnet": ["channels-last", "contiguous"],
           "infer_resnet": ["channels-last", "contiguous"]}


class Worker:
    def __init__(self, command, threads):
        env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  text=True, env=env)
        self.expect("ready")

    def expect(self, what=None):
        line = self.p.stdout.readline().strip()
        if not line or (what and line != what):
            sys.exit(f"torch_compare: {self.p.args} ended early")
        return line

    def run(self, steps):
        self.p.stdin.write(f"{steps}\n")
        self.p.stdin.flush()
        seconds, kib = self.expect().split()
        return float(seconds), int(kib)

    def close(self):
        self.p.stdin.close()
        self.p.wait()


def layouts_of(case):
    for prefix, layouts in LAYOUTS.items():
        if case.startswith(prefix):
            return layouts
    return ["channels-last"]


def compare(case, rounds, threads, seconds):
    ours = Worker([REEL, "--worker", case], threads)
    theirs = {layout: Worker([sys.executable, os.path.join(HERE, "torch_worker.py"), case,
                              str(threads), layout], threads) for layout in layouts_of(case)}
    workers = [ours, *theirs.values()]
    for w in workers:  # warm up
        w.run(1)
    first = [w.run(1)[0] for w in workers]
    inner = 1000 if case == "op_add_1" else 1
    steps = [max(1, min(1000, int(seconds / (t * inner)))) for t in first]
    samples = [[] for _ in workers]
    peaks = [0] * len(workers)
    for _ in range(rounds):
        for i, w in enumerate(workers):
            t, kib = w.run(steps[i])
            samples[i].append(t)
            peaks[i] = max(peaks[i], kib)
    for w in workers:
        w.close()
    best = min(range(1, len(workers)), key=lambda i: statistics.median(samples[i]))
    ratio = statistics.median(b / a for a, b in zip(samples[0], samples[best]))
    return {"case": case, "reel_ms": statistics.median(samples[0]) * 1e3,
            "torch_ms": statistics.median(samples[best]) * 1e3, "time_ratio": ratio,
            "reel_mib": peaks[0] / 1024, "torch_mib": peaks[best] / 1024,
            "memory_ratio": peaks[best] / max(peaks[0], 1),
            "torch_layout": list(theirs)[best - 1]}


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--case", action="append", help="only these (default: all)")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    p.add_argument("--seconds", type=float, default=0.5, help="of one turn")
    p.add_argument("--require", type=float, help="exit 1 if a training step's ratio is below")
    p.add_argument("--json")
    a = p.parse_args()
    from torch_worker import CASES  # also tells whether torch is there
    for case in a.case or []:
        if case not in CASES:
            p.error(f"no case {case}; there are {' '.join(CASES)}")
    rows = []
    print(f"{'case':22} {'reel ms':>10} {'torch ms':>10} {'time':>6}   {'reel MiB':>9} "
          f"{'torch MiB':>9} {'memory':>6}")
    for case in a.case or CASES:
        r = compare(case, a.rounds, a.threads, a.seconds)
        rows.append(r)
        print(f"{case:22} {r['reel_ms']:10.4f} {r['torch_ms']:10.4f} {r['time_ratio']:6.2f}   "
              f"{r['reel_mib']:9.1f} {r['torch_mib']:9.1f} {r['memory_ratio']:6.2f}",
              flush=True)
    if a.json:
        with open(a.json, "w") as f:
            json.dump(rows, f, indent=1)
    if a.require is not None:
        low = [r for r in rows if r["case"].startswith("train_")
               and min(r["time_ratio"], r["memory_ratio"]) < a.require]
        for r in low:
            print(f"{r['case']}: below {a.require}", file=sys.stderr)
        return 1 if low else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
