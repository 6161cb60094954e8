"""What a picture costs before the network: decoding, augmentation, normalisation, beside torchvision, in one run.

    PYTHONPATH=src python benchmarks/pictures.py

One thread, microseconds a picture (median of the rounds), and the ratio to torchvision's way of doing the same.
"""

import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torchvision.transforms import v2

from visage.export.card import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from visage.io.images import decode, encode_png
from visage.vision.augment import Augmentation, augment
from visage.vision.normalise import preprocess

SIZE, ROUNDS, REPEATS = 128, 7, 40


def microseconds(function: Callable[[], object]) -> float:
    """Median time of one call."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(REPEATS):
            function()
        times.append((time.perf_counter() - start) / REPEATS * 1e6)
    return statistics.median(times)


def main() -> None:
    """Measure and print the table."""
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    image = np.asarray(cv2.GaussianBlur(noise, (0, 0), 2), np.uint8)
    tensor = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    png, rng, shape = (
        encode_png(image),
        np.random.default_rng(0),
        Preprocessing(SIZE, SIZE, IMAGENET_MEAN, IMAGENET_STD),
    )
    theirs = v2.Compose(
        [
            v2.RandomHorizontalFlip(0.5),
            v2.RandomRotation(10, v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(0.2, 0.2, 0.2),
        ]
    )
    normalise = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)])
    ours = {
        "decode a PNG": lambda: decode(png, "a.png"),
        "flip, rotate, jitter": lambda: augment(image, Augmentation(), rng),
        "normalise": lambda: preprocess(image, shape),
    }
    reference = {"flip, rotate, jitter": lambda: theirs(tensor), "normalise": lambda: normalise(tensor)}
    print(f"{SIZE} px, one thread\n{'step':22} {'ours us':>8} {'torchvision us':>15} {'ratio':>6}")
    for name, function in ours.items():
        mine = microseconds(function)
        other = microseconds(reference[name]) if name in reference else None
        print(f"{name:22} {mine:8.0f} " + (f"{other:15.0f} {other / mine:6.1f}" if other else f"{'-':>15} {'-':>6}"))


if __name__ == "__main__":
    main()
