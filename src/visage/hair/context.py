"""The contexts of the hair networks: classifiers cut into features at strides 4, 8, 16 and 32.

A context keeps the names that its classifier's weights have, so the pretrained encoder of the pipeline and
torchvision's own files both load without a table of names. What only a classifier needs, MobileNet's last widening to
576 channels among it, is left out.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

from visage.errors import ConfigError
from visage.export.weights import load_safetensors, write_safetensors
from visage.features import encoders
from visage.features.pretrained import encoder_arch
from visage.features.pyramid import PYRAMID, Pyramid
from visage.io.atomic import write_json

RESNET = "resnet18"
RESNET_CHANNELS = (64, 128, 256, 512)


class Context(nn.Module):
    """(N, 3, H, W) normalised -> features at `encoders.STRIDES`, of `channels` channels; H and W multiples of 32."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)


class EncoderContext(Context):
    """The blocks of `arch`, an architecture that the pipeline's pretrained encoder may have."""

    def __init__(self, arch: str) -> None:
        architecture = encoders.get_architecture(arch)
        super().__init__(architecture.channels)
        self.ends = architecture.ends
        blocks = encoders.build(arch, 1).get_submodule("features")
        self.features = nn.Sequential(*list(blocks.children())[: self.ends[-1]])

    def forward(self, images: Tensor) -> list[Tensor]:
        return encoders.maps_at(self.features, self.ends, images)[0]


class ResNetContext(Context):
    """ResNet-18 (He et al., CVPR 2016), the context of the published BiSeNet; 11.2 M parameters."""

    def __init__(self) -> None:
        super().__init__(RESNET_CHANNELS)
        whole = models.resnet18(weights=None)
        self.conv1, self.bn1, self.relu, self.maxpool = whole.conv1, whole.bn1, whole.relu, whole.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4

    def forward(self, images: Tensor) -> list[Tensor]:
        value = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        found = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            value = layer(value)
            found.append(value)
        return found


def build_context(name: str) -> Context:
    """The context called `name`, `RESNET` or an encoder's architecture, with random weights."""
    return ResNetContext() if name == RESNET else EncoderContext(name)


def context_arch(folder: Path) -> str:
    """Of which architecture the encoder is that pretrain_encoder wrote into `folder`, where it can be a context.

    Raises:
        MissingWeightsError: there is none.
        ConfigError: it is none of `encoders.ARCHITECTURES`.
    """
    arch = encoder_arch(folder)
    if arch not in encoders.ARCHITECTURES:
        known = ", ".join(sorted(encoders.ARCHITECTURES))
        raise ConfigError(f"pretrain.arch={arch} cannot be a context for hair: choose one of {known}")
    return arch


def load_encoder(context: Context, folder: Path) -> None:
    """Take the blocks of the pretrained encoder in `folder` over into `context`.

    Raises:
        VisageError: the weights are missing, unreadable, or of another architecture.
    """
    _take(context, load_safetensors(folder / "encoder.safetensors")[0], str(folder / "encoder.safetensors"))


def load_pyramid(pyramid: Pyramid, folder: Path) -> None:
    """Take the weights of the pyramid over that was trained with the encoder in `folder`, if one was.

    Raises:
        VisageError: they are unreadable, or of another architecture.
    """
    if (folder / PYRAMID).is_file():
        _take(pyramid, load_safetensors(folder / PYRAMID)[0], str(folder / PYRAMID))


def write_encoder(context: EncoderContext, pretrained: Path, out: Path) -> None:
    """Write the encoder in folder `pretrained`, its blocks replaced by those of `context`, into folder `out`.

    What it has beyond the last stride stays as it was pretrained.
    """
    state, _ = load_safetensors(pretrained / "encoder.safetensors")
    write_safetensors(out / "encoder.safetensors", {**state, **context.state_dict()})
    write_json(out / "encoder.json", json.loads((pretrained / "encoder.json").read_text(encoding="utf-8")))


def load_file(context: Context, path: Path) -> None:
    """Take a local weights file of the context's classifier (torchvision's names, .pth or .safetensors) over.

    Raises:
        VisageError: it is unreadable, or of another architecture.
    """
    _take(context, encoders.file_state(str(path), "segmenter.arch"), str(path))


def _take(context: nn.Module, given: dict[str, Tensor], source: str) -> None:
    """Load from `given` every tensor that `context` has; what comes after its last stride is passed over."""
    wanted = context.state_dict()
    # Counts training steps; older files lack it.
    given = {name: value for name, value in wanted.items() if name.endswith("num_batches_tracked")} | given
    wrong = [name for name, value in wanted.items() if name not in given or given[name].shape != value.shape]
    if wrong:
        raise ConfigError(
            f"{source}: {len(wrong)} tensors are not this context's, the first is {wrong[0]}: give weights of the "
            "architecture that segmenter.arch names"
        )
    with torch.no_grad():
        context.load_state_dict({name: given[name] for name in wanted})
