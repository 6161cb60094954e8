"""The work of `encode_prompts`: prompts in, what the text encoders say of them out.

An item is a prompt's text, so that an edited prompt alone is new. Tokens are kept as float16: at SDXL's width a prompt
is 315 kB instead of 630, with thousands of them in a real set, and 11 bits are what a network in half precision reads
anyway. Pooled vectors are small and stay float32.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from visage.errors import DataError
from visage.inpaint.diffusion_config import Prompts
from visage.inpaint.prompt_cache import POOLED, TOKENS
from visage.io.atomic import sha256_bytes
from visage.jobs.plan import Item
from visage.jobs.work import Compute, Outcome, code_version

LENGTH = "length"
PACKAGE = Path(__file__).parents[1]
CODE = ("export/local_model.py", "inpaint/prompt_work.py", "inpaint/text_encoders.py")
LIBRARIES = ("numpy", "tokenizers", "torch", "transformers")


def prompt_item(prompt: str) -> Item:
    """A prompt as an item."""
    return Item(sha256_bytes(prompt.encode()), prompt)


@dataclass(frozen=True)
class PromptWork:
    """settings: of the stage. weights: the folder of source "file" or "hub", which every worker must see, None for
    "new"; checksums: of its files. words: what the tokenizer of "new" is built from. device: of runtime."""

    settings: Prompts
    weights: Path | None
    checksums: Mapping[str, str]
    words: Sequence[str]
    device: str
    name: str = "encode_prompts"

    def identity(self) -> Mapping[str, Any]:
        """Everything that decides an encoding beside the prompt."""
        small = {"width": self.settings.width, "layers": self.settings.layers, "words": list(self.words)}
        return {
            "encoders": small if self.weights is None else dict(self.checksums),
            "device": self.device,
            "code": code_version(*(PACKAGE / file for file in CODE)),
            "libraries": {library: importlib.metadata.version(library) for library in LIBRARIES},
        }

    def open(self) -> Compute:
        """Load the encoders; the result encodes prompts."""
        from visage.inpaint.text_encoders import load_text_encoders, new_text_encoders

        if self.weights is None:
            encoders = new_text_encoders(self.settings, self.device)
        else:
            encoders = load_text_encoders(self.weights, self.device)

        def compute(items: Sequence[Item]) -> Outcome:
            prompts = [item.source for item in items]
            tokens, pooled = encoders.encode(prompts)
            with np.errstate(over="ignore"):
                half = tokens.astype(np.float16)
            for prompt, *arrays in zip(prompts, half, pooled, strict=True):
                if not all(np.isfinite(array).all() for array in arrays):
                    raise DataError(
                        f"prompt {prompt!r}: its encoding is beyond float16 or not a number: take other weights "
                        "(prompts.path), these are damaged"
                    )
            lengths = np.array([encoders.length(prompt) for prompt in prompts])
            return Outcome({TOKENS: half, POOLED: pooled, LENGTH: lengths}, [""] * len(items))

        return compute
