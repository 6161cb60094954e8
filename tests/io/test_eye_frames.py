"""Every published layout of eyes is read as it is meant, and what is damaged is named and set aside."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from eyes.published import edt, mask, picture, published_weights, write, write_v1, write_v2
from visage.errors import BadImageError, DataError
from visage.io.eye_folders import read_pairs, read_sequences
from visage.io.eye_frames import EyeFrame, Rejected, check_not_scrambled, check_shape, pupil_mask, to_bytes
from visage.io.eye_parquet import read_parquet

OPEN, OTHER, BLINK = mask(), mask(420, 220, 40, 31, 20), np.zeros((400, 640), np.uint8)


def frames(results) -> list[EyeFrame]:
    results = list(results)
    assert not [entry for entry in results if isinstance(entry, Rejected)]
    return results


def split_up(results) -> tuple[list[EyeFrame], dict[str, str]]:
    results = list(results)
    good = [entry for entry in results if isinstance(entry, EyeFrame)]
    return good, {entry.sample_id: entry.reason for entry in results if isinstance(entry, Rejected)}


def signed(label: np.ndarray) -> np.ndarray:
    return edt(label == 0) - edt(label == 1)


@pytest.mark.parametrize("version", [1, 2])
def test_both_published_schemas_give_pixels_signs_and_weights(tmp_path, version):
    columns = {name: [value, 0.4] for name, value in (("cx", 0.5), ("cy", 0.45), ("rx", 0.08), ("ry", 0.07))}
    writer = write_v1 if version == 1 else write_v2
    writer(tmp_path / "data.parquet", [OPEN, OTHER], ["S_1/4.png", "S_2/7.png"], **(columns if version == 2 else {}))
    found = frames(read_parquet(tmp_path, maps=True))
    for index, (frame, label) in enumerate(zip(found, (OPEN, OTHER), strict=True)):
        assert np.array_equal(frame.image, picture(label, index))
        assert np.array_equal(frame.label, label)
        assert frame.image.dtype == frame.label.dtype == np.uint8
        assert frame.distance is not None and frame.weights is not None
        assert frame.distance.dtype == frame.weights.dtype == np.float32
        assert np.abs(frame.distance - signed(label)).max() < 1e-3
        assert frame.weights.max() == pytest.approx(20)
        expected = published_weights(label, version)
        assert np.allclose(frame.weights, expected * (20 / expected.max()), atol=1e-4)
    assert [(frame.sample_id, frame.source) for frame in found] == [("S_1/4.png", "S_1"), ("S_2/7.png", "S_2")]
    assert [frame.preprocessed for frame in found] == [version == 2] * 2
    assert found[0].ellipse == (pytest.approx((0.5, 0.45, 0.08, 0.07)) if version == 2 else None)


def test_maps_are_read_only_where_they_are_wanted(tmp_path):
    write_v1(tmp_path / "data.parquet", [OPEN], ["a_1.png"])
    (frame,) = frames(read_parquet(tmp_path, maps=False))
    assert frame.weights is None and frame.distance is None


def test_a_blink_is_kept_and_its_ellipse_is_none(tmp_path):
    nothing = {name: [None] for name in ("cx", "cy", "rx", "ry")}
    write_v2(tmp_path / "data.parquet", [BLINK], ["S_1/1.png"], **nothing)
    (frame,) = frames(read_parquet(tmp_path, maps=True))
    assert frame.label.max() == 0
    assert frame.ellipse is None


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("p3_0004.png", "p3"),
        ("p3_0004_flip.png", "p3"),
        ("p3_0004_lines", "p3"),
        ("p3/s1/4.png", "p3/s1"),
        ("0017", "0017"),
    ],
)
def test_the_source_comes_from_the_filename_or_its_own_column(tmp_path, name, source):
    write(tmp_path / "a.parquet", {"image": [picture(OPEN).ravel()], "label": [OPEN.ravel()], "filename": [name]})
    assert [frame.source for frame in read_parquet(tmp_path, maps=True)] == [source]
    row = {"image": [picture(OPEN).ravel()], "label": [OPEN.ravel()], "filename": [name], "source": ["ada"]}
    write(tmp_path / "a.parquet", row)
    assert [frame.source for frame in read_parquet(tmp_path, maps=True)] == ["ada"]


def test_bad_rows_are_named_and_the_others_kept(tmp_path):
    upright = np.ascontiguousarray(cv2.resize(picture(OPEN), (400, 640)))
    three = OPEN.copy()
    three[180, 300] = 3
    good = picture(OPEN).ravel()
    rows = [
        (good, OPEN.ravel(), "fine"), (upright.ravel(), OPEN.ravel(), "portrait"), (good[:-1], OPEN.ravel(), "short"),
        (good, three.ravel(), "values"), (None, OPEN.ravel(), "null"), (good, None, "unlabelled"),
        (good, BLINK.ravel(), "blink"),
    ]  # fmt: skip
    write(
        tmp_path / "x.parquet",
        dict(zip(("image", "label", "filename"), map(list, zip(*rows, strict=True)), strict=True)),
    )
    good_frames, bad = split_up(read_parquet(tmp_path, maps=True))
    assert [frame.sample_id for frame in good_frames] == ["fine", "blink"]
    assert {name: reason.split(": ")[0] for name, reason in bad.items()} == {
        "x.parquet row 1 (portrait)": "portrait (640 x 400 in a flat list)",
        "x.parquet row 2 (short)": "image has 255999 numbers",
        "x.parquet row 3 (values)": "label with other values (such as 3)",
        "x.parquet row 4 (null)": "image is empty or no list",
        "x.parquet row 5 (unlabelled)": "label is empty or no list",
    }


def test_a_nested_portrait_and_ragged_rows_are_refused(tmp_path):
    upright = cv2.resize(picture(OPEN), (400, 640)).tolist()
    ragged = picture(OPEN).tolist()
    ragged[5] = ragged[5][:-1]
    write(tmp_path / "x.parquet", {"image": [upright, ragged], "label": [OPEN.tolist()] * 2})
    _, bad = split_up(read_parquet(tmp_path, maps=True))
    assert bad["x.parquet row 0"].startswith("portrait (640 x 400)")
    assert bad["x.parquet row 1"].startswith("image has rows of different lengths")


def test_a_damaged_row_group_loses_its_rows_only(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    labels = [OPEN, OTHER, BLINK, OPEN]
    pixels = pa.list_(pa.uint8())
    table = pa.table({"image": pa.array([picture(label).ravel() for label in labels], pixels),
                      "label": pa.array([label.ravel() for label in labels], pixels)})  # fmt: skip
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=2, write_page_checksum=True)
    column = pq.read_metadata(path).row_group(0).column(0)
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + 3000] ^= 0xFF
    path.write_bytes(content)
    good, bad = split_up(read_parquet(tmp_path, maps=True))
    assert [frame.sample_id for frame in good] == ["x.parquet:2", "x.parquet:3"]
    assert list(bad) == ["x.parquet row 0", "x.parquet row 1"]
    assert all(reason.startswith("damaged rows (") and "\n" not in reason for reason in bad.values())


def test_files_that_are_no_whole_set_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"no \.parquet files"):
        list(read_parquet(tmp_path, maps=True))
    write_v1(tmp_path / "data-00000-of-00002.parquet", [OPEN], ["a"])
    with pytest.raises(DataError, match="shard 1 is missing"):
        list(read_parquet(tmp_path, maps=True))
    whole = (tmp_path / "data-00000-of-00002.parquet").read_bytes()
    (tmp_path / "data-00001-of-00002.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"data-00001-of-00002\.parquet: damaged or no parquet file"):
        list(read_parquet(tmp_path, maps=True))
    write(tmp_path / "data-00001-of-00002.parquet", {"pixels": [[1, 2]]})
    with pytest.raises(DataError, match="no column 'image'"):
        list(read_parquet(tmp_path, maps=True))


def test_rows_are_streamed(tmp_path):
    """Peak memory does not grow with the rows of a group."""
    peaks = []
    for rows in (20, 60):
        folder = tmp_path / str(rows)
        table = {"image": [picture(OPEN).ravel()] * rows, "label": [OPEN.ravel()] * rows}
        write(folder / "x.parquet", table, group=rows)
        import pyarrow as pa

        before = pa.total_allocated_bytes()
        tracemalloc.start()
        peak = 0
        for _ in read_parquet(folder, maps=True):
            peak = max(peak, pa.total_allocated_bytes() - before + tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        peaks.append(peak)
    assert peaks[1] < 1.2 * peaks[0] < 60e6


def put_png(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def put_sequence(root: Path, sequence: int, number: int, classes: np.ndarray) -> None:
    put_png(root / f"S_{sequence}" / f"{number}.png", picture(classes == 3, number))
    np.save(root / f"S_{sequence}" / f"{number}.npy", classes)


def test_sequences_are_read_in_numeric_order_with_the_pupil_as_class_3(tmp_path):
    classes = (mask(a=100, b=90) * 2 + OPEN).astype(np.uint8)
    for sequence, number in ((10, 1), (2, 10), (2, 9)):
        put_sequence(tmp_path, sequence, number, classes)
    put_sequence(tmp_path, 2, 11, BLINK)
    found = frames(read_sequences(tmp_path))
    assert [frame.sample_id for frame in found] == ["S_2/9.png", "S_2/10.png", "S_2/11.png", "S_10/1.png"]
    assert [frame.source for frame in found] == ["S_2", "S_2", "S_2", "S_10"]
    assert np.array_equal(found[0].label, OPEN)
    assert np.array_equal(found[0].image, picture(OPEN == 1, 9))
    assert found[2].label.max() == 0


def test_bad_sequence_files_are_named(tmp_path):
    put_sequence(tmp_path, 1, 1, OPEN * 3)
    put_sequence(tmp_path, 1, 2, OPEN * 9)
    put_sequence(tmp_path, 1, 3, np.ascontiguousarray((OPEN * 3).T))
    put_sequence(tmp_path, 1, 4, OPEN * 3)
    (tmp_path / "S_1" / "4.npy").write_bytes((tmp_path / "S_1" / "1.npy").read_bytes()[:1000])
    put_png(tmp_path / "S_1" / "5.png", picture(OPEN))
    put_sequence(tmp_path, 1, 6, OPEN * 3)
    put_png(tmp_path / "S_1" / "6.png", picture(np.ascontiguousarray(OPEN.T)))
    put_sequence(tmp_path, 1, 7, OPEN * 3)
    (tmp_path / "S_1" / "7.png").write_bytes(b"")
    put_sequence(tmp_path, 1, 8, OPEN * 0.5)
    good, bad = split_up(read_sequences(tmp_path))
    assert [frame.sample_id for frame in good] == ["S_1/1.png"]
    assert {name: reason.split(": ")[0] for name, reason in bad.items()} == {
        "S_1/2.png": "label with other values (such as 9)",
        "S_1/3.png": "portrait (640 x 400)",
        "S_1/4.png": "damaged label (4.npy is no whole .npy file)",
        "S_1/5.png": "no label (5.npy is missing)",
        "S_1/6.png": "portrait (640 x 400)",
        "S_1/7.png": "empty file (0 bytes)",
        "S_1/8.png": "8.npy has fractions",
    }
    with pytest.raises(DataError, match=r"no S_\*"):
        list(read_sequences(tmp_path / "S_1"))


@pytest.mark.parametrize("white", [1, 255])
def test_images_and_masks_are_paired_by_stem_whatever_their_size(tmp_path, white):
    label = mask()[:300, :400]
    for name in ("p1_1", "p1_2", "cam/p9", "alone"):
        put_png(tmp_path / "images" / f"{name}.png", picture(label))
        put_png(tmp_path / "masks" / f"{name}.png", label * white)
    put_png(tmp_path / "masks" / "p1_2.png", label * 0)
    found = {frame.sample_id: frame for frame in frames(read_pairs(tmp_path))}
    assert {name: frame.source for name, frame in found.items()} == {
        "p1_1": "p1", "p1_2": "p1", "cam/p9": "cam", "alone": "alone",
    }  # fmt: skip
    assert np.array_equal(found["p1_1"].label, label)
    assert np.array_equal(found["p1_1"].image, picture(label))
    assert found["p1_2"].label.max() == 0


def test_bad_pairs_are_named(tmp_path):
    label = mask()
    for name in "abcdef":
        put_png(tmp_path / "images" / f"{name}.png", picture(label))
        put_png(tmp_path / "masks" / f"{name}.png", label * 255)
    (tmp_path / "masks" / "b.png").unlink()
    (tmp_path / "images" / "c.png").unlink()
    put_png(tmp_path / "masks" / "d.png", label * 100 + BLINK + 155 * label)
    put_png(tmp_path / "masks" / "d.png", cv2.GaussianBlur(label * 255, (5, 5), 0))
    put_png(tmp_path / "masks" / "e.png", label[:-1] * 255)
    whole = (tmp_path / "masks" / "f.png").read_bytes()
    (tmp_path / "masks" / "f.png").write_bytes(whole[:-20])
    good, bad = split_up(read_pairs(tmp_path))
    assert [frame.sample_id for frame in good] == ["a"]
    assert set(bad) == {"images/b.png", "masks/c.png", "images/d.png", "images/e.png", "images/f.png"}
    assert bad["images/b.png"].startswith("no file of its name in masks/")
    assert bad["masks/c.png"].startswith("no file of its name in images/")
    assert bad["images/d.png"].startswith("mask with other values (such as")
    assert bad["images/e.png"].startswith("its mask is of another size")
    assert bad["images/f.png"].startswith("bad mask: truncated PNG")
    with pytest.raises(DataError, match="no such folder"):
        list(read_pairs(tmp_path / "images"))


def test_checks_name_the_frame():
    with pytest.raises(BadImageError, match=r"^f: portrait \(640 x 400\): turn or crop it"):
        check_shape((640, 400), "f")
    with pytest.raises(BadImageError, match=r"^f: wrong shape \(200 x 320\): expected 400 x 640"):
        check_shape((200, 320), "f", (400, 640))
    with pytest.raises(BadImageError, match="^f: label with other values"):
        pupil_mask(np.full((4, 4), 2, np.uint8), 1, "f")
    for values in (np.array([300]), np.array([-1]), np.array([math.nan]), np.array(["a"])):
        with pytest.raises(BadImageError, match="^f: image is not of bytes"):
            to_bytes(values, "f", "image")


def test_upright_pictures_are_told_from_scrambled_ones():
    from visage.synthetic.nir_batch import EyeSpec, draw_eye

    for subject in range(8):
        image = draw_eye(EyeSpec(5, subject, 0)).image
        check_not_scrambled(image, "f")
        upright = np.ascontiguousarray(np.rot90(image))
        with pytest.raises(BadImageError, match="portrait"):
            check_not_scrambled(upright.reshape(400, 640), "f")
    check_not_scrambled(BLINK, "a plain one")
