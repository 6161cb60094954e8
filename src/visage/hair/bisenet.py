"""BiSeNet (Yu et al., ECCV 2018) for hair: a shallow path that keeps edges, a deep one that knows what hair is.

Three things differ from the paper, all for the processor: the spatial path ends at a quarter of the input's side, not
an eighth, with 32 channels, not 128, because an edge of hair is finer than eight pixels; the context sees the picture
at half its size, a quarter of the work and, for 256 pixels, the size that the pretrained encoder knows; and it is
refined at three scales at `WIDTH` channels. The paper's two auxiliary heads are there in training.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.hair.context import Context

WIDTH = 48
SPATIAL = (16, 32)
PRIOR = 0.15


class SegmenterOutput(NamedTuple):
    """What a hair network gives in training mode; in evaluation mode it gives `logits` alone.

    logits: (N, 2, H, W), background and hair. coarse: further logits (N, 2, H/s, W/s), each to be compared with the
    truth averaged over its cells. detail: (N, 2, H/4, W/4), to be compared near edges alone, of matting networks.
    """

    logits: Tensor
    coarse: tuple[Tensor, ...]
    detail: Tensor | None = None


class ConvNorm(nn.Sequential):
    """Convolution, batch norm, ReLU."""

    def __init__(self, ins: int, outs: int, kernel: int = 3, stride: int = 1) -> None:
        conv = nn.Conv2d(ins, outs, kernel, stride, kernel // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(outs), nn.ReLU(inplace=True))


class Gate(nn.Module):
    """Weighs channels by what the whole picture holds: x -> x * sigmoid(W mean(x)); no batch norm, which over the four
    values of a small batch is mostly noise."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Conv2d(channels, channels, 1)

    def forward(self, value: Tensor) -> Tensor:
        return value * torch.sigmoid(self.weigh(value.mean((2, 3), keepdim=True)))


class Answer(nn.Conv2d):
    """The last layer of a head: two logits, which at first say `PRIOR` of hair everywhere, about what portraits have;
    from even odds a short run loses its first epoch to learning that most of a picture is none."""

    def __init__(self, ins: int) -> None:
        super().__init__(ins, 2, 1)
        assert self.bias is not None
        odds = math.log(PRIOR / (1 - PRIOR)) / 2
        with torch.no_grad():
            self.bias.copy_(torch.tensor([-odds, odds]))


class BiSeNet(nn.Module):
    """(N, 3, H, W) normalised, H and W multiples of 32 -> logits (N, 2, H, W); see `SegmenterOutput`."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.context = context
        _, *deeper = context.channels
        self.spatial = nn.Sequential(ConvNorm(3, SPATIAL[0], 3, 2), ConvNorm(SPATIAL[0], SPATIAL[1], 3, 2))
        # At strides 16, 32 and 64 of the picture.
        self.refine = nn.ModuleList(nn.Sequential(ConvNorm(ins, WIDTH, 1), Gate(WIDTH)) for ins in deeper)
        # Of the whole picture, one value a channel: without a batch norm for the reason that `Gate` has none.
        self.whole = nn.Sequential(nn.Conv2d(deeper[-1], WIDTH, 1), nn.ReLU(inplace=True))
        self.smooth = nn.ModuleList(ConvNorm(WIDTH, WIDTH) for _ in range(2))
        self.fuse = ConvNorm(WIDTH + SPATIAL[1] + context.channels[0], WIDTH, 1)
        self.choose = Gate(WIDTH)
        self.head = nn.Sequential(ConvNorm(WIDTH, SPATIAL[1]), Answer(SPATIAL[1]))
        self.coarse = nn.ModuleList(Answer(WIDTH) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor | SegmenterOutput:
        first, second, third, last = self.context(functional.avg_pool2d(images, 2))
        deep = self.refine[2](last) + self.whole(last.mean((2, 3), keepdim=True))
        middle = self.smooth[0](self.refine[1](third) + like(deep, third))
        fine = self.smooth[1](self.refine[0](second) + like(middle, second))
        edges = self.spatial(images)
        fused = self.fuse(torch.cat((edges, like(first, edges), like(fine, edges)), 1))
        logits = like(self.head(fused + self.choose(fused)), images)
        if not self.training:
            return logits
        return SegmenterOutput(logits, (self.coarse[0](middle), self.coarse[1](fine)))


def like(value: Tensor, other: Tensor) -> Tensor:
    """`value` at the size of `other`, bilinearly."""
    return functional.interpolate(value, size=other.shape[2:], mode="bilinear")
