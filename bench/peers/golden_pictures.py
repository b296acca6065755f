#!/usr/bin/python3
"""Makes tests/golden/pictures.npz: files written by Pillow, what it reads from them, and what
guided-diffusion's crops make of them. tests/engine/picture_file_test.cpp and
tests/data/resize_test.cpp compare. Needs Pillow and NumPy."""
import argparse
import io
import math
import os

import numpy as np
from PIL import Image


def halved(image, shorter):
    while min(image.size) >= 2 * shorter:
        image = image.resize(tuple(x // 2 for x in image.size), resample=Image.BOX)
    scale = shorter / min(image.size)
    return np.array(image.resize(tuple(round(x * scale) for x in image.size), resample=Image.BICUBIC))


# center_crop_arr and random_crop_arr of guided_diffusion/image_datasets.py; the three draws of the
# latter as 32-bit words.
def centre_square(image, side):
    array = halved(image, side)
    y, x = (array.shape[0] - side) // 2, (array.shape[1] - side) // 2
    return array[y:y + side, x:x + side]


def random_square(image, side, words):
    longest = math.ceil(side / 0.8)
    draw = lambda word, most: (word * (most + 1)) >> 32
    array = halved(image, side + draw(words[0], longest - side))
    y, x = draw(words[1], array.shape[0] - side), draw(words[2], array.shape[1] - side)
    return array[y:y + side, x:x + side]


def picture(height, width):
    y, x = np.mgrid[0:height, 0:width]
    levels = np.stack([128 + 90 * np.sin(x / 5) + 30 * np.cos(y / 3), 255 * x / width,
                       128 + 120 * np.sin((x + 2 * y) / 9)], axis=-1)
    noise = np.random.default_rng(height * width).normal(0, 12, levels.shape)
    return Image.fromarray(np.clip(levels + noise, 0, 255).astype(np.uint8))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/golden")
    parser.add_argument("--out", default=default)
    arrays = {}
    small = picture(21, 27)
    transparent = small.copy()
    transparent.putalpha(Image.fromarray(np.full((21, 27), 255, np.uint8)))
    files = {
        "colour.jpg": (small, dict(quality=80)), "progressive.jpg": (small, dict(quality=80, progressive=True)),
        "grey.jpg": (small.convert("L"), dict(quality=80)), "cmyk.jpg": (small.convert("CMYK"), dict(quality=90)),
        "colour.png": (small, {}), "palette.png": (small.convert("P", palette=Image.ADAPTIVE, colors=16), {}),
        "lossy.webp": (small, dict(quality=80)), "lossless.webp": (small, dict(lossless=True)),
        "alpha.webp": (transparent, dict(lossless=True)),
    }
    for name, (image, options) in files.items():
        file = io.BytesIO()
        image.save(file, {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name.split(".")[1]], **options)
        arrays["file " + name] = np.frombuffer(file.getvalue(), np.uint8)
        back = Image.open(io.BytesIO(file.getvalue()))
        arrays["pixels " + name] = np.array(back if back.mode == "L" else back.convert("RGB"))
    # Larger and smaller than the side; halved not at all, once and twice; odd edges; both ways round.
    words = [[0, 0, 0], [2 ** 32 - 1, 2 ** 32 - 1, 2 ** 32 - 1], [1234567890, 3000000000, 700000000]]
    arrays["words"] = np.array(words, np.int64)
    for height, width in ((33, 47), (71, 50), (11, 9), (24, 24), (131, 65)):
        image = picture(height, width)
        name = f"{height}x{width}"
        arrays[name] = np.array(image)
        for side in (16, 13):
            arrays[f"centre {name} {side}"] = centre_square(image, side)
        for i, word in enumerate(words):
            arrays[f"random {name} {i}"] = random_square(image, 16, word)
        for filter_name in ("BOX", "BILINEAR", "BICUBIC"):
            arrays[f"{filter_name} {name}"] = np.array(image.resize((14, 19), getattr(Image, filter_name)))
    np.savez_compressed(os.path.join(parser.parse_args().out, "pictures.npz"), **arrays)


if __name__ == "__main__":
    main()
