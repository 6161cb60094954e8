"""Hair in a picture of any size: its patches through encoder and head, their answers blended row by row.

Float maps exist for one batch of patches and one strip of the picture at a time; what is whole is one byte a pixel, the
coverage.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from visage.errors import DataError
from visage.hair.config import Patches
from visage.hair.patch_encoder import WEIGHTS, MapEncoder, open_encoder
from visage.hair.patch_extraction import mean_grey
from visage.hair.patch_head import PatchHead, coverage, load_head
from visage.io.atomic import sha256_file
from visage.vision.patches import RowStitcher, cut, grid

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class PatchSegmenter:
    """Encoder and head, for patches of `size` pixels that overlap by `overlap`, `batch` of them at once."""

    encoder: MapEncoder
    head: PatchHead
    size: int
    overlap: int
    batch: int
    device: torch.device

    def rows(self, image: Pixels) -> Iterator[NDArray[np.float32]]:
        """Coverage of H x W x 3 uint8 RGB in [0, 1], in portions h x W from the top, as they are finished."""
        height, width = image.shape[:2]
        stitcher = RowStitcher(height, width, self.size, self.overlap)
        boxes = iter(grid(height, width, self.size, self.overlap))
        grey = mean_grey()
        while not stitcher.done:
            patches = [cut(image, box, self.size, grey) for box in islice(boxes, self.batch)]
            for answer in self.answers(np.stack(patches)):
                finished = stitcher.add(answer)
                if finished is not None:
                    yield finished

    @torch.inference_mode()
    def answers(self, patches: Pixels) -> NDArray[np.float32]:
        """Coverage of N x S x S x 3 uint8 RGB: N x S x S float32 in [0, 1]."""
        logits = self.head(self.encoder(torch.from_numpy(patches).to(self.device)))
        return coverage(logits).cpu().numpy()

    def coverage(self, image: Pixels) -> Pixels:
        """The share of each pixel of H x W x 3 uint8 RGB that hair covers, 255 for all: H x W uint8."""
        whole, top = np.empty(image.shape[:2], np.uint8), 0
        for rows in self.rows(image):
            whole[top : top + len(rows)] = np.rint(rows * 255)
            top += len(rows)
        return whole


def open_segmenter(settings: Patches, pretrained: Path, head: Path, device: torch.device) -> PatchSegmenter:
    """The head of checkpoint `head` and the encoder in folder `pretrained`.

    Raises:
        DataError: one of them is missing, or the head was trained on another encoder or patches of another size.
    """
    network, saved = load_head(head)
    encoder = open_encoder(pretrained)
    if saved["weights_sha256"] != sha256_file(pretrained / WEIGHTS):
        raise DataError(f"{head} was trained on another encoder than {pretrained}: run train_patch_head again")
    if saved["size"] != settings.size:
        raise DataError(
            f"{head} was trained on patches of {saved['size']} px, patches.size is {settings.size}: train again"
        )
    for module in (encoder, network):
        module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return PatchSegmenter(encoder, network, settings.size, settings.overlap, settings.batch_size, device)
