"""The queue: what is computed, by whom, how often, and what a fault of each kind does."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import threadpoolctl

from jobs.driver import leftovers, logged, run, run_here, shards, start, store_of, until
from jobs.toywork import ToyWork, items
from visage.errors import DataError, Unfinished, VisageError
from visage.jobs import local, worker
from visage.jobs.claim import alone, claim
from visage.jobs.local import run_local
from visage.jobs.plan import Item, make_plan
from visage.jobs.store import IN_USE, Store, jobs_root
from visage.jobs.work import Outcome
from visage.jobs.worker import Worker

TOY = ToyWork()
ITEMS = items(10)  # jobs of 3, the last of 1


@pytest.fixture
def work(tmp_path: Path) -> ToyWork:
    return ToyWork(log=str(tmp_path / "log"))


def keys(given: Sequence[Item]) -> list[str]:
    return [item.key for item in given]


def computed(work: ToyWork) -> list[str]:
    """What was computed since the last call, sorted."""
    found = sorted(logged(Path(work.log)))
    Path(work.log).unlink(missing_ok=True)
    return found


def expected(given: Sequence[Item], work: ToyWork = TOY, size: int = 3) -> bytes:
    """The output by a loop without jobs."""
    parts = [work.open()(given[first : first + size]) for first in range(0, len(given), size)]
    return b"".join(part.arrays["values"].tobytes() + json.dumps(list(part.errors)).encode() for part in parts)


def with_source(place: int, source: object) -> list[Item]:
    return [Item(item.key, str(source) if index == place else "") for index, item in enumerate(ITEMS)]


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_workers_change_no_byte(tmp_path: Path, work: ToyWork, workers: int) -> None:
    assert run(tmp_path / "many", ITEMS, work, engine=run_local, workers=workers) == expected(ITEMS)
    assert computed(work) == keys(ITEMS)
    run(tmp_path / "none", ITEMS)
    assert shards(tmp_path / "many") == shards(tmp_path / "none")
    assert not leftovers(tmp_path)


def test_a_second_run_computes_nothing(tmp_path: Path, work: ToyWork) -> None:
    first = run(tmp_path, ITEMS, work)
    computed(work)
    assert run(tmp_path, ITEMS, work) == first
    assert computed(work) == []


def test_two_processes_on_one_queue_share_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISAGE_WORKERS", "1")
    given, settings = items(120), {"log": str(tmp_path / "log"), "seconds": 0.05}
    outputs = [tmp_path / "one", tmp_path / "two"]
    drivers = [start(tmp_path, given, "", work=settings, output=str(output)) for output in outputs]
    for driver, output in zip(drivers, outputs, strict=True):
        _, errors = driver.communicate()
        assert driver.returncode == 0, errors
        assert output.read_bytes() == expected(given)
    assert sorted(logged(tmp_path / "log")) == sorted(keys(given))
    assert len({record.worker for record in store_of(tmp_path).records().values()}) == 2


@pytest.mark.parametrize("change", [{"parameter": 2}, {"version": "2"}])
def test_a_change_uses_nothing_old_and_going_back_computes_nothing(
    tmp_path: Path, work: ToyWork, change: dict[str, Any]
) -> None:
    changed = ToyWork(log=work.log, **change)
    old = run(tmp_path, ITEMS, work)
    computed(work)
    new = run(tmp_path, ITEMS, changed)
    assert computed(work) == keys(ITEMS)
    assert new == expected(ITEMS, changed)
    computed(work)
    assert run(tmp_path, ITEMS, work) == old and run(tmp_path, ITEMS, changed) == new
    assert computed(work) == []


@pytest.mark.parametrize("moment", [0, 4_000_000_000])
def test_a_clock_that_jumped_means_nothing(tmp_path: Path, work: ToyWork, moment: int) -> None:
    first = run(tmp_path, ITEMS, work)
    computed(work)
    for path in tmp_path.rglob("*"):
        os.utime(path, (moment, moment))
    assert run(tmp_path, ITEMS, work) == first
    assert computed(work) == []


@pytest.mark.parametrize("engine", [run_here, run_local])
def test_the_time_of_day_is_never_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Any) -> None:
    def broken() -> float:
        raise AssertionError("somebody looked at the clock")

    monkeypatch.setattr(time, "time", broken)
    assert run(tmp_path, ITEMS, engine=engine, max_minutes=60) == expected(ITEMS)


def test_added_items_are_the_only_ones_computed(tmp_path: Path, work: ToyWork) -> None:
    run(tmp_path, ITEMS, work)
    computed(work)
    more = [*ITEMS[:4], Item("new", ""), *ITEMS[4:], Item("newer", "")]
    assert run(tmp_path, more, work) == expected(more)
    assert computed(work) == ["new", "newer"]


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_another_order_or_size_or_a_part_computes_nothing(tmp_path: Path, work: ToyWork, size: int) -> None:
    run(tmp_path, ITEMS, work)
    computed(work)
    for given in (ITEMS[::-1], ITEMS[::2], ITEMS):
        assert run(tmp_path, given, work, size) == expected(given, size=size)
    assert computed(work) == []
    run(tmp_path / "cold", ITEMS, size=size)
    assert shards(tmp_path / "cold").items() <= shards(tmp_path).items()


@pytest.mark.parametrize("size", [1, 2, 6])
def test_equal_items_have_equal_results_wherever_they_are(tmp_path: Path, size: int) -> None:
    twice = [ITEMS[0], ITEMS[1], ITEMS[1], ITEMS[0], ITEMS[0], ITEMS[1]]
    for engine in (run_here, run_local):
        assert run(tmp_path / engine.__name__, twice, size=size, engine=engine) == expected(twice, size=size)


def test_no_items_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="toy: there are no items"):
        run(tmp_path, [])


def test_bad_items_have_their_error_and_are_counted(tmp_path: Path, work: ToyWork) -> None:
    given = with_source(4, "bad")
    assert run(tmp_path, given, work) == expected(given)
    assert computed(work) == keys(given)
    store = store_of(tmp_path)
    assert sum(record.bad for record in store.records().values()) == 1
    job = make_plan(given, 3, store.fingerprint).jobs[1]
    outcome = store.load(job.digest)
    assert outcome and list(outcome.errors) == ["", "bad input", ""]
    run(tmp_path, given, work)
    assert computed(work) == []


def test_a_disk_that_fails_now_and_then_is_tried_again(
    tmp_path: Path, work: ToyWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "FIRST_PAUSE", 0)
    given = with_source(4, f"flaky:{tmp_path / 'tries'}")
    assert run(tmp_path, given, work) == expected(ITEMS)
    assert len(logged(tmp_path / "tries")) == 3
    assert computed(work) == keys(ITEMS)


FAULTS = [
    ("broken disk", DataError, r"^\[Errno 5\] Input/output error: mend the disk or the network and run again$", 4),
    ("broken pipe", DataError, r"^\[Errno 32\] Broken pipe: mend the disk or the network and run again$", 4),
    ("exit", DataError, r"^workers ended 3 times in job 1 \(exit code 0\)", 3),
    ("mistake", DataError, "^weights of the toy are missing$", 1),
    ("bug", RuntimeError, "(?s)Traceback.*in harm.*KeyError: 'a fault of the code'", 1),
    (
        "SIGKILL",
        DataError,
        r"^workers ended 3 times in job 1 \(exit code -9\): if memory ran out, use fewer workers",
        3,
    ),
]


@pytest.mark.parametrize(("deed", "error", "message", "tries"), FAULTS)
def test_a_fault_stops_the_run_and_costs_nothing_that_is_done(
    tmp_path: Path, work: ToyWork, monkeypatch: pytest.MonkeyPatch, deed: str, error: type, message: str, tries: int
) -> None:
    monkeypatch.setattr(local, "KILLS_OF_A_JOB", 3)
    run(tmp_path, ITEMS[:3], work)
    with pytest.raises(error, match=message):
        run(tmp_path, with_source(4, f"{deed}:{tmp_path / 'tries'}"), work, engine=run_local, workers=1)
    assert len(logged(tmp_path / "tries")) == tries
    assert not multiprocessing.active_children()
    assert run(tmp_path, ITEMS, work) == expected(ITEMS)
    assert computed(work) == keys(ITEMS)


class Stillborn(ToyWork):
    """Work that kills whoever receives it."""

    def __setstate__(self, state: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class Threads(ToyWork):
    """Work whose result is the number of threads of each library that numpy brings."""

    def compute(self, items: Sequence[Item]) -> Outcome:
        counts = [library["num_threads"] for library in threadpoolctl.threadpool_info()]
        return Outcome({"values": np.array([counts] * len(items))}, [""] * len(items))


def test_a_worker_has_one_thread_and_its_parent_what_it_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run(tmp_path, ITEMS, Threads(), engine=run_local, workers=1)
    outcomes = [store_of(tmp_path).load(digest) for digest in store_of(tmp_path).records()]
    assert all(
        outcome and outcome.arrays["values"].size and (outcome.arrays["values"] == 1).all() for outcome in outcomes
    )
    assert os.environ["OPENBLAS_NUM_THREADS"] == "2" and "OMP_NUM_THREADS" not in os.environ


def test_workers_that_never_begin_are_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "KILLS_AT_START", 2)
    with pytest.raises(DataError, match="workers ended 2 times before its first job"):
        run(tmp_path, ITEMS, Stillborn(), engine=run_local, workers=1)


@pytest.mark.parametrize("workers", [1, 3])
def test_an_item_that_crashes_its_process_is_found_and_set_aside(tmp_path: Path, work: ToyWork, workers: int) -> None:
    given = with_source(4, f"SIGSEGV:{tmp_path / 'tries'}")
    run(tmp_path, given, work, engine=run_local, workers=workers)
    assert set(computed(work)) == set(keys(ITEMS)) - {"key4"}
    assert len(logged(tmp_path / "tries")) >= 3
    store = store_of(tmp_path)
    good = store_of(tmp_path / "cold")
    run(tmp_path / "cold", ITEMS)
    for job in make_plan(given, 3, store.fingerprint).jobs:
        here, cold = store.load(job.digest), good.load(job.digest)
        assert here and cold
        for row, item in enumerate(job.items):
            if item.key == "key4":
                assert "SIGSEGV" in here.errors[row] and "remove it" in here.errors[row]
            else:
                assert (here.arrays["values"][row] == cold.arrays["values"][row]).all() and not here.errors[row]
    tries = len(logged(tmp_path / "tries"))
    run(tmp_path, given, work, engine=run_local)
    run(tmp_path, given[::-1], work, engine=run_local)
    assert len(logged(tmp_path / "tries")) == tries


def test_a_job_of_nothing_but_crashing_items_is_one_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "tries"
    with pytest.raises(DataError, match=f"every item of a job kills its process: remove SIGSEGV:{path}"):
        run(tmp_path, with_source(9, f"SIGSEGV:{path}"), engine=run_local, workers=1)


@pytest.mark.parametrize("engine", [run_here, run_local])
def test_a_time_limit_stops_and_the_same_call_continues(tmp_path: Path, work: ToyWork, engine: Any) -> None:
    with pytest.raises(Unfinished, match="start the same command again"):
        run(tmp_path, ITEMS, work, engine=engine, max_minutes=1e-9)
    for _ in range(10):
        try:
            output = run(tmp_path, ITEMS, work, engine=run_here, max_minutes=1e-9)
            break
        except Unfinished:
            continue
    else:
        pytest.fail("the run in pieces never finished")
    assert output == expected(ITEMS)
    assert set(computed(work)) == set(keys(ITEMS)) and not leftovers(tmp_path)


def test_closing_an_engine_leaves_no_process_and_no_claim(tmp_path: Path) -> None:
    work, store = ToyWork(seconds=0.1), store_of(tmp_path)
    plan = make_plan(ITEMS, 1, store.fingerprint)
    store.prepare(plan)
    stream = run_local(work, store, plan.jobs, 2)
    while next(stream) is None:
        pass
    stream.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()
    store.prepare(plan)
    assert store.records() and not leftovers(tmp_path)


def test_who_looks_away_for_a_while_hears_of_every_job_afterwards(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    plan = make_plan(items(300), 1, store.fingerprint)
    store.prepare(plan)
    stream = run_local(ToyWork(), store, plan.jobs, 2)
    next(stream)
    until(lambda: len(store.records()) > 200)
    assert {job.index for job in stream if job} | {0} == set(range(300))


HOLDER = """
import sys, time
from pathlib import Path
from visage.jobs.claim import claim
with claim(Path(sys.argv[1])) as held:
    print(held, flush=True)
    time.sleep(600)
