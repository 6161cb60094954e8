"""Drawing many near-infrared eyes: a specification in, an eye out, in order, over worker processes.

Each worker keeps the subjects it has met, so drawing a sequence of one wearer samples the wearer once.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from visage.runtime import worker_count
from visage.synthetic.draw import _start_worker
from visage.synthetic.nir_eye import Eye, render
from visage.synthetic.nir_params import Subject, sample_frame, sample_subject


@dataclass(frozen=True)
class EyeSpec:
    """Which picture: population `seed`, `subject` and `frame` numbers, all >= 0."""

    seed: int
    subject: int
    frame: int


def draw_eye(spec: EyeSpec) -> Eye:
    """Draw one eye. ValueError for negative numbers."""
    if min(spec.seed, spec.subject, spec.frame) < 0:
        raise ValueError(f"{spec} has a negative number; seeds and indices start at 0")
    subject = _subject(spec.seed, spec.subject)
    return render(subject, sample_frame(spec.seed, subject, spec.frame))


def draw_eyes(specs: Iterable[EyeSpec], workers: int | None = None) -> Iterator[Eye]:
    """Eyes in the order of `specs`, which may be endless: at most four pictures per worker are in flight.

    `workers` defaults to VISAGE_WORKERS, then to the number of processors; 1 draws in this process. Raises
    BrokenProcessPool when a worker dies, and whatever `draw_eye` raises. Scripts need the `if __name__ == "__main__"`
    guard, as with any spawned process.
    """
    count = workers if workers is not None else worker_count()
    if count < 1:
        raise ValueError(f"workers is {count}; it must be at least 1")
    return map(draw_eye, specs) if count == 1 else _draw_parallel(specs, count)


def _draw_parallel(specs: Iterable[EyeSpec], workers: int) -> Iterator[Eye]:
    queue = iter(specs)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
    try:
        pending: deque[Future[Eye]] = deque(pool.submit(draw_eye, spec) for spec in islice(queue, 4 * workers))
        while pending:
            eye = pending.popleft().result()
            pending.extend(pool.submit(draw_eye, spec) for spec in islice(queue, 1))
            yield eye
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@lru_cache(maxsize=64)
def _subject(seed: int, subject: int) -> Subject:
    return sample_subject(seed, subject)
