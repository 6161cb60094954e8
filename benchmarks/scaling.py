"""The job queue under many workers: what its steps cost, and at how many workers it stops getting faster.

    PYTHONPATH=src python benchmarks/scaling.py [--workers 1 64 4096] [--images-per-job 64 512] [--slower 10]

A simulation of discrete events around the real queue: `run_queue` makes the real plan, looks for what is missing and
checks every result at the end; each virtual worker is a thread that calls the real `Worker.perform` on a store in a
temporary folder. One thread runs at a time. What it does to the queue takes as long as it took here; computing takes
images / `--rate` of virtual time, varied by the seed. So a row shows what the queue allows where every worker has a
processor and the file system serves all of them at once; `--slower` makes the workers' steps so many times slower, as a
network file system would. `--clock processor` counts processor time instead, for a machine that others use.

Jobs are handed out as by Dask, one after another by a scheduler that needs `--dispatch` seconds for each, or with
`--engine local` as by the local engine: every worker looks at every job.
"""

import argparse
import heapq
import pickle
import random
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from hashlib import sha256
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from visage.jobs.local import PAUSE
from visage.jobs.plan import Item, Job, make_plan
from visage.jobs.queue import Results, run_queue
from visage.jobs.store import Store
from visage.jobs.work import Compute, Outcome, Work
from visage.jobs.worker import Worker

CLOCKS = {"wall": time.perf_counter, "processor": time.thread_time}
POLL = 0.2  # seconds until the Dask engine looks again at a job that another worker is doing
LEAST_JOBS, JOBS_PER_WORKER = 256, 2
STACK = 256 << 10  # bytes of a virtual worker's stack
COSTS_JOBS = 256
STEPS = ("plan", "prepare", "perform", "is it done", "check", "index")


@dataclass(frozen=True)
class Vectors:
    """Work whose results are vectors of `width` float32; wait: called with the items instead of computing."""

    width: int
    wait: Callable[[Sequence[Item]], None]
    name: str = "scaling"

    def identity(self) -> Mapping[str, Any]:
        return {"width": self.width}

    def open(self) -> Compute:
        return self.compute

    def compute(self, items: Sequence[Item]) -> Outcome:
        self.wait(items)
        return Outcome({"vectors": np.zeros((len(items), self.width), np.float32)}, [""] * len(items))


class Simulation:
    """Virtual time, the workers that live in it, and the scheduler that hands out jobs. An engine for `run_queue`."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.clock = options, CLOCKS[options.clock]
        self.now = self.end = self.dispatched = self.computing = self.queueing = self.waiting = 0.0
        self.events: list[tuple[float, int, VirtualWorker]] = []
        self.order = count()
        self.idle = threading.Semaphore(0)
        self.errors: list[Exception] = []
        self.begun = self.ended = 0.0  # by the clock of whoever calls the engine

    def engine(self, work: Work, store: Store, jobs: Sequence[Job], workers: int) -> Iterator[Job]:
        """All jobs, when the last one is done in virtual time."""
        self.begun = self.clock()
        self.jobs = list(jobs)
        self.todo = iter(self.jobs)
        threading.stack_size(STACK)
        for number in range(workers):
            worker = VirtualWorker(self, store, number * len(jobs) // workers)
            self.schedule(worker, 0.0)
            worker.start()
        while self.events:
            self.now, _, worker = heapq.heappop(self.events)
            worker.turn.release()
            self.idle.acquire()
            if self.errors:
                raise self.errors[0]
        self.ended = self.clock()
        yield from self.jobs

    def schedule(self, worker: "VirtualWorker", when: float) -> None:
        """Wake `worker` at `when`."""
        heapq.heappush(self.events, (when, next(self.order), worker))


class VirtualWorker(threading.Thread):
    """A worker of the real queue whose computing takes virtual time only. first: where it begins among the jobs."""

    def __init__(self, simulation: Simulation, store: Store, first: int) -> None:
        super().__init__(daemon=True)
        self.simulation, self.store, self.first = simulation, store, first
        self.turn = threading.Semaphore(0)
        self.resumed = 0.0

    def run(self) -> None:
        self.turn.acquire()
        self.resumed = self.simulation.clock()
        try:
            worker = Worker(Vectors(self.simulation.options.width, self.compute), self.store)
            (self.look if self.simulation.options.engine == "local" else self.take)(worker)
            self.simulation.end = max(self.simulation.end, self.simulation.now + self.spent())
        except Exception as error:
            self.simulation.errors.append(error)
        self.simulation.idle.release()

    def take(self, worker: Worker) -> None:
        """Perform the jobs that the scheduler hands to this worker."""
        for job in self.simulation.todo:
            # The scheduler serves one worker at a time.
            due = max(self.simulation.now, self.simulation.dispatched) + self.simulation.options.dispatch
            self.simulation.dispatched = due
            self.simulation.waiting += due - self.simulation.now
            self.wait(due - self.simulation.now)
            while not worker.perform(job):
                self.wait(POLL)

    def look(self, worker: Worker) -> None:
        """Go through all jobs, each worker from another place, until none is left to do."""
        left = self.simulation.jobs[self.first :] + self.simulation.jobs[: self.first]
        while left:
            busy = []
            for job in left:
                if not worker.perform(job):
                    busy.append(job)
                self.wait(0.0)
            if len(busy) == len(left):
                self.wait(PAUSE)
            left = busy

    def compute(self, items: Sequence[Item]) -> None:
        """Let the time pass that `items` take."""
        options = self.simulation.options
        seconds = len(items) / options.rate * random.Random(f"{options.seed} {items[0].key}").uniform(0.8, 1.2)
        self.simulation.computing += seconds
        self.wait(seconds)

    def wait(self, seconds: float) -> None:
        """Let `seconds` pass, and before them what this worker spent on the queue since its turn came."""
        self.simulation.schedule(self, self.simulation.now + self.spent() + seconds)
        self.simulation.idle.release()
        self.turn.acquire()
        self.resumed = self.simulation.clock()

    def spent(self) -> float:
        seconds = (self.simulation.clock() - self.resumed) * self.simulation.options.slower
        self.simulation.queueing += seconds
        return seconds


@dataclass(frozen=True)
class Row:
    """One run in virtual time. seconds: before, in and after the engine; shares: of the workers' whole time."""

    workers: int
    jobs: int
    rate: float
    seconds: tuple[float, float, float]
    shares: dict[str, float]


