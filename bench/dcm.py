#!/usr/bin/env python3
"""The protocol of DCM (Chao et al. 2023) on its synthetic causal models: draw, fit, judge, print.

  bench/dcm.py [--program build/bin/diffscm] [--seeds 10] [--models triangle,y,diamond]
               [--forms conditional,anti-causal] [--rows 5000] [--out FOLDER] [--json FILE]
  bench/dcm.py --write-ladder nlin|nadd      print the graph of seed 0

Per model and seed: 5000 rows of the truth, a fit, and `diffscm scm evaluate --truth`: 1000 against
1000 rows as they are; do() of every node with descendants to 20 values, 100 against 100 rows; 100
factual rows under each. Tables show medians over seeds. DCM's own are decoded from its figures.
Finished fits and evaluations in --out are not repeated, and seeds are the outer loop: a run that was
stopped goes on where it was, or gives its table of the seeds that it has with --seeds.
"""
import argparse
import json
import random
import resource
import statistics
import subprocess
import sys
from pathlib import Path

# Medians over DCM's seeds: discrepancy as observed, under do(), counterfactual error (of the first
# descendant, as its code computes it).
DCM = {
    "triangle-nlin": (0.0016, 0.0146, 0.0109),
    "y-nlin": (0.0010, 0.0122, 0.0019),
    "diamond-nlin": (0.0024, 0.0291, 0.143),
    "triangle-nadd": (0.0021, 0.0278, 0.246),
    "y-nadd": (0.0017, 0.0147, 0.330),
    "diamond-nadd": (0.0018, 0.0194, 0.0131),
    "ladder-nlin": (0.0045, 0.016, 0.03),
    "ladder-nadd": (0.003, 0.015, 0.04),
}
FORMS = {
    "conditional": ["--mechanism", "diffusion"],
    "location-scale": ["--mechanism", "diffusion", "--set", "location_scale=true"],
    "anti-causal": ["--mechanism", "diffusion", "--set", "form=anti-causal"],
    # As published: predictors that know nothing of each other, abduction that knows no parent.
    "diff-scm": ["--mechanism", "diffusion", "--set", "form=anti-causal", "--set", "chained=false",
                 "--set", "encode=unconditional"],
    "spline": ["--mechanism", "spline"],
    "conditional-affine": ["--mechanism", "conditional-affine"],
    "additive-noise": ["--mechanism", "additive-noise"],
}


# Super-nodes of three numbers each; an edge stands for all nine.
LADDER = [(1, 2), (1, 3), (2, 4), (3, 4), (3, 5), (4, 6), (5, 6), (5, 7), (6, 8), (7, 8), (7, 9),
          (8, 10), (9, 10)]


def ladder(kind, seed):
    """The ladder as a graph: 0.75 W2 silu(W1 parents) of each super-node, with noise added (nlin) or
    as the first input (nadd). Every seed draws other weights."""
    draw = random.Random(seed)
    text = [f"# The ladder of Chao et al. 2023 (DCM), weights of seed {seed}, made by bench/dcm.py: "
            "docs/causal/dcm.md", f'name = "dcm-ladder-{kind}"']
    for top in range(1, 11):
        nodes = [f"x{3 * top - 2 + k:02}" for k in range(3)]
        parents = [f"x{3 * a - 2 + k:02}" for a, b in LADDER if b == top for k in range(3)]
        inputs = (["u"] if kind == "nadd" else []) + parents
        first = [[draw.uniform(-1, 1) for _ in inputs] for _ in range(16)]
        second = [[draw.uniform(-1, 1) for _ in range(16)] for _ in range(3)]
        sums = ["+".join(f"{w:.3f}*{i}" for w, i in zip(row, inputs)).replace("+-", "-")
                for row in first]
        for k, node in enumerate(nodes):
            value = "u"
            if parents:
                terms = [f"{w:.3f}*({t})*sigmoid({t})" for w, t in zip(second[k], sums)]
                value = f"0.75*({'+'.join(terms).replace('+-', '-')})" + " + u" * (kind == "nlin")
            text += ["", f"[nodes.{node}]", 'mechanism = "equation"', f'value = "{value}"',
                     'noise = {u = "normal(0, 1)"}']
            if parents:
                text.insert(-3, f"parents = {json.dumps(parents)}")
    return "\n".join(text) + "\n"


def run(program, *arguments):
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, arguments))}: {result.stderr.strip()}")
    return result.stdout


