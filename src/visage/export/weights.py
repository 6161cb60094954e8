"""Weights as safetensors, and the version that names a model by its content.

The version covers what decides an answer (weights, preprocessing, classes, task, architecture) and not what describes
it (name, metrics, lineage): the same model measured again keeps its version.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from visage.errors import VisageError
from visage.export.card import STAMP, ModelCard
from visage.io.atomic import write_bytes

VERSION_DIGITS = 12


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """The model's state as contiguous CPU tensors that share no memory, which safetensors demands; sorted by name."""
    state = model.state_dict()
    return {name: state[name].detach().cpu().clone(memory_format=torch.contiguous_format) for name in sorted(state)}


def model_version(state: Mapping[str, Tensor], card: ModelCard) -> str:
    """The first 12 hexadecimal digits of the SHA-256 over the sorted weights and what decides how they are used."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().tobytes())
    use = [asdict(card.preprocessing), list(card.classes), card.task, card.architecture]
    digest.update(json.dumps(use, sort_keys=True).encode())
    return digest.hexdigest()[:VERSION_DIGITS]


def safetensors_bytes(state: Mapping[str, Tensor], card: ModelCard) -> bytes:
    """A safetensors file with the card under `STAMP` in its header."""
    from safetensors.torch import save

    return save(dict(state), metadata={STAMP: card.to_json()})


def write_safetensors(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write `state` alone, sorted by name: the same bytes for the same weights."""
    from safetensors.torch import save

    write_bytes(path, save({name: state[name].contiguous() for name in sorted(state)}))


def load_safetensors(path: Path | str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file on the CPU: its tensors, and its metadata (empty where it has none).

    Raises:
        VisageError: the file is missing or is not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, dict(file.metadata() or {})
    except (OSError, SafetensorError) as error:
        raise VisageError(f"{path}: not a readable safetensors file ({error})") from error
