"""What the network is shown of a picture beside the noise: the mask, and what is known of the picture.

Training and sampling both ask here, and the answer's name is in the file of the weights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

RING = 0.5  # the mask where something is painted that is not to become hair


@dataclass(frozen=True)
class Shown:
    """convention: "bald", the picture with its bald filling, or "masked", with grey there as SDXL-inpainting has it.
    outline: whether the mask tells hair (1) from what only the bald picture's filling takes (`RING`), without which the
    network has to guess where in the ring about the hair its outline is; SDXL-inpainting knows only 0 and 1."""

    convention: str
    outline: bool

    def known(self, image: Tensor, bald: Tensor, paint: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) in [-1, 1] of which `paint` (N, 1, H, W) is to be painted, as far as they are known."""
        kept = image * (1 - paint)
        return kept + bald * paint if self.convention == "bald" else kept

    def mask(self, paint: Tensor, hair: Tensor, pixels: int) -> Tensor:
        """(N, 1, H, W) of {0, 1} -> (N, 1, H / pixels, W / pixels): above 0 wherever any pixel that a latent stands for
        is painted, because a latent that is kept keeps all of its pixels."""
        covered = functional.max_pool2d(paint, pixels)
        if not self.outline:
            return covered
        return RING * covered + (1 - RING) * functional.avg_pool2d(hair * paint, pixels)


def shown_by(config: Mapping[str, Any]) -> Shown:
    """As the header of a file of weights, or the settings of training, have it."""
    return Shown(config["convention"], config["outline"])
