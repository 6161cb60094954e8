"""Folders become the same list everywhere, and nothing outside the folder is ever listed."""

import os
from pathlib import Path

import pytest

from visage.errors import DataError
from visage.io.folders import read_folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "set"


def fill(root: Path, *names: str) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def ids(root: Path, **options) -> list[str]:
    return [item.sample_id for item in read_folder(root, **options)[0]]


def reasons(root: Path, **options) -> dict[str, str]:
    return {entry.path: entry.reason.split(":")[0] for entry in read_folder(root, **options)[1]}


def test_subfolders_are_classes_and_the_folder_below_is_the_group(root):
    fill(root, "B/s1/x.jpg", "B/s1/deep/y.jpg", "A/z.png")
    items, rejected = read_folder(root)
    assert rejected == []
    assert [(item.sample_id, item.label, item.group, item.source) for item in items] == [
        ("A/z", "A", "A/z.png", "A"),
        ("B/s1/deep/y", "B", "B/s1", "B"),
        ("B/s1/x", "B", "B/s1", "B"),
    ]
    assert all(item.path.is_file() for item in items)


def test_suffixes_count_in_any_case_and_everything_else_is_ignored(root):
    fill(root, "A/a.JPG", "A/b.WebP", "A/c.bmp", "A/notes.txt", "A/.hidden.jpg", ".git/d.jpg", "__MACOSX/A/e.jpg")
    assert ids(root) == ["A/a", "A/b", "A/c"]


def test_pictures_in_formats_not_read_are_listed_so_that_the_decoder_can_say_so(root):
    fill(root, "A/a.heic", "A/b.tiff")
    assert ids(root) == ["A/a", "A/b"]


def test_sample_ids_are_unique_where_only_the_suffix_differs(root):
    fill(root, "A/a.jpg", "A/a.png", "A/a.jpg.png", "A/b.jpg")
    assert ids(root) == ["A/a.jpg", "A/a.jpg.png", "A/a.png", "A/b"]


def test_unicode_and_spaces_are_fine(root):
    fill(root, "Zoë 人/Sitzung 1/ein Bild.jpg")
    assert ids(root) == ["Zoë 人/Sitzung 1/ein Bild"]


