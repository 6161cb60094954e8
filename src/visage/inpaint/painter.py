"""Painting hair into pictures with everything that belongs to it: network, autoencoder, noise schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from visage.inpaint.conditions import Told
from visage.inpaint.inpainter_net import InpainterNetwork
from visage.inpaint.latents import decode, encode, stride
from visage.inpaint.noise import draw, open_noise
from visage.inpaint.picture_set import from_signed, to_signed
from visage.inpaint.sampling import Progress, compose, sample
from visage.inpaint.shown import Shown, shown_by
from visage.inpaint.tryout_config import Tryout

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Canvas:
    """A picture to paint into, S x S. image, bald: RGB. paint: {0, 1}, what the bald picture invents, hair: {0, 1}, the
    part of it where hair is to come."""

    image: Pixels
    bald: Pixels
    paint: Pixels
    hair: Pixels


@dataclass(frozen=True, eq=False)
class Painter:
    """network, vae: as trained, on one device. shown: what the network sees of a picture. noise: the schedule of
    training."""

    network: InpainterNetwork
    vae: Any
    shown: Shown
    noise: Any

    def paint(
        self, canvases: Sequence[Canvas], told: Told, settings: Tryout, seed: int, progress: Progress | None = None
    ) -> list[Pixels]:
        """`canvases` with hair as `told` of each says; a canvas's answer does not depend on its company.

        What is not to be painted stays bit for bit. The i-th canvas begins from noise of (seed, i).
        """
        device = next(self.network.parameters()).device
        image, bald = (
            torch.from_numpy(np.stack([to_signed(getattr(canvas, name)) for canvas in canvases])).to(device)
            for name in ("image", "bald")
        )
        paint, hair = (
            torch.from_numpy(np.stack([getattr(canvas, name)[None] for canvas in canvases])).float().to(device)
            for name in ("paint", "hair")
        )
        known = encode(self.vae, self.shown.known(image, bald, paint))
        mask = self.shown.mask(paint, hair, stride(self.vae))
        start = torch.cat([draw((1, *known.shape[1:]), seed + number) for number in range(len(canvases))]).to(device)
        latents = sample(
            self.network, self.noise, start, mask, known,
            Told(*(part.to(device) for part in told)), sampler=settings.sampler, steps=settings.steps,
            guidance=settings.guidance, progress=progress,
        )  # fmt: skip
        with torch.inference_mode():
            painted = decode(self.vae, latents).cpu().numpy()
        return [
            compose(known_pixels(canvas), from_signed(values), canvas.paint)
            for canvas, values in zip(canvases, painted, strict=True)
        ]


def known_pixels(canvas: Canvas) -> Pixels:
    """The picture itself, bald where hair may come: what the painted part is laid into."""
    return np.where(canvas.paint[..., None] != 0, canvas.bald, canvas.image)


def open_painter(network: InpainterNetwork, vae: Any, config: dict[str, Any]) -> Painter:
    """The painter of a network whose file's header is `config`."""
    return Painter(network, vae, shown_by(config), open_noise(config["prediction"], config["zero_snr"]))
