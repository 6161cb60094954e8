"""The patch head: a small decoder from the encoder's cached maps to a map of hair, and the checkpoint that holds it.

The statistics that standardise the maps are buffers, frozen and saved with the weights: a head and the encoder it was
trained on are all that an answer needs. The last layer gives 4 x 4 logits for each place of the finest map (stride 8),
so that the answer has stride 2 without a convolution at that size.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.errors import DataError
from visage.hair.patch_encoder import MapShape, split_maps
from visage.training import checkpoint

CHECKPOINT = "best_head.pt"
OUT_STRIDE = 2  # pixels of the patch for one logit


class PatchHead(nn.Module):
    """(N, K) of maps of size x size patches -> (N, size / 2, size / 2) logits of hair; `width` channels inside.

    shapes: of the maps, finest first, each of twice the stride of the one before it. mean, std: of their channels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, shapes: Sequence[MapShape], size: int, width: int, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        assert all(coarse.stride == 2 * fine.stride for fine, coarse in pairwise(shapes)), shapes
        self.shapes, self.size = list(shapes), size
        self.register_buffer("mean", mean.float().view(1, -1, 1, 1))
        self.register_buffer("std", std.float().view(1, -1, 1, 1))
        self.laterals = nn.ModuleList([nn.Conv2d(shape.channels, width, 1) for shape in shapes])
        self.smooth = nn.ModuleList([_block(width) for _ in shapes])
        self.refine = _block(width)
        fine = shapes[0].stride // OUT_STRIDE
        self.logits = nn.Conv2d(width, fine * fine, 1)
        self.shuffle = nn.PixelShuffle(fine)

    def decode(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (N, C, H / stride, W / stride), finest first, of pictures of any size -> (N, H / 2, W / 2) logits."""
        channels = [shape.channels for shape in self.shapes]
        means, stds = self.mean.split(channels, 1), self.std.split(channels, 1)
        x: Tensor | None = None
        for index in reversed(range(len(maps))):
            lateral = self.laterals[index]((maps[index] - means[index]) / stds[index])
            if x is not None:
                lateral = lateral + functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = self.smooth[index](lateral)
        return self.shuffle(self.logits(self.refine(x)))[:, 0]

    def forward(self, flat: Tensor) -> Tensor:
        """(N, K), float16 as cached or float32 -> (N, size / 2, size / 2) logits."""
        return self.decode(split_maps(flat.float(), self.shapes, self.size))


def _block(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())


def coverage(logits: Tensor) -> Tensor:
    """(N, H / 2, W / 2) logits -> (N, H, W), the share of each pixel that hair covers, in [0, 1]."""
    return torch.sigmoid(functional.interpolate(logits[:, None], scale_factor=float(OUT_STRIDE), mode="bilinear"))[:, 0]


def load_head(path: Path) -> tuple[PatchHead, dict[str, Any]]:
    """The head of a checkpoint of `train_patch_head` in evaluation mode, and the checkpoint.

    Raises:
        DataError: the file is not there, cannot be loaded, or is of something else.
    """
    if not path.is_file():
        raise DataError(f"{path} is not there: run train_patch_head first (dvc repro train_patch_head)")
    saved = checkpoint.load(path)
    try:
        shapes = [MapShape(**shape) for shape in saved["maps"]]
        weights = saved["model"]
        head = PatchHead(shapes, saved["size"], saved["width"], weights["mean"], weights["std"])
        head.load_state_dict(weights)
    except (KeyError, TypeError, RuntimeError):
        raise DataError(f"{path}: not a checkpoint of train_patch_head: train the head again") from None
    return head.eval(), saved
