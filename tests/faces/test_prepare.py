"""Preparing a folder: no copy straddles splits, bad files are set aside, reruns give the same bytes."""

import hashlib
import json
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from visage.errors import ConfigError, DataError
from visage.faces.config import FacesData, PrepareFaces
from visage.faces.prepare import prepare
from visage.io.atomic import read_jsonl, sha256_file
from visage.io.images import encode_jpeg, encode_png, read_image

SETTINGS = PrepareFaces(size=32, classes=None, train=0.6, val=0.2, test=0.2, max_bad_fraction=0.5, duplicate_bits=56)


def scene(seed: int, size: int = 72) -> np.ndarray:
    rng = np.random.default_rng(seed)
    layers = [cv2.resize(rng.normal(0, 70, (n, n, 3)), (size, size), interpolation=cv2.INTER_CUBIC) for n in (4, 9)]
    return np.clip(sum(layers) + 128, 0, 255).astype(np.uint8)


def put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of five sessions with two pictures each, one class of six loose pictures."""
    folder = tmp_path / "raw"
    for label in range(2):
        for session in range(5):
            for number in range(2):
                seed = label * 100 + session * 10 + number
                put(folder / f"Prof{label}" / f"s{session}" / f"{number}.jpg", encode_jpeg(scene(seed)))
    for number in range(6):
        put(folder / "Räume 1" / f"{number}.png", encode_png(scene(1000 + number)))
    return folder


def run(root: Path, name: str = "out", seed: int = 7, labels: str | None = None, **changes) -> tuple[dict, Path]:
    base = root.parent / name
    data = FacesData(name="mine", root=str(root), labels=labels)
    result = prepare(
        data,
        replace(SETTINGS, **changes),
        seed=seed,
        out=base / "faces",
        metrics=base / "prepare_faces.json",
        plots=base / "plots",
    )
    return result, base / "faces"


def splits_of(rows: list[dict], key: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row[key], set()).add(row["split"])
    return found


def test_every_class_is_in_every_split_and_no_group_in_two(root):
    result, out = run(root)
    rows = read_jsonl(out / "manifest.jsonl")
    assert all(found == {"train", "val", "test"} for found in splits_of(rows, "class").values())
    assert all(len(found) == 1 for found in splits_of(rows, "group").values())
    assert result["pictures"] == {"train": 16, "val": 5, "test": 5}
    assert json.loads((out / "classes.json").read_text()) == ["Prof0", "Prof1", "Räume 1"]
    assert (out / "quarantine.jsonl").read_bytes() == b""


def test_the_manifest_describes_the_files_and_nothing_else_is_there(root):
    _, out = run(root)
    rows = read_jsonl(out / "manifest.jsonl")
    keys = {"sample_id", "source", "group", "class", "split", "path", "original", "sha256", "width", "height"}
    for row in rows:
        assert set(row) == keys
        assert row["path"].startswith(f"{row['split']}/{row['class']}/")
        assert sha256_file(out / row["path"]) == row["sha256"]
        assert read_image(out / row["path"]).shape == (row["height"], row["width"], 3) == (32, 32, 3)
        assert (root / row["original"]).is_file()
    assert len({row["sample_id"] for row in rows}) == len(rows) == 26
    assert {path.relative_to(out).as_posix() for path in out.rglob("*.png")} == {row["path"] for row in rows}
    assert not (out / ".staging").exists()


@pytest.mark.parametrize("seed", range(4))
def test_no_near_duplicate_straddles_splits(root, seed):
    for session, (change, suffix) in enumerate(
        [
            (lambda image: image, "png"),
            (lambda image: cv2.resize(image, (50, 50), interpolation=cv2.INTER_AREA), "jpg"),
            (lambda image: np.clip(image * 1.06, 0, 255).astype(np.uint8), "jpg"),
            (lambda image: np.ascontiguousarray(image[:, ::-1]), "jpg"),
        ]
    ):
        image = change(read_image(root / "Prof0" / f"s{session}" / "0.jpg"))
        content = encode_png(image) if suffix == "png" else encode_jpeg(image, 60)
        put(root / "Prof0" / f"copy{session}" / f"x.{suffix}", content)
    result, out = run(root, seed=seed)
    rows = {row["original"]: row for row in read_jsonl(out / "manifest.jsonl")}
    for session, suffix in enumerate(["png", "jpg", "jpg", "jpg"]):
        original, copy = rows[f"Prof0/s{session}/0.jpg"], rows[f"Prof0/copy{session}/x.{suffix}"]
        assert original["split"] == copy["split"]
        assert original["group"] == copy["group"]
    # The PNG is of the whole decoded JPEG, which itself is decoded at half its scale.
    assert result["duplicates"] == {"exact": 0, "near": 4, "groups_merged": 4, "conflicting_labels": 0}


def test_one_picture_under_two_labels_is_counted_and_stays_in_one_split(root):
    put(root / "Prof1" / "s9" / "x.jpg", (root / "Prof0" / "s0" / "0.jpg").read_bytes())
    result, out = run(root)
    rows = {row["original"]: row for row in read_jsonl(out / "manifest.jsonl")}
    assert rows["Prof1/s9/x.jpg"]["split"] == rows["Prof0/s0/0.jpg"]["split"]
    assert result["duplicates"]["conflicting_labels"] == 1


def spoil(root: Path) -> dict[str, str]:
    """Put every kind of bad file into the folder; returns the beginning of each reason."""
    whole = encode_jpeg(scene(1))
    bomb = bytearray(encode_png(scene(2)))
    bomb[16:24] = b"\0\0\xff\xff" * 2
    bomb[29:33] = zlib.crc32(bytes(bomb[12:29])).to_bytes(4, "big")
    put(root / "Prof0" / "cut.jpg", whole[: len(whole) // 2])
    put(root / "Prof0" / "empty.png", b"")
    put(root / "Prof0" / "words.jpg", b"not a picture")
    put(root / "Prof0" / "bomb.png", bytes(bomb))
    put(root.parent / "secret.jpg", whole)
    (root / "Prof0" / "out.jpg").symlink_to(root.parent / "secret.jpg")
    (root / "Prof0" / "gone.jpg").symlink_to("nothing.jpg")
    return {
        "Prof0/bomb.png": "too many pixels",
        "Prof0/cut.jpg": "truncated JPEG",
        "Prof0/empty.png": "empty file",
        "Prof0/gone.jpg": "dangling link",
        "Prof0/out.jpg": "leaves the folder",
        "Prof0/words.jpg": "not an image",
    }


def test_bad_files_are_quarantined_with_the_reason_and_the_run_goes_on(root):
    expected = spoil(root)
    result, out = run(root)
    found = {row["path"]: row["reason"] for row in read_jsonl(out / "quarantine.jsonl")}
    assert list(found) == sorted(expected)
    assert all(found[path].startswith(reason) for path, reason in expected.items())
    assert result["quarantined"]["reasons"] == dict.fromkeys(sorted(expected.values()), 1)
    assert result["quarantined"] | {"reasons": {}} == {"total": 6, "fraction": 0.1875, "reasons": {}}
    assert sum(result["pictures"].values()) == 26


def test_too_many_bad_files_stop_the_run_and_the_quarantine_stays(root):
    spoil(root)
    with pytest.raises(DataError) as caught:
        run(root, max_bad_fraction=0.1)
    message = str(caught.value)
    assert "6 of 32 files are bad (18.8%, first: Prof0/bomb.png: too many pixels" in message
    assert "faces.prepare.max_bad_fraction (0.1)" in message
    out = root.parent / "out" / "faces"
    assert str(out / "quarantine.jsonl") in message
    assert len(read_jsonl(out / "quarantine.jsonl")) == 6
    assert not (out / ".staging").exists()


def content(base: Path) -> dict[str, str]:
    return {
        path.relative_to(base).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(base.rglob("*"))
        if path.is_file()
    }


def test_a_second_run_and_another_thread_count_give_the_same_bytes(root, monkeypatch):
    spoil(root)
    run(root)
    put(root.parent / "out" / "faces" / "train" / "Old" / "left.png", b"x")
    first = content(root.parent / "out")
    monkeypatch.setenv("VISAGE_WORKERS", "1")
    run(root)
    again = content(root.parent / "out")
    run(root, name="elsewhere")
    assert "faces/train/Old/left.png" not in again
    assert {k: v for k, v in first.items() if "Old" not in k} == again == content(root.parent / "elsewhere")


def test_the_contact_sheet_fits_into_git(root):
    run(root)
    sheet = root.parent / "out" / "plots" / "samples.png"
    assert sheet.stat().st_size <= 200_000
    assert read_image(sheet).shape[1] > 200


def test_classes_are_honoured_and_one_without_a_readable_picture_stops_the_run(root):
    _, out = run(root, classes=["Prof1", "Räume 1"])
    assert json.loads((out / "classes.json").read_text()) == ["Prof1", "Räume 1"]
    put(root / "Empty" / "a.jpg", b"")
    result, out = run(root)
    assert result["classes"] == 3
    with pytest.raises(DataError, match="no readable picture in class Empty"):
        run(root, classes=["Prof1", "Empty"])


def test_a_flat_folder_with_a_csv_is_split_by_its_groups(tmp_path):
    root = tmp_path / "flat"
    lines = ["file,label,group"]
    for number in range(24):
        put(root / f"{number:02d}.bmp", cv2.imencode(".bmp", scene(number))[1].tobytes())
        lines.append(f"{number:02d}.bmp,{'AB'[number % 2]},day {number // 4}")
    (root / "labels.csv").write_text("\n".join(lines))
    result, out = run(root, labels="labels.csv")
    rows = read_jsonl(out / "manifest.jsonl")
    assert all(len(found) == 1 for found in splits_of(rows, "group").values())
    assert result["classes_missing"] == {"train": 0, "val": 0, "test": 0}
    assert result["groups"] == 6


def test_a_split_that_stays_empty_is_an_error_with_the_remedy(tmp_path):
    root = tmp_path / "few"
    for label in "AB":
        for session in range(2):
            put(root / label / f"s{session}" / "0.png", encode_png(scene(ord(label) + session * 10)))
    with pytest.raises(DataError, match=r"nothing is left for val.*set faces\.prepare\.val to 0"):
        run(root)
    result, _ = run(root, train=0.5, val=0.0, test=0.5)
    assert result["pictures"] == {"train": 2, "val": 0, "test": 2}


@pytest.mark.parametrize("changes", [{"size": 0}, {"max_bad_fraction": 1.5}, {"train": 0.9}])
def test_settings_out_of_range_are_refused_before_anything_is_read(root, changes):
    with pytest.raises(ConfigError):
        run(root, **changes)
