"""reel against PyTorch: the same work, in turn (A B A B ...), so that both meet the same noise.

    ./run bench torch [--case NAME]... [--rounds N] [--threads N] [--require R]
                      [--no-compile] [--json FILE]

Prints a line a case with the ratios of time and of peak memory; above 1, reel is better. reel
runs its models eagerly and as graphs; PyTorch runs channels-last, contiguous and compiled, and
its best is taken. Time is the median over the rounds of torch / reel; memory counts from each
process's size before the first step, without what torch.compile itself takes."""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
REEL = os.path.join(HERE, "..", "build", "release", "bench", "bench")
# Ways to run a case: PyTorch's, and reel's. Only convolutional models have a choice of layout;
# operators alone are not compiled, nor are they graphs.
MODES = {"train_resnet": ["channels-last", "contiguous", "compile"],
         "train_mobilenet": ["channels-last", "contiguous", "compile"],
         "infer_": ["channels-last", "contiguous", "compile"],
         "train_": ["channels-last", "compile"]}
OURS = {"reel": [], "reel graph": ["--traced"]}


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


def modes_of(case, compile_too):
    for prefix, modes in MODES.items():
        if case.startswith(prefix):
            return [m for m in modes if compile_too or m != "compile"]
    return ["channels-last"]


def start(case, threads, compile_too):
    """Every way to run the case, ours first, each in a process of its own."""
    workers = {}
    for name, options in OURS.items():
        if not (options and case.startswith("op_")):
            workers[name] = Worker([REEL, *options, "--worker", case], threads)
    for mode in modes_of(case, compile_too):
        workers["torch " + mode] = Worker(
            [sys.executable, os.path.join(HERE, "torch_worker.py"), case, str(threads), mode],
            threads)
    return workers


def compare(case, rounds, threads, seconds, compile_too):
    workers = start(case, threads, compile_too)
    for w in workers.values():  # optimizers make their state, graphs are made
        w.run(3)
    inner = 1000 if case == "op_add_1" else 1
    steps = {k: max(1, min(1000, int(seconds / (w.run(1)[0] * inner))))
             for k, w in workers.items()}
    samples, peak = {k: [] for k in workers}, {}
    for _ in range(rounds):
        for k, w in workers.items():
            t, kib = w.run(steps[k])
            samples[k].append(t)
            peak[k] = kib
    for w in workers.values():
        w.close()
    median = {k: statistics.median(v) for k, v in samples.items()}
    ours = "reel graph" if "reel graph" in workers else "reel"
    best = min((k for k in workers if k.startswith("torch")), key=median.get)
    # A compiler's own memory is no part of a step: eager's is compared.
    lean = min((k for k in workers if k.startswith("torch") and k != "torch compile"),
               key=peak.get)
    ratio = statistics.median(b / a for a, b in zip(samples[ours], samples[best]))
    eager = statistics.median(b / a for a, b in zip(samples["reel"], samples[best]))
    return {"case": case, "ms": {k: v * 1e3 for k, v in median.items()},
            "mib": {k: v / 1024 for k, v in peak.items()}, "best_torch": best,
            "time_ratio": ratio, "eager_ratio": eager,
            "memory_ratio": peak[lean] / max(peak[ours], 1)}


def show(r):
    best = r["best_torch"]
    ours = "reel graph" if "reel graph" in r["ms"] else "reel"
    lean = min(v for k, v in r["mib"].items() if k.startswith("torch") and k != "torch compile")
    print(f"{r['case']:22} {r['ms']['reel']:10.4f} {r['ms'].get('reel graph', float('nan')):10.4f} "
          f"{r['ms'][best]:10.4f} {r['eager_ratio']:6.2f} {r['time_ratio']:6.2f}   "
          f"{r['mib'][ours]:8.1f} {lean:9.1f} {r['memory_ratio']:6.2f}  {best[6:]}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--case", action="append", help="only these (default: all)")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    p.add_argument("--seconds", type=float, default=0.5, help="of one turn")
    p.add_argument("--require", type=float, help="exit 1 if a training step's ratio is below")
    p.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    p.add_argument("--json")
    a = p.parse_args()
    from torch_worker import CASES  # also tells whether torch is there
    for case in a.case or []:
        if case not in CASES:
            p.error(f"no case {case}; there are {' '.join(CASES)}")
    rows = []
    print(f"{'case':22} {'reel ms':>10} {'graph ms':>10} {'torch ms':>10} {'eager':>6} "
          f"{'graph':>6}   {'reel MiB':>8} {'torch MiB':>9} {'memory':>6}  best of torch")
    for case in a.case or CASES:
        r = compare(case, a.rounds, a.threads, a.seconds, not a.no_compile)
        rows.append(r)
        show(r)
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
