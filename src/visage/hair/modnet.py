"""A matting head after MODNet (Ke et al., AAAI 2022): what hair is, where its edge runs, and alpha from both.

MODNet's three branches and their three losses, with alpha as two logits like every hair network's, so that export and
serving see one contract: alpha = softmax(logits)[1]. The fusion works at half the input's side, where the paper goes to
the full one: strands are no wider there, and it is a quarter of the work.
"""

import torch
from torch import Tensor, nn

from visage.features.pyramid import Answer, ConvNorm, Gate, like
from visage.hair.bisenet import SegmenterOutput
from visage.hair.context import Context

WIDTH = 48
FINE = 16


class MODNet(nn.Module):
    """(N, 3, H, W) normalised, H and W multiples of 32 -> logits (N, 2, H, W), soft; see `SegmenterOutput`."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        quarter, eighth, sixteenth, last = context.channels
        # The semantic branch, from the deepest features to a map at 1/16.
        self.whole = nn.Sequential(ConvNorm(last, WIDTH, 1), Gate(WIDTH))
        self.sixteenth = ConvNorm(sixteenth, WIDTH, 1)
        self.semantic = ConvNorm(WIDTH, WIDTH)
        self.coarse = Answer(WIDTH)
        # The detail branch, at 1/2 and 1/4 of the picture.
        self.first = ConvNorm(3, FINE, 3, 2)
        self.down = ConvNorm(FINE, 2 * FINE, 3, 2)
        self.eighth = ConvNorm(eighth + WIDTH, WIDTH, 1)
        self.detail = nn.Sequential(ConvNorm(2 * FINE + quarter + WIDTH, WIDTH, 1), ConvNorm(WIDTH, 2 * FINE))
        self.edge = Answer(2 * FINE)
        # Both together.
        self.fuse = nn.Sequential(ConvNorm(3 * FINE, FINE), Answer(FINE))

    def forward(self, images: Tensor) -> Tensor | SegmenterOutput:
        quarter, eighth, sixteenth, last = self.context(images)
        semantic = self.semantic(self.sixteenth(sixteenth) + like(self.whole(last), sixteenth))
        fine = self.first(images)
        middle = self.eighth(torch.cat((eighth, like(semantic, eighth)), 1))
        detail = self.detail(torch.cat((self.down(fine), quarter, like(middle, quarter)), 1))
        logits = like(self.fuse(torch.cat((fine, like(detail, fine)), 1)), images)
        if not self.training:
            return logits
        return SegmenterOutput(logits, (self.coarse(semantic),), self.edge(detail))
