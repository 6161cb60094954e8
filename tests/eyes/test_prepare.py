"""Preparing eyes: whole sources in a split, maps that fit their label, blinks kept, little disk and no memory."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from eyes.published import iou, mask, picture, published_distance, published_weights, write, write_v1, write_v2
from visage.errors import ConfigError, DataError
from visage.eyes import prepare as module
from visage.eyes.config import EyesData, PrepareEyes
from visage.eyes.maps import in_pixels, normalised, signed_distance, spatial_weights
from visage.eyes.prepare import prepare
from visage.eyes.prepared import EyeSet, load_set
from visage.io.atomic import read_jsonl
from visage.io.eye_frames import EyeFrame

SETTINGS = PrepareEyes(height=200, width=320, train=0.6, val=0.2, test=0.2, ellipse="moments", max_bad_fraction=0.2)
BLINK = np.zeros((400, 640), np.uint8)


def label_of(source: int, frame: int) -> np.ndarray:
    return BLINK if (source, frame) == (1, 1) else mask(200 + 60 * source, 180 + 9 * frame, 34, 31, 25 * frame)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five sources of three frames in the columns this project draws; one of them is a blink."""
    folder = tmp_path / "raw"
    labels = [label_of(source, frame) for source in range(5) for frame in range(3)]
    write(
        folder / "data-00000-of-00001.parquet",
        {
            "image": [picture(label, seed).ravel() for seed, label in enumerate(labels)],
            "label": [label.ravel() for label in labels],
            "filename": [f"s{source}/{frame}.png" for source in range(5) for frame in range(3)],
            "source": [f"s{source}" for source in range(5) for _ in range(3)],
        },
    )
    return folder


def run(root: Path, name: str = "out", kind: str = "parquet", **changes) -> tuple[dict, Path]:
    base = root.parent / name
    result = prepare(
        EyesData(name="mine", root=str(root), format=kind), replace(SETTINGS, **changes), seed=7,
        out=base / "eyes", metrics=base / "prepare_eyes.json", plots=base / "plots",
    )  # fmt: skip
    return result, base / "eyes"


def rendered(eyes: EyeSet, row: int) -> np.ndarray:
    cx, cy, rx, ry = in_pixels(tuple(eyes.ellipses[row].tolist()), (eyes.height, eyes.width))
    x, y = np.arange(eyes.width)[None], np.arange(eyes.height)[:, None]
    return (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1).astype(np.uint8)


