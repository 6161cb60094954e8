"""The small AutoencoderKL of the embedded default, and the start that makes a minute of training enough for it.

From random weights a minute teaches it shapes and leaves the hues wrong, because GroupNorm takes a picture's absolute
colour away. So colour is given a path at the start: eight channels carry R, G, B, their negatives and the constants +3
and -3 unchanged through every block, the constants keep the norm's statistics from following the colour, and the last
layers are fitted by least squares. Training is free to leave all of it.
"""

from typing import Any

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

GROUPS = 2
CARRIED = 8  # channels: R, G, B, -R, -G, -B, +3, -3
HELD = 3.0
LOG_VARIANCE = -7.0  # of the posterior: latents are all but certain
RIDGE = 1e-3


def build_autoencoder(channels: list[int], size: int) -> AutoencoderKL:
    """A random AutoencoderKL with one residual block a level and no attention: (N, 3, S, S) in [-1, 1] -> latents
    (N, 4, S / stride, S / stride), stride 2^(levels - 1)."""
    levels = len(channels)
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(channels),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=GROUPS,
        sample_size=size,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


@torch.no_grad()
def start_linear(vae: Any, pictures: Tensor) -> None:
    """Give `vae` the colour path, its ends fitted to `pictures` (N, 3, S, S) in [-1, 1].

    Latents 0 to 2 begin as the means of R, G and B over the pixels that a latent stands for.
    """
    for half in (vae.encoder, vae.decoder):
        for name, module in half.named_modules():
            if not isinstance(module, nn.Conv2d) or name in ("conv_in", "conv_out"):
                continue
            if name.endswith("conv2"):
                _silence(module)  # the residual adds nothing to what is carried
            elif name.endswith("conv_shortcut") or "upsamplers" in name:
                _carry(module, [(1, 1)] if module.kernel_size == (3, 3) else [(0, 0)])
            elif "downsamplers" in name:
                _carry(module, [(0, 0), (0, 1), (1, 0), (1, 1)])
    for quant in (vae.quant_conv, vae.post_quant_conv):
        nn.init.zeros_(quant.bias)
        quant.weight.copy_(torch.eye(len(quant.weight))[..., None, None])
    _lift(vae.encoder.conv_in)
    _lift(vae.decoder.conv_in)
    stride = 2 ** (len(vae.config.block_out_channels) - 1)
    latents = vae.config.latent_channels
    _fit(vae.encoder, functional.avg_pool2d(pictures, stride), pictures)
    vae.encoder.conv_out.weight[latents:] = 0
    vae.encoder.conv_out.bias[latents:] = LOG_VARIANCE
    _fit(vae.decoder, pictures, vae.encode(pictures).latent_dist.mode())


def _silence(conv: nn.Conv2d) -> None:
    conv.weight[:CARRIED] = 0
    assert conv.bias is not None
    conv.bias[:CARRIED] = 0


def _carry(conv: nn.Conv2d, taps: list[tuple[int, int]]) -> None:
    """The first channels become the mean over `taps` of the same channels before."""
    _silence(conv)
    for channel in range(CARRIED):
        for row, column in taps:
            conv.weight[channel, channel, row, column] = 1 / len(taps)


def _lift(conv: nn.Conv2d) -> None:
    """Three channels become the eight that are carried."""
    _silence(conv)
    assert conv.bias is not None
    for channel in range(3):
        conv.weight[channel, channel, 1, 1] = 1
        conv.weight[3 + channel, channel, 1, 1] = -1
    conv.bias[6], conv.bias[7] = HELD, -HELD


def _fit(half: Any, targets: Tensor, inputs: Tensor) -> None:
    """Fit the first channels of conv_out's central tap to `targets`, by ridge regression on what comes to it."""
    seen: list[Tensor] = []
    hook = half.conv_out.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    half(inputs)
    hook.remove()
    features = seen[0].movedim(1, -1).flatten(0, -2).double()
    wanted = targets.movedim(1, -1).flatten(0, -2).double()
    columns = torch.cat([features, torch.ones_like(features[:, :1])], 1)
    square = columns.T @ columns / len(columns) + RIDGE * torch.eye(columns.shape[1], dtype=torch.float64)
    found = torch.linalg.solve(square, columns.T @ wanted / len(columns)).float()
    count = wanted.shape[1]
    half.conv_out.weight[:count] = 0
    half.conv_out.weight[:count, :, 1, 1] = found[:-1].T
    half.conv_out.bias[:count] = found[-1]
