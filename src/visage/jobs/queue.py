"""`run_queue`: everything that has no result yet is computed, and the results are there to be read in order.

Whatever stops it - a kill, a full disk, a time limit - leaves the jobs that are done, and the same call goes on from
there. A result that turns out to be damaged is computed again, so what is read at the end is what a cold run gives.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from visage.errors import DataError, Unfinished
from visage.jobs.engines import Engine, engine_from_environment
from visage.jobs.plan import Item, Job, Plan, make_plan
from visage.jobs.progress import Progress
from visage.jobs.store import Store, jobs_root
from visage.jobs.work import Outcome, Work
from visage.jobs.worker import explain
from visage.runtime import worker_count

ROUNDS = 3  # of computing what was found damaged


@dataclass(frozen=True)
class Results:
    """Finished work. resumed, computed: jobs that were there at the start, and others; seconds: since the start."""

    store: Store
    plan: Plan
    resumed: int
    computed: int
    seconds: float

    def read(self) -> Iterator[tuple[Job, Outcome]]:
        """Every job with its results, in the order of the items.

        Raises:
            DataError: a result was damaged or removed since the queue was done.
        """
        for job in self.plan.jobs:
            outcome = self.store.load(job.digest)
            if outcome is None:
                raise DataError(f"{self.store.folder}: the result of job {job.index} is gone or damaged: run again")
            yield job, outcome


def run_queue(
    work: Work,
    items: Sequence[Item],
    items_per_job: int,
    *,
    root: Path | None = None,
    engine: Engine | None = None,
    workers: int | None = None,
    max_minutes: float = 0,
    use: Callable[[Results], None],
) -> Results:
    """Do what is missing of `work` on `items`, then call `use` with all results before anything may remove them.

    root: of all stores (default: `jobs_root()`). engine, workers: default from the environment. max_minutes: 0 for no
    limit.

    Raises:
        Unfinished: `max_minutes` passed; the same call continues.
        VisageError: the work's own, a full disk, a job that no worker survives, no items.
    """
    if not items:
        raise DataError(f"{work.name}: there are no items to work on: check the list they come from")
    store = Store(root or jobs_root(), work.name, work.identity())
    plan = make_plan(items, items_per_job, store.fingerprint)
    started = time.monotonic()
    deadline = started + 60 * max_minutes if max_minutes else None
    with ExitStack() as stack:
        try:
            stack.enter_context(store.in_use())
            store.prepare(plan)
        except OSError as error:
            raise explain(error, store) or error from None
        missing = [job for job in plan.jobs if store.record(job.digest) is None]
        resumed = len(plan.jobs) - len(missing)
        print(f"{work.name}: {len(plan.jobs)} jobs, {resumed} of them there already", flush=True)
        done = plan.items - sum(len(job.items) for job in missing)
        for _ in range(ROUNDS):
            with Progress(work.name, plan.items, done) as progress:
                _perform(work, store, missing, engine, workers or worker_count(), deadline, progress)
            missing = [job for job in plan.jobs if store.load(job.digest) is None]
            if not missing:
                break
            print(f"{work.name}: {len(missing)} results are damaged and computed again", flush=True)
            done = plan.items - sum(len(job.items) for job in missing)
        else:
            raise DataError(f"{store.folder}: results are damaged as soon as they are written: check the disk")
        results = Results(store, plan, resumed, len(plan.jobs) - resumed, time.monotonic() - started)
        use(results)
    return results


def _perform(
    work: Work,
    store: Store,
    jobs: Sequence[Job],
    engine: Engine | None,
    workers: int,
    deadline: float | None,
    progress: Progress,
) -> None:
    """Let the engine do `jobs`, counting each once."""
    if not jobs:
        return
    left = {job.index for job in jobs}
    with closing((engine or engine_from_environment())(work, store, jobs, workers)) as stream:  # type: ignore[type-var]
        for job in stream:
            if job is not None and job.index in left:
                left.remove(job.index)
                progress.add(len(job.items))
            if deadline is not None and time.monotonic() > deadline and left:
                raise Unfinished(
                    f"{work.name}: the time limit came with {len(left)} jobs left, everything done is saved: start the "
                    "same command again to continue"
                )
