"""The tracker behind the runs table: one row per run, brought up to date at most every two seconds.

The row always holds the whole state (last and best of each metric, seconds so far), so a write that finds the database
busy is simply made good by the next one, and a killed run leaves what it had reached.
"""

import logging
import math
import sqlite3
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from visage.errors import VisageError
from visage.tracking import database, machine
from visage.tracking.base import NullTracker, Tracker
from visage.tracking.values import differs_by_nature, hide_arguments, is_better

FLUSH_SECONDS = 2.0

log = logging.getLogger("visage.tracking")


class RowTracker(Tracker):
    """Keeps row `run_id` of the database at `path`: `name` is a metric's last value, `name.best` its best."""

    def __init__(self, path: Path, run_id: int) -> None:
        self._path, self._run_id = path, run_id
        self._started = time.monotonic()
        self._written = -math.inf
        self._last: dict[str, Any] = {}
        self._best: dict[str, float] = {}
        self._summary: dict[str, Any] = {}

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Keep the last (`step` with them) and the best; written when the last write is old enough."""
        self._last.update(values, step=step)
        for name, value in values.items():
            if not differs_by_nature(name) and is_better(name, value, self._best.get(name, math.nan)):
                self._best[name] = value
        if time.monotonic() - self._written >= FLUSH_SECONDS:
            self._write_quietly({})

    def summary(self, values: Mapping[str, float | int | str]) -> None:
        """Keep the final values beside the metrics; where names meet, the final value stands."""
        self._summary.update(values)
        self._write_quietly({})

    def artifact(self, path: Path) -> None:
        """Nothing: DVC versions artefacts, and the row's revision leads to them."""

    def close(self, status: str) -> None:
        """Write the end of the run: status, memory, device."""
        device, gpu_memory_mb = machine.device_and_peak()
        end = {"status": status, "memory_mb": machine.peak_memory_mb()}
        error = self._write_quietly(end | {"device": device, "gpu_memory_mb": gpu_memory_mb})
        if error:
            log.warning("%s: the end of run %d is not recorded (%s)", self._path, self._run_id, error)

    def _write_quietly(self, values: Mapping[str, Any]) -> Exception | None:
        best = {f"{name}.best": value for name, value in self._best.items()}
        state = {"seconds": self._seconds(), "metrics": self._last | best | self._summary}
        try:
            database.update_run(self._path, self._run_id, state | dict(values))
        except (sqlite3.Error, OSError, VisageError) as error:
            return error
        finally:
            self._written = time.monotonic()
        return None

    def _seconds(self) -> float:
        return round(time.monotonic() - self._started, 3)


def open_row(path: Path, row: Mapping[str, Any]) -> Tracker:
    """Begin a row, with the columns given (`stage`, `revision`, `params`...) and those of this process and moment.

    Where the database at `path` cannot be written: one warning, and a tracker that does nothing.
    """
    begun = {
        "status": "running",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": hide_arguments(sys.argv),
        **machine.process_identity(),
    }
    try:
        return RowTracker(path, database.insert_run(path, begun | dict(row)))
    except (sqlite3.Error, OSError, VisageError) as error:
        log.warning("%s: this run is not recorded (%s)", path, error)
        return NullTracker()
