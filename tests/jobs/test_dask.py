"""Dask as the engine: the same bytes, nothing lost with a worker, and a cluster that is there already is used."""

import ctypes
import inspect
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.driver import family, kill, leftovers, logged, run, shards, start, store_of, until
from jobs.toywork import ToyWork, items
from visage.errors import ConfigError, DataError
from visage.jobs import engines
from visage.jobs.plan import Item
from visage.jobs.queue import run_queue
from visage.jobs.work import Compute, Outcome

distributed = pytest.importorskip("dask.distributed")
ITEMS = items(12)


@pytest.fixture(autouse=True)
def _engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAGE_ENGINE", "dask")
    monkeypatch.setenv("VISAGE_WORKERS", "2")
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="localhost:0") as cluster:
        yield cluster


def test_dask_changes_no_byte(tmp_path: Path) -> None:
    assert run(tmp_path / "dask", ITEMS, engine=None) == run(tmp_path / "here", ITEMS)
    assert shards(tmp_path / "dask") == shards(tmp_path / "here") and not leftovers(tmp_path)


def test_killed_dask_workers_lose_nothing(tmp_path: Path) -> None:
    given, log = items(60), tmp_path / "log"
    mark, work = str(tmp_path), {"log": str(log), "seconds": 0.1}
    driver = start(tmp_path / "hot", given, mark, size=2, work=work, output=str(tmp_path / "output"))
    for computed in (4, 20):
        until(lambda computed=computed: len(logged(log)) >= computed)
        done = {key for record in store_of(tmp_path / "hot").records().values() for key in record.items}
        line = len(logged(log))
        kill(family(mark)[-1])
        until(lambda line=line: len(logged(log)) > line + 4)
        assert not done & set(logged(log)[line:])
    _, errors = driver.communicate()
    assert driver.returncode == 0, errors
    assert (tmp_path / "output").read_bytes() == run(tmp_path / "cold", given, size=2)
    assert shards(tmp_path / "hot") == shards(tmp_path / "cold")
    assert len(logged(log)) <= len(given) + 2 * 2
    until(lambda: not family(mark, ""))


def test_a_scheduler_that_is_there_does_the_work(tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
    assert run(tmp_path / "dask", ITEMS, engine=None) == run(tmp_path / "here", ITEMS)
    pids = {f":{nanny.pid}" for nanny in cluster.workers.values()}
    assert all(record.worker.endswith(tuple(pids)) for record in store_of(tmp_path / "dask").records().values())
    assert cluster.workers  # and it lives on


class Settings(ToyWork):
    """Work whose result is how its process is set: the threads, and the bytes of a large block that are mmapped."""

    def open(self) -> Compute:
        return self.look

    def look(self, items: Sequence[Item]) -> Outcome:
        before = mapped()
        block = np.empty(40 << 20, dtype=np.uint8)
        values = [int(os.environ["OMP_NUM_THREADS"]), mapped() - before, len(block)]
        return Outcome({"values": np.array([values] * len(items))}, [""] * len(items))


def mapped() -> int:
    """Bytes that glibc has taken for single blocks, which it gives back as soon as they are freed."""

    class Mallinfo(ctypes.Structure):
        _fields_ = [(f"field{index}", ctypes.c_size_t) for index in range(10)]

    mallinfo = ctypes.CDLL(None).mallinfo2
    mallinfo.restype = Mallinfo
    return mallinfo().field4


def test_a_worker_undoes_what_dask_set_for_the_allocator_and_the_threads(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("no mallinfo2 in this C library")
    address = cluster.scheduler_address
    with distributed.Client(address) as client:
        block = client.submit(lambda: os.environ.__setitem__("OMP_NUM_THREADS", "3"), pure=False)
        block.result()
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", address)
    found: list[np.ndarray] = []
    work = Settings(name="settings")
    run_queue(
        work, ITEMS, 4, root=tmp_path, use=lambda results: found.extend(o.arrays["values"] for _, o in results.read())
    )
    for threads, mmapped, size in np.concatenate(found):
        assert threads == 1 and mmapped < size


@pytest.mark.parametrize(
    ("deed", "error", "message"),
    [("mistake", DataError, "^weights of the toy are missing$"), ("bug", KeyError, "a fault of the code")],
)
def test_an_error_in_a_dask_worker_is_the_same_error_here(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch, deed: str, error: type, message: str
) -> None:
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", cluster.scheduler_address)
    with pytest.raises(error, match=message):
        run(tmp_path, [*ITEMS, Item("last", deed)], engine=None)
    assert run(tmp_path, ITEMS, engine=None) == run(tmp_path / "here", ITEMS)


def test_a_job_that_kills_every_worker_of_dask_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="a job killed several Dask workers"):
        run(tmp_path, [*ITEMS, Item("last", "SIGKILL")], engine=None)


def test_an_engine_that_does_not_exist_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAGE_ENGINE", "ray")
    with pytest.raises(ConfigError, match="^VISAGE_ENGINE=ray: choose one of local, dask$"):
        run(tmp_path, ITEMS, engine=None)


def test_the_engine_is_local_unless_the_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VISAGE_ENGINE")
    assert engines.engine_from_environment() is engines.run_local


def test_dask_needs_less_than_twenty_lines() -> None:
    lines = inspect.getsource(engines.run_dask).splitlines()
    assert len([line for line in lines if line.strip()]) < 20
