"""timm networks as encoders: any name builds, and the weights come from pretrain_encoder, timm's hub or a file.

torchvision's weights become a plain timm state instead of a second kind of encoder: both libraries list the tensors of
the two shared architectures in the order of the forward pass, and where their batch norms differ in epsilon, the
difference is added to the running variance, which gives the same outputs in eval mode.
"""

import difflib
import json
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import split_model_name_tag
from torch import Tensor, nn

from visage.errors import ConfigError, DataError, MissingWeightsError
from visage.export.weights import load_safetensors
from visage.features import encoders
from visage.features.config import Features
from visage.features.table import ENCODER, WEIGHTS

TORCHVISION_OF = {"mobilenetv3_small_100": "mobilenet_v3_small", "efficientnet_b0": "efficientnet_b0"}
BATCHES_SEEN = "num_batches_tracked"  # counts training steps; older files lack it, and eval mode does not read it


def build_encoder(name: str, global_pool: str) -> nn.Module:
    """timm's `name` with random weights: (N, 3, H, W) float32 normalised -> (N, D).

    The features are what the last linear layer would see; this is the one definition of their width D.

    Raises:
        ConfigError: timm has no such model, or the model has no such pooling.
    """
    if not timm.is_model(name):
        nearest = ", ".join(difflib.get_close_matches(name, timm.list_models(), n=3, cutoff=0.4))
        raise ConfigError(f"features.encoder={name}: timm has no such model: choose {nearest or 'one it lists'}")
    try:
        return timm.create_model(name, pretrained=False, num_classes=0, global_pool=global_pool)
    except (AssertionError, TypeError, ValueError) as error:  # timm's models check their pooling each in its own way
        raise ConfigError(
            f"features.global_pool={global_pool}: {name} has no such pooling ({_line(error)}): use the other one"
        ) from None
    except RuntimeError as error:  # an unknown tag after the dot
        raise ConfigError(f"features.encoder={name}: {_line(error)}: leave out what follows the dot") from None


def feature_width(encoder: nn.Module, size: int) -> int:
    """The D of `encoder`'s features, by running it once on a `size` x `size` picture.

    Raises:
        ConfigError: the encoder does not take pictures of this size.
    """
    try:
        with torch.inference_mode():
            return encoder.eval()(torch.zeros(1, 3, size, size)).shape[1]
    except (AssertionError, RuntimeError) as error:
        raise ConfigError(f"features.size={size}: the encoder does not take it: {_line(error)}") from None


def load_encoder(folder: Path) -> nn.Module:
    """The encoder that `folder` (of extract_features) holds, in eval mode; see `build_encoder`.

    Raises:
        DataError: the folder holds none.
        VisageError: its weights are unreadable, or not of the network that its encoder.json names.
    """
    if not (folder / ENCODER).is_file():
        raise DataError(f"{folder / ENCODER} is not there: run extract_features first (dvc repro extract_features)")
    made = json.loads((folder / ENCODER).read_text(encoding="utf-8"))
    model = build_encoder(made["encoder"], made["global_pool"])
    model.load_state_dict(_matching(load_safetensors(folder / WEIGHTS)[0], model.state_dict(), str(folder / WEIGHTS)))
    return model.eval()


def encoder_state(settings: Features, pretrained: Path) -> dict[str, Tensor]:
    """The weights that `settings` asks for, as the state of its `build_encoder`.

    pretrained: the folder of pretrain_encoder, read for features.weights=encoder.

    Raises:
        ConfigError: the weights are of another network than settings.encoder, or lie where the pipeline does not look.
        MissingWeightsError: there are none.
    """
    model = build_encoder(settings.encoder, settings.global_pool)
    if settings.weights == "encoder":
        return from_torchvision(_pretrained_state(settings, pretrained), model, settings.encoder, str(pretrained))
    if settings.weights == "imagenet":
        return _hub_state(settings)
    encoders.check_watched(settings.weights_path, "features.weights_path")
    state = encoders.file_state(settings.weights_path, "features.weights_path")
    source = f"features.weights_path={settings.weights_path}"
    if "features.0.0.weight" in state:  # how every tensor list of torchvision's two architectures begins
        return from_torchvision(state, model, settings.encoder, source)
    last: Any = model.pretrained_cfg["classifier"]  # type: ignore[index]
    layers = tuple(f"{layer}." for layer in ([last] if isinstance(last, str) else last))
    wanted = model.state_dict()
    return _matching({k: v for k, v in state.items() if k in wanted or not k.startswith(layers)}, wanted, source)


