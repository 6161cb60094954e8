"""The encoder of hair texture: a ResNet whose embedding tells curl and volume, and its file.

What other stages take is the embedding; the projection and the heads are what it is trained through.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from visage.errors import DataError, MissingWeightsError
from visage.export.weights import load_safetensors
from visage.features import encoders
from visage.features.pretrained import encoder_arch, headless, open_encoder
from visage.inpaint.prompt import CURLS, VOLUMES
from visage.io.atomic import write_bytes

RESNETS = {"resnet18": models.resnet18, "resnet50": models.resnet50}
ENCODER = "encoder"
IMAGENET = {"resnet18": "ResNet18_Weights.IMAGENET1K_V1", "resnet50": "ResNet50_Weights.IMAGENET1K_V2"}
CONFIG = "config"  # the key of a file's header that says how to build the network


class Texture(NamedTuple):
    """embedding (N, D); projection (N, P) of unit length; curl (N, 4) and volume (N, 3) logits."""

    embedding: Tensor
    projection: Tensor
    curl: Tensor
    volume: Tensor


class TextureNetwork(nn.Module):
    """Hair (N, 3, S, S), ImageNet-normalised -> `Texture`; D is 512 for ResNet-18, 2048 for ResNet-50, and for one of
    `encoders.ARCHITECTURES` its width."""

    def __init__(self, arch: str, projection: int, dropout: float) -> None:
        super().__init__()
        if arch in RESNETS:
            self.backbone: nn.Module = RESNETS[arch](weights=None)
            width = self.backbone.fc.in_features
            self.backbone.fc = nn.Identity()
        else:
            self.backbone = headless(arch)
            width = encoders.get_architecture(arch).dim
        self.projection = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, projection))
        self.curl = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, len(CURLS)))
        self.volume = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, len(VOLUMES)))

    def forward(self, views: Tensor) -> Texture:
        embedding = self.backbone(views)
        projection = functional.normalize(self.projection(embedding), dim=1)
        return Texture(embedding, projection, self.curl(embedding), self.volume(embedding))


def backbone_name(arch: str, encoder: Path) -> str:
    """The name of the backbone that `arch` asks for: for "encoder" that in the folder of pretrain_encoder.

    Raises:
        MissingWeightsError: the folder holds none.
    """
    return encoder_arch(encoder) if arch == ENCODER else arch


def load_backbone(network: TextureNetwork, arch: str, weights: str, file: str | None, encoder: Path) -> None:
    """Start from the pretrained encoder's weights (arch "encoder"), from ImageNet's ("imagenet": torchvision's, "file":
    a local copy), or from random ones ("none").

    Raises:
        MissingWeightsError: they are not there.
        DataError: they are of another architecture.
    """
    if arch == ENCODER:
        network.backbone.load_state_dict(open_encoder(encoder).state_dict())
        return
    if weights == "none":
        return
    if weights == "imagenet":
        try:
            state = dict(models.get_weight(IMAGENET[arch]).get_state_dict(progress=False, check_hash=True))
        except (OSError, RuntimeError) as error:
            raise MissingWeightsError(
                f"{arch}'s ImageNet weights cannot be downloaded ({error}): set texture.weights=file and "
                "texture.weights_file to a local copy, or texture.weights=none"
            ) from None
    else:
        state = encoders.file_state(file, "texture.weights_file")
    wanted = network.backbone.state_dict()
    state = {name: value for name, value in state.items() if not name.startswith("fc.")}
    odd = sorted(wanted.keys() ^ state.keys()) or [n for n in wanted if wanted[n].shape != state[n].shape]
    if odd:
        raise DataError(f"{file or weights}: not {arch}'s weights (first odd tensor: {odd[0]}): set texture.arch")
    network.backbone.load_state_dict(state)


def write_network(path: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write a network's state with what builds it (arch, projection, dropout, size) as safetensors."""
    from safetensors.torch import save

    content = {name: state[name].detach().cpu().contiguous() for name in sorted(state)}
    write_bytes(path, save(content, metadata={CONFIG: json.dumps(config, sort_keys=True)}))


def load_network(path: Path) -> tuple[TextureNetwork, dict[str, Any]]:
    """The network of a `texture_encoder.safetensors`, in evaluation mode, and what it was built with.

    Raises:
        DataError: the file is another kind of safetensors.
        VisageError: it is none.
    """
    state, header = load_safetensors(path)
    try:
        config = json.loads(header[CONFIG])
        network = TextureNetwork(config["arch"], config["projection"], config["dropout"])
        network.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError):
        raise DataError(f"{path}: not a texture encoder: dvc repro train_texture") from None
    return network.eval(), config
