"""The encoder that pretrain_encoder wrote, for whoever takes its features and not its classes."""

import json
from pathlib import Path

from torch import nn

from visage.errors import MissingWeightsError
from visage.features import encoders
from visage.features.table import ENCODER, WEIGHTS


def encoder_arch(folder: Path) -> str:
    """Of which architecture the encoder in `folder` is.

    Raises:
        MissingWeightsError: there is none.
    """
    described = folder / ENCODER
    if not described.is_file():
        raise MissingWeightsError(f"{described} is not there: run pretrain_encoder first (dvc repro pretrain_encoder)")
    return str(json.loads(described.read_text(encoding="utf-8"))["arch"])


def headless(arch: str) -> nn.Module:
    """`arch` of `encoders.ARCHITECTURES` with random weights and without its last layer: (N, 3, H, W) normalised ->
    (N, its dim)."""
    return _without_last(encoders.build(arch, 1))


def open_encoder(folder: Path) -> nn.Module:
    """The encoder in `folder` as `headless`, in evaluation mode.

    Raises:
        VisageError: there is none, or its weights are unreadable or of another architecture.
    """
    network = encoders.build(encoder_arch(folder), 1)
    weights = str(folder / WEIGHTS)
    encoders.load_encoder_state(network, encoders.file_state(weights, "pretrain_encoder"), weights)
    return _without_last(network).eval()


def _without_last(network: nn.Module) -> nn.Module:
    network.set_submodule(encoders.last_linear(network), nn.Identity())
    return network
