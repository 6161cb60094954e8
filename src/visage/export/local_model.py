"""A model of transformers from a folder on this machine, every tensor in its place; nothing is downloaded."""

from pathlib import Path
from typing import Any

import torch

from visage.errors import DataError, MissingWeightsError

FILES = ("config.json", "model.safetensors")


def load_local(kind: Any, folder: Path, wanted: str) -> Any:
    """`kind.from_pretrained(folder)` in float32, in evaluation mode and frozen.

    Weights that the file lacks would be left random with a warning; they are refused. wanted: what belongs there.

    Raises:
        MissingWeightsError: a file is not there.
        DataError: the weights are of another network, or damaged.
    """
    from transformers.utils import logging

    for name in FILES:
        if not (folder / name).is_file():
            raise MissingWeightsError(f"{folder / name} is not there: bring {wanted}")
    loud = logging.get_verbosity()
    logging.set_verbosity_error()  # its report of odd tensors is a page; ours is a line
    logging.disable_progress_bar()
    try:
        model, found = kind.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True,
            ignore_mismatched_sizes=True,
        )  # fmt: skip
    except Exception as error:  # torch, safetensors and transformers raise what they like
        why = " ".join(str(error).split())[:160]
        raise DataError(f"{folder}: no {kind.__name__} ({why}): bring {wanted}") from None
    finally:
        logging.set_verbosity(loud)
    odd = sorted([*found["missing_keys"], *found["unexpected_keys"], *(name for name, *_ in found["mismatched_keys"])])
    odd = [name for name in odd if not name.endswith("position_ids")]  # counts from 0, which old files hold
    if odd:
        raise DataError(f"{folder}: not the weights of a {kind.__name__} (first odd tensor: {odd[0]}): bring {wanted}")
    # Out of the mapped file, where a tensor begins anywhere: kernels choose by that, and the last bits would follow.
    for weight in model.parameters():
        weight.data = weight.data.clone()
    return model.eval().requires_grad_(False)