"""


def test_a_claim_is_free_as_soon_as_its_holder_is_dead(tmp_path: Path) -> None:
    path = tmp_path / "job.lock"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "True\n"
        with claim(path) as held:
            assert not held
        holder.kill()
    with claim(path) as held:
        assert held
    assert not path.exists()


def count_up(lock: Path, counter: Path, times: int) -> None:
    while times:
        with claim(lock) as held:
            if held:
                counter.write_text(str(int(counter.read_text()) + 1))
                times -= 1


def test_only_one_process_holds_a_claim_however_many_try(tmp_path: Path) -> None:
    lock, counter = tmp_path / "job.lock", tmp_path / "counter"
    counter.write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=count_up, args=(lock, counter, 200)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert counter.read_text() == "600" and not lock.exists()


def test_a_sweep_removes_what_dead_processes_left_and_nothing_of_the_living(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    plan = make_plan(ITEMS, 3, store.fingerprint)
    store.prepare(plan)
    living, dead = (store.folder / "shards" / f".{job.digest}.npz.tmp-{os.getpid()}.npz" for job in plan.jobs[:2])
    (store.folder / "plans" / ".x.csv.tmp-1.csv").write_bytes(b"half")
    (store.folder / "claims" / f"{plan.jobs[2].digest}.lock").touch()
    with store.claim(plan.jobs[0].digest) as held:
        assert held
        living.write_bytes(b"half")
        dead.write_bytes(b"half")
        store.prepare(plan)
        assert living.exists() and not dead.exists()
        with store.claim(plan.jobs[0].digest) as again:
            assert not again
    store.prepare(plan)
    assert not leftovers(tmp_path)


def test_a_store_in_use_is_not_free_and_many_may_use_it(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    with store.in_use(), store.in_use(), alone(store.folder / IN_USE) as free:
        assert not free
    with alone(store.folder / IN_USE) as free:
        assert free


def test_stores_of_a_temporary_copy_of_the_workspace_are_those_of_the_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert jobs_root() == tmp_path / ".visage" / "jobs"
    monkeypatch.delenv("DVC_ROOT")
    monkeypatch.chdir(tmp_path)
    assert jobs_root() == tmp_path / ".visage" / "jobs"


def test_every_error_of_a_user_is_one_line() -> None:
    for error in (OSError(28, "No space left on device"), OSError(5, "Input/output error"), MemoryError()):
        explained = worker.explain(error, store_of(Path("/somewhere")))
        assert isinstance(explained, VisageError) and "\n" not in str(explained)
    assert worker.explain(KeyError("a fault"), store_of(Path("/somewhere"))) is None


def test_a_job_that_another_worker_finishes_just_before_the_claim_is_not_done_again(
    tmp_path: Path, work: ToyWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, plain = store_of(tmp_path), Store.claim
    plan = make_plan(ITEMS, 3, store.fingerprint)
    store.prepare(plan)

    def late(store: Store, digest: str) -> Any:
        monkeypatch.setattr(Store, "claim", plain)
        assert Worker(work, store).perform(plan.jobs[0])
        return plain(store, digest)

    waiting = Worker(work, store)
    assert waiting.reader.find("key0") is None
    monkeypatch.setattr(Store, "claim", late)
    assert waiting.perform(plan.jobs[0])
    assert computed(work) == keys(ITEMS[:3])
