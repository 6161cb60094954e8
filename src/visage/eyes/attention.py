"""Cascaded group attention in windows (EfficientViT, Liu et al., CVPR 2023): each head refines what the last one gave.

Convolutions see the whole map, and only tokens are cut into windows: to a pointwise one it is the same, the depthwise
one looks beyond the window's border, and batch norm over many small windows takes nine times as long. The windows
divide every map; one that had to be padded would attend to zeros.
"""

import torch
from torch import Tensor, nn

from visage.eyes.layers import ConvNorm, depthwise

KEY_DIM = 4
# Rows x columns: divides the maps of 100 x 160, 50 x 80 and 25 x 40 that a picture of 200 x 320 has.
WINDOW = (5, 8)


class CascadedGroupAttention(nn.Module):
    """Attention among the tokens of each window: (B, dim, H, W) -> the same shape; H, W multiples of `window`.

    The channels are split into `heads` chunks; head i sees chunk i plus the output of head i - 1, so its values are as
    wide as a chunk. Queries meet their neighbours in a depthwise convolution first (token interaction), and each head
    learns a bias for every distance (|dy|, |dx|) between two tokens.
    """

    offsets: Tensor

    def __init__(self, dim: int, heads: int, window: tuple[int, int] = WINDOW, kernel: int = 3) -> None:
        super().__init__()
        self.width, self.window = dim // heads, window
        assert self.width * heads == dim, (dim, heads)
        self.project_in = nn.ModuleList(ConvNorm(self.width, 2 * KEY_DIM + self.width) for _ in range(heads))
        self.interact = nn.ModuleList(depthwise(KEY_DIM, kernel) for _ in range(heads))
        self.bias = nn.Parameter(torch.zeros(heads, window[0] * window[1]))
        self.project_out = nn.Sequential(nn.ReLU(), ConvNorm(dim, dim, zero=True))
        self.register_buffer("offsets", distances(window), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for head, chunk in enumerate(x.split(self.width, 1)):
            seen = chunk + outputs[-1] if outputs else chunk
            outputs.append(self.attend(head, seen))
        return self.project_out(torch.cat(outputs, 1))

    def attend(self, head: int, x: Tensor) -> Tensor:
        """What `head` makes of its input: (B, dim / heads, H, W) -> the same shape."""
        query, key, value = self.project_in[head](x).split((KEY_DIM, KEY_DIM, self.width), 1)
        query, key, value = (cut(part, self.window) for part in (self.interact[head](query), key, value))
        bias = self.bias[head][self.offsets]
        score = torch.baddbmm(bias, query, key.transpose(1, 2), alpha=KEY_DIM**-0.5)
        return join(score.softmax(-1) @ value, self.window, (int(x.shape[2]), int(x.shape[3])))


def cut(x: Tensor, window: tuple[int, int]) -> Tensor:
    """A map as the tokens of its windows: (B, C, H, W) -> (B x H/h x W/w, h x w, C)."""
    # Plain numbers: traced ones would put the arithmetic of sizes into the exported graph.
    (h, w), (channels, height, width) = window, (int(size) for size in x.shape[1:])
    grid = x.permute(0, 2, 3, 1).reshape(-1, height // h, h, width // w, w, channels)
    return grid.transpose(2, 3).reshape(-1, h * w, channels)


def join(tokens: Tensor, window: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """The inverse of `cut` for a map of `size` (H, W)."""
    (h, w), (height, width), channels = window, size, int(tokens.shape[2])
    grid = tokens.reshape(-1, height // h, width // w, h, w, channels)
    return grid.transpose(2, 3).reshape(-1, height, width, channels).permute(0, 3, 1, 2)


def distances(window: tuple[int, int]) -> Tensor:
    """For every two tokens of a window of h x w the number |dy| x w + |dx| of their distance: (hw, hw) int64."""
    rows, columns = (axis.flatten() for axis in torch.meshgrid(*map(torch.arange, window), indexing="ij"))
    return (rows[:, None] - rows).abs() * window[1] + (columns[:, None] - columns).abs()
