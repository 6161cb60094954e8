"""The contexts of the hair networks: classifiers cut into features at strides 4, 8, 16 and 32.

A context keeps the names that its classifier's weights have, so the pretrained encoder of the pipeline and
torchvision's own files both load without a table of names. What only a classifier needs, MobileNet's last widening to
576 channels among it, is left out.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn
from torchvision import models

from visage.errors import ConfigError, MissingWeightsError
from visage.export.weights import load_safetensors
from visage.features import encoders
from visage.io.atomic import write_bytes, write_json

STRIDES = (4, 8, 16, 32)
# Of torchvision's `features`: where each stride's last block ends, and how many channels it gives.
CUTS: dict[str, tuple[Sequence[int], Sequence[int]]] = {
    "mobilenet_v3_small": ((2, 4, 9, 12), (16, 24, 48, 96)),
    "efficientnet_b0": ((3, 4, 6, 8), (24, 40, 112, 320)),
}
RESNET = "resnet18"
RESNET_CHANNELS = (64, 128, 256, 512)


class Context(nn.Module):
    """(N, 3, H, W) normalised -> features at `STRIDES`, of `channels` channels; H and W multiples of 32."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = tuple(channels)


class EncoderContext(Context):
    """The blocks of `arch`, one of `CUTS`, which the pipeline's pretrained encoder may be."""

    def __init__(self, arch: str) -> None:
        cuts, channels = CUTS[arch]
        super().__init__(channels)
        self.ends = tuple(cuts)
        blocks = encoders.build(arch, 1).get_submodule("features")
        self.features = nn.Sequential(*list(blocks.children())[: cuts[-1]])

    def forward(self, images: Tensor) -> list[Tensor]:
        found, value = [], images
        for index, block in enumerate(self.features, start=1):
            value = block(value)
            if index in self.ends:
                found.append(value)
        return found


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
    """The context called `name`, `RESNET` or one of `CUTS`, with random weights."""
    return ResNetContext() if name == RESNET else EncoderContext(name)


def encoder_arch(folder: Path) -> str:
    """Of which architecture the encoder is that pretrain_encoder wrote into `folder`.

    Raises:
        MissingWeightsError: there is none.
        ConfigError: it is none of `CUTS`.
    """
    if not (folder / "encoder.json").is_file():
        raise MissingWeightsError(
            f"{folder / 'encoder.json'} is not there: run pretrain_encoder first (dvc repro pretrain_encoder)"
        )
    arch = str(json.loads((folder / "encoder.json").read_text(encoding="utf-8"))["arch"])
    if arch not in CUTS:
        raise ConfigError(f"pretrain.arch={arch} cannot be a context for hair: choose one of {', '.join(CUTS)}")
    return arch


def load_encoder(context: Context, folder: Path) -> None:
    """Take the blocks of the pretrained encoder in `folder` over into `context`.

    Raises:
        VisageError: the weights are missing, unreadable, or of another architecture.
    """
    _take(context, load_safetensors(folder / "encoder.safetensors")[0], str(folder / "encoder.safetensors"))


def write_encoder(context: EncoderContext, pretrained: Path, out: Path) -> None:
    """Write the encoder in folder `pretrained`, its blocks replaced by those of `context`, into folder `out`.

    What it has beyond the last stride stays as it was pretrained.
    """
    state, _ = load_safetensors(pretrained / "encoder.safetensors")
    state |= {name: value.contiguous() for name, value in context.state_dict().items()}
    write_bytes(out / "encoder.safetensors", save({name: state[name] for name in sorted(state)}))
    write_json(out / "encoder.json", json.loads((pretrained / "encoder.json").read_text(encoding="utf-8")))


def load_file(context: Context, path: Path) -> None:
    """Take a local weights file of the context's classifier (torchvision's names, .pth or .safetensors) over.

    Raises:
        VisageError: it is unreadable, or of another architecture.
    """
    _take(context, encoders.file_state(str(path), "segmenter.arch"), str(path))


def _take(context: Context, given: dict[str, Tensor], source: str) -> None:
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
