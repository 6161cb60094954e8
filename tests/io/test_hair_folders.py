"""Hair masks in folders: four layouts read as meant, soft and 16-bit masks kept, every fault named in one line."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visage.errors import DataError
from visage.io.hair_folders import read_celebamask, read_figaro, read_folder_pairs, read_lfw_parts
from visage.io.hair_frames import HairFrame, Load, Rejected

Reader = Callable[[Path], Iterator[Load]]


def photo(height: int = 40, width: int = 60) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 4 % 256, y * 6 % 256, (x + y) % 256], axis=2).astype(np.uint8)


def hair(height: int = 40, width: int = 60) -> np.ndarray:
    """Hair in the upper left corner, so that every turn shows."""
    mask = np.zeros((height, width), np.uint8)
    mask[: height // 4, : width // 3] = 255
    return mask


def put(path: Path, image: np.ndarray | Image.Image | bytes, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(image, bytes):
        path.write_bytes(image)
    else:
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        picture.save(path, **options)
    return path


def read(reader: Reader, root: Path) -> tuple[list[HairFrame], dict[str, str]]:
    results = [load() for load in reader(root)]
    good = [entry for entry in results if isinstance(entry, HairFrame)]
    return good, {entry.sample_id: entry.reason for entry in results if isinstance(entry, Rejected)}


def pair(root: Path, image, mask, name: str = "ann_1", suffix: str = "png") -> tuple[list[HairFrame], dict[str, str]]:
    put(root / "images" / f"{name}.{suffix}", image)
    put(root / "masks" / f"{name}.png", mask)
    return read(read_folder_pairs, root)


def only(results: tuple[list[HairFrame], dict[str, str]]) -> HairFrame:
    (frame,), bad = results
    assert not bad
    assert frame.image.shape == (*frame.alpha.shape, 3)
    assert frame.image.dtype == frame.alpha.dtype == np.uint8
    return frame


def reason(results: tuple[list[HairFrame], dict[str, str]]) -> str:
    good, (text,) = results[0], results[1].values()
    assert not good
    assert "\n" not in text and ": " in text
    return text


def test_a_folder_gives_pictures_masks_and_people_in_numeric_order(tmp_path):
    for name in ("ann/10", "ann/9", "bob_3", "solo"):
        pair(tmp_path, photo(), hair(), name)
    good, bad = read(read_folder_pairs, tmp_path)
    assert not bad
    assert [(frame.sample_id, frame.source) for frame in good] == [
        ("ann/9", "ann"), ("ann/10", "ann"), ("bob_3", "bob"), ("solo", "solo"),
    ]  # fmt: skip
    assert good[0].file == "images/ann/9.png"
    assert np.array_equal(good[0].image, photo()) and np.array_equal(good[0].alpha, hair())


def test_soft_16_bit_and_binary_masks_are_coverage(tmp_path):
    soft = (np.arange(40 * 60).reshape(40, 60) % 256).astype(np.uint8)
    for number, mask in enumerate([soft, soft.astype(np.uint16) * 257, soft.astype(np.uint16), np.dstack([soft] * 3)]):
        assert np.array_equal(only(pair(tmp_path / str(number), photo(), mask)).alpha, soft)
    for number, mask in enumerate([hair() // 255, (hair() // 255).astype(np.uint16), Image.fromarray(hair() > 0)]):
        assert np.array_equal(only(pair(tmp_path / f"b{number}", photo(), mask)).alpha, hair())


@pytest.mark.parametrize(
    ("mask", "fault"),
    [
        (hair() // 255 * 7, "mask of class numbers"),
        (np.dstack([hair(), hair() * 0, hair() * 0]), "mask with colours"),
        (np.dstack([hair() * 0] * 3 + [hair()]), "mask with transparency"),
        (hair(40, 50), r"its mask is of another size \(50x40 for 60x40\)"),
        (hair(60, 40), r"its mask is of another size \(40x60 for 60x40\)"),
        (np.zeros((1, 1), np.uint8), r"its mask is of another size \(1x1"),
        (b"no picture", "mask: not an image"),
        (b"", "mask: empty file"),
    ],
)
def test_what_is_no_mask_of_the_picture_is_refused(tmp_path, mask, fault):
    assert re.match(fault, reason(pair(tmp_path, photo(), mask)))


@pytest.mark.parametrize("shape", [(20, 30), (80, 120), (41, 61)])
def test_a_mask_of_the_same_aspect_is_resized(tmp_path, shape):
    frame = only(pair(tmp_path, photo(), hair(*shape)))
    assert frame.alpha.mean() == pytest.approx(hair().mean(), rel=0.1)
    assert frame.alpha[2, 2] == 255 and frame.alpha[30, 50] == 0


def test_an_empty_mask_is_kept(tmp_path):
    assert not only(pair(tmp_path, photo(), hair() * 0)).alpha.any()


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        (photo(1, 1), r"too small (1x1"),
        (b"\xff\xd8\xff", "truncated JPEG"),
        (b"", "empty file"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, image, fault):
    assert reason(pair(tmp_path, image, hair())).startswith(fault)


def test_cmyk_16_bit_grey_and_transparent_pictures_are_read(tmp_path):
    cmyk = Image.fromarray(photo()).convert("CMYK")
    assert only(pair(tmp_path / "a", cmyk, hair(), suffix="jpg")).image.std() > 20
    grey = photo()[..., 0]
    for name, image in (("b", grey.astype(np.uint16) * 257), ("c", grey)):
        assert np.array_equal(only(pair(tmp_path / name, image, hair())).image, np.dstack([grey] * 3))
    clear = np.dstack([photo(), hair() * 0])
    assert only(pair(tmp_path / "d", clear, hair())).image.min() == 255


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_rotated_photograph_meets_its_mask_drawn_on_either_view(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    transposed = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_270, 8: Image.Transpose.ROTATE_90}
    upright = np.asarray(Image.fromarray(hair()).transpose(transposed[orientation]))
    buffer = io.BytesIO()
    Image.fromarray(photo()).save(buffer, "JPEG", exif=exif, quality=95)
    masks = {"upright": upright} | ({"stored": hair()} if orientation != 3 else {})
    for name, mask in masks.items():
        frame = only(pair(tmp_path / name, buffer.getvalue(), mask, suffix="jpg"))
        assert frame.image.shape[:2] == upright.shape
        assert np.array_equal(frame.alpha, upright)


def test_half_pairs_and_doubles_are_refused(tmp_path):
    put(tmp_path / "images/a.png", photo())
    put(tmp_path / "masks/b.png", hair())
    for name in ("c.png", "c.jpg"):
        put(tmp_path / "images" / name, photo())
    put(tmp_path / "masks/c.png", hair())
    _, bad = read(read_folder_pairs, tmp_path)
    assert bad["images/a.png"].startswith("no file of its name in the masks")
    assert bad["masks/b.png"].startswith("no file of its name in images/")
    assert bad["images/c.jpg"].startswith("2 files of its name in images/")


def celeba(root: Path, number: int, parts: dict[str, np.ndarray]) -> None:
    put(root / f"CelebA-HQ-img/{number}.jpg", photo(64, 64), quality=95)
    for part, mask in parts.items():
        put(root / f"CelebAMask-HQ-mask-anno/{number // 2000}/{number:05d}_{part}.png", np.dstack([mask] * 3))


def test_celebamask_takes_hair_parts_and_their_absence(tmp_path):
    celeba(tmp_path, 2001, {"hair": hair(32, 32), "skin": hair(32, 32)})
    celeba(tmp_path, 3, {"skin": hair(32, 32)})
    celeba(tmp_path, 4, {})
    good, bad = read(read_celebamask, tmp_path)
    assert [frame.sample_id for frame in good] == ["3", "2001"]
    assert not good[0].alpha.any()
    assert good[1].alpha.shape == (64, 64) and good[1].alpha.mean() == pytest.approx(hair(64, 64).mean(), rel=0.1)
    assert list(bad) == ["CelebA-HQ-img/4.jpg"]
    assert [frame.source for frame in good] == ["3", "2001"]


def test_celebamask_splits_by_identity_where_it_is_known(tmp_path):
    for number in (0, 1, 2):
        celeba(tmp_path, number, {"hair": hair(32, 32)})
    put(tmp_path / "CelebA-HQ-to-CelebA-mapping.txt",
        b"idx orig_idx orig_file\n0 119613 119614.jpg\n1 99094 099095.jpg\n2 7 000008.jpg\n")  # fmt: skip
    put(tmp_path / "identity_CelebA.txt", b"119614.jpg 77\n099095.jpg 77\n")
    good, _ = read(read_celebamask, tmp_path)
    assert [frame.source for frame in good] == ["77", "77", "2"]


def pbm(mask: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(mask > 0).save(buffer, "PPM")
    return buffer.getvalue()


def test_figaro_reads_pbm_masks_in_which_white_is_hair(tmp_path):
    for number, split in ((160, "Training"), (1050, "Testing")):
        put(tmp_path / f"Original/{split}/Frame{number:05d}-org.jpg", photo(), quality=95)
        put(tmp_path / f"GT/{split}/Frame{number:05d}-gt.pbm", pbm(hair()))
    put(tmp_path / "Original/Training/Frame00002-org.jpg", photo(), quality=95)
    put(tmp_path / "GT/Training/Frame00002-gt.pbm", pbm(hair())[:60])
    assert pbm(hair())[:2] == b"P4"
    good, bad = read(read_figaro, tmp_path)
    assert [(frame.sample_id, frame.source) for frame in good] == [
        ("Frame01050", "Frame01050"), ("Frame00160", "Frame00160"),
    ]  # fmt: skip
    assert all(np.array_equal(frame.alpha, hair()) for frame in good)
    assert [dict(frame.attributes) for frame in good] == [{}, {"natural-curl": "wavy"}]
    assert "mask is truncated" in bad["Original/Training/Frame00002-org.jpg"]


def test_lfw_parts_take_the_red_part_of_a_person(tmp_path):
    labels = np.zeros((40, 60, 3), np.uint8)
    labels[..., 2] = 255
    labels[20:, :, 1], labels[20:, :, 2] = 255, 0
    labels[hair() > 0] = (255, 0, 0)
    for name in ("Ann_Lee_0002", "Bo_0001"):
        put(tmp_path / f"lfw_funneled/{name.rpartition('_')[0]}/{name}.jpg", photo(), quality=95)
        put(tmp_path / f"parts_lfw_funneled_gt_images/{name}.ppm", labels)
    put(tmp_path / "parts_lfw_funneled_gt_images/Cy_0001.ppm", labels)
    put(tmp_path / "parts_lfw_funneled_gt_images/Bo_0001.ppm", photo())
    good, bad = read(read_lfw_parts, tmp_path)
    (frame,) = good
    assert (frame.sample_id, frame.source) == ("Ann_Lee_0002", "Ann_Lee")
    assert frame.file == "lfw_funneled/Ann_Lee/Ann_Lee_0002.jpg"
    assert np.array_equal(frame.alpha, hair())
    assert "other colours than red" in bad["parts_lfw_funneled_gt_images/Bo_0001.ppm"]
    assert "unreadable" in bad["parts_lfw_funneled_gt_images/Cy_0001.ppm"]


@pytest.mark.parametrize("reader", [read_celebamask, read_figaro, read_lfw_parts, read_folder_pairs])
def test_a_folder_of_another_layout_is_an_error_that_names_what_is_missing(tmp_path, reader):
    with pytest.raises(DataError, match="no such folder: give the folder that holds"):
        list(reader(tmp_path))
