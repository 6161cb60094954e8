"""A tiny exported network that calls what is dark hair, in the form of the exported hair models, and a picture."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.export.card import ModelCard, Preprocessing

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SIDE = 64
BLOCK = 2  # pixels of the input that share an answer, so that a finer input gives a finer mask


def export_dark(out: Path, *, dynamic: bool = True, shift: float = 0.0, label: str = "hair") -> Path:
    """Export the network into `out`; `shift` moves its threshold, and with it its version."""
    import torch
    from torch import Tensor, nn
    from torch.nn import functional

    from visage.export.export import export_model

    class Dark(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = nn.Parameter(torch.tensor(0.6 + shift))

        def forward(self, x: Tensor) -> Tensor:
            dark = 8 * (-functional.avg_pool2d(x, BLOCK).mean(1, keepdim=True) - self.level)
            dark = functional.interpolate(dark, scale_factor=float(BLOCK), mode="nearest")
            return torch.cat((-dark, dark), 1)

    torch.set_num_threads(1)
    preprocessing = Preprocessing(SIDE, SIDE, MEAN, STD, resize="letterbox")
    card = ModelCard("hair", "segmentation", preprocessing, ["background", label], {}, {}, "dark")
    export_model(Dark().eval(), card, torch.randn(2, 3, SIDE, SIDE), out, dynamic_size=dynamic)
    return out


def portrait(height: int = 120, width: int = 90) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A bright picture with a face under dark hair, and the hair's mask of {0, 1}."""
    y, x = (np.mgrid[:height, :width].T / (width, height)).T - 0.5
    head, face = np.hypot(x / 0.38, y / 0.4) < 1, np.hypot(x / 0.22, (y - 0.12) / 0.26) < 1
    hair = head & ~face
    image = np.full((height, width, 3), (200, 205, 215), np.uint8)
    image[face], image[hair] = (225, 180, 155), (45, 34, 30)
    noise = np.random.default_rng(1).integers(-4, 5, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8), hair.astype(np.uint8)


def write(path: Path, image: NDArray[np.uint8]) -> Path:
    """Write RGB or grey pixels as a PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1] if image.ndim == 3 else image)
    return path


def iou(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Of two masks."""
    return float(np.count_nonzero((one > 0) & (other > 0)) / np.count_nonzero((one > 0) | (other > 0)))
