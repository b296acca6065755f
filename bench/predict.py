#!/usr/bin/env python3
"""Times of the operators' benchmark on a GPU, predicted by the CUDA device in software, beside measured ones.

  bench/predict.py build/bin/bench_operators_softgpu --device H200 \\
      --measured bench/results/nvidia-h200/report.json --out bench/results/predicted/h200.md

  bench/predict.py --profile FILE.json --containing adamw --device H200

The second prints a recorded step by kernels: the last graph of a profile (DIFFSCM_SOFTGPU_PROFILE=FILE.json) with such a kernel.

In the first every case runs once, twice in a row in a recorded graph: the second call finds the caches as a repetition on a GPU would.
No time is measured here; what the table calls measured comes from the report."""
import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile

CALLS = 2


def timeline(path):
    """[(microseconds, limit, kernel, whether it is a node of a graph)] of a profile."""
    with open(path) as file:
        return [(n["predicted_us"], n["limit"], n["kernel"], n["replayed"]) for n in json.load(file)["launches"]]


def step(path, kernel, device):
    """The table of the last run of graph nodes that holds such a kernel."""
    rows = timeline(path)
    at = max((n for n, row in enumerate(rows) if row[3] and kernel in row[2]), default=None)
    if at is None:
        sys.exit(f"{path}: no recorded launch of a kernel named '{kernel}'")
    begin, end = at, at + 1
    while begin > 0 and rows[begin - 1][3]:
        begin -= 1
    while end < len(rows) and rows[end][3]:
        end += 1
    kernels = {}
    for us, limit, name, _ in rows[begin:end]:
        kernels.setdefault(name, []).append((us, limit))
    total = sum(row[0] for row in rows[begin:end])
    lines = [f"Predicted for {device}: {total:.0f} us, {end - begin} graph nodes.", "",
             "| kernel | calls | predicted us | limit of the longest |", "|---|---:|---:|---|"]
    for name, calls in sorted(kernels.items(), key=lambda k: -sum(us for us, _ in k[1])):
        lines.append(f"| `{name}` | {len(calls)} | {sum(us for us, _ in calls):.1f} | {max(calls)[1]} |")
    return "\n".join(lines)


def only(case):
    """The benchmark's filter for that case alone. POSIX knows no escapes but these: '->' is as it is."""
    return "^" + re.sub(r"[][.\\(){}*+?^$|]", r"\\\g<0>", case) + "(/real_time)?$"


def command(program, case):
    """Twice in a row in a recorded graph: the second call finds the caches as a repetition on a GPU would."""
    return [program, "--target", "cuda", f"--calls={CALLS}", "--yardsticks=no", f"--benchmark_filter={only(case)}",
            "--benchmark_min_time=0.000000001"]


def predicted(program, case, device, seconds):
    """[(microseconds, limit, kernel)] of one call, or None if it took too long or failed."""
    with tempfile.NamedTemporaryFile(suffix=".json") as profile:
        environment = dict(os.environ, DIFFSCM_SOFTGPU=device, DIFFSCM_SOFTGPU_PROFILE=profile.name, DIFFSCM_GEMM="own")
        try:
            subprocess.run(command(program, case), env=environment, check=True, timeout=seconds, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            print(f"{case}: not within {seconds} s", file=sys.stderr)
            return None
        except subprocess.CalledProcessError as error:
            print(f"{case}: exit {error.returncode}", file=sys.stderr)
            return None
        rows = [row[:3] for row in timeline(profile.name) if row[3]]
    if not rows:
        print(f"{case}: no recorded launch", file=sys.stderr)
    return rows[-(len(rows) // CALLS):] if rows else None


def cases(program, pattern):
    listed = subprocess.run([program, "--target", "cuda", "--benchmark_list_tests", f"--benchmark_filter={pattern}"],
                            check=True, capture_output=True, text=True).stdout
    return [name.removesuffix("/real_time") for name in listed.split()]


def report_times(report):
    """case -> measured microseconds; matrix products by our own kernels, as in the prediction."""
    rows = {**report.get("operators", {}), **report.get("own_gemm", {})}
    return {name: row["real_time"] / 1e3 for name, row in rows.items() if "real_time" in row}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", nargs="?", help="bench_operators_softgpu")
    parser.add_argument("--profile", help="print a step of this profile instead")
    parser.add_argument("--containing", default="", help="a kernel of that step")
    parser.add_argument("--device", default="H100")
    parser.add_argument("--filter", default=".")
    parser.add_argument("--measured", help="report.json of scripts/gpu_report.sh")
    parser.add_argument("--seconds", type=float, default=120, help="for each case")
    parser.add_argument("--out", default="-")
    o = parser.parse_args()
    if o.profile:
        print(step(o.profile, o.containing, o.device))
        return
    if not o.program:
        parser.error("give bench_operators_softgpu or --profile")

    report = json.load(open(o.measured)) if o.measured else {}
    measured = report_times(report)
    lines, ratios = [], []
    for case in cases(o.program, o.filter):
        rows = predicted(o.program, case, o.device, o.seconds)
        if not rows:
            continue
        us = sum(row[0] for row in rows)
        longest = max(rows)
        known = measured.get(case)
        if known:
            ratios.append(us / known)
        lines.append(f"| {case} | {us:.2f} | {f'{known:.2f}' if known else ''} | {f'{us / known:.2f}' if known else ''} | "
                     f"{len(rows)} | {longest[1]} | `{longest[2]}` |")
        print(lines[-1], file=sys.stderr, flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    head = [f"# Predicted times, {o.device}", "",
            f"By `bench/predict.py` at {commit}, from counters of the PTX and the model in `kernels/softgpu/predict.h`. "
            "**Nothing in the column `predicted` was measured.**"]
    if ratios:
        logs = sorted(abs(math.log(r)) for r in ratios)
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        head += [f"Measured: {report.get('device', 'see the report')}, programs of {report.get('commit', 'another commit')}. "
                 f"Of {len(ratios)} cases with both, half lie within a factor of {math.exp(logs[len(logs) // 2]):.2f}, nine of ten "
                 f"within {math.exp(logs[int(len(logs) * 0.9)]):.2f}; the mean ratio is {mean:.2f}."]
    head += ["", "| operator/case | predicted us | measured us | ratio | kernels | limit of the longest | longest kernel |",
             "|---|---:|---:|---:|---:|---|---|"]
    text = "\n".join(head + lines) + "\n"
    if o.out == "-":
        print(text)
    else:
        os.makedirs(os.path.dirname(o.out) or ".", exist_ok=True)
        with open(o.out, "w") as file:
            file.write(text)


if __name__ == "__main__":
    main()
