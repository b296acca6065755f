#!/usr/bin/env python3
"""The questions that diffscm answers of causal graphs, asked of pgmpy and of DoWhy's gcm.

    pip install pgmpy dowhy
    bench/peers/causal_graphs.py [--program build/bin/diffscm] [--peers pgmpy,dowhy] [--repeats 5]
                                 [--rows 5000] [--mechanisms additive-noise,spline,diffusion]
                                 [--json FILE]

pgmpy reads the same BIF and is asked the same discrete queries; answers of variable elimination
further apart than 1e-9 end the script. For do() pgmpy has two ways: CausalInference.query, and
variable elimination in model.do(). DoWhy fits the same rows of dcm-triangle-nlin and is judged by
the equations under the same do(), then fits rows of the sprinkler.

Times of diffscm are those of whole processes, start and reading of the graph included; those of the
peers are inside a Python that has loaded them. All are CPU seconds, which other work on the machine
disturbs little, the least of --repeats; with OMP_NUM_THREADS=1 they are what one idle core takes. A
peer that is not installed is left out.
"""
import argparse
import importlib
import json
import logging
import resource
import statistics
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TRIANGLE, SPRINKLER = "dcm-triangle-nlin", "sprinkler"

# graph, what is asked, given, do, observed before do.
QUERIES = [
    ("sprinkler", "rain=1", "wet=1", "", ""),
    ("sprinkler", "sprinkler=1", "wet=1,rain=1", "", ""),
    ("sprinkler", "wet=1", "", "sprinkler=0", ""),
    ("sprinkler", "rain=1", "wet=1", "sprinkler=1", ""),
    ("sprinkler", "wet=1", "", "sprinkler=0", "sprinkler=1,wet=1"),
    ("asia", "lung=yes", "xray=yes,smoke=yes", "", ""),
    ("asia", "bronc=yes", "dysp=yes", "", ""),
    ("asia", "dysp=yes", "", "bronc=yes", ""),
    ("asia", "xray=yes", "", "bronc=yes", ""),
    ("asia", "dysp=yes", "", "smoke=no", "smoke=yes,dysp=yes"),
    ("alarm", "HYPOVOLEMIA=TRUE", "HRBP=HIGH,BP=LOW", "", ""),
    ("alarm", "VENTLUNG=ZERO", "PRESS=HIGH,EXPCO2=LOW,SAO2=LOW", "", ""),
    ("alarm", "BP=LOW", "", "HYPOVOLEMIA=TRUE", ""),
    ("alarm", "CATECHOL=HIGH", "HISTORY=FALSE", "LVFAILURE=FALSE,HYPOVOLEMIA=TRUE", ""),
    ("alarm", "BP=LOW", "", "HYPOVOLEMIA=FALSE", "HYPOVOLEMIA=TRUE,BP=LOW"),
]


def pairs(text):
    return dict(item.split("=") for item in text.split(",") if item)


