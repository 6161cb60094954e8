"""The local engine: persistent worker processes that pull jobs from the queue by claiming them.

Nothing is shared between workers but the files, so one that is killed takes nobody down and blocks nobody; another is
started in its place. A job that crashes its worker (a decoder's segmentation fault) is tried once more as it is and
then item by item, so that the one bad input is found and set aside; a worker killed from outside (out of memory, a
person, a scheduler) says nothing about its job, which is simply done again.
"""

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from visage.errors import DataError
from visage.jobs.plan import Job
from visage.jobs.store import Store
from visage.jobs.work import Work
from visage.jobs.worker import Worker, explain, one_thread, start_worker

CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
CRASHES_OF_A_JOB = 2  # then its items are computed one by one
KILLS_OF_A_JOB = 20  # without the job being done: it is too large for this machine
KILLS_AT_START = 20  # of workers that had no job yet, in a row
TICK, PAUSE = 0.2, 0.05  # seconds between looks at silent workers, and of a worker at jobs that others are doing


def run_local(work: Work, store: Store, jobs: Sequence[Job], workers: int) -> Iterator[Job | None]:
    """Every job by `workers` processes of this machine; closing the iterator kills them, which loses nothing done.

    Raises:
        VisageError: a worker's, or a job that no worker survives.
        RuntimeError: a fault of the code, with the worker's traceback.
    """
    by_index = {job.index: job for job in jobs}
    pool = _Pool(work, store, list(jobs), min(workers, len(jobs)))
    try:
        while pool.members:
            yield from (by_index[index] for index in pool.look())
            yield None
    finally:
        pool.close()


@dataclass
class _Member:
    """A worker process as its parent sees it. at: the job that it is doing. item: the item, where it says so."""

    number: int
    process: Any
    pipe: Connection
    at: int | None = None
    item: int | None = None


class _Pool:
    """The worker processes, each replaced when it dies."""

    def __init__(self, work: Work, store: Store, jobs: list[Job], workers: int) -> None:
        self.work, self.store, self.jobs, self.workers = work, store, jobs, workers
        self.context = multiprocessing.get_context("spawn")
        self.crashes: Counter[int] = Counter()
        self.kills: Counter[int | None] = Counter()
        self.fatal: dict[int, dict[int, str]] = {}
        self.members: list[_Member] = []
        for number in range(workers):
            self._start(number)

    def _start(self, number: int) -> None:
        ours, theirs = self.context.Pipe(duplex=False)
        # Each begins at another place: they meet only where the last jobs are.
        first = number * len(self.jobs) // self.workers
        jobs = self.jobs[first:] + self.jobs[:first]
        process = self.context.Process(
            target=_serve, args=(self.work, self.store, jobs, dict(self.fatal), theirs), daemon=True
        )
        with one_thread():
            process.start()
        theirs.close()  # so that the pipe ends with its worker
        self.members.append(_Member(number, process, ours))

    def look(self) -> list[int]:
        """Wait for something to happen, at most `TICK`; returns the jobs that are done now."""
        ready = wait([member.pipe for member in self.members], timeout=TICK)
        done: list[int] = []
        for member in [member for member in self.members if member.pipe in ready]:
            try:
                while member.pipe.poll():
                    done += self._hear(member, *member.pipe.recv())
            except (EOFError, OSError):  # a killed worker's last message may be cut short
                self._bury(member)
        return done

    def _hear(self, member: _Member, what: str, value: Any) -> list[int]:
        if what == "begin":
            member.at, member.item = value, None
            self.kills.pop(None, None)
        elif what == "busy":
            member.at = None
        elif what == "item":
            member.item = value
        elif what == "end":
            member.at = None
            self.kills.pop(value, None)
            return [value]
        elif what == "mistake":
            raise value
        else:
            raise RuntimeError(f"a worker failed:\n{value}")
        return []

    def _bury(self, member: _Member) -> None:
        """Find out what a worker died of, and start another unless it had finished."""
        member.process.join()
        member.pipe.close()
        self.members.remove(member)
        code = member.process.exitcode
        if code == 0 and member.at is None:
            return
        if -code in CRASHES and member.at is not None:
            self._crashed(member, signal.Signals(-code).name)
        else:
            self.kills[member.at] += 1
            self._check_kills(member.at, code)
        self._start(member.number)

    def _crashed(self, member: _Member, name: str) -> None:
        job = member.at
        assert job is not None
        self.crashes[job] += 1
        if member.item is not None:
            self.fatal[job][member.item] = f"crashed the process that read it ({name}): remove it or export it again"
        elif self.crashes[job] >= CRASHES_OF_A_JOB:
            self.fatal.setdefault(job, {})

    def _check_kills(self, at: int | None, code: int) -> None:
        if self.kills[at] < (KILLS_AT_START if at is None else KILLS_OF_A_JOB):
            return
        what = "before its first job" if at is None else f"in job {at}"
        raise DataError(
            f"workers ended {self.kills[at]} times {what} (exit code {code}): if memory ran out, use fewer workers "
            "(VISAGE_WORKERS=1) or smaller batches; what is done stays done"
        )

    def close(self) -> None:
        """Kill whoever is left."""
        for member in self.members:
            member.process.kill()
        for member in self.members:
            member.process.join()
            member.pipe.close()
        self.members.clear()


def _serve(work: Work, store: Store, jobs: list[Job], fatal: Mapping[int, Mapping[int, str]], pipe: Connection) -> None:
    """A worker's life: go through the jobs until each of them is done by somebody."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the parent decides
    parent = multiprocessing.parent_process()
    assert parent is not None
    threading.Thread(target=_leave_with, args=(parent.sentinel,), daemon=True).start()
    start_worker()
    worker = Worker(work, store)
    try:
        while jobs:
            left = []
            for job in jobs:
                pipe.send(("begin", job.index))
                done = worker.perform(job, fatal.get(job.index), lambda place: pipe.send(("item", place)))
                if done:
                    pipe.send(("end", job.index))
                else:
                    pipe.send(("busy", job.index))
                    left.append(job)
            if len(left) == len(jobs):
                time.sleep(PAUSE)
            jobs = left
    except Exception as error:
        mistake = explain(error, store)
        with suppress(BrokenPipeError):  # the parent is gone
            pipe.send(("mistake", mistake) if mistake else ("fault", traceback.format_exc()))


def _leave_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
