"""The inpainter: the UNet with its conditioner, and its file, whose header says how to build and to use it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from visage.errors import DataError
from visage.export.weights import load_safetensors
from visage.inpaint.conditions import Conditioner, Told, time_ids
from visage.inpaint.unet import CHANNELS
from visage.io.atomic import write_bytes

CONFIG = "config"  # the key of a file's header
MADE = "_"  # how names begin that diffusers adds to a configuration


class InpainterNetwork(nn.Module):
    """unet: of nine input channels. style: numbers of a style. size: pixels a side, for the time ids."""

    def __init__(self, unet: Any, style: int, size: int) -> None:
        super().__init__()
        self.unet, self.size = unet, size
        config = unet.config
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        self.conditioner = Conditioner(config.cross_attention_dim, pooled, style)

    def forward(self, noisy: Tensor, times: Tensor, mask: Tensor, known: Tensor, told: Told) -> Tensor:
        """(N, 4, h, w) noisy latents at `times` (N), the mask (N, 1, h, w), 1 where to paint, and latents of what is
        known (N, 4, h, w) -> the answer (N, 4, h, w)."""
        tokens, pooled = self.conditioner(told)
        added = {"text_embeds": pooled, "time_ids": time_ids(len(noisy), self.size, noisy.device)}
        return self.unet(torch.cat([noisy, mask, known], 1), times, tokens, added_cond_kwargs=added).sample


def network_config(network: InpainterNetwork, more: Mapping[str, Any]) -> dict[str, Any]:
    """What `load_inpainter` needs to build `network`, and `more` that a user needs to know."""
    config = {name: value for name, value in network.unet.config.items() if not name.startswith(MADE)}
    return {
        **more,
        "unet": json.loads(json.dumps(config)),
        "style": int(network.conditioner.style_pooled.in_features),
        "size": network.size,
    }


def write_inpainter(path: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write the weights under their own names, and `config` into the header."""
    from safetensors.torch import save

    tensors = {name: state[name].contiguous() for name in sorted(state)}
    write_bytes(path, save(tensors, metadata={CONFIG: json.dumps(dict(config), sort_keys=True)}))


def read_inpainter(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights and the configuration of a file that `write_inpainter` wrote.

    Raises:
        VisageError: there is none, or it is something else.
    """
    state, header = load_safetensors(path)
    try:
        config = json.loads(header[CONFIG])
        if state["unet.conv_in.weight"].shape[1] != CHANNELS:
            raise ValueError
    except (KeyError, ValueError):
        raise DataError(f"{path}: not an inpainter: dvc repro train_inpainter") from None
    return state, config


def build_inpainter(config: Mapping[str, Any]) -> InpainterNetwork:
    """The network of `config` with random weights."""
    from diffusers import UNet2DConditionModel

    return InpainterNetwork(UNet2DConditionModel(**config["unet"]), config["style"], config["size"])


def load_inpainter(path: Path) -> tuple[InpainterNetwork, dict[str, Any]]:
    """The network in a file of whole weights, in evaluation mode, and the file's configuration.

    Raises:
        VisageError: there is none, it is something else, or it holds adapters alone.
    """
    state, config = read_inpainter(path)
    try:
        network = build_inpainter(config)
        network.load_state_dict(state)
    except (KeyError, RuntimeError, ValueError):
        raise DataError(f"{path}: not a whole inpainter: dvc repro train_inpainter") from None
    return network.eval().requires_grad_(False), config
