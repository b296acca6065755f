#!/usr/bin/python3
"""Whole jobs, diffscm against its peers, in turn: what changes on the machine meanwhile hits all.

    scripts/build.sh bench && bench/compare.py                  # Debian's PyTorch, eager and traced
    bench/compare.py --python "$(scripts/peers.sh)"             # today's: PyTorch eager and compiled,
                                                                # ONNX Runtime, OpenVINO

writes bench/results/<device>/job.md and job.json. Each round starts every program once for every job;
reported are medians over the rounds of each program's own median.
"""
import argparse
import datetime
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# job, batch, runs per round
JOBS = [("forward", 1, 50), ("forward", 10, 20), ("forward", 64, 5), ("train", 64, 4), ("counterfactual", 10, 1)]
QUICK = [("forward", 1, 2), ("forward", 10, 2), ("train", 4, 1), ("counterfactual", 1, 1)]


def cpu_name():
    text = subprocess.run(["lscpu"], capture_output=True, text=True, check=True,
                          env={**os.environ, "LC_ALL": "C"}).stdout
    fields = dict(re.findall(r"^\s*([^:\n]+):[ \t]*(.*)$", text, re.M))
    model = fields.get("Model name", platform.machine())
    widest = next((isa for isa in ("avx512f", "avx2") if isa in fields.get("Flags", "").split()), "no AVX2")
    return model, f"{model}, {widest}"


def slug(name):
    name = re.sub(r"\((r|tm)\)|\bcpu\b|@.*|processor", " ", name.lower())
    return "cpu-" + re.sub(r"[^a-z0-9]+", "-", name).strip("-")


def commit():
    def git(*arguments):
        return subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" with changes" if changed else "")


def measure(program, job, threads):
    what, batch, runs = job
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "result.json")
        # PyTorch reads the variable when it is imported; --threads alone would come too late for its pool.
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        subprocess.run([*program, "--what", what, "--batch", str(batch), "--runs", str(runs),
                        "--threads", str(threads), "--json", path],
                       check=True, stdout=subprocess.DEVNULL, env=environment)
        with open(path) as file:
            return json.load(file)


def peers(python):
    """name -> (command, the jobs that it can do)"""
    def script(name):
        return os.path.join(ROOT, "bench", "peers", name)
    all_jobs = {"forward", "train", "counterfactual"}
    if not python:
        return {"PyTorch": ([script("pytorch_job.py")], all_jobs),
                "PyTorch jit": ([script("pytorch_job.py"), "--jit"], {"forward"})}
    runtime = [python, script("runtime_job.py"), "--engine"]
    return {"PyTorch": ([python, script("pytorch_job.py")], all_jobs),
            "PyTorch compiled": ([python, script("pytorch_job.py"), "--compile"], {"forward", "train"}),
            "ONNX Runtime": (runtime + ["onnxruntime"], {"forward"}),
            "OpenVINO": (runtime + ["openvino"], {"forward"})}


def main():
    parser = argparse.ArgumentParser(description="Whole jobs, diffscm against its peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), help="the build folder")
    parser.add_argument("--python", help="of the peers (default: Debian's): what scripts/peers.sh prints")
    parser.add_argument("--out", help="folder of the results (default: bench/results/<device>)")
    parser.add_argument("--quick", action="store_true", help="tiny jobs: does it run at all?")
    o = parser.parse_args()

    ours = os.path.join(o.build, "bin", "bench_job")
    if not os.path.exists(ours):
        sys.exit(f"compare: no {ours}; run scripts/build.sh bench first")
    programs = {"diffscm": ([ours], {"forward", "train", "counterfactual"}), **peers(o.python)}
    jobs = QUICK if o.quick else JOBS
    model, device = cpu_name()
    out = o.out or os.path.join(ROOT, "bench", "results", slug(model))

    results = {}  # (job, program) -> one result per round
    for i in range(o.rounds):
        for job in jobs:
            for name, (program, able) in programs.items():
                if job[0] not in able:
                    continue
                result = measure(program, job, o.threads)
                results.setdefault((job, name), []).append(result)
                print(f"round {i + 1}/{o.rounds}  {job[0]:<15}batch {job[1]:<4}{name:<18}{result['ms']:>12.2f} ms",
                      file=sys.stderr)

    def value(job, name, key="ms"):
        found = results.get((job, name))
        return statistics.median(r[key] for r in found) if found else None

    def cell(ms):
        return "" if ms is None else f"{ms:.0f}" if ms >= 1000 else f"{ms:.1f}"

    def ratio(a, b):
        return "" if b is None else f"{b / a:.2f}x"

    others = [name for name in programs if name != "diffscm"]
    versions = {name: results[jobs[0], name][0]["version"] for name in others}
    about = {"device": device, "threads": o.threads, "rounds": o.rounds, "versions": versions, "commit": commit(),
             "date": datetime.date.today().isoformat(), "quick": o.quick}
    lines = ["# Whole jobs: diffscm and its peers", "",
             f"{device}; {o.threads} threads; f32; {', '.join(f'{n} {v}' for n, v in versions.items())}; "
             f"commit {about['commit']}; {about['date']}; medians over {o.rounds} rounds in turn. "
             "Ratios are the peer's time over ours." + (" A quick trial, not a measurement." if o.quick else ""), "",
             "The `mnist-fast` U-Net (1,140,929 parameters) and its classifier (1,936,330). `train` is one step: "
             "forward, backward, AdamW, moving average. `counterfactual` is DDIM abduction (100 levels) and "
             "guided prediction (100 levels). Memory is the process's peak; PyTorch's includes its libraries.", "",
             "| job | batch | diffscm ms | images/s | " + "".join(f"{n} ms | ratio | " for n in others)
             + "diffscm MiB | PyTorch MiB |",
             "|---|" + "---:|" * (5 + 2 * len(others))]
    for job in jobs:
        mine = value(job, "diffscm")
        cells = "".join(f"{cell(value(job, n))} | {ratio(mine, value(job, n))} | " for n in others)
        lines.append(f"| {job[0]} | {job[1]} | {cell(mine)} | {1000 * job[1] / mine:.3g} | {cells}"
                     f"{value(job, 'diffscm', 'peak_process_mib'):.0f} | "
                     f"{value(job, 'PyTorch', 'peak_process_mib'):.0f} |")
    table = "\n".join(lines) + "\n"

    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "job.md"), "w") as file:
        file.write(table)
    with open(os.path.join(out, "job.json"), "w") as file:
        json.dump({**about, "results": [r for rounds in results.values() for r in rounds]}, file, indent=1)
        file.write("\n")
    print(table, end="")
    print(f"wrote {os.path.join(out, 'job.md')}", file=sys.stderr)


if __name__ == "__main__":
    main()