def test_every_source_is_whole_in_one_split_and_no_split_is_empty(root):
    result, out = run(root)
    eyes = load_set(out)
    places: dict[str, set[str]] = {}
    for row in eyes.rows:
        places.setdefault(row["source"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in places.values())
    assert result["frames"] == {"train": 9, "val": 3, "test": 3}
    assert [len(eyes.split(name)) for name in ("train", "val", "test")] == [9, 3, 3]
    assert [row["sample_id"] for row in eyes.rows] == [f"s{s}/{f}.png" for s in range(5) for f in range(3)]
    assert result == json.loads((root.parent / "out" / "prepare_eyes.json").read_text())


@pytest.mark.parametrize("size", [(200, 320), (400, 640), (240, 320)])
def test_the_arrays_are_those_of_the_resized_label(root, size):
    _, out = run(root, height=size[0], width=size[1])
    eyes = load_set(out)
    assert (eyes.height, eyes.width) == size
    for row in range(len(eyes.rows)):
        original, label = label_of(*divmod(row, 3)), eyes.label(row)
        assert np.count_nonzero(label) == pytest.approx(np.count_nonzero(original) * label.size / 256_000, rel=0.02)
        assert np.array_equal(eyes.weights[row] / 255 * 20, spatial_weights(label))
        distance = cv2.resize(signed_distance(label), (size[1] // 2, size[0] // 2), interpolation=cv2.INTER_AREA)
        assert np.allclose(eyes.distance[row], distance, rtol=1e-3, atol=1e-3)
        if label.any():
            assert iou(rendered(eyes, row), label) > 0.9
            assert eyes.images[row][label == 1].mean() < eyes.images[row][label == 0].mean() - 30


def test_a_blink_is_kept_and_flagged(root):
    result, out = run(root)
    eyes = load_set(out)
    assert result["blinks"] == 1
    assert [row["row"] for row in eyes.rows if row["empty"] == "1"] == ["4"]
    assert np.isnan(eyes.ellipses[4]).all() and not np.isnan(eyes.ellipses[3]).any()
    assert np.all(eyes.distance[4] == np.float16(np.hypot(200, 320)))
    assert eyes.weights[4].max() == 0


def content(base: Path) -> dict[str, str]:
    files = (path for path in sorted(base.rglob("*")) if path.is_file())
    return {path.relative_to(base).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_second_run_and_another_thread_count_give_the_same_bytes(root, monkeypatch):
    run(root)
    first = content(root.parent / "out")
    monkeypatch.setenv("VISAGE_WORKERS", "3")
    run(root)
    assert first == content(root.parent / "out")
    assert set(first) == {
        "eyes/images.npy", "eyes/labels.npy", "eyes/weights.npy", "eyes/distance.npy", "eyes/ellipses.npy",
        "eyes/index.csv", "eyes/meta.json", "eyes/quarantine.jsonl", "prepare_eyes.json", "plots/samples.png",
    }  # fmt: skip
    assert (root.parent / "out" / "plots" / "samples.png").stat().st_size <= 200_000


def six(writer, root: Path, **columns) -> list[np.ndarray]:
    labels = [label_of(source, 0) for source in range(6)]
    writer(root / "x.parquet", labels, [f"s{source}/0.png" for source in range(6)], **columns)
    return labels


def test_stored_maps_are_used_at_their_own_size_only(tmp_path):
    labels = six(write_v2, tmp_path / "raw")
    result, out = run(tmp_path / "raw", height=400, width=640)
    assert result["maps"] == {"computed": 0, "stored": 6, "replaced": 0}
    smooth = published_weights(labels[0], 2)
    expected = np.rint(smooth * (255 / smooth.max()))
    assert np.abs(load_set(out).weights[0] - expected).max() <= 1
    result, _ = run(tmp_path / "raw")
    assert result["maps"] == {"computed": 6, "stored": 0, "replaced": 0}


def test_maps_that_were_not_mirrored_with_their_label_are_replaced(tmp_path):
    labels = [label_of(source, 0) for source in range(3)] + [np.ascontiguousarray(label_of(3, 0)[:, ::-1])]
    distance = [published_distance(label, 1).ravel() for label in labels[:3]]
    distance.append(published_distance(label_of(3, 0), 1).ravel())
    write_v1(tmp_path / "raw" / "x.parquet", labels, [f"s{n}/0_flip.png" for n in range(4)], dist_map=distance)
    result, out = run(tmp_path / "raw", height=400, width=640)
    assert result["maps"] == {"computed": 0, "stored": 3, "replaced": 1}
    expected = cv2.resize(signed_distance(labels[3]), (320, 200), interpolation=cv2.INTER_AREA)
    assert np.allclose(load_set(out).distance[3], expected, rtol=1e-3, atol=1e-3)


def test_stored_ellipses_are_used_on_demand_and_refused_off_their_pupil(tmp_path):
    given = [normalised((200 + 60 * source, 180, 35, 27), (400, 640)) for source in range(6)]
    given[5] = normalised((639 - 500, 180, 35, 27), (400, 640))
    columns = {name: [numbers[index] for numbers in given] for index, name in enumerate(("cx", "cy", "rx", "ry"))}
    six(write_v2, tmp_path / "raw", **columns)
    _, out = run(tmp_path / "raw", ellipse="stored", height=400, width=640)
    eyes = load_set(out)
    assert np.allclose(eyes.ellipses, given[:5], atol=1e-6)
    (entry,) = read_jsonl(out / "quarantine.jsonl")
    assert entry["sample_id"] == "s5/0.png"
    assert entry["reason"].startswith("stored ellipse off its pupil")
    _, out = run(tmp_path / "raw", ellipse="stored")
    small = load_set(out)
    assert in_pixels(small.ellipses[0], (200, 320)) == pytest.approx((99.75, 89.75, 17.5, 13.5), abs=1e-3)
    _, out = run(tmp_path / "raw")
    assert len(load_set(out).rows) == 6


def test_preprocessed_frames_are_told_in_one_line_and_grey_levels_stay(tmp_path, capsys):
    labels = six(write_v2, tmp_path / "raw")
    result, out = run(tmp_path / "raw", height=400, width=640)
    assert result["preprocessed"] == 6
    assert json.loads((out / "meta.json").read_text())["preprocessed"] == 6
    assert capsys.readouterr().out.count("warning: 6 frames were stored after gamma and CLAHE") == 1
    assert np.array_equal(load_set(out).images[2], picture(labels[2], 2))


def test_a_folder_of_pictures_of_another_shape_is_stretched(tmp_path):
    label = cv2.resize(mask(), (640, 480), interpolation=cv2.INTER_NEAREST)
    for source in range(3):
        for folder, image in (("images", picture(label)), ("masks", label * 255)):
            (tmp_path / "raw" / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "raw" / folder / f"p{source}_0.png"), image)
    _, out = run(tmp_path / "raw", kind="folder")
    eyes = load_set(out)
    assert iou(rendered(eyes, 0), eyes.label(0)) > 0.95


def test_bad_frames_are_quarantined_and_too_many_stop_the_run(root):
    def spoil(name: str, label: np.ndarray) -> None:
        row = {"image": [picture(label).ravel()], "label": [label.ravel()], "filename": [name], "source": ["s0"]}
        write(root / f"{name}.parquet", row)

    spoil("bad", mask() * 2)
    result, out = run(root)
    assert read_jsonl(out / "quarantine.jsonl") == [
        {"sample_id": "bad.parquet row 0 (bad)", "reason": "label with other values (such as 2): expected 0 to 1"}
    ]
    assert result["quarantined"] == {"total": 1, "fraction": 0.0625, "reasons": {"label with other values": 1}}
    with pytest.raises(
        DataError, match=r"1 of 16 frames are bad .*bad\.parquet row 0 \(bad\): label with other values"
    ):
        run(root, max_bad_fraction=0.01)
    with pytest.raises(DataError, match=r"index\.csv is not there"):
        load_set(out)


def test_what_cannot_be_split_or_found_is_an_error_with_the_remedy(tmp_path):
    write_v1(tmp_path / "raw" / "x.parquet", [mask(), mask()], ["s0/0.png", "s1/0.png"])
    with pytest.raises(DataError, match=r"nothing is left for val: 2 sources are too few.*eyes\.prepare\.val to 0"):
        run(tmp_path / "raw")
    with pytest.raises(DataError, match=r"eyes\.data\.root=.*no such folder"):
        run(tmp_path / "nowhere")
    for changes in ({"height": 210}, {"train": 0.9}, {"ellipse": "fitted"}):
        with pytest.raises(ConfigError):
            run(tmp_path / "raw", **changes)
    with pytest.raises(ConfigError, match=r"eyes\.data\.format=zip"):
        run(tmp_path / "raw", kind="zip")


def test_29500_frames_of_full_size_take_less_than_30_gb(root):
    _, out = run(root, height=400, width=640)
    size = sum(path.stat().st_size for path in out.iterdir())
    assert size / 15 * 29_500 <= 30e9


def test_frames_are_not_held_in_memory(tmp_path, monkeypatch):
    """Two hundred frames, drawn as they are asked for, within the memory of a few."""
    label = mask()
    image, ready, most = picture(label), 0, 0

    def read(data, settings):
        nonlocal ready, most
        for number in range(200):
            ready = number
            most = max(most, tracemalloc.get_traced_memory()[0])
            yield EyeFrame(f"s{number % 5}/{number}", f"s{number % 5}", image.copy(), label.copy())

    monkeypatch.setattr(module, "_read", read)
    monkeypatch.setenv("VISAGE_WORKERS", "2")
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    (tmp_path / "raw").mkdir()
    run(tmp_path / "raw", height=400, width=640)
    tracemalloc.stop()
    assert ready == 199
    assert most - before < 20 * 672_000
