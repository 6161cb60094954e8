"""What a trainer reports of its best epoch, and the history of all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from visage.io.atomic import write_json
from visage.training.fit import Fitted
from visage.training.history import write_history

DECIMALS = 4


def write_measured(
    fitted: Fitted, names: Sequence[str], facts: Mapping[str, float], metrics: Path, histories: Sequence[Path]
) -> None:
    """Write the best epoch's numbers called `names`, of both splits, with `facts`, and the history to each path.

    metrics: JSON, rounded to 4 decimals. histories: CSV files, a row an epoch.
    """
    progress = fitted.progress
    best = progress.history[progress.best_epoch]
    columns = [f"{split}_{name}" for split in ("train", "valid") for name in names]
    measured = {column: round(best[column], DECIMALS) for column in columns}
    write_json(metrics, {**measured, **facts, "epochs": progress.epoch, "best_epoch": progress.best_epoch + 1})
    for path in histories:
        write_history(path, progress.history)
