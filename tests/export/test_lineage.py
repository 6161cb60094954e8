"""Lineage hashes follow content and relative names, not places or orders."""

from pathlib import Path

import pytest

from visage.errors import DataError
from visage.export.lineage import lineage, sha256_tree


def fill(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "b.txt").write_text("b")
    (folder / "a.txt").write_text("a")
    return folder


def test_the_same_tree_elsewhere_has_the_same_hash(tmp_path: Path) -> None:
    first, second = fill(tmp_path / "one"), fill(tmp_path / "two")
    params = {"lr": 0.1, "sizes": [1, 2]}
    made = lineage({"data": first, "file": first / "a.txt"}, params)
    assert made == lineage({"file": second / "a.txt", "data": second}, dict(reversed(params.items())))
    assert list(made) == ["data", "params"]
    assert str(tmp_path) not in repr(made)


@pytest.mark.parametrize("change", ["content", "name", "added", "moved content"])
def test_every_change_in_a_tree_changes_its_hash(change: str, tmp_path: Path) -> None:
    folder = fill(tmp_path / "data")
    before = sha256_tree(folder)
    if change == "content":
        (folder / "a.txt").write_text("A")
    elif change == "name":
        (folder / "a.txt").rename(folder / "c.txt")
    elif change == "added":
        (folder / "empty").touch()
    else:
        (folder / "a.txt").write_text("b")
        (folder / "deep" / "b.txt").write_text("a")
    assert sha256_tree(folder) != before


def test_parameters_change_the_lineage() -> None:
    assert lineage({}, {"lr": 0.1}) != lineage({}, {"lr": 0.2})


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train .*absent"):
        lineage({"train": tmp_path / "absent"}, {})
