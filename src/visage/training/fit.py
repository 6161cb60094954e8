"""`fit`: trains a task with the processes that the runtime asks for, from wherever an earlier try left off.

The results stay in the resume state until the caller has written the stage's output and leaves `checkpoint.resumable`:
a process killed between the two finds a finished run and only writes again.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from visage.errors import Unfinished
from visage.runtime import Runtime, peak_memory_mb, torch_device
from visage.tracking.tracker import NullTracker, Tracker
from visage.training import checkpoint
from visage.training.keep import kept_epochs, kept_path
from visage.training.loop import BEST, STATE, Loop
from visage.training.processes import launch
from visage.training.state import Progress
from visage.training.task import Settings, TaskFactory


@dataclass(frozen=True)
class Fitted:
    """The end of a run: `best` and `final` are checkpoint files (model, optimizer, schedule, scaler, progress).

    peak_memory_mb is the most that all processes together (or the GPU) held. kept: checkpoint files of the epochs (from
    1) that the settings said to keep.
    """

    best: Path
    final: Path
    progress: Progress
    peak_memory_mb: float
    kept: Mapping[int, Path]


def fit(
    factory: TaskFactory, settings: Settings, runtime: Runtime, state: Path, tracker: Tracker | None = None
) -> Fitted:
    """Train what `factory` makes; `state` is the directory of the resume state (`checkpoint.resumable`).

    Under `accelerate launch` the first process returns; the others end here, their part being done.

    Raises:
        Unfinished: `runtime.max_minutes` passed; everything is saved and the same call continues.
        DataError: a split is empty, or the loss stopped being a number.
    """
    leader = partial(_train, factory, settings, runtime, state, tracker or NullTracker())
    member = partial(_train, factory, settings, runtime, state, NullTracker())
    launch(leader, member, runtime)
    if os.environ.get("RANK", "0") != "0":
        raise SystemExit(0)
    progress = Progress(**checkpoint.load(state / STATE)["progress"])
    if not progress.done:
        raise Unfinished(
            f"stopped after {runtime.max_minutes:g} minutes in epoch {progress.epoch + 1} of {settings.epochs} with "
            "everything saved: start the same command again to continue"
        )
    peak = _peak_mb(runtime)
    print(f"memory: {peak / 1024:.2f} GB was the most of {runtime.memory_gb:g} GB", flush=True)
    kept = {epoch: kept_path(state, epoch) for epoch in sorted(kept_epochs(progress.history, settings))}
    return Fitted(state / BEST, state / STATE, progress, peak, kept)


def _peak_mb(runtime: Runtime) -> float:
    """The most memory that training held: the GPU's where there is one, else that of all processes together."""
    if runtime.device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / (1 << 20)
    return peak_memory_mb() * runtime.processes


def _train(factory: TaskFactory, settings: Settings, runtime: Runtime, state: Path, tracker: Tracker) -> None:
    """All of training in one process of the group; the seed comes first because the factory draws initial weights."""
    torch_device(runtime, settings.seed)
    Loop(factory(), settings, runtime, state, tracker).run()