def cpu():
    """CPU seconds of this process and of the ended ones that it started."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def timed(repeats, call):
    """The last answer and the least CPU seconds of a call, after one that is not counted."""
    call()
    seconds = []
    for _ in range(repeats):
        start = cpu()
        answer = call()
        seconds.append(cpu() - start)
    return answer, min(seconds)


def diffscm(program, *arguments):
    result = subprocess.run([str(program), "scm", *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"scm {' '.join(map(str, arguments))}: {result.stderr.strip()}")
    return result.stdout


def ask(program, graph, of, given, do, observed):
    flags = [f for name, value in (("--given", given), ("--do", do), ("--observed", observed)) if value
             for f in (name, value)]
    answer = json.loads(diffscm(program, "query", graph, "--of", of, *flags, "--json"))
    assert answer["exact"], f"{answer['question']}: {answer['method']}"
    return answer["question"], answer["answers"][0]["value"]


def pgmpy_ways(model, of, given, do):
    """The ways in which pgmpy can be asked, by name, elimination first."""
    from pgmpy.inference import CausalInference, VariableElimination
    (node, state), = pairs(of).items()
    known, actions = pairs(given), pairs(do)

    def eliminate():
        world = model.do(list(actions)) if actions else model
        return VariableElimination(world).query([node], evidence=known | actions, show_progress=False)

    def query():
        return CausalInference(model).query([node], do=actions, evidence=known, show_progress=False)

    ways = {"elimination": eliminate} | ({"CausalInference": query} if do else {})
    return {name: lambda way=way: float(way().get_value(**{node: state})) for name, way in ways.items()}


def beside_pgmpy(o):
    from pgmpy.readwrite import BIFReader
    _, imported = timed(o.repeats, lambda: subprocess.run(
        [sys.executable, "-W", "ignore", "-c", "import pgmpy.inference, pgmpy.readwrite"], check=True))
    _, started = timed(o.repeats, lambda: diffscm(o.program, "query", "--help"))
    loaded, loads = {}, {}
    for graph in dict.fromkeys(q[0] for q in QUERIES):
        file = o.out / f"{graph}.bif"
        diffscm(o.program, "show", graph, "--out", file)
        loaded[graph], loads[graph] = timed(o.repeats, lambda: BIFReader(str(file)).get_model())
    print(f"pgmpy {version('pgmpy')}; start of Python with it {1000 * imported:.0f} ms; reading of BIF "
          + ", ".join(f"{g} {1000 * s:.0f} ms" for g, s in loads.items())
          + f"; diffscm with --help {1000 * started:.1f} ms\n"
          "\n| graph | question | answer | diffscm ms | pgmpy elimination ms | pgmpy CausalInference ms |"
          "\n|---|---|---|---|---|---|")
    table = []
    for graph, of, given, do, observed in QUERIES:
        (question, ours), seconds = timed(
            o.repeats, lambda: ask(o.program, o.out / f"{graph}.bif", of, given, do, observed))
        row = {"graph": graph, "question": question, "diffscm": ours, "diffscm_s": seconds, "pgmpy": {}}
        cells = {"elimination": "cannot be asked" if observed else "", "CausalInference": ""}
        for name, way in ({} if observed else pgmpy_ways(loaded[graph], of, given, do)).items():
            value, seconds = timed(o.repeats, way)
            row["pgmpy"][name] = {"value": value, "s": seconds}
            agrees = abs(value - ours) < 1e-9
            if not agrees and name == "elimination":
                sys.exit(f"{question} of {graph}: diffscm {ours}, pgmpy {value}")
            cells[name] = f"{1000 * seconds:.1f}" + ("" if agrees else f", answers {value:.10f}")
        table.append(row)
        print(f"| {graph} | {question.replace('|', chr(92) + '|')} | {ours:.10f} "
              f"| {1000 * row['diffscm_s']:.1f} | {cells['elimination']} | {cells['CausalInference']} |",
              flush=True)
    return {"version": version("pgmpy"), "start_s": imported, "load_s": loads, "diffscm_start_s": started,
            "queries": table}


def mmd_squared(x, y):
    """As evaluation/scm/samples.h has it."""
    import numpy
    def squared(a, b):
        return ((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2)
    cross = squared(x, y)
    upper = cross[numpy.triu_indices(len(x), m=len(y))]
    g = 1 / numpy.sort(upper[upper > 0])[(upper > 0).sum() // 2]
    return (numpy.exp(-g * squared(x, x)).mean() + numpy.exp(-g * squared(y, y)).mean()
            - 2 * numpy.exp(-g * cross).mean())


def judged(o, name, fit_seconds, draw, imagine, rows, interventions, truth):
    """Errors over all interventions of draw(node, value) and imagine(node, value), and their times."""
    squares, discrepancies, draws, imagines = [], [], [], []
    for (node, value), (real, answers) in zip(interventions, truth):
        inner = [c for c in rows.columns if c > node]
        sampled, seconds = timed(o.repeats, lambda: draw(node, value))
        draws.append(seconds)
        discrepancies.append(mmd_squared(sampled[inner].to_numpy(), real[inner].to_numpy()))
        imagined, seconds = timed(o.repeats, lambda: imagine(node, value))
        imagines.append(seconds)
        squares += [((imagined[c].to_numpy() - answers[c].to_numpy()) ** 2).mean() for c in inner]
    row = {"who": name, "fit_s": fit_seconds, "counterfactual_mse": statistics.mean(squares),
           "do_mmd": statistics.mean(discrepancies), "do_s": statistics.median(draws),
           "counterfactual_s": statistics.median(imagines)}
    fit = f"{fit_seconds:.1f}" if fit_seconds is not None else "-"
    print(f"| {name} | {row['counterfactual_mse']:.4f} | {row['do_mmd']:.4f} | {fit} "
          f"| {1000 * row['do_s']:.0f} | {1000 * row['counterfactual_s']:.0f} |", flush=True)
    return row


def numbers_beside_dowhy(o):
    import networkx
    import pandas
    from dowhy import gcm
    data = o.out / "data"
    diffscm(o.program, "sample", TRIANGLE, "--count", o.rows, "--seed", 0, "--out", data, "--quiet")
    diffscm(o.program, "sample", TRIANGLE, "--count", 100, "--seed", 1, "--out", o.out / "fresh", "--quiet")
    frame = pandas.read_csv(data / "samples.csv")
    fresh = pandas.read_csv(o.out / "fresh/samples.csv")
    interventions = [(n, float(frame[n].quantile(q))) for n in ("x1", "x2") for q in (.1, .3, .5, .7, .9)]

    def draws_of(model, seed):
        def draw(node, value):
            diffscm(o.program, "sample", model, "--do", f"{node}={value!r}", "--count", 1000,
                    "--seed", seed, "--out", o.out / "draw", "--quiet")
            return pandas.read_csv(o.out / "draw/samples.csv")
        return draw

    def imagined_by(model):
        def imagine(node, value):
            diffscm(o.program, "counterfactual", model, "--observed", o.out / "fresh/samples.csv", "--do",
                    f"{node}={value!r}", "--index", "0:100", "--out", o.out / "imagined", "--quiet")
            return pandas.read_csv(o.out / "imagined/counterfactuals.csv")
        return imagine

    print(f"\n{TRIANGLE}, {o.rows} rows; {len(interventions)} do() of x1 and x2, 1000 rows and 100 "
          "counterfactuals each\n\n| | counterfactual error | discrepancy under do() | fit s | 1000 rows "
          "under do() ms | 100 counterfactuals ms |\n|---|---|---|---|---|---|")
    truth = [(draws_of(TRIANGLE, 2)(*i), imagined_by(TRIANGLE)(*i)) for i in interventions]
    table = [judged(o, "the equations", None, draws_of(TRIANGLE, 3), imagined_by(TRIANGLE), fresh,
                    interventions, truth)]
    for mechanism in o.mechanisms.split(","):
        model = o.out / mechanism
        start = cpu()
        diffscm(o.program, "fit", TRIANGLE, "--data", data / "samples.csv", "--mechanism", mechanism,
                "--out", model, "--quiet")
        table.append(judged(o, f"diffscm {mechanism}", cpu() - start, draws_of(model, 4),
                            imagined_by(model), fresh, interventions, truth))

    def dowhy(name, assign):
        gcm.util.general.set_random_seed(0)
        model = gcm.InvertibleStructuralCausalModel(
            networkx.DiGraph([("x1", "x2"), ("x1", "x3"), ("x2", "x3")]))
        start = cpu()
        assign(model)
        gcm.fit(model, frame)
        seconds = cpu() - start
        chosen = [str(model.causal_mechanism(n)).replace("\n", " ") for n in ("x2", "x3")]
        table.append(judged(
            o, name, seconds,
            lambda node, value: gcm.interventional_samples(
                model, {node: lambda _: value}, num_samples_to_draw=1000),
            lambda node, value: gcm.counterfactual_samples(
                model, {node: lambda _: value}, observed_data=fresh), fresh, interventions, truth))
        table[-1]["mechanisms"] = chosen
        return chosen

    for quality in ("GOOD", "BETTER"):
        chosen = dowhy(f"DoWhy, auto {quality}", lambda model: gcm.auto.assign_causal_mechanisms(
            model, frame, quality=gcm.auto.AssignmentQuality[quality]))
        print(f"  (x2: {chosen[0]}; x3: {chosen[1]})", file=sys.stderr)

    return table


def states_beside_dowhy(o):
    import networkx
    import pandas
    from dowhy import gcm
    diffscm(o.program, "sample", SPRINKLER, "--count", o.rows, "--seed", 0, "--out", o.out / "wet", "--quiet")
    frame = pandas.read_csv(o.out / "wet/samples.csv", dtype=str)
    frame = frame.apply(lambda column: column.map({"0": "no", "1": "yes"}))  # gcm takes text for states
    model = gcm.InvertibleStructuralCausalModel(networkx.DiGraph(
        [("cloudy", "sprinkler"), ("cloudy", "rain"), ("sprinkler", "wet"), ("rain", "wet")]))
    gcm.auto.assign_causal_mechanisms(model, frame)
    gcm.fit(model, frame)
    sampled, seconds = timed(o.repeats, lambda: (gcm.interventional_samples(
        model, {"sprinkler": lambda _: "no"}, num_samples_to_draw=100000)["wet"] == "yes").mean())
    _, truth = ask(o.program, SPRINKLER, "wet=1", "", "sprinkler=0", "")
    diffscm(o.program, "fit", SPRINKLER, "--data", o.out / "wet/samples.csv", "--mechanism", "table", "--out",
            o.out / "wet/fit", "--quiet")
    (_, ours), our_seconds = timed(
        o.repeats, lambda: ask(o.program, o.out / "wet/fit", "wet=1", "", "sprinkler=0", ""))
    result = {"truth": truth, "diffscm": ours, "diffscm_s": our_seconds, "dowhy": float(sampled),
              "dowhy_s": seconds}
    print(f"\nP(wet=1 | do(sprinkler=0)) of fits to {o.rows} rows: DoWhy {sampled:.4f} from 100,000 draws in "
          f"{1000 * seconds:.0f} ms; diffscm {ours:.4f}, exactly, in {1000 * our_seconds:.1f} ms; truth "
          f"{truth:.4f}")
    try:
        gcm.counterfactual_samples(model, {"sprinkler": lambda _: "no"}, observed_data=frame[:100])
        result["counterfactual"] = "answered"
    except Exception as error:
        result["counterfactual"] = f"{type(error).__name__}: {error}"
    print(f"Counterfactuals of wet: {result['counterfactual']}")
    return result


def beside_dowhy(o):
    from dowhy import gcm
    gcm.config.disable_progress_bars()
    gcm.config.set_default_n_jobs(1)  # workers would not be counted
    print(f"\nDoWhy {version('dowhy')}")
    return {"version": version("dowhy"), "numbers": numbers_beside_dowhy(o),
            "states": states_beside_dowhy(o)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", type=Path, default=ROOT / "build/bin/diffscm")
    parser.add_argument("--peers", default="pgmpy,dowhy")
    parser.add_argument("--repeats", type=int, default=5, help="timed calls, of which the least counts")
    parser.add_argument("--rows", type=int, default=5000, help="to fit to")
    parser.add_argument("--mechanisms", default="additive-noise,spline,diffusion", help="of diffscm's fits")
    parser.add_argument("--json", type=Path, help="also write the numbers")
    o = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    asked = {"pgmpy": beside_pgmpy, "dowhy": beside_dowhy}
    peers, results = o.peers.split(","), {}
    if unknown := set(peers) - set(asked):
        parser.error(f"--peers {', '.join(unknown)}: there are {' and '.join(asked)}")
    with tempfile.TemporaryDirectory() as scratch:
        o.out = Path(scratch)
        for peer in peers:
            try:
                importlib.import_module(peer)
            except ImportError as error:
                print(f"{peer} is left out: {error}", file=sys.stderr)
                continue
            results[peer] = asked[peer](o)
    if o.json:
        o.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
