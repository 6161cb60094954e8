"""Preparing hair: whole people in a split, pictures and coverage in the right place, odd masks shown, bad ones told."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from visage.errors import ConfigError, DataError
from visage.hair import prepare as module
from visage.hair.config import HairData, PrepareHair
from visage.hair.convert import judge
from visage.hair.prepare import prepare
from visage.hair.prepared import INDEX_COLUMNS, load_set
from visage.io.atomic import read_jsonl
from visage.io.hair_frames import HairFrame
from visage.io.images import encode_png
from visage.io.khairstyle_rings import to_rings
from visage.io.khairstyle_writer import write_sample

SETTINGS = PrepareHair(size=64, train=0.6, val=0.2, test=0.2, max_bad_fraction=0.1)
PEOPLE, PICTURES = 5, 3
MEAN_GREY = (124, 116, 104)  # ImageNet's mean, in grey levels


def photo(seed: int, height: int = 90, width: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(0, 255, (6, 4, 3), np.uint8), (width, height))


def hair(number: int, height: int = 90, width: int = 60) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(
        mask, (width // 2, height // 3), (width // 4 + number % 4, height // 5), 0, 180, 360, 255, -1, cv2.LINE_AA
    )
    return mask


def put(root: Path, name: str, image: np.ndarray | bytes, mask: np.ndarray) -> None:
    for folder, content in (("images", image), ("masks", mask)):
        path = root / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else encode_png(content))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five people with three pictures each, as a folder of images and masks."""
    for number in range(PEOPLE * PICTURES):
        person, picture = divmod(number, PICTURES)
        put(tmp_path / "raw", f"p{person}/{picture}", photo(number), hair(number))
    return tmp_path / "raw"


def run(root: Path, name: str = "out", kind: str = "folder", **changes) -> tuple[dict, Path]:
    base = root.parent / name
    result = prepare(
        HairData(name="mine", root=str(root), format=kind), replace(SETTINGS, **changes), seed=7,
        out=base / "hair", metrics=base / "prepare_hair.json", plots=base / "plots",
    )  # fmt: skip
    return result, base / "hair"


