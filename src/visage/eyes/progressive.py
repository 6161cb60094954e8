"""Progressive learning (Tan & Le, ICML 2021): the first epochs on small frames, the last on full ones.

What a pupil is can be learned from frames of two fifths of the height at a third of a step's time; only its edge needs
all pixels. Weights fit any size, since every network here is convolutional or works in windows.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from visage.eyes.attention import WINDOW
from visage.eyes.efficientvit import STRIDE
from visage.eyes.networks import FRAME

Size = tuple[int, int]
# Image, label, weights, distance, as `visage.eyes.data.PupilSamples` gives them.
Batch = tuple[Tensor, Tensor, Tensor, Tensor]


def epoch_sizes(full: Size, start: float, epochs: int) -> list[Size]:
    """The size of training frames in each epoch, rows x columns, growing evenly from `start` x `full` to `full`.

    Every size is rounded up to what the networks' windows divide. start: above 0, up to 1 (always full).
    """
    halved = 2 if full == FRAME else 1
    steps = STRIDE * WINDOW[0] * halved, STRIDE * WINDOW[1] * halved
    shares = [1 - (1 - start) * left / max(epochs - 1, 1) for left in reversed(range(epochs))]
    # Rounded first: a share of 200 rows that is 160 may come out as 160.00000000000003.
    grown = [
        [step * math.ceil(round(side * s / step, 6)) for side, step in zip(full, steps, strict=True)] for s in shares
    ]
    return [(rows, columns) for rows, columns in grown]


def shrink(batch: Batch, size: Size) -> Batch:
    """`batch` in frames of `size`: pictures averaged, labels and weights from the nearest pixel, distances (B, H, W)
    from the nearest pixel in pixels of the new frame."""
    image, label, weights, distance = batch
    if image.shape[2:] == size:
        return batch
    layout = torch.channels_last if image.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    small = functional.interpolate(image, size, mode="bilinear", antialias=True).contiguous(memory_format=layout)
    label, weights, distance = (
        functional.interpolate(each[:, None], size, mode="nearest-exact")[:, 0] for each in (label, weights, distance)
    )
    return small, label, weights, distance * (size[0] / image.shape[2])
