"""TinyEfficientViTSeg: pupil segmentation after EfficientViT (MSRA; Liu et al., CVPR 2023), with a decoder.

It works at half the size of an eye frame, 200 x 320: its maps of 100 x 160, 50 x 80 and 25 x 40 are those of a stem of
stride 4 on 400 x 640, the windows divide them, and training needs no larger pictures. Logits come at the size of its
input through sub-pixel convolution (Shi et al., CVPR 2016), which costs a quarter of a head at that size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.eyes.attention import WINDOW, CascadedGroupAttention
from visage.eyes.layers import ConvNorm, Residual, SqueezeExcite, Standardise, depthwise

CLASSES = 2
# The coarsest map has a pixel for so many of the input.
STRIDE = 8
# Logits that a new network begins with, either way: nearly every pixel is background.
PRIOR = 2.0


@dataclass(frozen=True)
class Design:
    """Widths and depths of the three stages, and the decoder's width.

    light: one feed-forward layer a block instead of two, and merging without side blocks, the only way to get below
    10,000 parameters. merge: how much wider a patch merging is than its input.
    """

    dims: tuple[int, int, int]
    depths: tuple[int, int, int]
    heads: tuple[int, int, int]
    decoder: int
    merge: int
    light: bool


class TinyEfficientViTSeg(nn.Module):
    """Logits of background and pupil: (B, 1, H, W) float32 -> (B, 2, H, W), H a multiple of 40 and W of 64.

    Raises:
        ValueError: in `forward`, for another size.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        first, dims = design.dims[0], design.dims
        self.detail = nn.Sequential(Standardise(), ConvNorm(1, first, 3, 2), nn.ReLU())
        self.stem = nn.Sequential(ConvNorm(first, first, 3), nn.ReLU())
        self.stages = nn.ModuleList()
        for index, (dim, depth, heads) in enumerate(zip(dims, design.depths, design.heads, strict=True)):
            shrink = [downsampling(dims[index - 1], dim, design)] if index else []
            self.stages.append(nn.Sequential(*shrink, *(block(dim, heads, design.light) for _ in range(depth))))
        self.laterals = nn.ModuleList(ConvNorm(dim, design.decoder) for dim in dims)
        self.smooths = nn.ModuleList(nn.Sequential(depthwise(design.decoder), nn.ReLU()) for _ in dims[1:])
        self.head = SubPixelHead(design.decoder + first, design.decoder)

    def forward(self, image: Tensor) -> Tensor:
        height, width = int(image.shape[2]), int(image.shape[3])
        if height % (STRIDE * WINDOW[0]) or width % (STRIDE * WINDOW[1]):
            raise ValueError(f"{height} x {width}: the windows divide multiples of 40 x 64 only")
        detail = self.detail(image)
        maps = [self.stem(detail)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        laterals = [lateral(x) for lateral, x in zip(self.laterals, maps[1:], strict=True)]
        x = laterals.pop()
        for smooth, lateral in zip(self.smooths, reversed(laterals), strict=True):
            x = smooth(functional.interpolate(x, scale_factor=2.0, mode="nearest") + lateral)
        return self.head(torch.cat((x, detail), 1))


class SubPixelHead(nn.Module):
    """Logits at twice the size: (B, channels, H, W) -> (B, 2, 2H, 2W)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(ConvNorm(channels, hidden, 3), nn.ReLU())
        self.score = nn.Conv2d(hidden, 4 * CLASSES, 1)
        with torch.no_grad():
            self.score.bias.copy_(torch.tensor([PRIOR, -PRIOR]).repeat_interleave(4))  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.score(self.mix(x)), 2)


def block(dim: int, heads: int, light: bool) -> nn.Sequential:
    """The sandwich: depthwise and feed-forward layers around one attention, each with its residual."""
    before = [] if light else [feed_forward(dim)]
    attention = Residual(CascadedGroupAttention(dim, heads))
    return nn.Sequential(local(dim), *before, attention, local(dim), feed_forward(dim))


def downsampling(dim: int, out: int, design: Design) -> nn.Sequential:
    """Between stages: (B, dim, H, W) -> (B, out, H/2, W/2), with side blocks unless the design is light."""
    inner = design.merge * dim
    merge = [ConvNorm(dim, inner), nn.ReLU(), depthwise(inner, 3, 2), nn.ReLU(), SqueezeExcite(inner)]
    if design.light:
        return nn.Sequential(*merge, ConvNorm(inner, out))
    before, after = [local(dim), feed_forward(dim)], [local(out), feed_forward(out)]
    return nn.Sequential(*before, *merge, ConvNorm(inner, out), *after)


def local(dim: int) -> Residual:
    """Token interaction: a depthwise convolution with its residual."""
    return Residual(depthwise(dim, zero=True))


def feed_forward(dim: int) -> Residual:
    """Two pointwise convolutions through twice the channels, with their residual."""
    return Residual(nn.Sequential(ConvNorm(dim, 2 * dim), nn.ReLU(), ConvNorm(2 * dim, dim, zero=True)))
