"""Training steps of reel, eager and as graphs, in turn (A B C A B C ...):

    ./run bench step [--rounds N] [--threads N]

Prints a line a model: milliseconds of a step, how many times faster than eager's the graph's is,
with and without the pass `recompute`, and the peak memory of each above the size of the process
before its first step. Ratios are medians over the rounds."""
import argparse
import os
import statistics

from torch_compare import REEL, Worker

CASES = ["train_resnet20_b128", "train_gpt_b12", "train_resnet18_b32", "train_resnet18_b128"]
WAYS = [[], ["--traced"], ["--traced", "--skip", "recompute"]]


def compare(case, rounds, threads):
    workers = [Worker([REEL, *way, "--worker", case], threads) for way in WAYS]
    for w in workers:
        w.run(4)  # eager, captured, planned
    steps = max(1, int(0.5 / workers[0].run(1)[0]))
    times, peak = [[] for _ in WAYS], [0] * len(WAYS)
    for _ in range(rounds):
        for i, w in enumerate(workers):
            t, peak[i] = w.run(steps)
            times[i].append(t)
    for w in workers:
        w.close()
    gain = [statistics.median(a / b for a, b in zip(times[0], t)) for t in times]
    return [statistics.median(t) * 1e3 for t in times], gain, [kib / 1024 for kib in peak]


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=11)
    p.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    a = p.parse_args()
    print(f"{'':22}{'eager':>20}{'graph':>27}{'without recompute':>27}")
    for case in CASES:
        ms, gain, mib = compare(case, a.rounds, a.threads)
        row = "".join(f"{ms[i]:9.2f} ms {gain[i]:5.2f}x {mib[i]:5.0f} MiB" for i in (1, 2))
        print(f"{case:22}{ms[0]:9.2f} ms {mib[0]:5.0f} MiB{row}", flush=True)


if __name__ == "__main__":
    main()