def simulate(workers: int, images_per_job: int, options: argparse.Namespace) -> Row:
    """A cold run of one queue."""
    jobs = max(LEAST_JOBS, JOBS_PER_WORKER * workers)
    items = made_items(jobs * images_per_job)
    simulation = Simulation(options)
    with tempfile.TemporaryDirectory(prefix="visage-") as folder, redirect_stdout(StringIO()):
        started = simulation.clock()
        run_queue(
            Vectors(options.width, simulation_only),
            items,
            images_per_job,
            root=Path(folder),
            engine=simulation.engine,
            workers=workers,
            use=read_all,
        )
        before, after = simulation.begun - started, simulation.clock() - simulation.ended
    total = before + simulation.end + after
    whole = total * workers
    shares = {
        "computing": simulation.computing / whole,
        "queue": simulation.queueing / whole,
        "hand-out": simulation.waiting / whole,
        "alone": (before + after) / total,  # one process plans and checks, and no worker works
    }
    return Row(workers, jobs, len(items) / total, (before, simulation.end, after), shares)


def simulation_only(items: Sequence[Item]) -> None:
    """In the process that plans nothing is computed."""
    raise AssertionError(f"{len(items)} items computed outside of the simulation")


def read_all(results: Results) -> None:
    """What a stage does at the least with its results: read each once."""
    for _ in results.read():
        pass


def made_items(number: int) -> list[Item]:
    """Items with keys and sources of the length that pictures have."""
    keys = (sha256(str(place).encode()).hexdigest() for place in range(number))
    return [Item(key, f"/home/someone/visage/data/processed/faces/train/ada/{key[:16]}.png") for key in keys]


def costs(images_per_job: int, options: argparse.Namespace) -> dict[str, float]:
    """Milliseconds of the queue's single steps, each for one job, and the bytes of a job that is handed out."""
    items = made_items(COSTS_JOBS * images_per_job)
    clock, work = CLOCKS[options.clock], Vectors(options.width, lambda _: None)
    with tempfile.TemporaryDirectory(prefix="visage-") as folder:
        store = Store(Path(folder), work.name, work.identity())
        marks = [clock()]
        plan = make_plan(items, images_per_job, store.fingerprint)
        marks.append(clock())
        store.prepare(plan)
        marks.append(clock())
        worker = Worker(work, store)
        for what in (worker.perform, lambda job: store.record(job.digest), lambda job: store.load(job.digest)):
            for job in plan.jobs:
                assert what(job)
            marks.append(clock())
        store.index()
        marks.append(clock())
    spent = {
        name: 1000 * (end - start) / COSTS_JOBS for name, start, end in zip(STEPS, marks[:-1], marks[1:], strict=True)
    }
    return spent | {"bytes": float(len(pickle.dumps(plan.jobs[0])))}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 16, 64, 256, 1024, 4096])
    parser.add_argument("--images-per-job", type=int, nargs="+", default=[16, 64, 512])
    parser.add_argument("--rate", type=float, default=266.6, help="images a second of one worker")
    parser.add_argument("--engine", choices=("dask", "local"), default="dask")
    parser.add_argument("--dispatch", type=float, default=0.001, help="seconds of the scheduler for each job")
    parser.add_argument("--slower", type=float, default=1.0)
    parser.add_argument("--width", type=int, default=128, help="of a result")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def main() -> None:
    """Measure, simulate and print."""
    options = parse()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a claim is an open file
    print("ms for a job of" + "".join(f"{name:>12}" for name in STEPS) + "  KB handed out")
    for size in options.images_per_job:
        spent = costs(size, options)
        print(f"{size:8} images" + "".join(f"{spent[name]:12.3f}" for name in STEPS) + f"{spent['bytes'] / 1e3:15.1f}")
    for size in options.images_per_job:
        print(f"\n{size} images a job, {options.engine}, {options.rate:g} images/s a worker")
        print("workers   jobs  images/s  of linear  alone s  workers s  computing  queue  hand-out  alone")
        for workers in options.workers:
            row = simulate(workers, size, options)
            shares = "  ".join(f"{share:7.0%}" for share in row.shares.values())
            print(f"{row.workers:7} {row.jobs:6} {row.rate:9.0f} {row.rate / workers / options.rate:10.0%} "
                  f"{row.seconds[0] + row.seconds[2]:8.2f} {row.seconds[1]:10.2f}    {shares}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
