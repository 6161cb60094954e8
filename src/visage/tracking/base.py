"""What a tracker is: four calls that tell one run's story, and the trackers that do nothing or do several things.

A caller always holds a tracker, so that training code never asks whether somebody listens.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from visage.tracking.values import plain, plain_numbers


class Tracker:
    """One run's listener. `metrics` may be called again for a step (a resumed run replays its history)."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Note `values` (name -> number, any unit) at `step`, counted from 0 in the caller's own unit (epochs here)."""
        raise NotImplementedError

    def summary(self, values: Mapping[str, float | int | str]) -> None:
        """Note the run's final values; a later call adds to them, and replaces those of the same name."""
        raise NotImplementedError

    def artifact(self, path: Path) -> None:
        """Note a file or folder which the run has made; it must stay as it is until `close`."""
        raise NotImplementedError

    def close(self, status: str) -> None:
        """End the story with "finished", "failed", "unfinished" or "interrupted"; nothing is called afterwards."""
        raise NotImplementedError


class NullTracker(Tracker):
    """Listens to nothing: other ranks, tests, and what is not set up."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Do nothing."""

    def summary(self, values: Mapping[str, float | int | str]) -> None:
        """Do nothing."""

    def artifact(self, path: Path) -> None:
        """Do nothing."""

    def close(self, status: str) -> None:
        """Do nothing."""


class Together(Tracker):
    """Passes every call on to several trackers, numbers made plain first (a CUDA scalar is read once, here)."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        self._trackers = tuple(trackers)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Tell every tracker; ValueError or TypeError where a value is no number."""
        numbers = plain_numbers(values)
        for tracker in self._trackers:
            tracker.metrics(numbers, int(step))

    def summary(self, values: Mapping[str, float | int | str]) -> None:
        """Tell every tracker."""
        final = {name: plain(value) for name, value in values.items()}
        for tracker in self._trackers:
            tracker.summary(final)

    def artifact(self, path: Path) -> None:
        """Tell every tracker."""
        for tracker in self._trackers:
            tracker.artifact(Path(path))

    def close(self, status: str) -> None:
        """Close every tracker once, the others too where one of them raises; a second call finds nobody to tell."""
        trackers, self._trackers = self._trackers, ()
        _close_each(trackers, status)


def _close_each(trackers: Sequence[Tracker], status: str) -> None:
    if trackers:
        try:
            trackers[0].close(status)
        finally:
            _close_each(trackers[1:], status)
