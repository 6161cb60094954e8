"""Losses on decoded pictures: hair of the same texture, and the same person beside the hair.

The networks are frozen and run in float32, and gradients pass through them to the picture: what stands between the
picture and the trained network must pass them on too. Each loss takes (result, truth, mask): pictures (B, 3, H, W) RGB
of -1 to 1 and the hair, (B, 1, H, W) of 0 to 1, and gives a scalar.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.vgg import cfgs, make_layers

from visage.export.card import IMAGENET_MEAN, IMAGENET_STD
from visage.inpaint.identity import HEAD
from visage.inpaint.texture_data import GROUND, LEAST_SWING, REACH, SWING
from visage.inpaint.texture_net import TextureNetwork
from visage.inpaint.trunks import trunk_state

LAYERS = (3, 8, 15, 22)  # of VGG16's features: relu1_2, relu2_2, relu3_3, relu4_3
FILE = "inpainter.consistency.file"
LUMA = (0.299, 0.587, 0.114)  # of R, G, B, as OpenCV's grey (ITU-R BT.601)


class Frozen(nn.Module):
    """A loss by a network that judges and does not learn; it stays in evaluation mode whatever it is part of."""

    name: str

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "Frozen":
        """Evaluation mode: batch statistics of half-made pictures would be another judge each time."""
        return super().train(False)

    def forward(self, result: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
        with torch.autocast(result.device.type, enabled=False):  # sums of squared features leave half precision's range
            return self.compare(result.float(), truth.float(), mask.float())

    def compare(self, result: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
        """The loss, all in float32."""
        raise NotImplementedError


class GramLoss(Frozen):
    """The squared difference of Gram matrices of VGG16's features within the hair (Gatys et al., CVPR 2016), the mean
    over layers, samples and elements.

    Raises:
        MissingWeightsError: `file` (None: torchvision's hub) is not there.
        VisageError: it is something else.
    """

    name = "gram"

    def __init__(self, file: str | None) -> None:
        features = make_layers(cfgs["D"], batch_norm=False)
        features.load_state_dict(trunk_state("vgg", file, FILE, features.state_dict()))
        features = features[: LAYERS[-1] + 1]
        for layer in features:
            if isinstance(layer, nn.ReLU):
                layer.inplace = False
        super().__init__(features)

    def compare(self, result: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.grams(truth, mask)
        found = self.grams(result, mask)
        return torch.stack([functional.mse_loss(one, other) for one, other in zip(found, wanted, strict=True)]).mean()

    def grams(self, images: Tensor, mask: Tensor) -> list[Tensor]:
        """The Gram matrices (B, C, C) of each of `LAYERS`."""
        found, value = [], imagenet(images)
        for index, layer in enumerate(self.network.children()):
            value = layer(value)
            if index in LAYERS:
                found.append(gram(value, functional.interpolate(mask, value.shape[-2:], mode="area")))
        return found


def gram(features: Tensor, mask: Tensor) -> Tensor:
    """The mean over the mask (B, 1, h, w of 0 to 1) of the products of `features` (B, C, h, w): (B, C, C).

    Features and not the picture are masked, since a masked picture has an edge of its own; and the sum is divided by
    the masked area alone, so that neither area nor channels set the scale. 0 for an empty mask.
    """
    kept = (features * mask).flatten(2)
    area = mask.flatten(1).sum(1).clamp(min=1e-6)
    return kept @ features.flatten(2).transpose(1, 2) / area[:, None, None]


class EncoderTexture(Frozen):
    """1 - the cosine of what the project's own texture encoder sees of the hair, the mean over samples.

    network, config: of `texture_net.load_network`; config has the size and the part that it was trained with. side:
    pixels of the whole picture's side, of which what is compared may be a crop.
    """

    name = "texture_encoder"

    def __init__(self, network: TextureNetwork, config: Mapping[str, Any], side: int) -> None:
        super().__init__(network.backbone)
        self.reach = REACH * side
        self.scale = config["size"] / (config["part"] * side)

    def compare(self, result: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.embed(truth, mask)
        return cosine_distance(self.embed(result, mask), wanted)

    def embed(self, images: Tensor, mask: Tensor) -> Tensor:
        """The embeddings (B, D) of the strands at the scale that the encoder knows."""
        view = strands(images, mask, self.reach)
        size = [max(1, round(side * self.scale)) for side in view.shape[-2:]]
        view = functional.interpolate(view, size, mode="bilinear", antialias=True)
        return self.network(imagenet(view.expand(-1, 3, -1, -1) / 127.5 - 1))


def strands(images: Tensor, mask: Tensor, reach: float) -> Tensor:
    """`texture_data.even_strands` for gradients: (B, 1, H, W) grey levels of 0 to 255, not rounded.

    What lies beyond the borders counts as no hair, so that a crop does not invent neighbours. reach: pixels.
    """
    there = (mask > 0.5).float()
    grey = ((images + 1) * 127.5 * images.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    near = blur(there, reach) + 1e-3
    apart = (grey - blur(grey * there, reach) / near) * there
    # The slope of a root is infinite at 0, where hair is of one colour.
    deviation = (blur(apart.square(), reach) / near + 1e-4).sqrt() + LEAST_SWING
    even = (GROUND + SWING * apart / deviation).clamp(0, 255)
    return torch.where(there != 0, even, GROUND)


def blur(values: Tensor, sigma: float) -> Tensor:
    """(B, 1, H, W) weighted by a Gaussian of `sigma` pixels, cut where OpenCV cuts it; 0 beyond the borders."""
    radius = round(4 * sigma)
    kernel = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, device=values.device) / sigma).square())
    kernel = (kernel / kernel.sum()).to(values)
    rows = functional.conv2d(values, kernel[None, None, :, None], padding=(radius, 0))
    return functional.conv2d(rows, kernel[None, None, None], padding=(0, radius))


class IdentityLoss(Frozen):
    """1 - the cosine of the embeddings of both pictures with the same grey where the hair is, the mean over samples:
    only what is outside the hair counts.

    embedder: (B, 3, 128, 128) ImageNet-normalised -> (B, D).
    """

    name = "identity"

    def __init__(self, embedder: nn.Module) -> None:
        super().__init__(embedder)

    def compare(self, result: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = self.embed(truth, mask)
        return cosine_distance(self.embed(result, mask), wanted)

    def embed(self, images: Tensor, mask: Tensor) -> Tensor:
        """The embeddings (B, D) of the pictures without their hair."""
        painted = images * (1 - mask)  # 0 of -1 to 1 is mid-grey
        small = functional.interpolate(painted, (HEAD, HEAD), mode="bilinear", antialias=True)
        return self.network(imagenet(small))


def cosine_distance(one: Tensor, other: Tensor) -> Tensor:
    """1 - the cosine of embeddings (B, D), the mean over B; torch's own takes short ones for 0."""
    return 1 - (functional.normalize(one) * functional.normalize(other)).sum(1).mean()


def imagenet(images: Tensor) -> Tensor:
    """RGB (B, 3, H, W) of -1 to 1 as networks of ImageNet take it."""
    mean, std = (images.new_tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((images + 1) / 2 - mean) / std
