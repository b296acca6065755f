#!/usr/bin/python3
"""Makes tests/golden: tiny networks with random weights, and what they must answer.

The numbers come from PyTorch in double precision, by the networks of guided_diffusion.py and the formulas
below; tests/causal/golden_test.cpp holds the C++ to them.

  unet.safetensors, classifier.safetensors  model files (docs/formats.md), names and layouts PyTorch's
  expected.npz (images NHWC):
    x, t, target          a batch of noisy images, their timesteps, the class that each shall become
    eps, eps_told         the U-Net at (x, t), told nothing and told `target`
    logits, gradient      the classifier at (x, t), and the gradient of log p(target | x, t) in x
    factual               images in [-1, 1]
    latent                plain DDIM abduction of them, up to level WALKED of LEVELS
    reconstruction        DDIM from there, unguided
    counterfactual        DDIM from there, guided by the classifier towards target at SCALE
    implicit              DDIM from there along eps + SCALE (eps_told - eps)
"""
import argparse
import json
import os
import struct

import numpy as np
import torch

import guided_diffusion as peer

# WALKED of the chain's LEVELS: further up, networks that were never trained only amplify.
TIMESTEPS, LEVELS, WALKED, SCALE = 1000, 10, 5, 1.5
UNET = dict(image_size=8, in_channels=3, out_channels=3, model_channels=8, channel_mult=[1, 2],
            num_res_blocks=1, attention_downsample=[2], heads=2, dropout=0.0, norm_groups=4,
            conditions=[dict(name="class", classes=4)])
CLASSIFIER = dict(image_size=8, in_channels=3, classes=4, model_channels=8, channel_mult=[1, 2],
                  num_res_blocks=1, head_channels=4, dropout=0.0, norm_groups=4)


def randomised(model):
    """PyTorch's own initial values, but for what would hide a fault (norms start at one and zero,
    attention almost uniform, logits almost equal) and for the size of eps: a network that was never
    trained must not amplify rounding from level to level."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("qkv.weight", "qkv_proj.weight")):
                parameter *= 2
            elif name.endswith("c_proj.weight"):
                parameter *= 5
            elif name == "out.2.weight":
                parameter *= 0.25
        for module in model.modules():
            if isinstance(module, torch.nn.GroupNorm):
                module.weight.normal_(1, 0.2)
                module.bias.normal_(0, 0.2)
    return model


def write_model(path, kind, config, model):
    tensors = {name: value.numpy().astype("<f4") for name, value in sorted(model.state_dict().items())}
    header, offset = {}, 0
    data = {"name": "golden", "height": config["image_size"], "width": config["image_size"],
            "channels": config["in_channels"], "classes": CLASSIFIER["classes"]}
    header["__metadata__"] = {
        "format": "diffscm.model.v1", "kind": kind, "config": json.dumps(config), "data": json.dumps(data),
        "diffusion": json.dumps({"schedule": "linear", "timesteps": TIMESTEPS, "sampling_steps": LEVELS}),
        "training": json.dumps({"command": "bench/peers/golden.py: random weights"})}
    for name, value in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape),
                        "data_offsets": [offset, offset + value.nbytes]}
        offset += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(v.tobytes() for v in tensors.values()))


# The chain: level 0 is the clean image, level l >= 1 the timestep (l - 1) T / L of the linear schedule
# (Ho et al. 2020).
ALPHA_BAR = np.concatenate([[1.0], np.cumprod(1 - np.linspace(1e-4, 0.02, TIMESTEPS))[::TIMESTEPS // LEVELS]])


def at(level, x):
    return torch.full((len(x),), float((level - 1) * (TIMESTEPS // LEVELS)), dtype=x.dtype)


def log_p_gradient(classifier, x, t, target):
    leaf = x.detach().requires_grad_()
    log_p = torch.log_softmax(classifier(leaf, t), dim=1)[torch.arange(len(x)), target]
    return torch.autograd.grad(log_p.sum(), leaf)[0]


def ddim(x, eps, a, b):
    """Song et al. 2021, eq. 12 with sigma = 0: from alpha_bar = a to b."""
    x0 = (x - np.sqrt(1 - a) * eps) / np.sqrt(a)
    return np.sqrt(b) * x0 + np.sqrt(1 - b) * eps


def abduct(unet, x):
    """The same step upwards, with eps at the level that is left; the clean image has no timestep of
    its own and is asked about at that of level 1."""
    for level in range(WALKED):
        x = ddim(x, unet(x, at(max(level, 1), x)), ALPHA_BAR[level], ALPHA_BAR[level + 1])
    return x


def predict(x, eps):
    """eps(x, t, alpha_bar): the direction to walk along."""
    for level in range(WALKED, 0, -1):
        x = ddim(x, eps(x, at(level, x), ALPHA_BAR[level]), ALPHA_BAR[level], ALPHA_BAR[level - 1])
    return x


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/golden")
    parser.add_argument("--out", default=default)
    folder = parser.parse_args().out
    os.makedirs(folder, exist_ok=True)

    torch.manual_seed(1)
    unet, classifier = randomised(peer.UNet(UNET)), randomised(peer.Classifier(CLASSIFIER))
    write_model(os.path.join(folder, "unet.safetensors"), "unet", UNET, unet)
    write_model(os.path.join(folder, "classifier.safetensors"), "classifier", CLASSIFIER, classifier)
    unet, classifier = unet.double().eval().requires_grad_(False), classifier.double().eval().requires_grad_(False)

    shape = (3, UNET["in_channels"], UNET["image_size"], UNET["image_size"])
    # Rounded to f32 first: what the file says is what the answers are about.
    x, factual = torch.randn(shape).double(), torch.rand(shape).mul(2).sub(1).double()
    t = torch.tensor([0.0, 310.0, 999.0], dtype=torch.float64)
    target = torch.tensor([0, 2, 3])

    def guided(x, t, a):  # Dhariwal & Nichol 2021, algorithm 2
        return unet(x, t) - SCALE * np.sqrt(1 - a) * log_p_gradient(classifier, x, t, target)

    def implicit(x, t, a):  # Ho & Salimans 2022
        return unet(x, t) + SCALE * (unet(x, t, target) - unet(x, t))

    latent = abduct(unet, factual)
    arrays = dict(x=x, eps=unet(x, t), eps_told=unet(x, t, target),
                  gradient=log_p_gradient(classifier, x, t, target), factual=factual, latent=latent,
                  reconstruction=predict(latent, lambda x, t, a: unet(x, t)),
                  counterfactual=predict(latent, guided), implicit=predict(latent, implicit))
    arrays = {name: value.permute(0, 2, 3, 1).numpy().astype(np.float32) for name, value in arrays.items()}
    arrays.update(t=t.numpy().astype(np.float32), target=target.numpy(),
                  logits=classifier(x, t).numpy().astype(np.float32))
    np.savez(os.path.join(folder, "expected.npz"), **arrays)
    for name, value in arrays.items():
        print(f"{name:<16}{str(value.shape):<16}largest {np.abs(value).max():.4g}")


if __name__ == "__main__":
    main()
