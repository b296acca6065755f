#!/usr/bin/python3
"""Makes tests/golden/family: the smallest networks of guided-diffusion's family, one for each of its
flags, with random weights, and what they must answer in double precision.

tests/models/family_test.cpp holds the C++ to them. NAME.safetensors is a model file (docs/formats.md);
expected.npz has, of each, NAME.x, NAME.t and
  of a U-Net        NAME.outputs (every channel) and NAME.gradient, of the sum of eps * NAME.v in x
  of a classifier   NAME.logits and NAME.gradient, of the log-probability of classes 0, 1, .. in x
"""
import argparse
import os

import numpy as np
import torch

from golden import randomised, write_model
from guided_diffusion import Classifier, UNet

UNET = dict(image_size=8, in_channels=1, out_channels=1, model_channels=4, channel_mult=[1, 2], num_res_blocks=1,
            attention_downsample=[], heads=1, dropout=0.0, norm_groups=2)
CLASSIFIER = dict(image_size=8, in_channels=1, classes=3, model_channels=4, channel_mult=[1, 2], num_res_blocks=1,
                  head_channels=4, dropout=0.0, norm_groups=2)
UNETS = {
    "updown": dict(resblock_updown=True),
    "added": dict(scale_shift=False),
    "variance": dict(in_channels=3, out_channels=6, resblock_updown=True),
    "heads": dict(attention_downsample=[1, 2], head_channels=2, num_res_blocks=2),
    "half": dict(channel_mult=[0.5, 1, 2], resblock_updown=True),
    "told": dict(conditions=[dict(name="class", classes=3)]),
}
CLASSIFIERS = {
    "attention": dict(attention_downsample=[2], num_res_blocks=2),
    "adaptive": dict(pool="adaptive", head_channels=0, heads=2),
    "spatial": dict(pool="spatial", resblock_updown=False, classes=2),
    "spatial_v2": dict(pool="spatial_v2", scale_shift=False, norm_groups=4, classes=2),
}


def answers(model, x, t, label, v):
    leaf = x.clone().requires_grad_()
    if isinstance(model, UNet):
        outputs = model(leaf, t, label)
        gradient, = torch.autograd.grad((outputs[:, :x.shape[1]] * v).sum(), leaf)
        return dict(outputs=outputs, gradient=gradient, v=v)
    logits = model(leaf, t)
    chosen = torch.log_softmax(logits, dim=1)[torch.arange(len(x)), torch.arange(len(x))]
    gradient, = torch.autograd.grad(chosen.sum(), leaf)
    return dict(logits=logits, gradient=gradient)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/golden/family")
    parser.add_argument("--out", default=default)
    folder = parser.parse_args().out
    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(1)
    arrays = {}
    for kind, Model, usual, cases in (("unet", UNet, UNET, UNETS), ("classifier", Classifier, CLASSIFIER, CLASSIFIERS)):
        for name, flags in cases.items():
            config = {**usual, **flags}
            model = randomised(Model(config))
            write_model(os.path.join(folder, name + ".safetensors"), kind, config, model)
            model = model.double().eval().requires_grad_(False)
            x = torch.randn(2, config["in_channels"], config["image_size"], config["image_size"]).double()
            t = torch.tensor([0.0, 310.0], dtype=torch.float64)
            label = torch.tensor([2, 0]) if config.get("conditions") else None
            results = dict(x=x, t=t, **answers(model, x, t, label, torch.randn(x.shape).double()))
            for key, value in results.items():
                value = value.detach().permute(0, 2, 3, 1) if value.ndim == 4 else value.detach()
                arrays[f"{name}.{key}"] = value.numpy().astype(np.float32)
                print(f"{name + '.' + key:<24}{str(value.shape):<32}largest {value.abs().max():.4g}")
    np.savez(os.path.join(folder, "expected.npz"), **arrays)


if __name__ == "__main__":
    main()
