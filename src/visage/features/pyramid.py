"""A pyramid on an encoder's maps for finding hair: pretrained with the encoder, and the deep part of BiSeNet after it.

Top down, each map is added to what the deeper ones say (a feature pyramid, Lin et al., CVPR 2017), with the attention
of BiSeNet's context path (Yu et al., ECCV 2018) on each.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH = 48
# The file of pretrain_encoder that holds one.
PYRAMID = "pyramid.safetensors"
# The share of hair that an untrained head answers everywhere.
PRIOR = 0.15


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


class Pyramid(nn.Module):
    """Maps at strides 4, 8, 16 and 32, of `channels` channels -> (sum at stride 4, `WIDTH` channels, not normalised;
    logits (N, 2, h, w) at strides 16 and 8)."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        first, *deeper = channels
        self.refine = nn.ModuleList(nn.Sequential(ConvNorm(ins, WIDTH, 1), Gate(WIDTH)) for ins in deeper)
        # Of the whole picture, one value a channel: without a batch norm for the reason that `Gate` has none.
        self.whole = nn.Sequential(nn.Conv2d(deeper[-1], WIDTH, 1), nn.ReLU(inplace=True))
        self.smooth = nn.ModuleList(ConvNorm(WIDTH, WIDTH) for _ in range(2))
        self.first, self.deep = nn.Conv2d(first, WIDTH, 1), nn.Conv2d(WIDTH, WIDTH, 1, bias=False)
        self.coarse = nn.ModuleList(Answer(WIDTH) for _ in range(2))

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        first, second, third, last = maps
        deep = self.refine[2](last) + self.whole(last.mean((2, 3), keepdim=True))
        middle = self.smooth[0](self.refine[1](third) + like(deep, third))
        fine = self.smooth[1](self.refine[0](second) + like(middle, second))
        # A 1 x 1 convolution before the enlargement, with which it commutes: a quarter of the work.
        return self.first(first) + like(self.deep(fine), first), (self.coarse[0](middle), self.coarse[1](fine))


def like(value: Tensor, other: Tensor) -> Tensor:
    """`value` at the size of `other`, bilinearly."""
    return functional.interpolate(value, size=other.shape[2:], mode="bilinear")


def hair_score(logits: Tensor) -> Tensor:
    """Logits (N, 2, H, W) of background and hair -> (N, H, W) float32, positive where hair is more likely."""
    return logits[:, 1].float() - logits[:, 0].float()
