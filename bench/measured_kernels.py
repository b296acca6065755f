#!/usr/bin/env python3
"""Kernels measured by Nsight Compute beside what the CUDA device in software predicts for them.

On a machine with a GPU, for each of JOBS (step-1023: --what counterfactual, --launch-skip 9000):
  DIFFSCM_RECORD=0 ncu --set full --clock-control none --cache-control none --launch-count 90 --export forward-1023 \\
      build/bin/bench_job --what forward --batch 1023 --device cuda --precision bf16 --runs 1
  ncu --import forward-1023.ncu-rep --page raw --csv > forward-1023.csv
Anywhere:
  bench/measured_kernels.py trim --commit C --device D --driver V --out kernels.json forward-1023=forward-1023.csv ...
  bench/measured_kernels.py table kernels.json --program after=build/bin/diffscm-softgpu [--program before=...]

Launches are matched by kernel and order: what only one side has (casts of weights of a first call, copies) is left out.
"""
import argparse
import csv
import difflib
import json
import math
import os
import re
import subprocess
import sys

# How `diffscm-softgpu profile` takes as long: 62 images on 8 of 132 multiprocessors for 1023 on all.
JOBS = {"forward-1023": ("H100:8", "forward", 62), "step-1023": ("H100:8", "step", 62), "forward-64": ("H100", "forward", 64)}
# What Nsight Compute's duration of a launch has more than a node of a graph takes: its begin and its end.
NCU_US = 1.3


def plain(kernel):
    """One name of a kernel, however a tool writes it: ncu's <unnamed>:: may have lost its <."""
    kernel = re.sub(r"^void ", "", kernel.replace("(anonymous namespace)::", ""))
    kernel = re.sub(r"(^<|(?<=[<\s])<)?unnamed>::", "", kernel)
    return re.sub(r"\(.*|\s", "", kernel).replace("false", "0").replace("true", "1")


def number(text):
    return float(text.replace(",", "") or 0)


def measured(path):
    """[[kernel, blocks, threads, us, instructions, wavefronts of shared memory]] of ncu's raw page."""
    with open(path, newline="") as file:
        rows = [r for r in csv.DictReader(file)]
    if not rows or "gpu__time_duration.sum" not in rows[0]:
        sys.exit(f"{path}: no gpu__time_duration.sum: give the output of ncu --page raw --csv")
    unit = {"ns": 1e-3, "us": 1, "ms": 1e3}[rows[0]["gpu__time_duration.sum"]]  # the first row has the units
    return [[plain(r["Kernel Name"]), int(number(r["launch__grid_size"])), int(number(r["launch__block_size"])),
             round(unit * number(r["gpu__time_duration.sum"]), 3), int(number(r["smsp__inst_executed.sum"])),
             int(number(r["memory_l1_wavefronts_shared"]))] for r in rows[1:]]


def trim(o):
    runs = {}
    for argument in o.runs:
        name, _, path = argument.partition("=")
        if name not in JOBS:
            sys.exit(f"{name}: give one of {', '.join(JOBS)}")
        runs[name] = measured(path)
    head = {"commit": o.commit, "device": o.device, "driver": o.driver, "date": o.date,
            "columns": ["kernel", "blocks", "threads", "us", "instructions", "shared_wavefronts"]}
    with open(o.out, "w") as file:
        file.write(json.dumps(head)[:-1] + ',\n"runs": {')
        file.write(",".join(f'\n"{name}": [\n' + ",\n".join(json.dumps(r) for r in rows) + "]" for name, rows in runs.items()))
        file.write("}}\n")


