"""Losses on decoded pictures while the inpainter trains: of texture inside the hair, of identity outside it.

Decoding is dear, so a crop of a few pictures is decoded every so many steps; the autoencoder is frozen, and gradients
pass through it to the latents.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visage.inpaint.diffusion_config import Inpainter
from visage.inpaint.latents import decode, stride


def consistent(settings: Inpainter) -> bool:
    """Whether any loss on decoded pictures is asked for."""
    return bool((settings.consistency.by != "none" and settings.consistency.texture) or settings.consistency.identity)


class Consistent:
    """Losses on decoded crops: of texture inside the hair, of identity outside it; gradients reach the latents.

    texture: the texture encoder's file. encoder: the folder of pretrain_encoder. size: pixels a side of the whole
    pictures.
    """

    def __init__(self, settings: Inpainter, vae: Any, texture: Path, encoder: Path, size: int) -> None:
        from visage.features.pretrained import open_encoder
        from visage.inpaint.perceptual import EncoderTexture, Frozen, GramLoss, IdentityLoss
        from visage.inpaint.texture_net import load_network

        asked = settings.consistency
        self.settings, self.vae = asked, vae
        self.texture: Frozen | None = None
        if asked.by == "vgg16":
            self.texture = GramLoss(asked.file)
        elif asked.by == "encoder":
            network, config = load_network(texture)
            self.texture = EncoderTexture(network, config, size)
        self.identity = IdentityLoss(open_encoder(encoder)) if asked.identity else None

    def __call__(self, made: Tensor, clean: Tensor, mask: Tensor) -> Tensor:
        """made, clean: latents (N, 4, h, w); mask: (N, 1, h, w). The weighted sum of the losses that are on."""
        asked, pixels = self.settings, stride(self.vae)
        made, clean, mask = (tensor[: asked.samples] for tensor in (made, clean, mask))
        side = min(asked.crop // pixels, made.shape[-1])
        crops = [_crop_about(mask[index], side) for index in range(len(mask))]
        part = [torch.stack([tensor[i, :, y : y + side, x : x + side] for i, (y, x) in enumerate(crops)])
                for tensor in (made, clean, mask)]  # fmt: skip
        self.vae.to(made.device)
        result = decode(self.vae, part[0])
        with torch.no_grad():
            truth = decode(self.vae, part[1])
        shown = part[2].repeat_interleave(pixels, -1).repeat_interleave(pixels, -2)
        total = result.sum() * 0
        if self.texture is not None and asked.texture:
            total = total + asked.texture * self.texture.to(made.device)(result, truth, shown)
        if self.identity is not None:
            total = total + asked.identity * self.identity.to(made.device)(result, truth, shown)
        return total


def _crop_about(mask: Tensor, side: int) -> tuple[int, int]:
    """The corner of the square of `side` latents with the most of the mask (1, h, w)."""
    pooled = nn.functional.avg_pool2d(mask[None], side, stride=1)[0, 0]
    best = int(pooled.flatten().argmax())
    return best // pooled.shape[1], best % pooled.shape[1]
