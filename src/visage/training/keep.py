"""Which epochs' states a run keeps beside the best and the last one: a pure function of its history.

Nothing is carried along for it, so a run that was killed keeps the same files as one that was not.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from visage.training.task import Settings


def kept_path(state: Path, epoch: int) -> Path:
    """Where the resume state `state` holds what was kept of `epoch` (from 1)."""
    return state / f"epoch-{epoch}.pt"


def improvements(history: Sequence[Mapping[str, float]], monitor: str, mode: str) -> list[int]:
    """The epochs (from 1) that were better than all before them on validation metric `monitor`, "max" or "min"."""
    sign, best, found = 1 if mode == "max" else -1, float("-inf"), []
    for epoch, row in enumerate(history, start=1):
        value = sign * row[f"valid_{monitor}"]
        if value > best:
            best = value
            found.append(epoch)
    return found


def kept_epochs(history: Sequence[Mapping[str, float]], settings: Settings) -> set[int]:
    """The epochs to keep after `history`: every `keep_every`-th, and the last `keep_improvements` improvements."""
    regular = range(settings.keep_every, len(history) + 1, settings.keep_every) if settings.keep_every else ()
    better = improvements(history, settings.monitor, settings.mode)
    return {*regular, *better[max(0, len(better) - settings.keep_improvements) :]}


def drop_others(state: Path, wanted: set[int]) -> None:
    """Remove from `state` what was kept of other epochs than `wanted`."""
    names = {kept_path(state, epoch) for epoch in wanted}
    for path in set(state.glob("epoch-*.pt")) - names:
        path.unlink()
