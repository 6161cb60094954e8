"""Which of the files that train_inpainter wrote is the newest that can be used, and the network in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visage.errors import DataError, VisageError
from visage.inpaint.diffusion_config import Inpainter, Lora
from visage.inpaint.inpainter_net import InpainterNetwork, build_inpainter, read_inpainter
from visage.inpaint.unet import add_lora, merge_lora, open_unet

LEAST_TENSORS = 10


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A usable file: its path, the steps that made it, its configuration and weights."""

    path: Path
    step: int
    config: dict[str, Any]
    state: dict[str, Tensor]


def check_snapshot(path: Path) -> Snapshot:
    """The snapshot in `path`.

    Raises:
        VisageError: says why it cannot be used: not safetensors, no inpainter, too few tensors, or no numbers in it.
    """
    state, config = read_inpainter(path)
    if len(state) <= LEAST_TENSORS:
        raise DataError(f"{path}: {len(state)} tensors are no network")
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise DataError(f"{path}: {name} holds values that are no numbers")
    step = config.get("step")
    if not isinstance(step, int):
        raise DataError(f"{path}: its header does not say after how many steps it was written")
    return Snapshot(path, step, config, state)


def newest(folder: Path) -> tuple[Snapshot, list[str]]:
    """The usable snapshot of most steps in `folder`, whatever the files' times say, and why others were passed over.

    Raises:
        DataError: there is none.
    """
    found: Snapshot | None = None
    refused = []
    # Of equal steps the first name counts, which is the latest's.
    for path in sorted(folder.glob("*.safetensors")):
        try:
            snapshot = check_snapshot(path)
        except VisageError as error:
            refused.append(str(error))
            continue
        if found is None or snapshot.step > found.step:
            found = snapshot
    if found is None:
        why = f" ({refused[0]})" if refused else ""
        raise DataError(f"{folder}: no usable snapshot of an inpainter{why}: dvc repro train_inpainter")
    return found, refused


def open_snapshot(snapshot: Snapshot) -> InpainterNetwork:
    """The network of a snapshot, adapters merged, in evaluation mode.

    Raises:
        VisageError: the weights that its adapters belong to are not there, or the snapshot does not fit.
    """
    config = snapshot.config
    network = build_inpainter(config) if config["trainable"] == "full" else _adapted(config)
    try:
        kept = network.load_state_dict(snapshot.state, strict=config["trainable"] == "full")
    except RuntimeError:
        raise DataError(f"{snapshot.path}: not of the architecture that its header tells of") from None
    if kept.unexpected_keys:
        raise DataError(f"{snapshot.path}: {kept.unexpected_keys[0]} has no place in the network")
    if config["trainable"] == "lora":
        merge_lora(network.unet)
    return network.eval().requires_grad_(False)


def _adapted(config: dict[str, Any]) -> InpainterNetwork:
    """The network with the weights that adapters belong to, and empty adapters.

    A small one's own frozen weights are random: they are in no file, so there is nothing to add adapters to.
    """
    unet_config = config["unet"]
    pooled = unet_config["projection_class_embeddings_input_dim"] - 6 * unet_config["addition_time_embed_dim"]
    if config["source"] == "new":
        raise DataError(
            "adapters (inpainter.trainable=lora) of a new network: train the whole (inpainter.trainable=full)"
        )
    settings = Inpainter(source=config["source"], path=config["path"])
    unet = open_unet(settings, unet_config["cross_attention_dim"], pooled, unet_config["sample_size"])
    lora = Lora(**config["lora"])
    add_lora(unet, lora.rank, lora.alpha)
    return InpainterNetwork(unet, config["style"], config["size"])
