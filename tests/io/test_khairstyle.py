"""K-Hairstyle: every quirk of the published labels is read as meant, and polygons give back what they were drawn of."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visage.errors import BadImageError, DataError
from visage.io.hair_frames import HairFrame, Rejected
from visage.io.images import encode_jpeg
from visage.io.khairstyle import parse_record, read_khairstyle
from visage.io.khairstyle_rings import CROP, fill_rings, to_rings
from visage.io.khairstyle_vocabulary import VOCABULARY, is_empty, style_folder, to_english, to_korean
from visage.io.khairstyle_writer import write_sample

SQUARE = [[{"x": 100.0, "y": 50.0}, {"x": 299.6, "y": 50.0}, {"x": 299.6, "y": 149.6}, {"x": 100.0, "y": 149.6}]]
PLACE = "0001.가르마/0126.CP032677"


def jpeg(size: int = CROP, width: int | None = None) -> bytes:
    y, x = np.mgrid[0:size, 0 : width or size]
    return encode_jpeg(np.stack([x % 256, y % 256, (x + y) % 256], axis=2).astype(np.uint8))


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def label(**changes) -> bytes:
    record = {"id": "1", "source": "CP032677", "filename": "CP032677-006.jpg", "polygon1": json.dumps(SQUARE)}
    return json.dumps({**record, **changes}, ensure_ascii=False).encode()


def sample(root: Path, view: str = "006", place: str = PLACE, size: int = CROP, **changes) -> None:
    put(root / f"training/images/{place}/CP032677-{view}.jpg", jpeg(size))
    fields = {"filename": f"CP032677-{view}.jpg", **changes}
    put(root / f"training/labels/{place}/CP032677_{view}.json", label(**fields))


def read(root: Path) -> tuple[list[HairFrame], dict[str, str]]:
    results = [load() for load in read_khairstyle(root)]
    good = [entry for entry in results if isinstance(entry, HairFrame)]
    return good, {entry.sample_id: entry.reason for entry in results if isinstance(entry, Rejected)}


def test_a_label_gives_its_picture_source_attributes_and_rounded_polygon(tmp_path):
    sample(tmp_path, **{"natural-curl": "반곱슬", "bang": "해당없음", "horizontal": "45", "front": False,
                        "hair_width": "보통", "rgb": "[1.5, 2, 3]", "color": "NaN", "curl": "X"})  # fmt: skip
    (frame,), bad = read(tmp_path)
    assert not bad
    assert (frame.sample_id, frame.source) == ("CP032677-006", "CP032677")
    assert frame.file == f"training/images/{PLACE}/CP032677-006.jpg"
    assert frame.attributes == {
        "natural-curl": "wavy", "bang": "n/a", "horizontal": 45.0, "front": False, "hair-width": "normal",
        "rgb": (1.5, 2.0, 3.0), "curl": "none",
    }  # fmt: skip
    ys, xs = np.nonzero(frame.alpha)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (100, 300, 50, 150)  # cut off it would be 299 and 149
    assert set(np.unique(frame.alpha)) == {0, 255}


@pytest.mark.parametrize("stored", [None, "", "[]", [], "null", "NaN", float("nan"), "none"])
def test_an_empty_polygon_is_a_picture_without_hair(tmp_path, stored):
    sample(tmp_path, polygon1=stored)
    (frame,), _ = read(tmp_path)
    assert not frame.alpha.any()


def test_a_polygon_may_be_a_list_and_each_ring_is_filled_by_itself(tmp_path):
    inner = [{"x": 150, "y": 80}, {"x": "200", "y": "80"}, {"x": 200, "y": 120}, {"x": 150, "y": 120}]
    sample(tmp_path, polygon1=[*SQUARE, inner, [{"x": 1, "y": 1}]])
    (frame,), _ = read(tmp_path)
    assert frame.alpha[100, 175] == 255  # not a hole
    assert frame.alpha[1, 1] == 0  # a point is no ring


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"{", "damaged label"),
        (b"[1]", "damaged label"),
        (b"\xff\xfe{", "damaged label"),
        (b'{"id": 1}', "no polygon1"),
        (label(polygon1="[[1, 2, 3]]"), "polygon1 is no list of rings"),
        (label(polygon1="[["), "polygon1 is no list of rings"),
        (label(polygon1=[[{"x": float("inf"), "y": 1}] * 3]), "polygon1 is no list of rings"),
        (label(polygon2=7), "polygon2 is no list of rings"),
    ],
)
def test_a_damaged_label_is_refused_in_one_line(content, fault):
    with pytest.raises(BadImageError, match=rf"^a\.json: {fault}[^\n]*$"):
        parse_record(content, "a.json")


def test_copies_of_labels_under_a_pictures_name_are_told_by_their_content(tmp_path):
    sample(tmp_path)
    stored = (tmp_path / f"training/labels/{PLACE}/CP032677_006.json").read_bytes()
    put(tmp_path / f"training/labels/{PLACE}/CP032677_006.jpg", stored)
    put(tmp_path / f"training/labels/{PLACE}/CP032677-006.JPEG", b"\xef\xbb\xbf " + stored)
    good, bad = read(tmp_path)
    assert [frame.file for frame in good] == [f"training/images/{PLACE}/CP032677-006.jpg"]
    assert list(bad) == [f"training/labels/{PLACE}/CP032677-006.JPEG"]  # other bytes: not a copy
    assert "second label of its picture" in next(iter(bad.values()))


def test_pairs_are_made_by_filename_and_in_any_copy_of_the_data(tmp_path):
    """AI-Hub's folders, sets side by side, labels in malformed folders, a filename that differs from the label's."""
    style = "0001.hqset/0001.가르마/0126.CP032677"
    put(tmp_path / f"원천데이터/{style}/CP032677-006.JPG", jpeg(1024))
    put(tmp_path / "원천데이터/0002.mqset/0001.가르마/0126.CP032677/CP032677-006.jpeg", jpeg())
    put(tmp_path / "라벨링데이터/0001.가르마/0126.CP032677/CP032677_006.json", label())
    put(tmp_path / "라벨링데이터/0001.가르마/0127.3/whatever.json", label(filename="CP032677-009.jpg"))
    put(tmp_path / "validation/images/x/CP032677-010.jpg", jpeg())
    put(tmp_path / "validation/labels/x/other.json", label(filename="CP032677_010.jpg"))
    put(tmp_path / "validation/labels/x/CP032677_011.json", label(filename=""))
    put(tmp_path / "validation/images/x/CP032677-011.jpg", jpeg())
    put(tmp_path / "validation/images/x/CP032677-012.jpg", jpeg())
    put(tmp_path / "__MACOSX/validation/._CP032677_011.json", b"\0")
    good, bad = read(tmp_path)
    assert sorted(frame.file for frame in good) == [
        "validation/images/x/CP032677-010.jpg",
        "validation/images/x/CP032677-011.jpg",
        "원천데이터/0002.mqset/0001.가르마/0126.CP032677/CP032677-006.jpeg",
    ]
    assert set(bad) == {"라벨링데이터/0001.가르마/0127.3/whatever.json", "validation/images/x/CP032677-012.jpg"}
    assert all(reason.startswith("unpaired (") for reason in bad.values())


def test_polygons_are_scaled_to_other_square_sets_and_refused_on_the_raw_one(tmp_path):
    sample(tmp_path, size=1024)
    (frame,), _ = read(tmp_path)
    ys, xs = np.nonzero(frame.alpha)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (200, 600, 100, 300)
    put(tmp_path / f"training/images/{PLACE}/CP032677-006.jpg", jpeg(600, 800))
    good, bad = read(tmp_path)
    assert not good
    assert "not square (800x600)" in next(iter(bad.values()))


def test_words_that_are_not_in_the_vocabulary_are_told_and_left_out(tmp_path):
    sample(tmp_path, length="보통", **{"hair-width": "굵음"})
    (frame,), _ = read(tmp_path)
    assert frame.attributes == {"hair-width": "thick"}
    assert frame.unknown == ("length=보통",)


def test_a_damaged_picture_is_refused_and_a_folder_without_labels_is_an_error(tmp_path):
    sample(tmp_path)
    path = tmp_path / f"training/images/{PLACE}/CP032677-006.jpg"
    path.write_bytes(path.read_bytes()[:5000])
    good, bad = read(tmp_path)
    assert not good
    assert "truncated JPEG" in bad[path.relative_to(tmp_path).as_posix()]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no labels"):
        read(tmp_path / "empty")


def test_the_vocabulary_is_keyed_by_field_and_reversible():
    assert len(VOCABULARY["basestyle"]) == 31
    assert style_folder("가르마") == "0001.가르마" and style_folder("히피") == "0031.히피"
    for field, words in VOCABULARY.items():
        for korean, english in words.items():
            assert to_english(field, korean) == english
            assert to_english(field, f" {unicodedata.normalize('NFD', korean)} ") == english
            assert to_korean(field, english) == korean
    assert to_english("basestyle-type", "단") == "short"
    assert to_english("length", "단") is None
    assert is_empty(float("nan")) and not is_empty("0")


def head(size: int, seed: int) -> np.ndarray:
    """Hair about a face, with a strand across it, wisps and gaps: what rings cannot say directly."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((size, size), np.uint8)
    cv2.ellipse(mask, (size // 2, size // 2), (size // 3, int(size / 2.4)), 0, 0, 360, 1, -1)
    cv2.ellipse(mask, (size // 2, size // 2), (size // 5, size // 4), 0, 0, 360, 0, -1)
    cv2.line(mask, (size // 2, size // 4), (size // 2 + 9, 3 * size // 4), 1, 2)
    for x, y in rng.integers(0, size, (40, 2)):
        cv2.circle(mask, (int(x), int(y)), int(rng.integers(0, 3)), int(rng.integers(0, 2)), -1)
    return mask


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / max(1, np.count_nonzero(one | other))


@pytest.mark.parametrize("size", [128, 512, 1024])
def test_hair_about_a_face_keeps_its_hole(size):
    for seed in range(3):
        mask = head(size, seed)
        assert overlap(fill_rings(to_rings(mask), size) > 0, mask > 0) >= 0.98


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.02, 0.98), st.sampled_from([16, 33, 64]))
def test_any_mask_comes_back_from_its_polygons(seed, share, size):
    mask = (np.random.default_rng(seed).random((size, size)) < share).astype(np.uint8)
    assert overlap(fill_rings(to_rings(mask), size) > 0, mask > 0) >= 0.98 or not mask.any()


def test_what_is_written_is_read_back(tmp_path):
    mask = head(256, 3)
    image = cv2.cvtColor(mask * 200, cv2.COLOR_GRAY2RGB)
    fields = {"basestyle": "bob", "natural-curl": "curly", "length": "bob", "bang": "full", "sex": "female"}
    path = write_sample(
        tmp_path, "validation", "VS000012", 3, image, to_rings(mask), [], fields, {"horizontal": 350.0}
    )  # fmt: skip
    assert path == "validation/images/0014.보브/0012.VS000012/VS000012-003.jpg"
    assert (tmp_path / "validation/labels/0014.보브/0012.VS000012/VS000012_003.json").is_file()
    (frame,), bad = read(tmp_path)
    assert not bad
    assert (frame.file, frame.source) == (path, "VS000012")
    assert frame.attributes == {**fields, "horizontal": 350.0}
    assert overlap(frame.alpha > 0, mask > 0) >= 0.98
    assert np.abs(frame.image.astype(int) - image).mean() < 3


def test_a_picture_without_hair_is_written_with_an_empty_polygon(tmp_path):
    empty = np.zeros((64, 64), np.uint8)
    write_sample(tmp_path, "training", "VS000001", 1, np.dstack([empty] * 3), to_rings(empty), [],
                 {"basestyle": "bob"}, {})  # fmt: skip
    (frame,), _ = read(tmp_path)
    assert not frame.alpha.any()
