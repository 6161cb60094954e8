"""One worker: claims a job, computes what no shard has yet, and commits it.

It keeps what it opened (a model) from job to job. A disk or a network that fails is tried again; a bad input never is:
it has an error instead of a result, and the job goes on.
"""

import errno
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property

import numpy as np

from visage.errors import DataError, VisageError
from visage.jobs.plan import Item, Job
from visage.jobs.store import Reader, Store, merged
from visage.jobs.work import Compute, Outcome, Work
from visage.runtime import keep_freed_memory

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
ATTEMPTS, FIRST_PAUSE = 4, 0.1  # tries of a job whose disk or network fails; seconds before the second try


class Worker:
    """Performs jobs of `work` into `store`, in one process and one thread."""

    def __init__(self, work: Work, store: Store) -> None:
        self.work, self.store = work, store

    @cached_property
    def compute(self) -> Compute:
        """What `work.open` gives, opened when the first job needs it."""
        return self.work.open()

    @cached_property
    def reader(self) -> Reader:
        """The items that were there when this worker began."""
        return Reader(self.store)

    def perform(
        self, job: Job, fatal: Mapping[int, str] | None = None, announce: Callable[[int], None] | None = None
    ) -> bool:
        """Do `job` unless it is done; False where another worker is doing it now.

        `fatal` names items of the job (by place) that are known to kill a process, with the reason to record; where it
        is given, even empty, items are computed one by one, each announced first.

        Raises:
            OSError: the disk or the network failed several times, or is full.
            VisageError: whatever `work` raises.
        """
        if self.store.record(job.digest):
            return True
        with self.store.claim(job.digest) as held:
            if not held:
                return False
            if self.store.record(job.digest) is None:
                for attempt in range(ATTEMPTS):
                    try:
                        self._do(job, fatal, announce)
                        break
                    except OSError as error:
                        if error.errno in NO_SPACE or attempt == ATTEMPTS - 1:
                            raise
                        time.sleep(FIRST_PAUSE * 2**attempt)
        return True

    def _do(self, job: Job, fatal: Mapping[int, str] | None, announce: Callable[[int], None] | None) -> None:
        started = time.monotonic()
        found = {place: self.reader.find(item.key) for place, item in enumerate(job.items)}
        missing = [place for place, result in found.items() if result is None]
        if fatal is None:
            outcomes = [(missing, self.compute([job.items[place] for place in missing]))] if missing else []
        else:
            outcomes = [([place], self._one(place, job.items[place], fatal, announce)) for place in missing]
        for places, outcome in outcomes:
            for row, place in enumerate(places):
                found[place] = {name: array[row] for name, array in outcome.arrays.items()}, outcome.errors[row]
        rows = [found[place] for place in range(len(job.items))]
        if not any(row and row[0] for row in rows):
            names = ", ".join(item.source or item.key for item in job.items)
            raise DataError(f"every item of a job kills its process: remove {names} or try one by hand")
        outcome = merged(_with_blanks([row for row in rows if row is not None]))
        self.store.commit(job, outcome, seconds=time.monotonic() - started, computed=len(missing))

    def _one(self, place: int, item: Item, fatal: Mapping[int, str], announce: Callable[[int], None] | None) -> Outcome:
        if place in fatal:
            return Outcome({}, [fatal[place]])
        if announce:
            announce(place)
        return self.compute([item])


def _with_blanks(
    rows: Sequence[tuple[dict[str, np.ndarray], str]],
) -> list[tuple[dict[str, np.ndarray], str]]:
    """`rows` with zeros for the arrays of items that were never computed."""
    whole = next(arrays for arrays, _ in rows if arrays)
    blank = {name: np.zeros_like(array) for name, array in whole.items()}
    return [(arrays or blank, error) for arrays, error in rows]


def start_worker() -> None:
    """What a worker process sets before it imports anything heavy: one thread, and memory kept when freed.

    Whoever started the process may have set less: Dask's nanny makes glibc give freed memory back at once.
    """
    os.environ.update(ONE_THREAD)
    keep_freed_memory()


@contextmanager
def one_thread() -> Iterator[None]:
    """Give one thread to processes started meanwhile: they load numpy before anything of ours can be called there."""
    before = {name: os.environ.get(name) for name in ONE_THREAD}
    os.environ.update(ONE_THREAD)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def explain(error: BaseException, store: Store) -> VisageError | None:
    """One line for what a user can mend; None for a fault of the code."""
    if isinstance(error, VisageError):
        return error
    if isinstance(error, OSError) and error.errno in NO_SPACE:
        return DataError(
            f"no space left for {store.folder} ({error.strerror}): free some (visage jobs gc) and run again, "
            "what is done stays done"
        )
    if isinstance(error, OSError):
        return DataError(f"{error}: mend the disk or the network and run again")
    if isinstance(error, MemoryError):
        return DataError("out of memory in a worker: use fewer of them (VISAGE_WORKERS=1) and run again")
    return None
