"""`fit`: trains a task with the processes that the runtime asks for, from wherever an earlier try left off.

The results stay in the resume state until the caller has copied them into the stage's output and calls
`checkpoint.forget`: a process killed between the two finds a finished run and only copies again.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from visage.errors import Unfinished
from visage.runtime import Runtime, peak_memory_mb, torch_device
from visage.tracking.tracker import NullTracker, Tracker
from visage.training import checkpoint
from visage.training.loop import BEST, STATE, Loop
from visage.training.processes import launch
from visage.training.state import Progress
from visage.training.task import Settings, TaskFactory


@dataclass(frozen=True)
class Fitted:
    """The end of a run: `best` and `final` are checkpoint files (model, optimizer, schedule, scaler, progress).

    peak_memory_mb is this process's; with `runtime.processes` of them the total is that many times more.
    """

    best: Path
    final: Path
    progress: Progress
    peak_memory_mb: float


def fit(
    factory: TaskFactory, settings: Settings, runtime: Runtime, state: Path, tracker: Tracker | None = None
) -> Fitted:
    """Train what `factory` makes; `state` is the directory of the resume state (`checkpoint.state_dir`).

    Raises:
        Unfinished: `settings.max_minutes` passed; everything is saved and the same call continues.
        DataError: a split is empty, or the loss stopped being a number.
    """
    state.mkdir(parents=True, exist_ok=True)
    leader = partial(_train, factory, settings, runtime, state, tracker or NullTracker())
    member = partial(_train, factory, settings, runtime, state, NullTracker())
    launch(leader, member, runtime)
    progress = Progress(**checkpoint.load(state / STATE)["progress"])
    if not progress.done:
        raise Unfinished(
            f"stopped after {settings.max_minutes:g} minutes in epoch {progress.epoch + 1} of {settings.epochs} with "
            "everything saved: start the same command again to continue"
        )
    return Fitted(state / BEST, state / STATE, progress, peak_memory_mb())


def _train(factory: TaskFactory, settings: Settings, runtime: Runtime, state: Path, tracker: Tracker) -> None:
    """All of training in one process of the group; the seed comes first because the factory draws initial weights."""
    torch_device(runtime, settings.seed)
    Loop(factory(), settings, runtime, state, tracker).run()
