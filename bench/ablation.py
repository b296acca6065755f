#!/usr/bin/env python3
"""One change at a time to the recipe of the U-Net that ships, short runs of an equal number of images.

    bench/ablation.py [--program build/bin/diffscm] [--images 32000] [--out out/ablation] [NAME ..]

Each run is trained, then asked do(digit = 5) of the first 50 MNIST test images at s = 1 (factual
encoding, plain DDIM abduction), judged by the oracle that ships. Runs that are there are not repeated.
The table goes to stdout and to OUT/table.md. Every run uses one thread, so that two can run at once.
"""
import argparse
import json
import pathlib
import subprocess

BASE = {"train.diffusion.warmup_steps": 50, "train.diffusion.ema_decay": 0.99}
CHANGES = {  # name: (batch, entries)
    "the preset": (64, {}),
    "32 norm groups": (64, {"unet.norm_groups": 32}),
    "lr 3e-4": (64, {"train.diffusion.lr": 3e-4}),
    "lr 2e-3": (64, {"train.diffusion.lr": 2e-3}),
    "no decay": (64, {"train.diffusion.cosine_decay": "false"}),
    "average 0.999": (64, {"train.diffusion.ema_decay": 0.999}),
    "min-SNR": (64, {"train.diffusion.loss": "min-snr"}),
    "batch 32": (32, {}),
    "batch 128": (128, {}),
    "width 48": (64, {"unet.model_channels": 48}),
    "dropout 0.1": (64, {"unet.dropout": 0.1}),
    "shift 2": (64, {"train.diffusion.shift": 2}),
    "drop 0.3": (64, {"condition.drop": 0.3}),
}


def run(program, images, out, name):
    batch, changes = CHANGES[name]
    folder = out / name.replace(" ", "-")
    if not (folder / "evaluation.json").exists():
        entries = [f"{key}={value}" for key, value in {**BASE, **changes}.items()]
        command = [program, "train", "diffusion", "--preset", "mnist", "--data", "mnist", "--batch", str(batch),
                   "--steps", str(images // batch), "--threads", "1", "--quiet", "--out", str(folder)]
        if (folder / "checkpoint.safetensors").exists():
            command.append("--resume")
        for entry in entries:
            command += ["--set", entry]
        subprocess.run(command, check=True)
    answers = folder / "answers"
    if not (answers / "run.json").exists():
        subprocess.run([program, "counterfactual", "--model", str(folder), "--data", "mnist", "--index", "0:50",
                        "--do", "digit=5", "--abduction", "ddim", "--judge", "weights/mnist-oracle.safetensors",
                        "--threads", "1", "--quiet", "--out", str(answers)], check=True)
    loss = json.loads((folder / "evaluation.json").read_text())
    scale = json.loads((answers / "run.json").read_text())["summary"]["scales"][0]
    seconds = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])["seconds"]
    return loss["test_loss"], loss["test_loss_told"], scale["flip_rate"], scale["l1_median"], seconds


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--program", default="build/bin/diffscm")
    arguments.add_argument("--images", type=int, default=32000)
    arguments.add_argument("--out", type=pathlib.Path, default=pathlib.Path("out/ablation"))
    arguments.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CHANGES))
    a = arguments.parse_args()
    for name in a.names:
        if name not in CHANGES:
            arguments.error(f"no change '{name}': {', '.join(CHANGES)}")
    a.out.mkdir(parents=True, exist_ok=True)
    lines = ["| change | test loss | told the digit | oracle flips at s = 1 | median L1 | CPU seconds |",
             "|---|---|---|---|---|---|"]
    for name in a.names or CHANGES:
        nothing, told, flips, l1, seconds = run(a.program, a.images, a.out, name)
        lines.append(f"| {name} | {nothing:.5f} | {told:.5f} | {flips:.0%} | {l1:.1f} | {seconds:.0f} |")
        print(lines[-1], flush=True)
    (a.out / "table.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
