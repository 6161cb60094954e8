"""`visage jobs`: the state of the queues is read off the files, and cleaning never takes what is wanted."""

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.toywork import ToyWork, items
from visage.cli import app
from visage.jobs.admin import collect, queues, verify
from visage.jobs.plan import Item
from visage.jobs.queue import Results, run_queue
from visage.jobs.store import Store


def run(root: Path, count: int = 10, parameter: int = 1) -> Results:
    return run_queue(ToyWork(parameter), items(count), 4, root=root, workers=1, use=lambda results: None)


def age(results: Results, days: float) -> None:
    """Let the plan have been used so long ago."""
    folder = results.store.folder / "plans" / results.plan.digest
    then = folder.stat().st_mtime - days * 86_400
    os.utime(folder, (then, then))


def test_every_queue_is_listed_with_what_is_done(tmp_path: Path) -> None:
    whole = run(tmp_path)
    bad = [*items(2), Item("other", "bad")]
    partly = run_queue(ToyWork(2), bad, 1, root=tmp_path, workers=1, use=lambda results: None)
    (partly.store.folder / "shards" / f"{partly.plan.jobs[0].digest}.done").unlink()
    states = {
        queue.identity["parameter"]: (queue.jobs, queue.done, queue.items, queue.bad) for queue in queues(tmp_path)
    }
    assert states == {1: (3, 3, 10, 0), 2: (3, 2, 2, 1)}
    assert "parameter=1" in next(queue.label for queue in queues(tmp_path) if queue.plan == whole.plan.digest)


def test_verify_removes_what_is_damaged_and_the_next_run_makes_it_again(tmp_path: Path) -> None:
    results = run(tmp_path)
    shard = next((results.store.folder / "shards").glob("*.npz"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert verify(tmp_path) == (2, 1)
    assert verify(tmp_path) == (2, 0)
    assert run(tmp_path).computed == 1


def test_cleaning_keeps_recent_plans_and_shards_that_they_share(tmp_path: Path) -> None:
    small, large = run(tmp_path, 8), run(tmp_path, 10)  # the first two jobs are the same
    age(large, 40)
    dry = collect(tmp_path, days=30, dry_run=True)
    assert dry == collect(tmp_path, days=30)
    assert dry[0] == 2  # the third job's shard and its record
    assert run(tmp_path, 8).computed == 0
    assert small.plan.digest in {queue.plan for queue in queues(tmp_path)}
    assert large.plan.digest not in {queue.plan for queue in queues(tmp_path)}
    assert run(tmp_path, 10).computed == 1


def test_a_store_that_nobody_wants_goes_whole(tmp_path: Path) -> None:
    results = run(tmp_path)
    collect(tmp_path, days=0)
    assert not results.store.folder.exists()
    assert run(tmp_path).computed == 3


def test_a_store_in_use_is_left_alone(tmp_path: Path) -> None:
    results = run(tmp_path)
    store = Store(tmp_path, "toy", ToyWork().identity())
    with store.in_use():
        assert collect(tmp_path, days=0) == (0, 0)
    assert run(tmp_path).resumed == len(results.plan.jobs)


def test_the_commands_say_what_they_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert "no queues yet" in call()
    results = run(tmp_path / ".visage" / "jobs")
    assert "done: 3 of 3 jobs, 10 items, 0 bad" in call()
    assert "3 results are whole, 0 were damaged" in call("verify")
    assert "would remove 6 files" in call("gc", "--days", "0", "--dry-run")
    assert "removed 0 files" in call("gc")
    next((results.store.folder / "shards").glob("*.npz")).write_bytes(b"")
    assert "done: 2 of" not in call("verify", code=1)
    assert "unfinished: 2 of 3 jobs" in call()
    assert "must be at least 0" in call("gc", "--days", "-1", code=2)


def call(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["jobs", *arguments])
    assert done.exit_code == code, done.output
    return done.output