def content(base: Path) -> dict[str, str]:
    files = (path for path in sorted(base.rglob("*")) if path.is_file())
    return {path.relative_to(base).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_person_is_whole_in_one_split_and_no_split_is_empty(root):
    result, out = run(root)
    pictures = load_set(out)
    places: dict[str, set[str]] = {}
    for row in pictures.rows:
        places.setdefault(row["source"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in places.values())
    assert result["pictures"] == {"train": 9, "val": 3, "test": 3}
    assert result["sources"] == {"train": 3, "val": 1, "test": 1}
    assert result["suspicious"] == {"empty": 0, "nearly_full": 0, "many_pieces": 0}
    assert result["quarantined"] == {"total": 0, "reasons": {}}
    assert tuple(pictures.rows[0]) == INDEX_COLUMNS
    assert [row["sample_id"] for row in pictures.rows] == [f"p{p}/{n}" for p in range(5) for n in range(3)]
    assert result == json.loads((root.parent / "out" / "prepare_hair.json").read_text())


def test_a_picture_keeps_its_aspect_and_grey_fills_the_rest(root):
    _, out = run(root)
    pictures = load_set(out)
    assert pictures.size == 64
    row = pictures.rows[4]
    assert [row[key] for key in ("left", "top", "width", "height")] == ["10", "0", "43", "64"]
    assert (row["file"], row["file_height"], row["file_width"]) == ("images/p1/1.png", "90", "60")
    inside = pictures.inside(4)
    image, alpha = pictures.images[4][inside], pictures.alphas[4][inside]
    assert np.abs(image.astype(int) - cv2.resize(photo(4), (43, 64), interpolation=cv2.INTER_AREA)).mean() < 2
    assert alpha.mean() == pytest.approx(hair(4).mean(), rel=0.03)
    assert ((alpha > 0) & (alpha < 255)).any()  # the edge stays soft
    outside = np.ones((64, 64), bool)
    outside[inside] = False
    assert not pictures.alphas[4][outside].any()
    assert np.all(pictures.images[4][outside] == MEAN_GREY)


def test_a_second_run_and_another_thread_count_give_the_same_bytes(root, monkeypatch):
    run(root)
    first = content(root.parent / "out")
    monkeypatch.setenv("VISAGE_WORKERS", "3")
    run(root)
    assert first == content(root.parent / "out")
    assert set(first) == {
        "hair/images.npy", "hair/alphas.npy", "hair/index.csv", "hair/meta.json", "hair/quarantine.jsonl",
        "prepare_hair.json", "plots/samples.png",
    }  # fmt: skip
    assert (root.parent / "out" / "plots" / "samples.png").stat().st_size <= 200_000


def test_the_digest_changes_with_any_pixel_and_with_nothing_else(root):
    digests = []
    for name in ("one", "two", "three", "four"):
        _, out = run(root, name, train=0.8, test=0.0) if name == "two" else run(root, name)
        digests.append(json.loads((out / "meta.json").read_text())["digest"])
        if name == "two":
            mask = hair(0)
            mask[80:, 50:] = 255
            put(root, "p0/0", photo(0), mask)
        if name == "three":
            put(root, "p0/0", photo(99), mask)
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3
    meta = json.loads((out / "meta.json").read_text())
    assert (meta["size"], meta["format"], meta["pictures"]) == (64, "folder", 15)


def test_odd_masks_are_kept_counted_and_shown(root):
    dots = np.zeros((90, 60), np.uint8)
    dots[5:80:9, 5:55:9] = 255
    dots = cv2.dilate(dots, np.ones((4, 4), np.uint8))
    odd = {"p0/1": hair(0) * 0, "p1/1": 255 - hair(1) // 8, "p2/1": dots}
    for name, mask in odd.items():
        put(root, name, photo(1), mask)
    result, out = run(root)
    assert result["suspicious"] == {"empty": 1, "nearly_full": 1, "many_pieces": 1}
    found = {row["sample_id"]: row["suspicious"] for row in load_set(out).rows if row["suspicious"]}
    assert found == {"p0/1": "empty", "p1/1": "nearly full", "p2/1": "many pieces"}
    sheet = cv2.imread(str(root.parent / "out" / "plots" / "samples.png"))
    assert sheet.shape[0] > 3 * sheet.shape[1] / 6


def test_padding_is_no_part_of_what_is_judged():
    assert judge(np.full((64, 20), 255, np.uint8)) == "nearly full"
    assert judge(np.full((64, 20), 127, np.uint8)) == "empty"
    half = np.zeros((64, 20), np.uint8)
    half[:32] = 255
    assert judge(half) == ""


def test_attributes_of_labels_are_in_the_index_and_their_coverage_in_the_metrics(tmp_path):
    raw = tmp_path / "raw"
    for source in range(3):
        for view in range(2):
            mask = (cv2.resize(hair(source), (64, 64)) > 127).astype(np.uint8)
            words = {"basestyle": "bob", "length": "bob"} | ({"natural-curl": "wavy", "bang": "full"} if view else {})
            rings = to_rings(mask)
            write_sample(raw, "training", f"VS{source:06d}", view, photo(source, 64, 64), rings, [], words,
                         {"curl": "S", "side": "?"})  # fmt: skip
    result, out = run(raw, kind="khairstyle")
    rows = load_set(out).rows
    assert [(row["source"], row["curl"], row["length"], row["bangs"]) for row in rows[:2]] == [
        ("VS000000", "", "bob", ""), ("VS000000", "wavy", "bob", "full"),
    ]  # fmt: skip
    attributes = result["attributes"]
    assert attributes["coverage"] == {"bang": 0.5, "basestyle": 1.0, "curl": 1.0, "length": 1.0, "natural-curl": 0.5}
    assert attributes["values"]["curl"] == {"unknown": 3, "wavy": 3}
    assert attributes["unknown_words"] == {"side=?": 6}


def test_bad_pictures_are_quarantined_and_too_many_stop_the_run(root):
    put(root, "p0/0", b"no picture", hair(0))
    result, out = run(root)
    assert read_jsonl(out / "quarantine.jsonl") == [
        {"sample_id": "images/p0/0.png", "reason": "not an image: expected a JPEG, PNG, WebP or BMP file"}
    ]
    assert result["quarantined"] == {"total": 1, "reasons": {"not an image": 1}}
    put(root, "p0/1", photo(0, 1, 1), hair(0))
    with pytest.raises(DataError, match=r"2 of 15 pictures are bad \(13\.3%, first: images/p0/0\.png: not an image; "):
        run(root)
    assert len(read_jsonl(out / "quarantine.jsonl")) == 2
    with pytest.raises(DataError, match=r"index\.csv is not there"):
        load_set(out)


def test_labels_of_pictures_that_were_not_fetched_do_not_stop_the_run(tmp_path):
    raw = tmp_path / "raw"
    for source in range(9):
        path = write_sample(raw, "training", f"VS{source:06d}", 1, photo(source, 64, 64), [], [],
                            {"basestyle": "bob"}, {})  # fmt: skip
        if source >= 3:
            (raw / path).unlink()
    result, _ = run(raw, kind="khairstyle")
    assert sum(result["pictures"].values()) == 3
    assert result["quarantined"] == {"total": 6, "reasons": {"unpaired": 6}}


def test_what_cannot_be_split_or_found_is_an_error_with_the_remedy(tmp_path):
    for number in range(4):
        put(tmp_path / "raw", f"IMG_{number}", photo(number), hair(number))
    with pytest.raises(DataError, match=r"nothing is left for val: 1 sources are too few.*first folder below images/"):
        run(tmp_path / "raw")
    with pytest.raises(DataError, match=r"hair\.data\.root=.*no such folder"):
        run(tmp_path / "nowhere")
    for changes in ({"size": 100}, {"train": 0.9}):
        with pytest.raises(ConfigError):
            run(tmp_path / "raw", **changes)
    with pytest.raises(ConfigError, match=r"hair\.data\.format=zip"):
        run(tmp_path / "raw", kind="zip")


def test_pictures_are_not_held_in_memory(tmp_path, monkeypatch):
    """A hundred pictures, made as they are asked for, within the memory of a few."""
    most = 0

    def load(number: int) -> HairFrame:
        nonlocal most
        most = max(most, tracemalloc.get_traced_memory()[0])
        return HairFrame(
            str(number), f"s{number % 5}", f"{number}.png", photo(number, 600, 600), hair(number, 600, 600)
        )

    def read(root: Path):
        return ((lambda number=number: load(number)) for number in range(100))

    monkeypatch.setitem(module.READERS, "folder", read)
    monkeypatch.setenv("VISAGE_WORKERS", "2")
    (tmp_path / "raw").mkdir()
    run(tmp_path / "raw", "warm")  # what is imported late stays in memory
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    most = 0
    run(tmp_path / "raw", size=256)
    tracemalloc.stop()
    assert 0 < most - before < 12 * 600 * 600 * 4


def test_real_photographs_with_a_mask_are_prepared(portraits, tmp_path):
    """One photograph with its hair by hand, and copies of it as other people."""
    image = cv2.cvtColor(cv2.imread(str(portraits / "woman_512.png")), cv2.COLOR_BGR2RGB)
    mask = cv2.imread(str(portraits / "woman_512_hairmask.png"), cv2.IMREAD_GRAYSCALE)
    for number in range(3):
        put(tmp_path / "raw", f"person{number}", image, mask)
    result, out = run(tmp_path / "raw", size=256)
    assert result["suspicious"] == {"empty": 0, "nearly_full": 0, "many_pieces": 0}
    assert result["hair_share"]["mean"] == pytest.approx(mask.mean() / 255, abs=0.01)
    assert load_set(out).mask(0).mean() == pytest.approx((mask >= 128).mean(), abs=0.01)
