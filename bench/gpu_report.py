#!/usr/bin/env python3
"""Everything a GPU can tell about this engine, in at most ten minutes: tests, compute-sanitizer,
operators against their limits and against cuDNN and cuBLAS, whole jobs against PyTorch.

    scripts/gpu_report.sh            builds if it can, then runs this

writes report.md and report.json into bench/results/<device>/. What is not there (PyTorch, cuDNN,
compute-sanitizer) is said in the report and left out. The exit code is that of the tests.
"""
import argparse
import concurrent.futures
import datetime
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BATCHES = (1, 64, 1024)
WORK = ("forward", "counterfactual", "train")
WHOLE_NETWORK = "*WholeNetworkTest.ASmallOne/cuda"


class Clock:
    """Shares the minutes out: each step may take what is left, less what later steps need (of ten minutes)."""

    def __init__(self, minutes):
        self.end = time.monotonic() + 60 * minutes
        self.scale = min(1.0, minutes / 9.5)

    def left(self, reserve=0.0):
        return max(5.0, self.end - time.monotonic() - reserve * self.scale)


def run(command, limit, **environment):
    """Exit code (124: out of time) and output of a command, which leaves no process behind."""
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                   start_new_session=True, env={**os.environ, **environment})
    except OSError as e:
        return 127, str(e)
    try:
        out, _ = process.communicate(timeout=limit)
        return process.returncode, out
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # a wrapper's children too: they would disturb what follows
        return 124, process.communicate()[0]


def query(fields):
    code, out = run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"], 30)
    return [f.strip() for f in out.splitlines()[0].split(",")] if code == 0 and out.strip() else None


def commit():
    def git(*arguments):
        return run(["git", "-C", ROOT, *arguments], 30)[1].strip()
    if run(["git", "-C", ROOT, "rev-parse"], 30)[0] != 0:
        return "unknown"
    return git("rev-parse", "--short", "HEAD") + (" with changes" if git("status", "--porcelain", "-uno") else "")


# Tests ---------------------------------------------------------------------------------------------------------

def beside(tasks):
    """What functions return that run at the same time: for work whose time does not matter."""
    with concurrent.futures.ThreadPoolExecutor(max(1, len(tasks))) as pool:
        return [future.result() for future in [pool.submit(task) for task in tasks]]


def gtest(binary, pattern, limit, wrapper=(), shards=1, **environment):
    command = [*wrapper, binary, f"--gtest_filter={pattern}", "--gtest_brief=1"]
    start = time.monotonic()
    runs = beside([lambda i=i: run(command, limit, GTEST_TOTAL_SHARDS=str(shards), GTEST_SHARD_INDEX=str(i),
                                   **environment) for i in range(shards)])

    def count(expression):
        return sum(int(found[1]) for _, out in runs if (found := re.search(expression, out)))
    failed = {name for _, out in runs for name in re.findall(r"^\[  FAILED  \] ([\w./]+)", out, re.M)}
    settings = [f"{name}={value}" for name, value in environment.items()]
    codes = [code for code, _ in runs]
    return {"binary": os.path.basename(binary), "filter": " ".join([pattern, *settings]),
            "exit": next((c for c in codes if c not in (0, 124)), max(codes)),
            "ran": count(r"(\d+) tests? from"), "passed": count(r"\[  PASSED  \] (\d+) test"),
            "skipped": count(r"\[  SKIPPED \] (\d+) test"), "failed": sorted(failed),
            "seconds": time.monotonic() - start,
            "tail": "".join(out[-4000:] for code, out in runs if code != 0)}


def tests(o, clock):
    """A list of functions: the first alone, as it counts the device's memory, the others side by side."""
    runs = [("engine", "*uda*", 1, {}), ("kernels", "*/cuda*", 6, {}), ("models", "*uda*", 1, {}),
            ("causal", "*uda*", 1, {})]
    if o.wgmma:
        runs += [("kernels", "Conv2d.*/cuda_bf16", 1, {"DIFFSCM_CONV": "wgmma"}),
                 ("kernels", "*/cuda*", 6, {"DIFFSCM_OVERLAP": "1000000000"})]
    return [lambda r=r: gtest(os.path.join(o.bin, f"{r[0]}_tests"), r[1], clock.left(430), shards=r[2], **r[3])
            for r in runs if os.path.exists(os.path.join(o.bin, f"{r[0]}_tests"))]


