"""The cache of encoded prompts, for whoever reads it: training and sampling, without the encoders.

The list of prompts is in the header of the file with their encodings, so that the two cannot disagree.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from visage.errors import DataError, VisageError

if TYPE_CHECKING:
    from torch import Tensor

    from visage.inpaint.text_encoders import TextEncoders

CACHE, RECORD = "prompts.safetensors", "encoders.json"
PROMPTS = "prompts"  # the key of the cache's header; a second one would be written in any order
TOKENS, POOLED = "tokens", "pooled"
EMPTY = ""  # what guidance leaves the network with, and a sample that lost its prompt
AGAIN = "run encode_prompts again (dvc repro encode_prompts)"


@dataclass(frozen=True)
class PromptCache:
    """Encoded prompts. rows: of each in tokens (N, 77, D) float16 and pooled (N, P) float32, which the file is mapped
    into: only what is read takes memory."""

    path: Path
    rows: Mapping[str, int]
    tokens: "Tensor"
    pooled: "Tensor"

    def get(self, prompt: str) -> tuple["Tensor", "Tensor"]:
        """tokens (77, D) and pooled (P,) of `prompt`, float32 on the CPU; "" is always there.

        Raises:
            DataError: it was never encoded.
        """
        row = self.rows.get(prompt)
        if row is None:
            raise DataError(f"{self.path}: prompt {prompt!r} is not encoded: {AGAIN}")
        return self.tokens[row].float(), self.pooled[row].clone()


def read_prompts(folder: Path) -> PromptCache:
    """The cache that encode_prompts wrote into `folder`; loads no text encoder.

    Raises:
        DataError: it is not there, or is another kind of file.
    """
    from visage.export.weights import load_safetensors

    path = folder / CACHE
    if not path.is_file():
        raise DataError(f"{path} is not there: {AGAIN}")
    try:
        state, header = load_safetensors(path)
        prompts = json.loads(header[PROMPTS])
        tokens, pooled = state[TOKENS], state[POOLED]
    except (VisageError, KeyError, ValueError):
        raise DataError(f"{path}: not encoded prompts, or damaged: {AGAIN}") from None
    return PromptCache(path, {prompt: row for row, prompt in enumerate(prompts)}, tokens, pooled)


def open_encoders(folder: Path, device: str = "cpu") -> "TextEncoders":
    """The text encoders that made the cache in `folder`, for a prompt that is not in it.

    Raises:
        DataError: there is no record of them, or the weights are others by now.
        MissingWeightsError: they are gone.
    """
    from visage.inpaint.text_encoders import checksums, find_weights, load_text_encoders

    path = folder / RECORD
    if not path.is_file():
        raise DataError(f"{path} is not there: {AGAIN}")
    record = json.loads(path.read_text(encoding="utf-8"))
    weights = find_weights(record["source"], record["path"]) or folder / record["path"]
    found = checksums(weights)
    odd = sorted(
        name for name in found.keys() | record["sha256"].keys() if found.get(name) != record["sha256"].get(name)
    )
    if odd:
        raise DataError(f"{weights / odd[0]}: not the file that {path} tells of: {AGAIN}")
    return load_text_encoders(weights, device)
