#!/usr/bin/python3
"""bench/job.cpp's jobs in PyTorch, under the same flags, at the same architecture.

On a GPU: channels-last, TF32 off; --compile is torch.compile with CUDA graphs ("reduce-overhead").
bf16 means: the whole network in bf16 for inference (the fastest PyTorch has), autocast over f32
weights for training.

The networks are guided-diffusion's (Dhariwal & Nichol 2021) with that code's parameter names, so that
diffscm's model files load as they are. `--check FOLDER` compares what `bench_job --what dump` wrote
with PyTorch: outputs, input gradients, the gradient of every parameter, a whole counterfactual.
"""
import argparse
import json
import os
import resource
import statistics
import struct
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

from guided_diffusion import Classifier, UNet

LEVELS, SCALE = 100, 0.7
DEVICE = torch.device("cpu")
DTYPE = torch.float32  # of the activations
UNET = dict(image_size=28, in_channels=1, out_channels=1, model_channels=32, channel_mult=[1, 2, 2],
            num_res_blocks=1, attention_downsample=[], heads=1)
CLASSIFIER = dict(image_size=28, in_channels=1, classes=10, model_channels=32, channel_mult=[1, 2, 4, 4],
                  num_res_blocks=1, head_channels=64)


def read_safetensors(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        assert entry["dtype"] == "F32", f"{path}: {name} is {entry['dtype']}"
        begin, end = entry["data_offsets"]
        tensors[name] = torch.from_numpy(
            np.frombuffer(data[begin:end], np.float32).reshape(entry["shape"]).copy())
    return tensors, metadata


def get_model(Model, config, path, parameters):
    """`parameters`: how many the default architecture must have."""
    if path:
        tensors, metadata = read_safetensors(path)
        config = json.loads(metadata["config"])
        model = Model(config)
        model.load_state_dict(tensors)  # strict: same names, same shapes
    else:
        with DEVICE:
            model = Model(config)
        with torch.no_grad():
            for p in model.parameters():
                p.add_(0.02 * torch.randn_like(p))
    count = sum(p.numel() for p in model.parameters())
    default = UNET if Model is UNet else CLASSIFIER
    if all(config.get(key) == value for key, value in default.items()):
        assert count == parameters, f"{Model.__name__} has {count} parameters, not {parameters}"
    if DEVICE.type == "cuda":
        model = model.to(DEVICE, memory_format=torch.channels_last)
    return model.eval()


def get_unet(o):
    config = UNET
    if o.config:
        with open(o.config) as file:
            config = json.load(file)
    return get_model(UNet, config, o.model, 1_140_929)


def get_classifier(o):
    return get_model(Classifier, CLASSIFIER, o.classifier, 1_936_330).requires_grad_(False)


def images(batch, seed, config=UNET):
    shape = (batch, config["in_channels"], config["image_size"], config["image_size"])
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)
    return x.to(memory_format=torch.channels_last) if DEVICE.type == "cuda" else x


