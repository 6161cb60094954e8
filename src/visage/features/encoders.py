"""The encoders by name: what builds them, how wide their features are, where their weights come from.

`dim` is the width that the last linear layer sees. For mobilenet_v3_small that is 1024, after the hidden layer of
torchvision's classifier, not the 576 pooled channels before it: both are pretrained, saved and loaded together.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision import models

from visage.errors import ConfigError, MissingWeightsError
from visage.export.weights import load_safetensors

# torchvision's MobileNetV3 averages batch statistics over a hundred steps (0.01), more than a small finetuning has: its
# validation mode is then still that of the initial weights (measured: chance accuracy after 3 epochs; 0.1 cures it).
BATCH_NORM_MOMENTUM = 0.1
WEIGHTS_FOLDER = Path("data/raw/weights")
# Where dense heads take maps: pixels of the picture for one of the map, along either side.
STRIDES = (4, 8, 16, 32)


@dataclass(frozen=True)
class Architecture:
    """`build(classes)` gives the network; `dim` is its feature width; `imagenet` torchvision's name of its weights.

    ends: how many of its `features` blocks lead to each of `STRIDES`. channels: what they give there.
    """

    build: Callable[[int], nn.Module]
    dim: int
    imagenet: str
    ends: tuple[int, ...]
    channels: tuple[int, ...]


ARCHITECTURES: dict[str, Architecture] = {}


def register(
    dim: int, imagenet: str, ends: tuple[int, ...], channels: tuple[int, ...]
) -> Callable[[Callable[[int], nn.Module]], Callable[[int], nn.Module]]:
    """Register the decorated builder under its own name."""

    def add(build: Callable[[int], nn.Module]) -> Callable[[int], nn.Module]:
        assert build.__name__ not in ARCHITECTURES, build.__name__
        ARCHITECTURES[build.__name__] = Architecture(build, dim, imagenet, ends, channels)
        return build

    return add


@register(dim=1024, imagenet="MobileNet_V3_Small_Weights.IMAGENET1K_V1", ends=(2, 4, 9, 12), channels=(16, 24, 48, 96))
def mobilenet_v3_small(classes: int) -> nn.Module:
    """MobileNetV3-Small (Howard et al. 2019), 1.5 M parameters without the last layer."""
    return models.mobilenet_v3_small(num_classes=classes)


@register(dim=1280, imagenet="EfficientNet_B0_Weights.IMAGENET1K_V1", ends=(3, 4, 6, 8), channels=(24, 40, 112, 320))
def efficientnet_b0(classes: int) -> nn.Module:
    """EfficientNet-B0 (Tan and Le 2019), 4.0 M parameters without the last layer."""
    return models.efficientnet_b0(num_classes=classes)


def get_architecture(name: str) -> Architecture:
    """The architecture called `name`.

    Raises:
        ConfigError: there is none; the message lists those there are.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(f"no architecture {name!r}: choose one of {', '.join(sorted(ARCHITECTURES))}")
    return ARCHITECTURES[name]


def build(name: str, classes: int) -> nn.Module:
    """torchvision's `name` with random weights: (N, 3, H, W) normalised -> (N, classes)."""
    model = get_architecture(name).build(classes)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = BATCH_NORM_MOMENTUM
    return model


def maps_at(blocks: Iterable[nn.Module], ends: Sequence[int], images: Tensor) -> tuple[list[Tensor], Tensor]:
    """What `blocks` give one after the other: the maps after the first `ends` of them, and the last block's."""
    found, value = [], images
    for index, block in enumerate(blocks, start=1):
        value = block(value)
        if index in ends:
            found.append(value)
    return found, value


def encoder_state(model: nn.Module) -> dict[str, Tensor]:
    """The weights of everything before the last linear layer."""
    last = last_linear(model)
    return {name: value for name, value in model.state_dict().items() if not name.startswith(f"{last}.")}


def load_encoder_state(model: nn.Module, state: dict[str, Tensor], source: str) -> None:
    """Load `state` (of any number of classes) into everything before the last linear layer, every tensor of it.

    Raises:
        ConfigError: names or shapes are not those of this architecture; `source` is named.
    """
    wanted = encoder_state(model)
    given = {name: value for name, value in state.items() if not name.startswith(f"{last_linear(model)}.")}
    wrong = [name for name in sorted(wanted.keys() | given.keys()) if _shape(wanted, name) != _shape(given, name)]
    if wrong:
        raise ConfigError(
            f"{source}: {len(wrong)} tensors are not this architecture's, the first is {wrong[0]} "
            f"(wanted {_shape(wanted, wrong[0])}, found {_shape(given, wrong[0])}): pretrain.arch and finetune.arch "
            "must both be what the weights are of"
        )
    model.load_state_dict(model.state_dict() | given)


def imagenet_state(name: str) -> dict[str, Tensor]:
    """torchvision's ImageNet1K_V1 weights of `name`, from its cache, else downloaded (the hash is in the file's name).

    Raises:
        MissingWeightsError: not in the cache and no network; the message says which file to put where.
    """
    weights = models.get_weight(get_architecture(name).imagenet)
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        target = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
        raise MissingWeightsError(
            f"{name}'s ImageNet weights cannot be downloaded ({error}): put {weights.url} at {target}, or choose the "
            "drawn encoder"
        ) from None


def file_state(path: str | None, key: str) -> dict[str, Tensor]:
    """Weights from a local .safetensors or .pth file; `key` is the parameter that names it.

    Raises:
        MissingWeightsError: no file there.
        VisageError: the file is not a checkpoint that can be loaded safely.
    """
    if not path or not Path(path).is_file():
        where = f"no file {path}" if path else f"{key} is not set"
        raise MissingWeightsError(f"weights: {where}: set {key} to a .safetensors or .pth file")
    if path.endswith(".safetensors"):
        return load_safetensors(Path(path))[0]
    from visage.training.checkpoint import load

    state = load(Path(path))
    return state.get("model", state)


def check_watched(path: str | None, key: str) -> None:
    """Refuse a weights file outside `WEIGHTS_FOLDER`: DVC watches that folder, and would miss a change elsewhere.

    Raises:
        ConfigError: `key` names such a file.
    """
    if path and WEIGHTS_FOLDER.absolute() not in Path(os.path.abspath(path)).parents:
        raise ConfigError(f"{key}={path}: put or link the file into {WEIGHTS_FOLDER}/, which the pipeline watches")


def last_linear(model: nn.Module) -> str:
    """The name of the last linear layer, the one that a number of classes decides."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Linear)][-1]


def _shape(state: dict[str, Tensor], name: str) -> list[int] | None:
    return list(state[name].shape) if name in state else None
