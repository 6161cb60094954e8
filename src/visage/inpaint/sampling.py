"""Pictures out of the inpainter: from noise, step by step, and composed so that what is kept stays to the last bit."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visage.inpaint.conditions import Told, nothing
from visage.inpaint.inpainter_net import InpainterNetwork
from visage.inpaint.noise import open_sampler

SEAM = 1.0  # pixels of 128 over which the painted part is blended into the kept one, inside the mask
Pixels = NDArray[np.uint8]
Progress = Callable[[int, int], None]


@torch.inference_mode()
def sample(
    network: InpainterNetwork,
    noise: Any,
    start: Tensor,
    mask: Tensor,
    known: Tensor,
    told: Told,
    *,
    sampler: str,
    steps: int,
    guidance: float,
    progress: Progress | None = None,
) -> Tensor:
    """Painted latents (N, 4, h, w).

    Args:
        noise: the schedule of training (`noise.open_noise`).
        start: noise (N, 4, h, w) of deviation 1. mask: (N, 1, h, w). known: latents (N, 4, h, w).
        sampler, steps: of `noise.open_sampler`.
        guidance: how much further than what is told leads away from nothing told (Ho and Salimans 2022); 1 asks once.
        progress: told the steps done and how many there are.
    """
    scheduler = open_sampler(sampler, noise, steps)
    latents = start * scheduler.init_noise_sigma
    away = nothing(told)
    for done, time in enumerate(scheduler.timesteps, start=1):
        given = scheduler.scale_model_input(latents, time)
        times = time.to(latents.device).expand(len(latents))
        said = network(given, times, mask, known, told)
        if guidance != 1:
            free = network(given, times, mask, known, away)
            said = free + guidance * (said - free)
        latents = scheduler.step(said, time, latents).prev_sample
        if progress:
            progress(done, len(scheduler.timesteps))
    return latents


def compose(image: Pixels, painted: Pixels, paint: Pixels) -> Pixels:
    """`image` with `painted` where `paint` (H x W of {0, 1}) says so, softened inside the painted part; what is not to
    be painted is `image` bit for bit."""
    import cv2

    soft = cv2.GaussianBlur(paint.astype(np.float32), (0, 0), SEAM * len(paint) / 128)
    # Of the blur only the inner half is used: 1/2 at the border becomes 0.
    alpha = (np.clip(2 * soft - 1, 0, 1) * (paint != 0))[..., None]
    mixed = np.rint(image + (painted.astype(np.float32) - image) * alpha).astype(np.uint8)
    return np.where(paint[..., None] != 0, mixed, image)
