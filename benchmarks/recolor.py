"""Recolouring beside the plain way, which converts and mixes the whole picture in LAB: milliseconds a megapixel.

    PYTHONPATH=src python benchmarks/recolor.py [--rounds N]

Processor time of one thread, the least of the rounds, which a busy neighbour disturbs little. The pictures are of 12
megapixels, the hair is an ellipse with a soft edge of growing size; the box is what the hair's edges enclose.
"""

import argparse
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.vision.palette import parse_color
from visage.vision.recolor import INTENSITY, hair_alpha, hair_box, recolor

HEIGHT, WIDTH = 4000, 3000
TARGET = parse_color("blonde")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    cv2.setNumThreads(1)
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT // 4, WIDTH // 4, 3), np.uint8)
    image = np.asarray(cv2.resize(noise, (WIDTH, HEIGHT)), np.uint8)
    megapixels = image.shape[0] * image.shape[1] / 1e6
    print("hair    box     ms    ms / MP of the box   ms / MP of the picture   plain ms   ratio")
    for share in (0.05, 0.2, 0.5, 1.0):
        coverage = ellipse(share)
        box = hair_box(coverage)
        assert box is not None
        inside = np.prod([side.stop - side.start for side in box]) / 1e6
        ours = milliseconds(lambda coverage=coverage: recolor(image, coverage, TARGET), rounds)  # type: ignore[misc]
        theirs = milliseconds(lambda coverage=coverage: plain(image, coverage), rounds)  # type: ignore[misc]
        print(
            f"{(coverage > 0.5).mean():4.0%}  {inside / megapixels:5.0%}  {ours:5.0f}  {ours / inside:18.1f}  "
            f"{ours / megapixels:23.1f}  {theirs:9.0f}  {theirs / ours:6.1f}",
            flush=True,
        )


def ellipse(share: float) -> NDArray[np.float32]:
    """Coverage by hair of about `share` of the picture; 1 everywhere for 1."""
    if share == 1:
        return np.ones((HEIGHT, WIDTH), np.float32)
    y, x = np.ogrid[-1 : 1 : HEIGHT * 1j, -1 : 1 : WIDTH * 1j]
    radius = (4 * share / np.pi) ** 0.5
    return np.clip((radius - np.hypot(x, y)) * 50 + 0.5, 0, 1).astype(np.float32)


def plain(image: NDArray[np.uint8], coverage: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The same colours by whole float pictures."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    alpha = hair_alpha(coverage, None)
    mean = (lab * alpha[..., None]).sum((0, 1)) / alpha.sum()
    moved = np.array(TARGET.lab, np.float32) + (lab - mean) * np.array((1, 0.3, 0.3), np.float32)
    mixed = lab + (moved - lab) * (alpha * np.float32(INTENSITY))[..., None]
    colored = np.rint(cv2.cvtColor(mixed.astype(np.float32), cv2.COLOR_LAB2RGB) * 255).clip(0, 255).astype(np.uint8)
    return np.where(alpha[..., None] > 0, colored, image)


def milliseconds(function: Callable[[], object], rounds: int) -> float:
    """The least processor time of a call, after one that is not counted."""
    times = []
    for turn in range(rounds + 1):
        started = time.thread_time()
        function()
        if turn:
            times.append(1000 * (time.thread_time() - started))
    return min(times)


if __name__ == "__main__":
    main()