def sanitizer(o, clock):
    """memcheck and racecheck on the operators' cases that the emulator runs too: the small ones."""
    tool = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    if not os.path.exists(tool):
        return []

    def task(check, binary, pattern, shards, limit):
        wrapper = (tool, "--tool", check, "--error-exitcode", "9", "--print-limit", "20")
        result = gtest(os.path.join(o.bin, binary), pattern, min(limit, clock.left(430)), wrapper, shards)
        return {**result, "check": f"{check}, `{pattern}`"}
    return [lambda check=check, at=at: task(check, *at) for check in ("memcheck", "racecheck")
            for at in (("kernels_tests", o.sanitizer_filter, 4, 150), ("models_tests", WHOLE_NETWORK, 1, 60))]


def at_once(o, clock):
    """Results of the tests, then of compute-sanitizer, beside which PyTorch compiles what is timed later, for its cache."""
    first, *others = tests(o, clock)
    done = [first(), *beside(others)]
    for t in done:
        print(f"tests {t['binary']} {t['filter']}: {t['passed']} of {t['ran']} passed", file=sys.stderr)
    checks = sanitizer(o, clock)
    compiling = [lambda w=w, b=b: run([*peer("--compile"), "--device", "cuda", "--precision", "bf16", "--runs", "1",
                                       "--what", w, "--batch", str(b)], clock.left(430))
                 for w in WORK for b in batches_of(w, "bf16") if o.pytorch]
    found = beside(checks + compiling)[:len(checks)]
    for f in found:
        print(f"compute-sanitizer {f['check']}: exit {f['exit']}", file=sys.stderr)
    return done, found or None


# Operators -----------------------------------------------------------------------------------------------------

def finished_rows(text):
    """The benchmarks of a file that may end in the middle, its program having run out of time."""
    start = text.find("[", text.find('"benchmarks"'))
    rows, decoder = [], json.JSONDecoder()
    while start >= 0 and (start := text.find("{", start)) >= 0:
        try:
            row, start = decoder.raw_decode(text, start)
        except ValueError:
            break
        rows.append(row)
    return rows


