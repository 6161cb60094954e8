"""Engines: who performs the jobs. Each yields a job when its result is there, and None now and then while nothing is.

The truth is in the store, so an engine only hands out work; which one is used, and with how many workers, comes from
the environment, because it changes no result: VISAGE_ENGINE "local" (processes of this machine) or "dask" (a cluster at
DASK_SCHEDULER_ADDRESS, or else one of this machine's processes), VISAGE_WORKERS.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from visage.errors import ConfigError, DataError
from visage.jobs.local import run_local
from visage.jobs.plan import Job
from visage.jobs.store import Store
from visage.jobs.work import Work
from visage.jobs.worker import Worker, explain, start_worker
from visage.runtime import check_choice

Engine = Callable[[Work, Store, Sequence[Job], int], Iterator[Job | None]]


def run_dask(work: Work, store: Store, jobs: Sequence[Job], workers: int) -> Iterator[Job | None]:
    """Every job as a task of Dask, which starts it again on another worker when one dies."""
    try:
        from dask.distributed import Client, KilledWorker, LocalCluster, as_completed
    except ImportError:
        raise ConfigError("VISAGE_ENGINE=dask, but Dask is not installed: pip install 'visage[dask]'") from None
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    with ExitStack() as stack:
        cluster = address or stack.enter_context(
            LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address="localhost:0")
        )
        client = stack.enter_context(Client(cluster))
        todo = dict(zip(client.map(partial(perform, work, store), jobs, pure=False), jobs, strict=True))
        for future in as_completed(todo):
            try:
                future.result()
            except KilledWorker as error:
                raise DataError(f"a job killed several Dask workers ({error}): see the workers' logs") from None
            yield todo[future]


def perform(work: Work, store: Store, job: Job) -> None:
    """`job` in a worker process of somebody else's, where it waits for a job that another worker is doing."""
    worker = _worker(work, store)
    try:
        while not worker.perform(job):
            time.sleep(0.2)
    except Exception as error:
        raise explain(error, store) or error from None


_workers: dict[Path, Worker] = {}  # of this process, by the store's folder; the last one alone is kept


def _worker(work: Work, store: Store) -> Worker:
    """The worker of this process, with its model."""
    if store.folder not in _workers:
        start_worker()
        _workers.clear()
        _workers[store.folder] = Worker(work, store)
    return _workers[store.folder]


ENGINES: dict[str, Engine] = {"local": run_local, "dask": run_dask}


def engine_from_environment() -> Engine:
    """The engine that VISAGE_ENGINE names.

    Raises:
        ConfigError: there is none of that name.
    """
    name = os.environ.get("VISAGE_ENGINE") or "local"
    check_choice("VISAGE_ENGINE", name, tuple(ENGINES))
    return ENGINES[name]
