"""The history of a run as a CSV that `dvc plots` draws: a row an epoch, rounded so that it reads well in a diff."""

from collections.abc import Sequence
from pathlib import Path

from visage.io.atomic import write_csv

DIGITS = 6


def write_history(path: Path, history: Sequence[dict[str, float]]) -> None:
    """Write `history` (rows with equal keys, "epoch" first) to `path`; an empty history gives a header alone."""
    columns = list(history[0]) if history else ["epoch", "train_loss", "valid_loss"]
    write_csv(path, ({name: round(value, DIGITS) for name, value in row.items()} for row in history), columns)
