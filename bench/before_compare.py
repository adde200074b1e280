"""reel against another build of reel, a version before it: the same work, in turn (A B A B ...):

    ./run bench before BUILD [--case NAME]... [--rounds N] [--threads N] [--require R]

BUILD is the other's build folder, with its bench and bench_onnx in BUILD/bench. Prints a line a
case, of the cases that both know: operators and models eagerly, models as graphs, and the models
that `bench_onnx write` makes as files, each file read by both. The ratio is the median over the
rounds of before / now, above 1 where now is better, with the quartiles that say how sure it
is."""
import argparse
import os
import statistics
import subprocess
import sys
import tempfile

from onnx_compare import SHAPES
from torch_compare import Worker

NOW = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build", "release")


def program(build, name):
    return os.path.join(build, "bench", name)


def cases_of(build):
    text = subprocess.run([program(build, "bench"), "--list"], text=True, capture_output=True,
                          check=True).stdout
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def ways(folder, before, threads):
    """{name: what to run after a build's folder}"""
    out = {}
    known = set(cases_of(before))
    for case in cases_of(NOW):
        if case not in known:
            continue
        out[case] = ["bench", "--worker", case]
        if not case.startswith("op_"):
            out[case + " graph"] = ["bench", "--traced", "--worker", case]
    for model, shape in SHAPES.items():
        for batch in (1, 16):
            place = [os.path.join(folder, model + ".onnx"),
                     "x".join(str(n) for n in (batch, *shape))]
            out[f"{model}.onnx b{batch}"] = ["bench_onnx", "run", *place, str(threads)]
    return out


def compare(command, before, a):
    """[before / now of each round], [milliseconds now]"""
    workers = [Worker([program(build, command[0]), *command[1:]], a.threads)
               for build in (before, NOW)]
    for w in workers:
        w.run(4)  # optimizers make their state, graphs are made and planned
    inner = 1000 if command[-1] == "op_add_1" else 1  # a step of it is so many adds
    steps = [max(1, min(10000, int(a.seconds / (w.run(1)[0] * inner)))) for w in workers]
    times = ([], [])
    for i in range(a.rounds):
        for k in ((0, 1), (1, 0))[i % 2]:  # no one is always first
            times[k].append(workers[k].run(steps[k])[0])
    for w in workers:
        w.close()
    return [b / n for b, n in zip(*times)], [1e3 * t for t in times[1]]


def show(name, ratios, ms):
    low, _, high = statistics.quantiles(ratios, n=4)
    print(f"{name:26}{statistics.median(ms):12.4f} ms {statistics.median(ratios):7.3f}"
          f"   {low:6.3f} to {high:6.3f}", flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("before", help="the other's build folder")
    p.add_argument("--case", action="append", help="only these (default: all)")
    p.add_argument("--rounds", type=int, default=11)
    p.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    p.add_argument("--seconds", type=float, default=0.3, help="of one turn")
    p.add_argument("--require", type=float, help="exit 1 if a ratio is below")
    a = p.parse_args()
    if not os.path.exists(program(a.before, "bench")):
        p.error(f"{program(a.before, 'bench')} is not there: build it first")
    slower = []
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([program(NOW, "bench_onnx"), "write", folder], check=True,
                       stdout=subprocess.DEVNULL)
        all_ways = ways(folder, a.before, a.threads)
        for name in a.case or []:
            if name not in all_ways:
                p.error(f"no case {name}; there are {', '.join(all_ways)}")
        print(f"{'':26}{'now':>15} {'before/now':>11}   quartiles")
        for name in a.case or all_ways:
            ratios, ms = compare(all_ways[name], a.before, a)
            show(name, ratios, ms)
            if a.require and statistics.median(ratios) < a.require:
                slower.append(name)
    if slower:
        sys.exit(f"slower than {a.require} of before: {', '.join(slower)}")


if __name__ == "__main__":
    main()
