#!/usr/bin/python3
"""The ten-image counterfactual alone and beside another busy process, as on a shared machine.

    scripts/build.sh && bench/company.py [--program NAME=COMMAND ...]

writes bench/results/<device>/company.md and company.json. Rounds take programs, situations and settings
in turn, so that what changes on the machine meanwhile hits all; reported are minima over the rounds.
"""
import argparse
import datetime
import json
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time

import compare

# The other process: none, one that never sleeps, and one that does so at the lowest priority.
SITUATIONS = {"alone": None, "beside a busy process": 0, "beside a niced one": 19}
SETTINGS = {"default": [], "--threads 1": ["--threads", "1"]}


def competitor(niceness):
    return subprocess.Popen(["nice", "-n", str(niceness), "sh", "-c", "while :; do :; done"])


def run(program, flags, images, steps):
    """Seconds of the clock and of the processor."""
    weights = os.path.join(compare.ROOT, "weights", "digits-")
    with tempfile.TemporaryDirectory() as folder:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run([*shlex.split(program), "counterfactual", "--model", weights + "unet.safetensors",
                        "--classifier", weights + "classifier.safetensors", "--data", "digits",
                        "--index", f"0:{images}", "--do", "digit=3", "--abduction", "ddim", "--steps", str(steps),
                        "--device", "cpu", "--out", os.path.join(folder, "run"), "--quiet", *flags],
                       check=True, stdout=subprocess.DEVNULL)
        wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description="The counterfactual in company")
    parser.add_argument("--program", action="append", metavar="NAME=COMMAND",
                        help="repeatable (default: diffscm=build/bin/diffscm)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--out", help="folder of the results (default: bench/results/<device>)")
    o = parser.parse_args()
    default = "diffscm=" + os.path.join(compare.ROOT, "build", "bin", "diffscm")
    programs = dict(each.split("=", 1) for each in o.program or [default])
    model, device = compare.cpu_name()
    out = o.out or os.path.join(compare.ROOT, "bench", "results", compare.slug(model))

    runs = {}  # (program, setting, situation) -> [(wall, processor)]
    load = [os.getloadavg()[0]]
    for i in range(o.rounds):
        for situation, niceness in SITUATIONS.items():
            for setting, flags in SETTINGS.items():
                for name, path in programs.items():
                    other = None if niceness is None else competitor(niceness)
                    try:
                        measured = run(path, flags, o.images, o.steps)
                    finally:
                        if other:
                            other.kill()
                            other.wait()
                    runs.setdefault((name, setting, situation), []).append(measured)
                    print(f"round {i + 1}/{o.rounds}  {situation:<22}{setting:<12}{name:<12}{measured[0]:8.2f} s"
                          f"  (processor {measured[1]:.2f} s)", file=sys.stderr)
        load.append(os.getloadavg()[0])

    def least(*key):
        return min(wall for wall, _ in runs[key])

    lines = [f"# {o.images}-image counterfactual alone and in company", "",
             f"{device}, {len(os.sched_getaffinity(0))} cores; commit {compare.commit()}, "
             f"{datetime.date.today()}. digits weights, ddim abduction, {o.steps} levels. Least wall time of "
             f"{o.rounds} rounds, in seconds; in brackets as a multiple of the program's own default alone. "
             f"Load average of the machine before and after each round: {', '.join(f'{l:.1f}' for l in load)}.", "",
             "| program | threads | " + " | ".join(SITUATIONS) + " |", "|" + " --- |" * (2 + len(SITUATIONS))]
    for name in programs:
        base = least(name, "default", "alone")
        for setting in SETTINGS:
            cells = [f"{least(name, setting, s):.2f} ({least(name, setting, s) / base:.2f})" for s in SITUATIONS]
            lines.append(f"| {name} | {setting} | " + " | ".join(cells) + " |")
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "company.md"), "w") as file:
        file.write("\n".join(lines) + "\n")
    with open(os.path.join(out, "company.json"), "w") as file:
        json.dump({"device": device, "commit": compare.commit(), "date": str(datetime.date.today()), "load": load,
                   "runs": [{"program": n, "threads": t, "situation": s, "seconds": [list(each) for each in all_]}
                            for (n, t, s), all_ in runs.items()]}, file, indent=1)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