def operators(o, clock, pattern, seconds, reserve, **environment):
    """name -> counters of bench_operators."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        code, out = run([os.path.join(o.bin, "bench_operators"), "--target", "cuda", f"--benchmark_filter={pattern}",
                         f"--benchmark_min_time={o.min_time}", f"--benchmark_out={file.name}",
                         "--benchmark_out_format=json"], min(seconds, clock.left(reserve)), **environment)
        if code != 0:
            print(f"bench_operators {pattern}: exit {code}\n{out[-500:]}", file=sys.stderr)
        rows = finished_rows(file.read().decode())
    return {r["name"].removesuffix("/real_time"): r for r in rows if "error_occurred" not in r}


def operator_tables(o, clock):
    conv = operators(o, clock, o.conv_filter, 90, 90)
    cudnn = operators(o, clock, o.conv_filter, 90, 40, DIFFSCM_CONV="cudnn")
    mma = operators(o, clock, "^conv2d(_backward_input)?_bf16/adm_", 20, 30, DIFFSCM_CONV="mma") if o.wgmma else {}
    weights = operators(o, clock, "^conv2d_backward_weight_bf16/(adm_|64x|1024x)", 25, 30,
                        DIFFSCM_CONV="mma-weights") if o.wgmma else {}
    cublas = operators(o, clock, "matmul", 15, 20, DIFFSCM_GEMM="cublas")
    ours = operators(o, clock, "-conv2d", 60, 0)  # all but
    # Of what the library reaches with a large product of that type.
    peaks = {}
    for name, row in cublas.items():
        if row.get("of_peak"):
            peaks.setdefault("bf16" in name, row["GFLOP/s"] / row["of_peak"])
    for table in (ours, conv, cudnn, mma, weights):
        for name, row in table.items():
            if "GFLOP/s" in row and peaks.get("bf16" in name):
                row["of_peak"] = row["GFLOP/s"] / peaks["bf16" in name]
    return ours, conv, cudnn, cublas, mma, weights


# Whole jobs ----------------------------------------------------------------------------------------------------

def peer(*flags):
    return [sys.executable, os.path.join(ROOT, "bench", "peers", "pytorch_job.py"), *flags]


def batches_of(what, precision):
    return [b for b in BATCHES if not (what == "train" and b == 1 or precision == "f32" and b == 1024)]


def jobs(o, clock):
    ours = [os.path.join(o.bin, "bench_job")]
    programs = {"diffscm": ours, **({"pytorch": peer()} if o.pytorch else {})}
    # The U-Net layer by layer, beside one kernel for all (docs/kernels/whole_network.md).
    layers = {"diffscm-layers": ["env", "DIFFSCM_UNET=layers", *ours]} if o.wgmma else {}
    # Weight gradients by mma.sync, beside warpgroups (conv2d_backward_weight_wgmma.cu).
    mma_weights = {"diffscm-mma-weights": ["env", "DIFFSCM_CONV=mma-weights", *ours]} if o.wgmma else {}
    compiled = {"pytorch-compiled": peer("--compile")} if o.pytorch else {}

    def small(precision, some):
        results = []
        for what in WORK:
            for name, program in some.items():
                if name == "diffscm-layers" and what == "train" or name == "diffscm-mma-weights" and what != "train":
                    continue
                batches = batches_of(what, precision)
                # Ours takes one batch at a time.
                for part in [[b] for b in batches] if name.startswith("diffscm") else [batches]:
                    results += job(clock, name, program, what, precision, part)
        return results
    # In the order in which they would be missed.
    return (small("bf16", programs) + imagenet_jobs(clock, programs) + small("bf16", mma_weights) + small("bf16", compiled)
            + small("bf16", layers) + small("f32", programs) + small("f32", compiled))


def imagenet_jobs(clock, programs):
    """One evaluation of the published ImageNet networks (configs/adm-*.toml), random weights, without compiling."""
    results = []
    for preset, batch in (("adm-64", 8), ("adm-256-unconditional", 1)):
        with open(os.path.join(ROOT, "configs", f"{preset}.toml"), "rb") as file:
            config = tomllib.load(file)["unet"]
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(config, file)
            file.flush()
            for name, program in programs.items():
                rows = job(clock, name, [*program, "--config", file.name], "forward", "bf16", [batch])
                results += [{**row, "what": f"forward, {preset}"} for row in rows]
    return results


def job(clock, name, program, what, precision, batches):
    """Results of one program for these batches, or what is missing of them."""
    runs = {"forward": 30, "train": 10, "counterfactual": 2}[what]
    reason = "out of time"
    rows = []
    if clock.left(150) > 15:
        with tempfile.NamedTemporaryFile(suffix=".json") as file:
            code, out = run([*program, "--device", "cuda", "--precision", precision, "--what", what, "--batch",
                             *map(str, batches), "--runs", str(runs), "--json", file.name], min(90, clock.left(150)))
            lines = out.strip().splitlines()
            reason = f"exit {code}: {lines[-1] if lines else ''}"
            try:  # by name: the program replaces the file
                with open(file.name) as written:
                    rows = json.load(written)
            except ValueError:
                pass
    rows = {row["batch"]: row for row in (rows if isinstance(rows, list) else [rows])}
    for batch in batches:
        result = rows.get(batch, {"what": what, "precision": precision, "batch": batch, "missing": reason})
        rows[batch] = {**result, "engine": name}
        print(f"{what} {precision} batch {batch} {name}: {result.get('ms', result.get('missing'))}", file=sys.stderr)
    return list(rows.values())


# The report ----------------------------------------------------------------------------------------------------

def rate(row):
    return row["real_time"] * {"ns": 1e-3, "us": 1, "ms": 1e3, "s": 1e6}[row["time_unit"]]  # microseconds


def number(value, digits=3):
    return "" if value is None else f"{value:.{digits}g}"


def write(o, report):
    lines = ["# GPU report", "",
             f"{report['device']}, {report['memory']}, driver {report['driver']}; commit {report['commit']}; "
             f"{report['date']}; {report['minutes']:.1f} minutes.", ""]
    lines += ["## Tests", "", "| suite | passed | ran | skipped | failed | seconds |", "|---|---:|---:|---:|---|---:|"]
    for t in report["tests"]:
        lines.append(f"| {t['binary']} `{t['filter']}` | {t['passed']} | {t['ran']} | {t['skipped']} | "
                     f"{' '.join(t['failed']) or ('none' if t['exit'] == 0 else 'exit ' + str(t['exit']))} | "
                     f"{t['seconds']:.0f} |")
    lines += ["", "compute-sanitizer, " + ("not found." if report["sanitizer"] is None else
              "its runs side by side:"), ""]
    for s in report["sanitizer"] or []:
        verdict = {0: "clean", 124: "ran out of time without a finding"}.get(s["exit"], f"exit {s['exit']}")
        lines.append(f"- {s['check']}: {verdict}, {s['seconds']:.0f} s")

    ours = report["operators"]
    lines += ["", "## Operators against their limits", "",
              "`of copy`: bytes that must move over the bandwidth of a large copy in the same run (above 1: it fits "
              "the cache). `of peak`: FLOPs over those of a large product of the same type by cuBLAS.", "",
              "| operator/case | us | GB/s | of copy | TFLOP/s | of peak |", "|---|---:|---:|---:|---:|---:|"]
    for name, row in ours.items():
        flops = row.get("GFLOP/s")
        lines.append(f"| {name} | {number(rate(row))} | {number(row.get('GB/s'))} | {number(row.get('of_copy'), 2)} | "
                     f"{number(flops / 1000 if flops else None)} | {number(row.get('of_peak'), 2)} |")
    cublas = report["cublas"]
    if cublas:
        lines += ["", "Matrix products by our own kernels against cuBLAS (time of cuBLAS over ours):", "",
                  "| case | own us | cuBLAS us | ratio |", "|---|---:|---:|---:|"]
        lines += [f"| {name} | {number(rate(ours[name]))} | {number(rate(row))} | {rate(row) / rate(ours[name]):.2f} |"
                  for name, row in cublas.items() if name in ours]

    conv, cudnn = report["conv"], report["cudnn"]
    lines += ["", "## Convolutions against cuDNN", "",
              "Time of cuDNN (its own choice of algorithm, channels-last, same type) over ours; 1 is level, more is "
              "faster than cuDNN." if cudnn else "cuDNN was not found or could not run.", "",
              "| pass/shape | us | TFLOP/s | of peak | cuDNN us | ratio |", "|---|---:|---:|---:|---:|---:|"]
    for name, row in conv.items():
        peer = cudnn.get(name)
        lines.append(f"| {name} | {number(rate(row))} | {number(row.get('GFLOP/s', 0) / 1000)} | "
                     f"{number(row.get('of_peak'), 2)} | {number(rate(peer)) if peer else ''} | "
                     f"{rate(peer) / rate(row):.2f} |" if peer else
                     f"| {name} | {number(rate(row))} | {number(row.get('GFLOP/s', 0) / 1000)} | "
                     f"{number(row.get('of_peak'), 2)} | | |")
    if cudnn:
        ratios = [rate(cudnn[n]) / rate(r) for n, r in conv.items() if n in cudnn]
        if ratios:
            lines += ["", f"{len(ratios)} shapes, median ratio {statistics.median(ratios):.2f}, "
                          f"smallest {min(ratios):.2f}."]

    for table, title in (("mma", "The wide ones by `DIFFSCM_CONV=mma`, without warpgroups"),
                         ("weights", "Weight gradients by `DIFFSCM_CONV=mma-weights`, without warpgroups")):
        if report[table]:
            lines += ["", f"{title}, against those above:", "",
                      "| pass/shape | us | TFLOP/s | of peak | the default's us | ratio |", "|---|---:|---:|---:|---:|---:|"]
            lines += [f"| {name} | {number(rate(row))} | {number(row.get('GFLOP/s', 0) / 1000)} | "
                      f"{number(row.get('of_peak'), 2)} | {number(rate(conv[name]))} | {rate(row) / rate(conv[name]):.2f} |"
                      for name, row in report[table].items() if name in conv]

    lines += ["", "## Whole jobs against PyTorch", "",
              f"PyTorch {report['pytorch'] or 'not found'}; eager, and compiled with CUDA graphs; same type, same "
              "batch, channels-last, TF32 off. `counterfactual`: 100 levels of DDIM abduction and 100 of guided "
              "prediction; ImageNet networks not compiled. Another way: the U-Net layer by layer (`DIFFSCM_UNET=layers`), or in "
              "training the weight gradients without warpgroups (`DIFFSCM_CONV=mma-weights`).", "",
              "| job | type | batch | diffscm ms | images/s | another way, ms | eager ms | ratio | compiled ms | ratio |",
              "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|"]
    by_key = {}
    for r in report["jobs"]:
        by_key.setdefault((r["what"], r["precision"], r["batch"]), {})[r["engine"]] = r
    for (what, precision, batch), engines in by_key.items():
        ms = {name: r.get("ms") for name, r in engines.items()}
        mine, eager, compiled = (ms.get(n) for n in ("diffscm", "pytorch", "pytorch-compiled"))
        other_way = ms.get("diffscm-mma-weights" if what == "train" else "diffscm-layers")

        def ratio(other):
            return f"{other / mine:.2f}x" if mine and other else ""
        missing = next((r["missing"] for r in engines.values() if "missing" in r), "")
        lines.append(f"| {what} | {precision} | {batch} | {number(mine, 4) or missing} | "
                     f"{number(1000 * batch / mine, 4) if mine else ''} | {number(other_way, 4)} | {number(eager, 4)} | {ratio(eager)} | "
                     f"{number(compiled, 4)} | {ratio(compiled)} |")
    text = "\n".join(lines) + "\n"
    os.makedirs(o.out, exist_ok=True)
    with open(os.path.join(o.out, "report.md"), "w") as file:
        file.write(text)
    with open(os.path.join(o.out, "report.json"), "w") as file:
        json.dump(report, file, indent=1)
        file.write("\n")
    print(text)


def main():
    parser = argparse.ArgumentParser(description="The GPU report")
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bin"), help="folder of the binaries")
    parser.add_argument("--out", help="folder of the report (default: bench/results/<device>)")
    parser.add_argument("--minutes", type=float, default=9.5, help="end by then")
    parser.add_argument("--min-time", default="0.02", help="seconds per operator benchmark")
    parser.add_argument("--sanitizer-filter", default="*/cuda*-*Large*:*Oracle*:*Cudnn*")
    parser.add_argument("--conv-filter", default="conv2d", help="convolutions to time")
    o = parser.parse_args()
    gpu = query("name,driver_version,memory.total")
    if gpu is None:
        sys.exit("gpu_report: nvidia-smi shows no GPU here")
    if not os.path.exists(os.path.join(o.bin, "kernels_tests")):
        sys.exit(f"gpu_report: no binaries in {o.bin}")
    o.out = o.out or os.path.join(ROOT, "bench", "results", re.sub(r"[^a-z0-9]+", "-", gpu[0].lower()).strip("-"))
    o.wgmma = query("compute_cap") == ["9.0"]
    # cuBLAS and cuDNN are also looked for beside this Python's PyTorch.
    if sys.prefix != sys.base_prefix:
        os.environ.setdefault("VIRTUAL_ENV", sys.prefix)
    clock, start = Clock(o.minutes), time.monotonic()
    code, version = run([sys.executable, "-c",
                         "import torch; assert torch.cuda.is_available(); print(torch.__version__)"], 120)
    o.pytorch = version.strip() if code == 0 else None
    report = {"device": gpu[0], "driver": gpu[1], "memory": gpu[2], "commit": commit(),
              "date": datetime.date.today().isoformat(), "pytorch": o.pytorch}
    report["tests"], report["sanitizer"] = at_once(o, clock)
    report["jobs"] = jobs(o, clock)
    report.update(zip(("operators", "conv", "cudnn", "cublas", "mma", "weights"), operator_tables(o, clock)))
    report["minutes"] = (time.monotonic() - start) / 60
    write(o, report)
    broken = [t for t in report["tests"] if t["exit"] != 0]
    broken += [s for s in report["sanitizer"] or [] if s["exit"] not in (0, 124)]
    return 1 if broken or not report["tests"] else 0


if __name__ == "__main__":
    sys.exit(main())
