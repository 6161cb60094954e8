"""A head: the small classifier on cached features, the checkpoint that holds it, and what it answers.

It is apart from the training of heads, so that evaluation and export depend on nothing of the training loop.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from visage.errors import DataError
from visage.features.table import FeatureTable
from visage.training import checkpoint

CHECKPOINT = "checkpoints/best_head.pt"
ROWS_AT_ONCE = 1024


class Head(nn.Sequential):
    """Hidden layers of `hidden` widths with ReLU, dropout, and a linear layer: (N, dim) float32 -> (N, classes)."""

    def __init__(self, dim: int, hidden: Sequence[int], classes: int, dropout: float) -> None:
        widths = [dim, *hidden]
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(*layers, nn.Dropout(dropout), nn.Linear(widths[-1], classes))


def head_path(folder: Path, name: str) -> Path:
    """Where train_heads' output `folder` holds the checkpoint of head `name`."""
    return folder / f"exp_{name}" / CHECKPOINT


def load_head(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """The head of a checkpoint of `train_heads` in evaluation mode, and the checkpoint.

    Raises:
        DataError: the file cannot be loaded.
    """
    saved = checkpoint.load(path)
    head = Head(saved["dim"], saved["design"]["hidden"], len(saved["classes"]), saved["design"]["dropout"])
    head.load_state_dict(saved["model"])
    return head.eval(), saved


def load_heads(
    folder: Path, classes: Sequence[str], table: FeatureTable
) -> dict[str, tuple[nn.Module, dict[str, Any]]]:
    """Every head that `train_heads` wrote into `folder` with its checkpoint, by name.

    Raises:
        DataError: there is none, or one was trained on other classes or features than `classes` and `table`.
    """
    names = sorted(path.parents[1].name.removeprefix("exp_") for path in folder.glob(f"exp_*/{CHECKPOINT}"))
    if not names:
        raise DataError(f"{folder} holds no heads: run train_heads first (dvc repro train_heads)")
    heads = {name: load_head(head_path(folder, name)) for name in names}
    for name, (_, saved) in heads.items():
        if saved["classes"] != list(classes):
            raise DataError(f"{head_path(folder, name)} was trained on other classes: run train_heads again")
        if (saved["encoder"], saved["dim"]) != (table.encoder["encoder"], table.encoder["dim"]):
            raise DataError(
                f"{head_path(folder, name)} was trained on features of {saved['encoder']} ({saved['dim']}), not of "
                f"{table.encoder['encoder']} ({table.encoder['dim']}): run train_heads again"
            )
    return heads


def best_head(heads: Mapping[str, Mapping[str, Any]]) -> str:
    """The name of the best of `heads` (checkpoints, by name) on validation: accuracy, then loss, then size."""

    def rank(name: str) -> tuple[float, float, int]:
        saved = heads[name]
        parameters = sum(tensor.numel() for tensor in saved["model"].values())
        return -saved["best_valid_accuracy"], saved["best_valid_loss"], parameters

    return min(heads, key=rank)


def read_features(table: FeatureTable, rows: np.ndarray) -> Tensor:
    """The features of `rows` (N row numbers, best in rising order): N x D float32.

    Raises:
        DataError: one of them is not a number.
    """
    features = torch.from_numpy(table.features.take(rows, axis=0)).float()
    # The sum of float16 numbers stays far inside float32: it is finite just where all of them are.
    if not features.sum().isfinite():
        bad = int(rows[int((~features.isfinite()).any(1).nonzero()[0])])
        raise DataError(f"the features of {table.rows[bad]['path']} are not numbers: run extract_features again")
    return features


@torch.inference_mode()
def predict(head: nn.Module, table: FeatureTable, rows: np.ndarray, device: torch.device) -> np.ndarray:
    """Probabilities of `rows` of the cached features: N x classes float64."""
    head = head.to(device)
    starts = range(0, len(rows), ROWS_AT_ONCE)
    blocks = [read_features(table, rows[start : start + ROWS_AT_ONCE]).to(device) for start in starts]
    return torch.cat([head(block).double().softmax(1) for block in blocks]).cpu().numpy()