def from_torchvision(given: dict[str, Tensor], model: nn.Module, name: str, source: str) -> dict[str, Tensor]:
    """torchvision's state `given` (of any number of classes) as a state of `model`, which is timm's `name`.

    Raises:
        ConfigError: `name` is not one of `TORCHVISION_OF`, or `given` is of another architecture; `source` is named.
    """
    arch = TORCHVISION_OF.get(_base(name))
    if arch is None:
        raise ConfigError(
            f"{source}: torchvision's weights do not fit features.encoder={name}: choose one of "
            f"{', '.join(sorted(TORCHVISION_OF))}, or features.weights=imagenet"
        )
    original = encoders.build(arch, 1)
    last = f"{encoders.last_linear(original)}."
    kept = {key: value for key, value in given.items() if not key.startswith(last)}
    old, new = _matching(kept, encoders.encoder_state(original), source), model.state_dict()
    converted = {key: value.reshape(new[key].shape) for key, value in zip(new, old.values(), strict=True)}
    norms = [[(n, m) for n, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)] for net in (original, model)]
    for (_, before), (key, after) in zip(*norms, strict=True):
        converted[f"{key}.running_var"] = converted[f"{key}.running_var"] + (before.eps - after.eps)
    return converted


def _pretrained_state(settings: Features, folder: Path) -> dict[str, Tensor]:
    """pretrain_encoder's weights, torchvision's names, if they are of the network that `settings` names."""
    described, weights = folder / "encoder.json", folder / "encoder.safetensors"
    if not (described.is_file() and weights.is_file()):
        raise MissingWeightsError(f"{weights} is not there: run pretrain_encoder first (dvc repro pretrain_encoder)")
    arch = json.loads(described.read_text(encoding="utf-8"))["arch"]
    if TORCHVISION_OF.get(_base(settings.encoder)) != arch:
        pairs = "; ".join(
            f"pretrain.arch={theirs} with features.encoder={ours}" for ours, theirs in TORCHVISION_OF.items()
        )
        raise ConfigError(
            f"features.encoder={settings.encoder} does not go with pretrain.arch={arch}: use {pairs}; "
            "or features.weights=imagenet"
        )
    return load_safetensors(weights)[0]


def _hub_state(settings: Features) -> dict[str, Tensor]:
    """timm's own pretrained weights, from its cache, else downloaded."""
    try:
        model = timm.create_model(settings.encoder, pretrained=True, num_classes=0, global_pool=settings.global_pool)
    except (OSError, RuntimeError) as error:
        raise MissingWeightsError(
            f"features.weights=imagenet: timm's weights of {settings.encoder} cannot be had ({_line(error)}): set "
            f"features.weights=file and features.weights_path to a file in {encoders.WEIGHTS_FOLDER}/"
        ) from None
    return model.state_dict()


def _matching(given: dict[str, Tensor], wanted: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """`given` in the order and the dtypes of `wanted`, whose names and shapes it must have."""
    given = {key: value for key, value in wanted.items() if key.endswith(BATCHES_SEEN)} | given
    wrong = [key for key in (*wanted, *given) if _shape(wanted, key) != _shape(given, key)]
    if wrong:
        raise ConfigError(
            f"{source}: the weights are of another network, the first wrong tensor is {wrong[0]} (wanted "
            f"{_shape(wanted, wrong[0])}, found {_shape(given, wrong[0])}): set features.encoder to what they are of"
        )
    return {key: given[key].to(value.dtype) for key, value in wanted.items()}


def _base(name: str) -> str:
    """A timm name without the tag that names its weights."""
    return split_model_name_tag(name)[0]


def _shape(state: dict[str, Tensor], name: str) -> list[int] | None:
    return list(state[name].shape) if name in state else None


def _line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
