"""Plans: every item in exactly one job, and names that say what a result must be."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visage.jobs.plan import Item, make_plan, read_digests, write_plan

KEYS = st.lists(st.text(max_size=6), max_size=40)
SIZES = st.integers(1, 12)


def items(keys: list[str]) -> list[Item]:
    return [Item(key, "") for key in keys]


@given(KEYS, SIZES)
def test_jobs_cover_the_items_once_and_in_order(keys: list[str], size: int) -> None:
    plan = make_plan(items(keys), size, "f")
    assert [item.key for job in plan.jobs for item in job.items] == keys and plan.items == len(keys)
    assert [job.index for job in plan.jobs] == list(range(len(plan.jobs)))
    assert [job.first for job in plan.jobs] == list(range(0, len(keys), size))
    assert all(len(job.items) == size for job in plan.jobs[:-1])


@given(KEYS, KEYS, st.text(max_size=3), st.text(max_size=3))
def test_a_job_is_called_differently_exactly_where_its_keys_or_the_fingerprint_differ(
    one: list[str], other: list[str], first: str, second: str
) -> None:
    for keys, fingerprint in ((other, second), (one, second), (other, first), (one, first)):
        a, b = make_plan(items(one), 50, first), make_plan(items(keys), 50, fingerprint)
        same = (one, first) == (keys, fingerprint)
        assert (a.digest == b.digest) == (same or (not one and not keys and first == fingerprint))
        if one and keys:
            assert (a.jobs[0].digest == b.jobs[0].digest) == same


def test_keys_that_hold_separators_are_not_taken_for_several_keys() -> None:
    assert make_plan(items(["a\nb"]), 2, "f").jobs[0].digest != make_plan(items(["a", "b"]), 2, "f").jobs[0].digest


@given(st.lists(st.text(max_size=6), max_size=40), SIZES)
def test_sources_do_not_change_what_a_job_is_called(keys: list[str], size: int) -> None:
    moved = [Item(key, f"elsewhere/{key}") for key in keys]
    assert make_plan(moved, size, "f").digest == make_plan(items(keys), size, "f").digest


@given(KEYS, SIZES)
def test_a_written_plan_is_read_back(tmp_path_factory: pytest.TempPathFactory, keys: list[str], size: int) -> None:
    plan, path = make_plan(items(keys), size, "f"), tmp_path_factory.mktemp("plan") / "jobs_queue.csv"
    write_plan(plan, path)
    assert read_digests(path) == [job.digest for job in plan.jobs]


def test_a_plan_is_written_once_and_a_damaged_one_is_replaced(tmp_path: Path) -> None:
    plan, path = make_plan(items(["a", "b", "c"]), 2, "f"), tmp_path / "jobs_queue.csv"
    write_plan(plan, path)
    content, inode = path.read_bytes(), path.stat().st_ino
    write_plan(plan, path)
    assert path.stat().st_ino == inode
    for damaged in (content[:-5], b"", b"\xff\x00", content.replace(b"job", b"jab")[::-1]):
        path.write_bytes(damaged)
        write_plan(plan, path)
        assert path.read_bytes() == content