def test_a_name_that_is_not_utf8_is_rejected_and_printable(root):
    fill(root, "A/a.jpg")
    try:
        (root / "A" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    except OSError:
        pytest.skip("this file system refuses such names")
    assert reasons(root) == {"A/caf\\udce9.jpg": "name is not UTF-8"}


def test_links_that_leave_the_folder_are_rejected(root, tmp_path):
    fill(tmp_path, "outside/secret.jpg")
    fill(root, "A/a.jpg")
    (root / "A" / "out.jpg").symlink_to(tmp_path / "outside" / "secret.jpg")
    (root / "A" / "gone.jpg").symlink_to("nothing.jpg")
    (root / "A" / "loop.jpg").symlink_to("loop.jpg")
    (root / "A" / "up").symlink_to("..")
    (root / "C").symlink_to(tmp_path / "outside")
    (root / "A" / "inside.jpg").symlink_to("a.jpg")
    found = reasons(root)
    assert found.pop("A/loop.jpg").startswith("unreadable")
    assert found == {
        "A/gone.jpg": "dangling link",
        "A/out.jpg": "leaves the folder",
        "A/up": "link to a folder",
        "C": "leaves the folder",
    }
    assert ids(root) == ["A/a", "A/inside"]


def test_a_root_that_is_itself_a_link_is_fine(root, tmp_path):
    fill(root, "A/a.jpg")
    (tmp_path / "link").symlink_to(root)
    assert ids(tmp_path / "link") == ["A/a"]


def test_a_pipe_with_a_pictures_name_is_rejected(root):
    fill(root, "A/a.jpg")
    os.mkfifo(root / "A" / "pipe.jpg")
    assert reasons(root) == {"A/pipe.jpg": "not a file"}


def test_a_picture_beside_the_class_folders_is_rejected(root):
    fill(root, "A/a.jpg", "stray.jpg")
    assert reasons(root) == {"stray.jpg": "not in a class folder"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_forbidden_folder_is_rejected(root):
    fill(root, "A/a.jpg", "A/s/b.jpg")
    (root / "A" / "s").chmod(0)
    assert reasons(root) == {"A/s": "unreadable folder"}
    (root / "A" / "s").chmod(0o755)


@pytest.mark.parametrize("names", [[], ["readme.txt"], ["a.jpg", "b.jpg"]])
def test_a_folder_without_labelled_pictures_says_which_layouts_are_accepted(root, names):
    root.mkdir()
    fill(root, *names)
    with pytest.raises(DataError, match=r"no labelled pictures.*class subfolders.*CSV of labels"):
        read_folder(root)
    with pytest.raises(DataError, match="no such folder"):
        read_folder(root / "gone")


def test_classes_are_honoured_and_an_unknown_one_names_the_nearest(root):
    fill(root, "ProfA/a.jpg", "ProfB/b.jpg", "Room1/c.jpg", "stray.jpg")
    (root / "ProfB" / "gone.jpg").symlink_to("nothing")
    assert ids(root, classes=["ProfA", "Room1"]) == ["ProfA/a", "Room1/c"]
    assert reasons(root, classes=["ProfA", "Room1"]) == {}
    with pytest.raises(DataError, match=r"no class 'ProfC' \(did you mean 'Prof.'\?\): there are ProfA, ProfB, Room1"):
        read_folder(root, classes=["ProfC"])
    with pytest.raises(DataError, match="empty list"):
        read_folder(root, classes=[])


def table(root: Path, text: str) -> Path:
    path = root / "labels.csv"
    path.write_bytes(text.encode())
    return path


def test_a_csv_gives_labels_groups_and_sources(root):
    fill(root, "1.jpg", "sub/2.jpg", "3.jpg", "unlisted.jpg")
    labels = table(
        root, "\ufefffile;label;group;source\r\n./1.jpg;A;day 1;Ann\r\nsub/2.jpg;A;;\r\n3.jpg;B;day 1;Bob\r\n"
    )
    items, rejected = read_folder(root, labels)
    assert rejected == []
    assert [(item.sample_id, item.label, item.group, item.source) for item in items] == [
        ("1", "A", "day 1", "Ann"),
        ("3", "B", "day 1", "Bob"),
        ("sub/2", "A", "sub/2.jpg", "A"),
    ]
    assert [item.label for item in read_folder(root, labels, ["B"])[0]] == ["B"]


def test_csv_paths_that_leave_the_folder_or_do_not_exist_are_rejected(root, tmp_path):
    fill(tmp_path, "secret.jpg")
    fill(root, "a.jpg")
    inside = str(root / "a.jpg")
    labels = table(
        root, f"file,label\na.jpg,A\n../secret.jpg,A\n/etc/passwd,A\n{inside},A\ngone.jpg,A\nb/../../x.jpg,A\n"
    )
    assert reasons(root, labels=labels) == {
        "../secret.jpg": "leaves the folder",
        "../x.jpg": "leaves the folder",
        "/etc/passwd": "leaves the folder",
        inside: "leaves the folder",
        "gone.jpg": "no such file",
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,label\na.jpg,A\n", r"row 1: no column 'file': the header is"),
        ("file,labels\na.jpg,A\n", r"row 1: no column 'label' \(rename 'labels'\?\)"),
        ("file,label,label\n", "row 1: column 'label' is there twice"),
        ("file,label\na.jpg,A\nb.jpg,\n", "row 3, column label: empty"),
        ("file,label\n,A\n", "row 2, column file: empty"),
        ("file,label\na.jpg\n", "row 2: 1 values for 2 columns"),
        ("file,label\na.jpg,A\n\n./a.jpg,B\n", "row 4, column file: 'a.jpg' is in row 2 too"),
        ("file,label\na.jpg,../up\n", "row 2, column label: '../up' cannot name a folder"),
        ("file,label\na.jpg,A/B\n", "row 2, column label"),
        ("file,label\na.jpg," + "x" * 201, "row 2, column label"),
        ("file,label\na\0.jpg,A\n", "row 2, column file: has a NUL|row 2: not a CSV"),
        ("", "row 1: no column 'file'"),
    ],
)
def test_a_faulty_csv_names_the_row_and_the_column(root, text, message):
    fill(root, "a.jpg", "b.jpg")
    with pytest.raises(DataError, match=message):
        read_folder(root, table(root, text))


def test_an_unreadable_csv_is_named(root):
    fill(root, "a.jpg")
    with pytest.raises(DataError, match=r"nowhere\.csv: the CSV of labels is unreadable"):
        read_folder(root, root / "nowhere.csv")
    (root / "latin.csv").write_bytes(b"file,label\na.jpg,caf\xe9\n")
    with pytest.raises(DataError, match="not UTF-8"):
        read_folder(root, root / "latin.csv")
