#!/usr/bin/python3
"""Makes tests/golden/diffusers: small random UNet2DModels as diffusers writes them (config.json, half-precision
weights) and what they answer in double precision, in expected.npz: NAME.x, NAME.t, NAME.outputs and, where it is
told one, NAME.label. tests/apps/import_diffusers_test.cpp holds `diffscm import` to them.

  ddpm    as the published unconditional DDPM checkpoints are (google/ddpm-cifar10-32, ddpm-celebahq-256)
  ours    UNet2DModel's own defaults, with what the family of guided-diffusion has: several heads, blocks that
          halve and double, scale and shift, a class, a variance
"""
import argparse
import os

import numpy as np
import torch
from diffusers import DDPMScheduler, UNet2DModel

MODELS = {
    "ddpm": dict(sample_size=8, in_channels=3, out_channels=3, block_out_channels=(8, 8, 16), layers_per_block=2,
                 norm_num_groups=4, down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
                 up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"), attention_head_dim=None, freq_shift=1,
                 flip_sin_to_cos=False, downsample_padding=0, norm_eps=1e-6),
    "ours": dict(sample_size=8, in_channels=1, out_channels=2, block_out_channels=(8, 16), layers_per_block=1,
                 norm_num_groups=4, down_block_types=("AttnDownBlock2D", "ResnetDownsampleBlock2D"),
                 up_block_types=("ResnetUpsampleBlock2D", "AttnUpBlock2D"), attention_head_dim=4, downsample_type="resnet",
                 upsample_type="resnet", resnet_time_scale_shift="scale_shift", attn_norm_num_groups=4,
                 num_class_embeds=3),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/golden/diffusers")
    parser.add_argument("--out", default=default)
    folder = parser.parse_args().out
    torch.manual_seed(1)
    arrays = {}
    for name, config in MODELS.items():
        model = UNet2DModel(**config).half()
        model.save_pretrained(os.path.join(folder, name))
        model = model.double().eval().requires_grad_(False)
        x = torch.randn(2, config["in_channels"], config["sample_size"], config["sample_size"]).double()
        t = torch.tensor([3.0, 310.0], dtype=torch.float64)
        label = torch.tensor([2, 0]) if "num_class_embeds" in config else None
        outputs = model(x, t, class_labels=label).sample
        arrays[f"{name}.x"], arrays[f"{name}.outputs"] = (v.permute(0, 2, 3, 1).numpy().astype(np.float32)
                                                         for v in (x, outputs))
        arrays[f"{name}.t"] = t.numpy().astype(np.float32)
        if label is not None:
            arrays[f"{name}.label"] = label.numpy()
        print(f"{name}: {sum(p.numel() for p in model.parameters())} parameters, largest {outputs.abs().max():.4g}")
    DDPMScheduler(clip_sample=True, variance_type="fixed_small").save_pretrained(os.path.join(folder, "ddpm"))
    np.savez(os.path.join(folder, "expected.npz"), **arrays)


if __name__ == "__main__":
    main()
