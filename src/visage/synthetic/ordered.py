"""Drawing spread over processes and taken back in order: a stream of specifications in, a stream of pictures out.

Workers are spawned, not forked (OpenCV's threads do not survive a fork), run OpenCV on one thread each, and leave as
soon as their parent is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from multiprocessing.connection import wait
from typing import TypeVar

import cv2

from visage.runtime import worker_count

S = TypeVar("S")
P = TypeVar("P")


def draw_ordered(draw: Callable[[S], P], specs: Iterable[S], workers: int | None = None) -> Iterator[P]:
    """What `draw` makes of each of `specs`, in order; these may be endless: at most four per worker are in flight.

    `draw` is a function of a module, so that it can be pickled. `workers` defaults to VISAGE_WORKERS, then to the
    number of processors; 1 draws in this process. Raises BrokenProcessPool when a worker dies, and whatever `draw`
    raises. Scripts need the `if __name__ == "__main__"` guard, as with any spawned process.
    """
    count = workers if workers is not None else worker_count()
    if count < 1:
        raise ValueError(f"workers is {count}; it must be at least 1 (so must VISAGE_WORKERS)")
    return map(draw, specs) if count == 1 else _draw_parallel(draw, specs, count)


def _draw_parallel(draw: Callable[[S], P], specs: Iterable[S], workers: int) -> Iterator[P]:
    queue = iter(specs)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        pending: deque[Future[P]] = deque(pool.submit(draw, spec) for spec in islice(queue, 4 * workers))
        while pending:
            picture = pending.popleft().result()
            pending.extend(pool.submit(draw, spec) for spec in islice(queue, 1))
            yield picture
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
