"""The encoder as the source of spatial features: a map each at strides 8, 16 and 32, before any pooling.

The maps are what the last block of each stride gives, without the wide 1 x 1 convolution at the end, which has six
times the channels and nothing new for a decoder. Together they are a row of numbers for each patch, so that a cache is
one array whatever the architecture.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from visage.errors import ConfigError, DataError
from visage.export.card import IMAGENET_MEAN, IMAGENET_STD
from visage.features import encoders

STRIDES = (8, 16, 32)
WEIGHTS, DESCRIPTION = "encoder.safetensors", "encoder.json"
PROBE = 64  # pixels a side of the picture that the strides are found with


@dataclass(frozen=True)
class MapShape:
    """One map: its stride in pixels of the picture, and its channels."""

    stride: int
    channels: int

    def values(self, size: int) -> int:
        """How many numbers the map of a size x size picture has."""
        return self.channels * (size // self.stride) ** 2


class MapEncoder(nn.Module):
    """The blocks of `model.features` up to the last one of stride 32, behind ImageNet's normalisation; frozen."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        blocks = list(model.get_submodule("features").children())[:-1]
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
        self.blocks = nn.ModuleList(blocks)
        self.eval().requires_grad_(False)
        self.taps: dict[int, int] = {}
        shapes: dict[int, MapShape] = {}
        x = torch.zeros(1, 3, PROBE, PROBE)
        for index, block in enumerate(blocks):
            x = block(x)
            stride = PROBE // x.shape[-1]
            self.taps[stride], shapes[stride] = index, MapShape(stride, x.shape[1])
        self.shapes = [shapes[stride] for stride in STRIDES]

    def maps(self, pictures: Tensor) -> list[Tensor]:
        """uint8 (N, H, W, 3) RGB, sides multiples of 32 -> a map (N, C, H / stride, W / stride) for each stride."""
        x = (pictures.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
        wanted = {self.taps[stride] for stride in STRIDES}
        found = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in wanted:
                found.append(x)
        return found

    def forward(self, pictures: Tensor) -> Tensor:
        """uint8 (N, S, S, 3) RGB -> (N, K) float32, the maps one after another, each channels first."""
        return torch.cat([found.flatten(1) for found in self.maps(pictures)], 1)


def split_maps(flat: Tensor, shapes: Sequence[MapShape], size: int) -> list[Tensor]:
    """The maps (N, C, size / stride, size / stride) of what `MapEncoder` gives for size x size pictures."""
    parts = flat.split([shape.values(size) for shape in shapes], 1)
    return [
        part.view(-1, shape.channels, size // shape.stride, size // shape.stride)
        for part, shape in zip(parts, shapes, strict=True)
    ]


def open_encoder(folder: Path) -> MapEncoder:
    """The encoder that pretrain_encoder, or train_hair_segmenter after it, wrote into `folder`.

    Raises:
        DataError: there is none.
        ConfigError: the weights are of another architecture, or it has no maps of all strides.
    """
    if not (folder / DESCRIPTION).is_file():
        raise DataError(
            f"{folder / DESCRIPTION} is not there: run train_hair_segmenter first, with a segmenter.arch on the "
            "pretrained encoder"
        )
    arch = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))["arch"]
    model = encoders.build(arch, 1)
    path = str(folder / WEIGHTS)
    encoders.load_encoder_state(model, encoders.file_state(path, "pretrain_encoder"), path)
    try:
        return MapEncoder(model)
    except KeyError as error:
        raise ConfigError(f"{arch} has no map of stride {error}: choose another pretrain.arch") from None
