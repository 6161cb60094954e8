"""What is searched, in which order, and how results are named."""

from pathlib import Path

import pytest

from visage.errors import VisageError
from visage.serving.inputs import find_pictures, unique_names


def test_hidden_files_and_other_kinds_are_passed_over_in_folders(tmp_path: Path) -> None:
    for name in ("b.png", "a.JPEG", ".hidden.png", ".cache/c.png", "notes.txt", "z/y.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_pictures([tmp_path], tmp_path / "out")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["a.JPEG", "b.png", "z/y.webp"]


def test_a_file_given_by_name_is_tried_whatever_it_is_called(tmp_path: Path) -> None:
    (tmp_path / "picture.tmp").touch()
    assert find_pictures([str(tmp_path / "picture.tmp")], tmp_path / "out") == [tmp_path / "picture.tmp"]


def test_a_picture_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert find_pictures([tmp_path / "a.png", tmp_path], tmp_path / "out") == [tmp_path / "a.png"]


def test_no_arguments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VisageError, match="no pictures"):
        find_pictures([], tmp_path)


def test_names_are_unique_without_regard_to_case_and_stable() -> None:
    paths = [Path(name) for name in ("a/x.png", "b/x.jpg", "x_2.png", "c/X.png", "y.png")]
    names = unique_names(paths)
    assert names == ["x", "x_2", "x_2_2", "X_3", "y"]