def one(program, graph, form, seed, rows, out, extra):
    """summary.json of one fit, and the seconds and CPU seconds that the fit took."""
    data = out / f"{graph.stem}-{seed}" / "data"
    if "ladder" in graph.stem:
        graph = out / f"{graph.stem}-{seed}.toml"
        graph.write_text(ladder(graph.stem.rsplit("-")[2], seed))
    fit, judged = data.parent / form, data.parent / f"{form}-judged"
    cpu = data.parent / f"{form}-cpu.json"
    if not (judged / "summary.json").exists():
        if not (data / "run.json").exists():
            run(program, "scm", "sample", graph, "--count", rows, "--seed", seed, "--out", data,
                "--quiet")
        if not (fit / "run.json").exists():
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            run(program, "scm", "fit", graph, "--data", data / "samples.csv", "--seed", seed,
                *FORMS[form], "--out", fit, "--resume", "--quiet")
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu.write_text(json.dumps(after.ru_utime + after.ru_stime
                                      - before.ru_utime - before.ru_stime))
        run(program, "scm", "evaluate", fit, "--truth", graph, "--seed", seed, "--out", judged,
            "--quiet", *extra)
    summary = json.loads((judged / "summary.json").read_text())
    summary["fit_seconds"] = json.loads((fit / "run.json").read_text())["summary"]["seconds"]
    summary["fit_cpu_seconds"] = json.loads(cpu.read_text()) if cpu.exists() else float("nan")  # a fit of an earlier run
    return summary


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parent.parent
    parser.add_argument("--program", default=root / "build/bin/diffscm")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--models", default="triangle,y,diamond")
    parser.add_argument("--forms", default="conditional,anti-causal", help=", ".join(FORMS))
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--out", type=Path, default=Path("dcm"))
    parser.add_argument("--json", type=Path, help="also write the table's numbers")
    parser.add_argument("--write-ladder", choices=["nlin", "nadd"])
    a = parser.parse_args()
    for model in a.models.split(","):
        if f"{model}-nlin" not in DCM:
            parser.error(f"no model '{model}': triangle, y, diamond, ladder")
    if a.write_ladder:
        return print(ladder(a.write_ladder, 0), end="")
    a.out.mkdir(parents=True, exist_ok=True)
    graphs = [f"{model}-{kind}" for model in a.models.split(",") for kind in ("nlin", "nadd")]
    forms = a.forms.split(",")
    runs = {}
    for seed in range(a.seeds):
        for name in graphs:
            # Of the ladder DCM sets x01 and x04 only.
            extra = ["--do", "x01,x04"] if name.startswith("ladder") else []
            for form in forms:
                runs.setdefault((name, form), []).append(
                    one(a.program, root / "graphs" / f"dcm-{name}.toml", form, seed, a.rows, a.out,
                        extra))
    table = []
    print("| model | form | observed (floor) | do() (floor) | counterfactual error | of the first "
          "| DCM: observed, do(), first | fit s | CPU s |\n|---|---|---|---|---|---|---|---|---|")
    for (name, form), results in runs.items():
        def median(get):
            return statistics.median(map(get, results))
        row = {
            "model": name, "form": form, "seeds": a.seeds,
            "observed": median(lambda r: r["observational_mmd"]["model"]),
            "observed_floor": median(lambda r: r["observational_mmd"]["floor"]),
            "do": median(lambda r: r["interventional_mmd"]["model"]),
            "do_floor": median(lambda r: r["interventional_mmd"]["floor"]),
            "counterfactual": median(lambda r: r["counterfactual_mse"]),
            "first": median(lambda r: r["counterfactual_mse_first_descendant"]),
            "first_by_seed": [r["counterfactual_mse_first_descendant"] for r in results],
            "fit_seconds": median(lambda r: r["fit_seconds"]),
            "fit_cpu_seconds": median(lambda r: r["fit_cpu_seconds"]),
        }
        table.append(row)
        dcm = DCM[name]
        print(f"| {name} | {form} | {row['observed']:.4f} ({row['observed_floor']:.4f}) "
              f"| {row['do']:.4f} ({row['do_floor']:.4f}) | {row['counterfactual']:.4f} "
              f"| {row['first']:.4f} | {dcm[0]:.4f}, {dcm[1]:.4f}, {dcm[2]:.4f} "
              f"| {row['fit_seconds']:.1f} | {row['fit_cpu_seconds']:.1f} |", flush=True)
    if a.json:
        a.json.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
