"""The networks of guided-diffusion's family (Dhariwal & Nichol 2021) in PyTorch, under the entries of
diffscm's configurations (docs/formats.md) and with that code's parameter names, so that diffscm's model
files load as they are."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def norm(channels, groups):
    return nn.GroupNorm(groups, channels)


def timestep_embedding(t, channels):
    half = channels // 2
    frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=t.dtype, device=t.device) / half)
    angles = t[:, None] * frequencies[None]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def time_embed(channels):
    return nn.Sequential(nn.Linear(channels, 4 * channels), nn.SiLU(), nn.Linear(4 * channels, 4 * channels))


class ResBlock(nn.Module):
    """resample: None, "down" (2x2 means) or "up" (nearest neighbours)."""

    def __init__(self, channels, out_channels, config, resample=None):
        super().__init__()
        groups, emb_channels = config.get("norm_groups", 32), 4 * config["model_channels"]
        self.scale_shift, self.resample = config.get("scale_shift", True), resample
        self.in_layers = nn.Sequential(norm(channels, groups), nn.SiLU(), nn.Conv2d(channels, out_channels, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb_channels, (1 + self.scale_shift) * out_channels))
        self.out_layers = nn.Sequential(norm(out_channels, groups), nn.SiLU(), nn.Dropout(0),
                                        nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.skip_connection = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def resized(self, x):
        if self.resample == "down":
            return F.avg_pool2d(x, 2)
        return F.interpolate(x, scale_factor=2, mode="nearest") if self.resample == "up" else x

    def forward(self, x, emb):
        h = self.resized(self.in_layers[1](self.in_layers[0](x)))
        x = self.resized(x)
        h = self.in_layers[2](h)
        told = self.emb_layers(emb)[:, :, None, None]
        if self.scale_shift:
            scale, shift = told.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
        else:
            h = self.out_layers[0](h + told)
        return self.skip_connection(x) + self.out_layers[1:](h)


def attend(q, k, v):  # each [N * heads, channels of a head, tokens]
    scale = q.shape[1] ** -0.25
    weight = torch.softmax(torch.einsum("bct,bcs->bts", q * scale, k * scale), dim=-1)
    return torch.einsum("bts,bcs->bct", weight, v)


class AttentionBlock(nn.Module):
    def __init__(self, channels, config):
        super().__init__()
        self.norm = norm(channels, config.get("norm_groups", 32))
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)
        width = config.get("head_channels", 0)
        self.heads = channels // width if width else config["heads"]

    def forward(self, x, emb):
        n, c, height, width = x.shape
        x = x.reshape(n, c, height * width)
        qkv = self.qkv(self.norm(x))  # head by head, each [q|k|v]
        q, k, v = qkv.reshape(n * self.heads, 3 * c // self.heads, -1).split(c // self.heads, dim=1)
        h = self.proj_out(attend(q, k, v).reshape(n, c, -1))
        return (x + h).reshape(n, c, height, width)


class AttentionPool(nn.Module):
    def __init__(self, pixels, channels, heads, out):
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(channels, pixels + 1) / channels ** 0.5)
        self.qkv_proj = nn.Conv1d(channels, 3 * channels, 1)
        self.c_proj = nn.Conv1d(channels, out, 1)
        self.heads = heads

    def forward(self, x):
        n, c = x.shape[:2]
        x = x.reshape(n, c, -1)
        x = torch.cat([x.mean(dim=-1, keepdim=True), x], dim=-1) + self.positional_embedding
        q, k, v = self.qkv_proj(x).chunk(3, dim=1)  # [q of all heads|k|v]
        h = attend(*(part.reshape(n * self.heads, c // self.heads, -1) for part in (q, k, v)))
        return self.c_proj(h.reshape(n, c, -1))[:, :, 0]


class Downsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x, emb):
        return self.op(x)


class Upsample(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x, emb):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class Stem(nn.Conv2d):
    def forward(self, x, emb):
        return super().forward(x)


class Stage(nn.Sequential):
    def forward(self, x, emb):
        for layer in self:
            x = layer(x, emb)
        return x


class Trunk(nn.Module):
    """time_embed, input_blocks and middle_block, which U-Net and classifier share."""

    def __init__(self, config):
        super().__init__()
        base = config["model_channels"]
        self.config, self.base = config, base
        self.widths = [int(m * base) for m in config["channel_mult"]]
        self.time_embed = time_embed(base)
        c = self.widths[0]
        self.channels = [c]
        self.input_blocks = nn.ModuleList([Stage(Stem(config["in_channels"], c, 3, padding=1))])
        for level, width in enumerate(self.widths):
            for _ in range(config["num_res_blocks"]):
                self.input_blocks.append(Stage(*self.level_layers(level, c)))
                c = width
                self.channels.append(c)
            if level + 1 < len(self.widths):
                self.input_blocks.append(Stage(ResBlock(c, c, config, "down") if self.by_blocks() else Downsample(c)))
                self.channels.append(c)
        self.middle_block = Stage(ResBlock(c, c, config), AttentionBlock(c, config), ResBlock(c, c, config))

    def by_blocks(self):
        return self.config.get("resblock_updown", False)

    def level_layers(self, level, channels):
        layers = [ResBlock(channels, self.widths[level], self.config)]
        if 2 ** level in self.config.get("attention_downsample", []):
            layers.append(AttentionBlock(self.widths[level], self.config))
        return layers

    def embed(self, t):
        return self.time_embed(timestep_embedding(t, self.base).to(self.time_embed[0].weight.dtype))


class UNet(Trunk):
    def __init__(self, config):
        super().__init__(config)
        for condition in config.get("conditions", []):  # one class at most: label_emb
            self.label_emb = nn.Embedding(condition["classes"], 4 * self.base)
        self.output_blocks = nn.ModuleList()
        skips, c = list(self.channels), self.widths[-1]
        for level in reversed(range(len(self.widths))):
            for i in range(config["num_res_blocks"] + 1):
                layers = self.level_layers(level, c + skips.pop())
                c = self.widths[level]
                if level > 0 and i == config["num_res_blocks"]:
                    layers.append(ResBlock(c, c, config, "up") if self.by_blocks() else Upsample(c))
                self.output_blocks.append(Stage(*layers))
        self.out = nn.Sequential(norm(c, config.get("norm_groups", 32)), nn.SiLU(),
                                 nn.Conv2d(c, config["out_channels"], 3, padding=1))

    def forward(self, x, t, label=None):
        emb = self.embed(t)
        if label is not None:
            emb = emb + self.label_emb(label)
        skips = []
        for block in self.input_blocks:
            x = block(x, emb)
            skips.append(x)
        x = self.middle_block(x, emb)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), emb)
        return self.out(x)


class Classifier(Trunk):
    def __init__(self, config):
        super().__init__({"resblock_updown": True, **config})
        groups, c, classes = config.get("norm_groups", 32), self.widths[-1], config["classes"]
        self.pool = config.get("pool", "attention")
        features = sum(self.channels) + c
        side = config["image_size"] // 2 ** (len(self.widths) - 1)
        if self.pool == "attention":
            self.out = nn.Sequential(norm(c, groups), nn.SiLU(),
                                     AttentionPool(side * side, c, c // config["head_channels"], classes))
        elif self.pool == "adaptive":
            self.out = nn.Sequential(norm(c, groups), nn.SiLU(), nn.AdaptiveAvgPool2d(1),
                                     nn.Conv2d(c, classes, 1), nn.Flatten())
        elif self.pool == "spatial":
            self.out = nn.Sequential(nn.Linear(features, 2048), nn.ReLU(), nn.Linear(2048, classes))
        else:
            self.out = nn.Sequential(nn.Linear(features, 2048), norm(2048, groups), nn.SiLU(),
                                     nn.Linear(2048, classes))

    def forward(self, x, t):
        emb, means = self.embed(t), []
        for block in self.input_blocks:
            x = block(x, emb)
            means.append(x.mean(dim=(2, 3)))
        x = self.middle_block(x, emb)
        if self.pool.startswith("spatial"):
            x = torch.cat([*means, x.mean(dim=(2, 3))], dim=1)
        return self.out(x)
