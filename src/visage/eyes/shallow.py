"""ShallowNet: a small dense U-Net with depthwise convolutions, the kind behind the best published pupil scores.

It has no size to respect but a multiple of 8; it costs about ten times the arithmetic of the tiny network, so it is
there to compare with and not part of the default pipeline.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from visage.eyes.layers import Standardise, separable

CHANNELS = 32
LEVELS = 4


class ShallowNet(nn.Module):
    """Logits of background and pupil: (B, 1, H, W) float32 -> (B, 2, H, W), H and W multiples of 8."""

    def __init__(self, channels: int = CHANNELS) -> None:
        super().__init__()
        self.standardise = Standardise()
        self.down = nn.ModuleList(DenseBlock(channels if level else 1, channels) for level in range(LEVELS))
        self.up = nn.ModuleList(DenseBlock(2 * channels, channels) for _ in range(LEVELS - 1))
        self.score = nn.Conv2d(channels, 2, 1)

    def forward(self, image: Tensor) -> Tensor:
        image, maps = self.standardise(image), list[Tensor]()
        for level, dense in enumerate(self.down):
            maps.append(dense(functional.avg_pool2d(maps[-1], 2) if level else image))
        x = maps.pop()
        for dense in self.up:
            larger = functional.interpolate(x, scale_factor=2.0, mode="nearest")
            x = dense(torch.cat((larger, maps.pop()), 1))
        return self.score(x)


class DenseBlock(nn.Module):
    """Separable convolutions that each see all before them (DenseNet, Huang et al., CVPR 2017): what the last gives."""

    def __init__(self, channels: int, out: int, layers: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(separable(channels + index * out, out) for index in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            new = layer(x)
            x = torch.cat((x, new), 1)
        return new
