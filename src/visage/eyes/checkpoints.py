"""The checkpoints of the eye trainers, by the names that users of the original training scripts know.

The states that the loop kept hold times and optimizers; what is written here holds the weights and what was measured,
so that a run that was killed writes the same bytes as one that was not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visage.eyes.networks import KINDS, core_state
from visage.tracking.tracker import Tracker
from visage.training import checkpoint
from visage.training.fit import Fitted
from visage.training.history import DIGITS
from visage.training.keep import improvements
from visage.training.task import Settings

KEEP_EVERY, KEEP_IMPROVEMENTS = 10, 3


def write_checkpoints(
    fitted: Fitted, kind: str, loop: Settings, label: str, facts: Mapping[str, Any], out: Path, tracker: Tracker
) -> Path:
    """Write best_<name>.pt, <name>_epoch_<n>.pt (every tenth epoch and the last) and <name>_epoch<n>_<label><value>.pt
    (the last three improvements) into `out`, and hand them to `tracker`; returns the best.

    kind: of `KINDS`. label: what the monitored metric is called in names. facts: what every checkpoint holds beside its
    "kind", "model", "epoch" and "metrics" (of that epoch).
    """
    name, history = KINDS[kind].file, fitted.progress.history
    last, best = fitted.progress.epoch, fitted.progress.best_epoch + 1
    better = improvements(history, loop.monitor, loop.mode)[-KEEP_IMPROVEMENTS:]
    files = {f"best_{name}.pt": (best, fitted.best), f"{name}_epoch_{last}.pt": (last, fitted.final)}
    for epoch, path in fitted.kept.items():
        if epoch % KEEP_EVERY == 0:
            files[f"{name}_epoch_{epoch}.pt"] = epoch, path
        if epoch in better:
            value = history[epoch - 1][f"valid_{loop.monitor}"]
            files[f"{name}_epoch{epoch}_{label}{value:.4f}.pt"] = epoch, path
    for file, (epoch, path) in files.items():
        metrics = {key: round(value, DIGITS) for key, value in history[epoch - 1].items() if key != "epoch"}
        content = {"kind": kind, "model": core_state(checkpoint.load(path)["model"]), "epoch": epoch, **facts}
        checkpoint.save(out / file, content | {"metrics": metrics})
        tracker.artifact(out / file)
    return out / f"best_{name}.pt"
