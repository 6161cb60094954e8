"""A tracker on a thread of its own, so that a slow, hung or dead server never slows an epoch.

Calls go into a bounded queue and return at once. The first failure ends the tracking with one warning line; what
comes after it is dropped in silence, because a training log full of connection errors hides the training.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from visage.tracking.base import Tracker
from visage.tracking.values import redact

CAPACITY = 4096

log = logging.getLogger("visage.tracking")


class BackgroundTracker(Tracker):
    """Makes the tracker `make()` on a daemon thread and passes the calls on to it, in order.

    `name` stands in the warnings. `close` waits at most `patience` seconds for what is still queued.
    """

    def __init__(self, name: str, make: Callable[[], Tracker], patience: float) -> None:
        self._name, self._make, self._patience = name, make, patience
        self._queue: queue.Queue[tuple[str, tuple[Any, ...]]] = queue.Queue(CAPACITY)
        self._dropped = 0
        self._given_up = False
        self._thread = threading.Thread(target=self._work, name=f"tracking-{name}", daemon=True)
        self._thread.start()

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Queue it; dropped and counted where the queue is full."""
        self._post("metrics", dict(values), step)

    def summary(self, values: Mapping[str, float | int | str]) -> None:
        """Queue it; dropped and counted where the queue is full."""
        self._post("summary", dict(values))

    def artifact(self, path: Path) -> None:
        """Queue it; dropped and counted where the queue is full."""
        self._post("artifact", path)

    def close(self, status: str) -> None:
        """Wait for the queue to empty, at most `patience` seconds; one warning where that was not enough."""
        deadline = time.monotonic() + self._patience
        while self._thread.is_alive() and time.monotonic() < deadline:
            try:
                self._queue.put(("close", (status,)), timeout=0.1)
                break
            except queue.Full:
                continue
        self._thread.join(max(0.0, deadline - time.monotonic()))
        self._given_up = self._thread.is_alive()
        if self._given_up:
            log.warning("%s: no answer within %g s; the record there is incomplete", self._name, self._patience)
        if self._dropped:
            log.warning("%s: %d calls came faster than it answers and were dropped", self._name, self._dropped)

    def _post(self, method: str, *arguments: Any) -> None:
        if not self._thread.is_alive():
            return
        try:
            self._queue.put_nowait((method, arguments))
        except queue.Full:
            self._dropped += 1

    def _work(self) -> None:
        try:
            tracker, method = self._make(), ""
            while method != "close":
                method, arguments = self._queue.get()
                getattr(tracker, method)(*arguments)
        except Exception as error:  # whatever a client library raises must not reach the run
            reason = f"{type(error).__name__}: {redact(str(error))}".splitlines()[0][:200]
            if not self._given_up:
                log.warning("%s: tracking stops here, the run goes on (%s)", self._name, reason)