def timesteps(batch):
    return torch.tensor([(2 * i + 1) * 500 // batch for i in range(batch)], dtype=torch.float32, device=DEVICE)


def labels(batch):
    return torch.tensor([(i + 5) % 10 for i in range(batch)], device=DEVICE)


def synchronize():
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def new_step(o):
    """Tells torch.compile's CUDA graphs that the last step's outputs may be overwritten."""
    if o.compile:
        torch.compiler.cudagraph_mark_step_begin()


def prepared(model, o):
    """For inference: in the activations' type, compiled if asked."""
    model = model.to(DTYPE).requires_grad_(False)
    return torch.compile(model, mode="reduce-overhead", dynamic=False) if o.compile else model


def alpha_bars(levels):
    """Of level 0 (the clean image, 1) and of levels 1 ..; with the timestep that each is."""
    betas = np.linspace(1e-4, 0.02, 1000)
    grid = [level * (1000 // levels) for level in range(levels)]
    return [1.0] + list(np.cumprod(1 - betas)[grid]), [None] + grid


def move(x, eps, a, b):
    x0 = (x - (1 - a) ** 0.5 * eps) / a ** 0.5
    return b ** 0.5 * x0 + (1 - b) ** 0.5 * eps


def counterfactual(unet, classifier, x, target, levels, step=lambda: None):
    """The chain itself is f32; the networks see it in their own type."""
    a, t = alpha_bars(levels)

    def at(level):
        return torch.full((x.shape[0],), float(t[level]), device=x.device)

    for level in range(1, levels + 1):  # abduction: eps at the level that is left
        step()
        with torch.no_grad():
            eps = unet(x.to(DTYPE), at(max(level - 1, 1))).float()
            x = move(x, eps, a[level - 1], a[level])
    latent = x
    for level in range(levels, 0, -1):
        step()
        leaf = x.detach().to(DTYPE).requires_grad_()
        log_p = F.log_softmax(classifier(leaf, at(level)).float(), dim=1).gather(1, target[:, None]).sum()
        gradient, = torch.autograd.grad(log_p, leaf)
        with torch.no_grad():
            eps = unet(x.to(DTYPE), at(level)).float() - SCALE * (1 - a[level]) ** 0.5 * gradient.float()
            x = move(x, eps, a[level], a[level - 1])
    return latent, x


def timed(runs, work):
    ms = []
    for _ in range(runs):
        synchronize()
        start = time.perf_counter()
        work()
        synchronize()
        ms.append(1000 * (time.perf_counter() - start))
    return ms


def run_forward(o):
    unet = get_unet(o)
    x, t = images(o.batch, 1, unet.config).to(DTYPE), torch.full((o.batch,), 500.0, device=DEVICE)
    unet = prepared(unet, o)
    with torch.no_grad():
        if o.jit:
            unet = torch.jit.freeze(torch.jit.trace(unet, (x, t)))

        def step():
            new_step(o)
            unet(x, t)

        timed(5 if o.jit or o.compile else 2, step)  # compilers work during the first calls
        return timed(o.runs, step)


def run_train(o):
    unet = get_unet(o).train()
    parameters = list(unet.parameters())
    optimiser = torch.optim.AdamW(parameters, lr=1e-4, weight_decay=0.01)
    average = [p.detach().clone() for p in parameters]
    x, noise, t = images(o.batch, 1), images(o.batch, 2), timesteps(o.batch)
    network = torch.compile(unet, mode="reduce-overhead", dynamic=False) if o.compile else unet
    steps = 0

    def step():
        nonlocal steps
        new_step(o)
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE.type, dtype=torch.bfloat16, enabled=DTYPE == torch.bfloat16):
            eps = network(x, t)
        F.mse_loss(eps.float(), noise).backward()
        optimiser.step()
        steps += 1
        decay = min(0.9999, (1 + steps) / (10 + steps))
        with torch.no_grad():
            torch._foreach_mul_(average, decay)
            torch._foreach_add_(average, parameters, alpha=1 - decay)

    timed(5 if o.compile else 1, step)
    return timed(o.runs, step)


def run_counterfactual(o):
    unet, classifier = prepared(get_unet(o), o), prepared(get_classifier(o), o)
    x, target = images(o.batch, 1), labels(o.batch)
    counterfactual(unet, classifier, x, target, 5 if o.compile else 2, lambda: new_step(o))
    return timed(o.runs, lambda: counterfactual(unet, classifier, x, target, LEVELS, lambda: new_step(o)))


def check(folder):
    """Prints the largest difference of each array, relative to the largest value in PyTorch's."""
    o = argparse.Namespace(model=os.path.join(folder, "unet.safetensors"), config=None,
                           classifier=os.path.join(folder, "classifier.safetensors"))
    ours = {name: torch.from_numpy(array) for name, array in np.load(os.path.join(folder, "outputs.npz")).items()}
    nchw, nhwc = (lambda x: x.permute(0, 3, 1, 2).contiguous()), (lambda x: x.permute(0, 2, 3, 1))
    x, noise, t, label = nchw(ours["x"]), nchw(ours["noise"]), ours["t"], ours["label"]
    unet, classifier = get_unet(o), get_classifier(o).requires_grad_()
    theirs = {}

    eps = unet(x, t)
    loss = ((eps - noise) ** 2).mean(dim=(1, 2, 3))
    loss.mean().backward()
    leaf = x.clone().requires_grad_()
    logits = classifier(leaf, t)
    F.log_softmax(logits, dim=1).gather(1, label[:, None]).sum().backward()
    latent, answer = counterfactual(unet, classifier, x, label, LEVELS)
    theirs.update(eps=nhwc(eps), loss=loss, logits=logits, gradient=nhwc(leaf.grad), latent=nhwc(latent),
                  counterfactual=nhwc(answer))
    for prefix, model in ("unet_gradient.", unet), ("classifier_gradient.", classifier):
        theirs.update({prefix + name: p.grad for name, p in model.named_parameters()})

    def errors(name):
        a, b = ours[name].double(), theirs[name].detach().double()
        assert a.shape == b.shape, f"{name}: {tuple(a.shape)} against {tuple(b.shape)}"
        return (a - b).abs().max().item(), b.abs().max().item()

    worst = 0.0
    print(f"{'array':<48}{'max |difference|':>18}{'max |value|':>14}{'relative':>11}")
    for name in ["eps", "loss", "logits", "gradient", "latent", "counterfactual"]:
        error, size = errors(name)
        print(f"{name:<48}{error:>18.3g}{size:>14.3g}{error / size:>11.2g}")
        worst = max(worst, error / size)
    for prefix in "unet_gradient.", "classifier_gradient.":
        names = [name for name in theirs if name.startswith(prefix)]
        assert set(names) == {name for name in ours if name.startswith(prefix)}
        # A bias before a group norm of one channel has no gradient but round-off: it is judged by the
        # largest gradient of the model.
        largest = max(errors(name)[1] for name in names)
        relative = {name: errors(name)[0] / max(errors(name)[1], 1e-3 * largest) for name in names}
        name = max(relative, key=relative.get)
        error, size = errors(name)
        print(f"{prefix}* ({len(names)} arrays), the worst is\n  {name[len(prefix):]:<46}"
              f"{error:>18.3g}{size:>14.3g}{relative[name]:>11.2g}")
        worst = max(worst, relative[name])
    good = worst < 1e-3  # NaN is not good
    print("agrees with PyTorch" if good else "DOES NOT AGREE with PyTorch")
    return 0 if good else 1


def timed_job(o):
    runs = {"forward": run_forward, "train": run_train, "counterfactual": run_counterfactual}[o.what](o)
    ms = statistics.median(runs)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    if DEVICE.type == "cuda":
        peak = torch.cuda.max_memory_allocated() >> 20
    engine = "pytorch-jit" if o.jit else "pytorch-compiled" if o.compile else "pytorch"
    print(f"{o.what}, batch {o.batch}, {torch.get_num_threads()} threads: {ms:.2f} ms, "
          f"{ms / o.batch:.2f} ms/image, {1000 * o.batch / ms:.1f} images/s, {peak} MiB")
    return {"engine": engine, "device": o.device, "precision": o.precision, "version": torch.__version__,
            "what": o.what,
            "batch": o.batch, "threads": torch.get_num_threads(), "ms": ms, "ms_per_image": ms / o.batch,
            "images_per_second": 1000 * o.batch / ms, "peak_process_mib": peak, "runs_ms": runs}


def main():
    parser = argparse.ArgumentParser(description="Whole jobs in PyTorch, timed")
    parser.add_argument("--what", choices=["forward", "train", "counterfactual"], default="forward")
    parser.add_argument("--batch", type=int, nargs="+", default=[10], help="of several, --json is a list")
    parser.add_argument("--runs", type=int, default=10, help="timed runs, after a warm-up")
    parser.add_argument("--threads", type=int, default=0, help="0: all")
    parser.add_argument("--model", help="a U-Net's file (default: random weights)")
    parser.add_argument("--config", help="without --model: JSON of the U-Net, for `forward` (default: mnist-fast's)")
    parser.add_argument("--classifier", help="a classifier's file (default: random weights)")
    parser.add_argument("--json", help="also write the result here")
    parser.add_argument("--jit", action="store_true", help="forward: trace and freeze")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["f32", "bf16"], default="f32")
    parser.add_argument("--compile", action="store_true", help="torch.compile with CUDA graphs")
    parser.add_argument("--check", metavar="FOLDER", help="compare with what bench_job --what dump wrote")
    o = parser.parse_args()
    if o.jit and o.what != "forward":
        parser.error("--jit is for --what forward")
    if o.threads > 0:
        torch.set_num_threads(o.threads)
    global DEVICE, DTYPE
    DEVICE = torch.device(o.device)
    DTYPE = torch.bfloat16 if o.precision == "bf16" else torch.float32
    if o.device == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True  # the best algorithm for each shape
    torch.manual_seed(1)
    if o.check:
        return check(o.check)
    results = [timed_job(argparse.Namespace(**{**vars(o), "batch": batch})) for batch in o.batch]
    if o.json:
        with open(o.json, "w") as file:
            json.dump(results if len(results) > 1 else results[0], file, indent=2)
            file.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
