"""The folder that export_inpainter wrote, opened to paint: network, autoencoder, style, and what is only asked for now
and then (text encoders, the embedder of identity) when it is.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from visage.errors import ConfigError, DataError, VisageError
from visage.export.weights import load_safetensors
from visage.inpaint.conditions import IDENTITY, Told
from visage.inpaint.export_inpainter import (
    AUTOENCODER,
    CARD,
    CONFIG,
    ENCODER,
    PROJECTORS,
    PROMPTS,
    TEXTURE,
    VERDICT,
    WEIGHTS,
)
from visage.inpaint.identity import Embedder, open_embedder
from visage.inpaint.inpainter_net import InpainterNetwork, build_inpainter
from visage.inpaint.latents import open_autoencoder
from visage.inpaint.painter import Painter, open_painter
from visage.inpaint.prompt_cache import open_encoders
from visage.inpaint.style import KIND, StyleEncoder, open_style
from visage.inpaint.text_encoders import TOKENS, TextEncoders
from visage.inpaint.tryout_config import Tryout

AGAIN = "dvc repro export_inpainter"


@dataclass(frozen=True, eq=False)
class Exported:
    """config: of the folder. painter, style: opened. device: where the painter is."""

    folder: Path
    config: dict[str, Any]
    model_version: str
    painter: Painter
    style: StyleEncoder
    device: str

    @cached_property
    def encoders(self) -> TextEncoders:
        """Of prompts.

        Raises:
            VisageError: they are not there, or others by now.
        """
        return open_encoders(self.folder / PROMPTS, self.device)

    def embedder(self, file: Path) -> Embedder | None:
        """Of identity, the one that the network was trained with; None where it was trained without. file: its weights,
        where they are not in the folder.

        Raises:
            VisageError: the weights are not there or something else, or a package is missing.
        """
        return open_embedder(self.config["identity_by"], file, self.folder / ENCODER)

    @property
    def growth(self) -> float:
        """Of the hair's mask before hair is removed, as a share of the side."""
        return float(self.config["growth"])

    def settings(self, sampler: str | None, steps: int | None, guidance: float | None) -> Tryout:
        """How to sample: as it was evaluated, but for what is given.

        Raises:
            ConfigError: what no run could honour.
        """
        usual = self.config["sampler"]
        chosen = Tryout(
            usual["name"] if sampler is None else sampler, usual["steps"] if steps is None else steps,
            usual["guidance"] if guidance is None else guidance, 1, 1, "vgg",
        )  # fmt: skip
        chosen.check()
        return chosen

    def told(self, style: NDArray[np.float32], prompt: str | None, identity: NDArray[np.float32] | None) -> Told:
        """What the network is told of one picture; None is what there is none of."""
        cross, pooled_width = self._widths()
        tokens, pooled = np.zeros((1, TOKENS, cross), np.float32), np.zeros((1, pooled_width), np.float32)
        if prompt is not None:
            tokens, pooled = self.encoders.encode([prompt])
        vector = np.zeros(IDENTITY, np.float32) if identity is None else identity
        there = [[float(prompt is not None), float(style.any()), float(identity is not None)]]
        return Told(
            torch.from_numpy(tokens), torch.from_numpy(pooled), torch.from_numpy(style[None]),
            torch.from_numpy(vector[None]), torch.tensor(there),
        )  # fmt: skip

    def _widths(self) -> tuple[int, int]:
        unet = self.painter.network.unet.config
        return unet.cross_attention_dim, unet.projection_class_embeddings_input_dim - 6 * unet.addition_time_embed_dim


def open_exported(folder: Path, device: str = "cpu") -> Exported:
    """What export_inpainter wrote into `folder`.

    Raises:
        VisageError: it was not exported, did not pass the gate, or is damaged.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device=cuda, but torch sees no GPU here: use cpu")
    verdict = _json(folder / VERDICT)
    if not verdict.get("passed"):
        why = "; ".join(verdict.get("reasons", []))
        raise DataError(f"{folder}: did not pass the gate ({why}): train it better, or ask less of it, and {AGAIN}")
    config, card = _json(folder / CONFIG), _json(folder / CARD)
    if config.get("style_kind") != KIND:
        raise DataError(f"{folder}: trained on styles of another kind than this code makes: {AGAIN}")
    network = _network(folder, config)
    vae = open_autoencoder(folder / AUTOENCODER)
    painter = open_painter(network.to(device), vae.to(device), config)
    return Exported(folder, config, str(card["model_version"]), painter, open_style(folder / TEXTURE), device)


def _network(folder: Path, config: dict[str, Any]) -> InpainterNetwork:
    parts = {name: load_safetensors(folder / name)[0] for name in (WEIGHTS, PROJECTORS)}
    try:
        with torch.device("meta"):  # SDXL's random weights would take half a minute, to be thrown away
            network = build_inpainter(config)
        network.to_empty(device="cpu")
        network.unet.load_state_dict(parts[WEIGHTS])
        network.conditioner.load_state_dict(parts[PROJECTORS])
    except (KeyError, RuntimeError, TypeError, ValueError):
        raise DataError(f"{folder}: {WEIGHTS} or {PROJECTORS} is not of the network in {CONFIG}: {AGAIN}") from None
    return network.eval().requires_grad_(False)


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path} is not there: {AGAIN}")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise VisageError(f"{path}: damaged: {AGAIN}")
    return found
