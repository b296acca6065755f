#!/usr/bin/python3
"""Makes tests/golden/torch_{zip,stream}.pt: what torch.save writes, in the format of 1.6 and later and
in that before it. tests/engine/torch_file_test.cpp knows what they hold."""
import argparse
import collections
import os

import torch


def contents():
    flat = torch.arange(24, dtype=torch.float32)
    weights = collections.OrderedDict(
        whole=torch.tensor([[1.0, -2.0, 3.5], [0.0, 1e-30, 7.0]]),
        transposed=flat[:6].view(2, 3).t(),  # these three share a storage
        middle=flat[6:12].view(3, 2),
        every_other=flat[::2],
        scalar=torch.tensor(42.0),
        expanded=torch.tensor([5.0]).expand(2, 3),
        empty=torch.zeros(0, 4),
        double=torch.tensor([1.5, -1e-3], dtype=torch.float64),
        half=torch.tensor([1.0, -2.0, 65504.0, 2.0 ** -24], dtype=torch.float16),
        brain=torch.tensor([1.0, -3.140625], dtype=torch.bfloat16),
        steps=torch.tensor([5, -2 ** 63]),
        mask=torch.tensor([True, False]),
        parameter=torch.nn.Parameter(torch.tensor([0.25])))
    model = torch.nn.Linear(2, 1)  # its state_dict has _metadata
    torch.nn.init.constant_(model.weight, 0.5)
    torch.nn.init.constant_(model.bias, -0.5)
    return {"state_dict": weights, "ema": {"model": model.state_dict()}, "epoch": 3, "lr": 0.1, "note": None,
            "betas": [(0.9, 0.999)], "big": 2 ** 40}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/golden")
    parser.add_argument("--out", default=default)
    folder = parser.parse_args().out
    for name, zipped in (("torch_zip.pt", True), ("torch_stream.pt", False)):
        torch.save(contents(), os.path.join(folder, name), _use_new_zipfile_serialization=zipped)


if __name__ == "__main__":
    main()
