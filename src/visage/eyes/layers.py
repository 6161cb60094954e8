"""The small layers that the eye networks share.

Every convolution is followed by batch norm and has no bias of its own; the last norm of a residual branch begins at
zero, so that a block begins as the identity.
"""

import torch
from torch import Tensor, nn


class Standardise(nn.InstanceNorm2d):
    """Every picture to mean 0 and variance 1, (B, 1, H, W) -> the same: cameras differ in gain more than in anything
    else, and a dim frame's pupil is 20 greys below its iris, a bright one's 100."""

    def __init__(self) -> None:
        super().__init__(1, eps=1e-4)


class ConvNorm(nn.Sequential):
    """A convolution that keeps the size but for its stride, and its norm: (B, C, H, W) -> (B, out, H/s, W/s).

    zero: begin as the zero function (for the end of a residual branch).
    """

    def __init__(
        self, channels: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1, zero: bool = False
    ) -> None:
        norm = nn.BatchNorm2d(out)
        if zero:
            nn.init.zeros_(norm.weight)
        super().__init__(nn.Conv2d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False), norm)


class Residual(nn.Module):
    """x + branch(x)."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class SqueezeExcite(nn.Module):
    """Channels weighted by what the whole picture holds (Hu et al., CVPR 2018), through `share` of the channels."""

    def __init__(self, channels: int, share: float = 0.25) -> None:
        super().__init__()
        inner = max(1, round(channels * share))
        self.reduce, self.expand = nn.Conv2d(channels, inner, 1), nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.expand(torch.relu(self.reduce(x.mean((2, 3), keepdim=True)))))


def depthwise(channels: int, kernel: int = 3, stride: int = 1, zero: bool = False) -> ConvNorm:
    """A convolution of every channel by itself, and its norm."""
    return ConvNorm(channels, channels, kernel, stride, groups=channels, zero=zero)


def separable(channels: int, out: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A depthwise 3x3 and a pointwise convolution, each with norm and ReLU (MobileNet, Howard et al. 2017)."""
    spatial = depthwise(channels, 3, stride)
    if dilation > 1:
        spatial[0] = nn.Conv2d(channels, channels, 3, stride, dilation, dilation, groups=channels, bias=False)
    return nn.Sequential(spatial, nn.ReLU(), ConvNorm(channels, out), nn.ReLU())