def predicted(program, rows, machine, job, batch):
    """[(kernel, us, limit)] of a job's launches, the U-Net computed in the way that was measured."""
    way = "whole" if any(r[0].startswith("whole_network_kernel") for r in rows) else "layers"
    out = subprocess.run([program, "profile", "--model", "mnist-fast", "--job", job, "--batch", str(batch), "--precision", "bf16",
                          "--quiet", "--json"], env=dict(os.environ, DIFFSCM_SOFTGPU=machine, DIFFSCM_UNET=way),
                         check=True, capture_output=True, text=True).stdout
    return [(plain(n["kernel"]), n["predicted_us"] + NCU_US, n["limit"]) for n in json.loads(out)["launches"] if "blocks" in n]


def matched(rows, launches):
    """[(measured, predicted)], in order."""
    pairs = []
    for block in difflib.SequenceMatcher(None, [r[0] for r in rows], [n[0] for n in launches], autojunk=False).get_matching_blocks():
        pairs += zip(rows[block.a:block.a + block.size], launches[block.b:block.b + block.size])
    return pairs


def spread(ratios):
    """How far off the middle one and the worst are, either way, and the mean ratio."""
    logs = sorted(abs(math.log(r)) for r in ratios)
    return (math.exp(logs[len(logs) // 2]), math.exp(logs[int(len(logs) * 0.9)]), math.exp(logs[-1]),
            math.exp(sum(map(math.log, ratios)) / len(ratios)))


def table(o):
    with open(o.measured) as file:
        report = json.load(file)
    programs = [p.partition("=")[::2] for p in o.program]
    labels = [label for label, _ in programs]
    lines = []
    for run, rows in report["runs"].items():
        pairs = {label: matched(rows, predicted(path, rows, *JOBS[run])) for label, path in programs}
        lines += ["", f"### {run}", "", f"{len(pairs[labels[0]])} launches; a kernel's together, in us.", "",
                  "| model | median off by | nine of ten within | worst | mean ratio |", "|---|---:|---:|---:|---:|"]
        groups = {}  # by kernel, by label: [(measured us, predicted us, limit)]
        for label, of in pairs.items():
            off = spread([launch[1] / row[3] for row, launch in of])
            lines.append(f"| {label} | " + " | ".join(f"{x:.2f}" for x in off) + " |")
            for row, launch in of:
                name = f"`{row[0]}`" + (f" {row[1]} x {row[2]}" if o.each else "")
                groups.setdefault(name, {}).setdefault(label, []).append((row[3], *launch[1:]))
        lines += ["", "| kernel | launches | measured | " + " | ".join(f"{label} | ratio" for label in labels) + " | limit |",
                  "|---|---:|---:|" + "---:|---:|" * len(labels) + "---|"]
        for name, by in sorted(groups.items(), key=lambda g: -sum(x[0] for x in next(iter(g[1].values())))):
            cells = []
            for label in labels:
                us, of = (sum(x[i] for x in by.get(label, [])) for i in (0, 1))
                cells.append(f"{of:.1f} | {of / us:.2f}" if us else "|")
            first = next(iter(by.values()))
            longest = max(by.get(labels[-1], first), key=lambda x: x[1])
            lines.append(f"| {name} | {len(first)} | {sum(x[0] for x in first):.1f} | " + " | ".join(cells) + f" | {longest[2]} |")
    print("\n".join(lines[1:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("trim", help="what is kept of ncu's output")
    command.add_argument("runs", nargs="+", metavar="JOB=FILE.csv", help=f"JOB: one of {', '.join(JOBS)}")
    for name in ("commit", "device", "driver", "date", "out"):
        command.add_argument(f"--{name}", required=True)
    command.set_defaults(run=trim)
    command = commands.add_parser("table", help="measured beside predicted, as Markdown")
    command.add_argument("measured", help="kernels.json")
    command.add_argument("--program", action="append", required=True, metavar="LABEL=diffscm-softgpu", help="one or more; the last one's limits are shown")
    command.add_argument("--each", action="store_true", help="a row for each shape of a launch, not only for each kernel")
    command.set_defaults(run=table)
    o = parser.parse_args()
    o.run(o)


if __name__ == "__main__":
    main()
