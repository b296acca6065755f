#!/usr/bin/env python3
"""The rungs of a ladder side by side on one shape: exact counters and predicted times of the CUDA device in software.

  bench/ladder.py convolution|group_norm [--build build] [--device H100]

Prints the table that docs/kernels/convolution.md and group_norm.md show. No GPU is needed and no time is measured. Needs a
build with nvcc and the benchmarks (cmake --preset bench)."""
import argparse
import json
import os
import pathlib
import subprocess
import tempfile

import predict

ROOT = pathlib.Path(__file__).resolve().parent.parent


def profile(command, device, **environment):
    """What DIFFSCM_SOFTGPU_PROFILE says of a program."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        environment = dict(os.environ, DIFFSCM_SOFTGPU=device, DIFFSCM_SOFTGPU_PROFILE=file.name, **environment)
        subprocess.run(command, env=environment, check=True, capture_output=True)
        return json.load(file)


def benchmark(build, case, device, **environment):
    return profile(predict.command(build / "bin/bench_operators_softgpu", case), device, **environment)


def first_hour(build, number, images, device, change=("", "")):
    """A kernel of docs/kernels/first_hour/group_norm.cu, with one text replaced."""
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "group_norm.cu"), pathlib.Path(folder, "group_norm")
        source.write_text((ROOT / "docs/kernels/first_hour/group_norm.cu").read_text().replace(*change))
        library = (build / "kernels/softgpu").resolve()
        subprocess.run(["nvcc", "-lineinfo", "-arch=sm_90", "-cudart", "none", "-o", program, source, f"-L{library}",
                        "-ldiffscm_softgpu", "-Xlinker", f"-rpath={library}"], check=True)
        return profile([program, str(number), str(images)], device)


def row(rung, counted):
    """Of the last launch, with the counters of its kernel."""
    last = counted["launches"][-1]
    kernel = next(k for k in counted["kernels"] if k["kernel"] == last["kernel"])
    calls = kernel["launches"]
    per_mma = f"{kernel['instructions'] / kernel['mma']:.1f}" if kernel["mma"] else ""
    conflict = f"{kernel['bank_conflict']:.2f}" if kernel["bank_conflict"] else ""
    return (f"| {rung} | {last['predicted_us']:.1f} | {last['limit']} | {kernel['instructions'] / calls / 1e6:.2f} | {per_mma} | "
            f"{kernel['sectors_per_request']:.1f} | {conflict} | {kernel['l2_bytes'] / calls / 1e6:.1f} | "
            f"{100 * kernel['occupancy']:.0f} |")


def convolution(build, device):
    for rung in ("naive", "tiled", "taps", "mma"):
        name = {"taps": "`mma`, tap by tap (`taps`)", "mma": "`mma`, strip"}.get(rung, f"`{rung}`")
        yield name, benchmark(build, "conv2d_bf16/64x28x28x32->32_3x3", device, DIFFSCM_CONV=rung)
    yield "strip, normalised on the way", benchmark(build, "conv2d_normalised_bf16/64x28x28x32->32_3x3", device)


def group_norm(build, device):
    images = 1024
    yield "a thread per group", first_hour(build, 1, images, device)
    yield "a block per group", first_hour(build, 2, images, device)
    yield "a block per slab, pitch 8", first_hour(build, 3, images, device)
    yield "the same, pitch 9", first_hour(build, 3, images, device, ("kPitch = 8", "kPitch = 9"))
    for dtype, suffix in (("f32", ""), ("bf16", "_bf16")):
        yield f"`group_norm_slab`, {dtype}", benchmark(build, f"group_norm{suffix}/batch1024_28x28x32", device)
    yield "`norm_coefficients`, bf16", benchmark(build, "norm_coefficients_bf16/1024x28x28x32->32_3x3", device)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ladder", choices=("convolution", "group_norm"))
    parser.add_argument("--build", default="build", type=pathlib.Path)
    parser.add_argument("--device", default="H100")
    o = parser.parse_args()
    print("| rung | predicted us | limit | M instructions | per mma | sectors per request | bank conflict | L2 MB | occupancy % |")
    print("|---|---:|---|---:|---:|---:|---:|---:|---:|")
    for rung, counted in {"convolution": convolution, "group_norm": group_norm}[o.ladder](o.build, o.device):
        print(row(rung, counted), flush=True)


if __name__ == "__main__":
    main()
