"""A full disk and a quota: one clear line, no half file, and only the rest to do once there is space."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.driver import leftovers, logged, run, shards, start, store_of
from jobs.toywork import ToyWork, items
from visage.jobs.plan import Item

SMALL, LARGE = 20, 40  # items: those with a short key come first and fit
ITEMS = [*items(SMALL), *(Item(f"{index:02}" * 2000, "") for index in range(LARGE))]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "visage-test", str(folder)]
    try:
        if subprocess.run(mount, capture_output=True).returncode:
            pytest.skip("mounting is not permitted here")
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def stopped(root: Path, **options: int) -> set[str]:
    """The keys that are done after a run that met the limit."""
    program = start(root, ITEMS, str(root), size=1, **options)
    _, errors = program.communicate()
    assert program.returncode == 1
    assert len(errors.splitlines()) == 1, errors
    assert errors.startswith(f"error: no space left for {store_of(root).folder} (")
    assert "free some (visage jobs gc) and run again" in errors
    return {key for record in store_of(root).records().values() for key in record.items}


def check_the_rest(root: Path, cold: Path, done: set[str]) -> None:
    """Run again with space, and compare with a run that always had it."""
    log = cold.with_name("log")
    output = run(root, ITEMS, ToyWork(log=str(log)), 1)
    assert sorted(logged(log)) == sorted({item.key for item in ITEMS} - done)
    assert output == run(cold, ITEMS, size=1) and shards(root) == shards(cold)
    assert not leftovers(root)


def test_a_full_disk_stops_with_one_line_and_costs_nothing_that_is_done(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISAGE_WORKERS", "2")
    root = small_disk / "jobs"
    done = stopped(root)
    assert SMALL <= len(done) < len(ITEMS)
    again = stopped(root)
    assert done <= again < {item.key for item in ITEMS}
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    check_the_rest(root, tmp_path / "cold", again)


def test_a_disk_without_room_for_a_single_file_is_the_same_line(small_disk: Path) -> None:
    (small_disk / "jobs").mkdir()
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space"):
        filler.write_bytes(bytes(1 << 20))
    assert not stopped(small_disk / "jobs")


def test_a_quota_stops_with_one_line_and_costs_nothing_that_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISAGE_WORKERS", "1")
    root = tmp_path / "jobs"
    done = stopped(root, quota=4000)  # bytes of a file: too few for a record of a long key
    assert done == {item.key for item in ITEMS[:SMALL]}
    assert len(shards(root)) == SMALL + 1  # a shard without its record
    check_the_rest(root, tmp_path / "cold", done)
