"""Damaged results: whatever happens to a file of a store, the next run notices and gives what a cold run gives."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.driver import logged, outputs, run, run_here, shards, store_of
from jobs.toywork import ToyWork
from visage.errors import DataError
from visage.jobs.plan import Item, Job
from visage.jobs.queue import Results, run_queue
from visage.jobs.store import Reader, Store
from visage.jobs.work import Work
from visage.jobs.worker import Worker

ITEMS = [Item(f"key{index}", "bad" if index == 4 else "") for index in range(10)]  # jobs of 3, the last of 1


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8 % len(content)] ^= 1 << bit % 8
    path.write_bytes(content)


def other_key(path: Path) -> None:
    """A record that is whole but lists another item."""
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"items": ["other", *record["items"][1:]]}))


DAMAGES: dict[str, tuple[str, Callable[[Path], object]]] = {
    "deleted shard": ("npz", Path.unlink),
    "empty shard": ("npz", lambda path: path.write_bytes(b"")),
    "truncated shard": ("npz", lambda path: path.write_bytes(path.read_bytes()[:-30])),
    "lengthened shard": ("npz", lambda path: path.write_bytes(path.read_bytes() + b"0")),
    "flipped bit in a shard": ("npz", lambda path: flip(path, 8 * 200 + 3)),
    "deleted record": ("done", Path.unlink),
    "empty record": ("done", lambda path: path.write_bytes(b"")),
    "truncated record": ("done", lambda path: path.write_bytes(path.read_bytes()[:-30])),
    "flipped bit in a record": ("done", lambda path: flip(path, 8 * 40 + 1)),
    "another key in a record": ("done", other_key),
    "a record of something else": ("done", lambda path: path.write_text("[1, 2]")),
    "a record of numbers": ("done", lambda path: path.write_text("7")),
}


@pytest.fixture
def work(tmp_path: Path) -> ToyWork:
    return ToyWork(log=str(tmp_path / "log"))


def computed(work: ToyWork) -> list[str]:
    """What was computed since the last call."""
    keys = logged(Path(work.log))
    Path(work.log).unlink(missing_ok=True)
    return keys


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("job", [1, 3])
def test_damaged_jobs_and_no_others_are_computed_again(tmp_path: Path, work: ToyWork, name: str, job: int) -> None:
    cold = run(tmp_path / "cold", ITEMS, work)
    run(tmp_path, ITEMS, work)
    whole, names = shards(tmp_path), sorted(shards(tmp_path))
    computed(work)
    ending, damage = DAMAGES[name]
    damage(store_of(tmp_path).folder / "shards" / f"{names[job][:-4]}.{ending}")
    keys = [*store_of(tmp_path / "cold").records()[names[job][:-4]].items]
    assert run(tmp_path, ITEMS, work) == cold
    assert computed(work) == keys
    assert shards(tmp_path) == whole


@pytest.fixture(scope="session")
def store_to_flip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("flip")
    run(root, ITEMS, ToyWork(log=str(root / "log")))
    return root


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 7), bit=st.integers(0, 8 * 4096))
def test_no_flipped_bit_of_any_file_reaches_the_output(store_to_flip: Path, place: int, bit: int) -> None:
    work = ToyWork(log=str(store_to_flip / "log"))
    cold = run(store_to_flip, ITEMS, work)
    computed(work)
    flip(sorted((store_of(store_to_flip).folder / "shards").iterdir())[place], bit)
    assert run(store_to_flip, ITEMS, work) == cold
    assert 1 <= len(computed(work)) <= 3


def test_a_shard_without_its_record_is_not_believed(tmp_path: Path, work: ToyWork) -> None:
    cold = run(tmp_path / "cold", ITEMS, work)
    run(tmp_path, ITEMS, work)
    computed(work)
    for record in (store_of(tmp_path).folder / "shards").glob("*.done"):
        record.with_suffix(".npz").write_bytes(b"written by a worker that was killed before the record")
        record.unlink()
    assert run(tmp_path, ITEMS, work) == cold
    assert len(computed(work)) == len(ITEMS)


def test_a_record_of_another_store_is_not_believed(tmp_path: Path) -> None:
    one, two = ToyWork(parameter=1), ToyWork(parameter=2)
    run(tmp_path, ITEMS, one)
    cold = run(tmp_path / "cold", ITEMS, two)
    there, here = (store_of(tmp_path, work).folder for work in (one, two))
    shutil.copytree(there, here)
    assert store_of(tmp_path, one).records() and not store_of(tmp_path, two).records()
    assert run(tmp_path, ITEMS, two) == cold


def test_a_record_of_another_job_is_not_believed(tmp_path: Path) -> None:
    cold = run(tmp_path, ITEMS)
    one, two = list(store_of(tmp_path).records())[:2]
    for ending in ("npz", "done"):
        shutil.copy(*(store_of(tmp_path).folder / "shards" / f"{name}.{ending}" for name in (one, two)))
    assert two not in store_of(tmp_path).records()
    assert run(tmp_path, ITEMS) == cold


def test_a_result_that_is_damaged_after_the_run_is_one_clear_error(tmp_path: Path) -> None:
    def use(results: Results) -> None:
        flip(next((store_of(tmp_path).folder / "shards").glob("*.npz")), 999)
        outputs(results)

    with pytest.raises(DataError, match="gone or damaged: run again"):
        run_queue(ToyWork(), ITEMS, 3, root=tmp_path, engine=run_here, use=use)
    assert run(tmp_path, ITEMS) == run(tmp_path / "cold", ITEMS)


def test_a_disk_that_damages_everything_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    perform = Worker.perform

    def spoil(worker: Worker, job: Job) -> bool:
        done = perform(worker, job)
        flip(worker.store.folder / "shards" / f"{job.digest}.npz", 999)
        return done

    monkeypatch.setattr(Worker, "perform", spoil)
    with pytest.raises(DataError, match="check the disk"):
        run(tmp_path, ITEMS)


def test_who_finds_damage_leaves_alone_what_another_process_is_writing_anew(tmp_path: Path) -> None:
    run(tmp_path, ITEMS)
    store = store_of(tmp_path)
    digest = next(iter(store.records()))
    (store.folder / "shards" / f"{digest}.done").unlink()  # as between the two files of a commit
    with store.claim(digest) as held:
        assert held and store.load(digest) is None
        assert (store.folder / "shards" / f"{digest}.npz").exists()
    assert store.load(digest) is None
    assert not (store.folder / "shards" / f"{digest}.npz").exists()


def test_items_of_a_damaged_shard_are_not_found(tmp_path: Path) -> None:
    run(tmp_path, ITEMS)
    store = store_of(tmp_path)
    reader = Reader(store)
    for path in (store.folder / "shards").glob("*.npz"):
        flip(path, 2000)
    assert all(reader.find(item.key) is None for item in ITEMS)
    assert reader.find("never heard of") is None


def test_what_is_read_from_a_store_is_what_was_computed(tmp_path: Path) -> None:
    run(tmp_path, ITEMS)
    reader = Reader(store_of(tmp_path))
    for item in reversed(ITEMS):
        rows, error = reader.find(item.key) or pytest.fail(item.key)
        alone = ToyWork().compute([item])
        assert np.array_equal(rows["values"], alone.arrays["values"][0]) and error == alone.errors[0]


def test_a_worker_that_did_other_jobs_before_gives_the_same_bytes(tmp_path: Path) -> None:
    def backwards(work: Work, store: Store, jobs: Sequence[Job], workers: int) -> Iterator[Job | None]:
        return run_here(work, store, jobs[::-1], workers)

    def one_worker_each(work: Work, store: Store, jobs: Sequence[Job], workers: int) -> Iterator[Job | None]:
        return (job for job in jobs if Worker(work, store).perform(job))

    for engine in (run_here, backwards, one_worker_each):
        run(tmp_path / engine.__name__, ITEMS, engine=engine)
    assert shards(tmp_path / "run_here") == shards(tmp_path / "backwards") == shards(tmp_path / "one_worker_each")
