"""Drawing many portraits: a specification in, a portrait out, in order, over worker processes.

A picture depends on its six numbers alone, so the result is the same for any worker count. Workers are spawned, not
forked (OpenCV's threads do not survive a fork), run OpenCV on one thread each, and leave as soon as their parent is
gone.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import wait

import cv2

from visage.runtime import worker_count
from visage.synthetic.portrait import Portrait, render, sample_person, sample_session, sample_view


@dataclass(frozen=True)
class Spec:
    """Which picture: population `seed`, `person`, `session` and `picture` numbers (all >= 0), `size` in pixels, with
    or without hair."""

    seed: int
    person: int
    session: int
    picture: int
    size: int
    bald: bool = False


def draw(spec: Spec) -> Portrait:
    """Draw one portrait. ValueError for negative numbers or a size below 32."""
    if min(spec.seed, spec.person, spec.session, spec.picture) < 0:
        raise ValueError(f"{spec} has a negative number; seeds and indices start at 0")
    person = sample_person(spec.seed, spec.person)
    session = sample_session(spec.seed, spec.person, spec.session)
    view = sample_view(spec.seed, spec.person, spec.session, spec.picture)
    return render(person, session, view, spec.size, bald=spec.bald)


def draw_many(specs: Iterable[Spec], workers: int | None = None) -> Iterator[Portrait]:
    """Portraits in the order of `specs`, which may be endless: at most four pictures per worker are in flight.

    `workers` defaults to VISAGE_WORKERS, then to the number of processors; 1 draws in this process. Raises
    BrokenProcessPool when a worker dies, and whatever `draw` raises. Scripts need the `if __name__ == "__main__"`
    guard, as with any spawned process.
    """
    count = workers if workers is not None else worker_count()
    if count < 1:
        raise ValueError(f"workers is {count}; it must be at least 1")
    return map(draw, specs) if count == 1 else _draw_parallel(specs, count)


def _draw_parallel(specs: Iterable[Spec], workers: int) -> Iterator[Portrait]:
    queue = iter(specs)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        pending: deque[Future[Portrait]] = deque(pool.submit(draw, spec) for spec in islice(queue, 4 * workers))
        while pending:
            portrait = pending.popleft().result()
            pending.extend(pool.submit(draw, spec) for spec in islice(queue, 1))
            yield portrait
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker() -> None:
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None
    # The executor's own pipes are held open by the other workers, so a killed parent would go unnoticed.
    threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()


def _leave_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
