#!/usr/bin/python3
"""Networks of guided-diffusion's family at full or reduced width, diffscm beside PyTorch: the same
random weights, the same batch; answers compared, time and peak memory of both in turn.

    family.py --program build/bin/bench_family --preset adm-256-unconditional
    family.py --program build/bin/bench_family --preset adm-128 --width 64 --reference double

Each engine runs in a process of its own, PyTorch without torch.compile. Differences are relative to the
largest value. Writes MODEL.safetensors (2.2 GB for adm-256) to --folder.
"""
import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib

import numpy as np
import torch

from golden import write_model
from guided_diffusion import Classifier, UNet

MODELS = {"unet": UNet, "classifier": Classifier}


def peak_mib():
    """The process's peak since the last call."""
    with open("/proc/self/status") as file:
        kib = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return kib // 1024


def make(kind, config, path, inputs, batch):
    torch.manual_seed(1)
    model = MODELS[kind](config)
    with torch.no_grad():  # norms that are not 1 and 0; what was multiplied by them stays of order 1
        for module in model.modules():
            if isinstance(module, torch.nn.GroupNorm):
                module.weight.normal_(1, 0.1)
                module.bias.normal_(0, 0.1)
    write_model(path, kind, config, model)
    x = torch.randn(batch, config["image_size"], config["image_size"], config["in_channels"])
    t = torch.linspace(100, 900, batch)
    more = dict(v=torch.randn(x.shape)) if kind == "unet" else dict(labels=torch.arange(batch))
    np.savez(inputs, x=x.numpy(), t=t.numpy(), **{name: value.numpy() for name, value in more.items()})
    return sum(p.numel() for p in model.parameters())


def run_torch(o):
    from pytorch_job import read_safetensors
    given = {name: torch.from_numpy(value) for name, value in np.load(o.inputs).items()}
    tensors, metadata = read_safetensors(o.model)
    model = MODELS[metadata["kind"]](json.loads(metadata["config"]))
    model.load_state_dict(tensors)
    del tensors
    gc.collect()
    model = model.eval().requires_grad_(False)
    x, t = given["x"].permute(0, 3, 1, 2).contiguous(), given["t"]
    if o.reference == "double":
        model, x, t = model.double(), x.double(), t.double()
    channels = x.shape[1]
    peak_mib()
    times = []
    for _ in range(o.runs + 1):
        with torch.no_grad():
            start = time.perf_counter()
            answer = model(x, t)
            times.append(1000 * (time.perf_counter() - start))
    result = dict(threads=torch.get_num_threads(), evaluation_ms=times[1:] or times, evaluation_peak_mib=peak_mib())
    arrays = {}
    if metadata["kind"] == "unet":
        arrays["eps"] = answer[:, :channels].permute(0, 2, 3, 1)
    else:
        arrays["logits"] = answer
    if o.gradient:
        start = time.perf_counter()
        leaf = x.requires_grad_()
        if metadata["kind"] == "unet":
            scalar = (model(leaf, t)[:, :channels] * given["v"].permute(0, 3, 1, 2)).sum()
        else:
            scalar = torch.log_softmax(model(leaf, t), dim=1)[torch.arange(len(x)), given["labels"]].sum()
        arrays["gradient"] = torch.autograd.grad(scalar, leaf)[0].permute(0, 2, 3, 1)
        result.update(gradient_ms=1000 * (time.perf_counter() - start), gradient_peak_mib=peak_mib())
    np.savez(o.outputs, **{name: value.double().numpy() for name, value in arrays.items()})
    print(json.dumps(result))


def compare(kind, config, o):
    model, inputs = os.path.join(o.folder, kind + ".safetensors"), os.path.join(o.folder, "inputs.npz")
    ours, theirs = os.path.join(o.folder, "ours.npz"), os.path.join(o.folder, "theirs.npz")
    parameters = make(kind, config, model, inputs, o.batch)
    gc.collect()
    gradient = [] if o.gradient else ["--no-gradient"]
    runs = ["--runs", str(o.runs), "--threads", str(o.threads)]
    results = {}
    for engine, command in (("diffscm", [o.program, model, inputs, ours, *runs, *gradient]),
                            ("pytorch", [sys.executable, __file__, "--torch", "--model", model, "--inputs", inputs,
                                         "--outputs", theirs, "--reference", o.reference, *runs, *gradient])):
        results[engine] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    difference = {}
    a, b = np.load(ours), np.load(theirs)
    for name in b:
        difference[name] = float(np.abs(a[name].astype(np.float64) - b[name]).max() / np.abs(b[name]).max())
    return dict(kind=kind, parameters=parameters, batch=o.batch, reference=o.reference, difference=difference, **results)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", help="bench_family")
    parser.add_argument("--preset", help="configs/PRESET.toml")
    parser.add_argument("--kinds", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--width", type=int, help="model_channels instead of the preset's")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--reference", choices=["float", "double"], default="float", help="PyTorch's type")
    parser.add_argument("--no-gradient", dest="gradient", action="store_false")
    parser.add_argument("--folder", help="for the files (default: a temporary one)")
    parser.add_argument("--json", help="also write the results here")
    parser.add_argument("--torch", action="store_true", help=argparse.SUPPRESS)
    for name in ("--model", "--inputs", "--outputs"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    if o.torch:
        return run_torch(o)
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "../../configs", o.preset + ".toml"), "rb") as file:
        configs = tomllib.load(file)
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        o.folder = o.folder or temporary
        for kind in o.kinds:
            config = configs[kind]
            if o.width:
                config["model_channels"] = o.width
            results.append(dict(preset=o.preset, width=config["model_channels"], **compare(kind, config, o)))
            print(json.dumps(results[-1], indent=2))
    if o.json:
        with open(o.json, "w") as file:
            json.dump(results, file, indent=2)
            file.write("\n")


if __name__ == "__main__":
    main()
