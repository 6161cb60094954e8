"""Contact sheets: complete, and small enough for git whatever they show."""

from pathlib import Path

import cv2
import numpy as np

from visage.vision.sheet import MAX_BYTES, contact_sheet, write_sheet


def test_every_picture_is_on_the_sheet() -> None:
    tiles = [(np.full((40, 20, 3), 20 * i, np.uint8), f"picture {i}") for i in range(1, 8)]
    sheet = contact_sheet(tiles, columns=3, tile=50)
    assert all((sheet == 20 * i).all(2).sum() >= 0.9 * 50 * 25 for i in range(1, 8))


def test_noise_is_reduced_until_it_fits(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    write_sheet(tmp_path / "a.png", noise)
    assert (tmp_path / "a.png").stat().st_size <= MAX_BYTES
    assert cv2.imread(str(tmp_path / "a.png")) is not None


def test_a_name_that_the_font_lacks_does_not_stop_it() -> None:
    assert contact_sheet([(np.zeros((4, 4, 3), np.uint8), "가르마")], 1, 32).shape[2] == 3


def test_no_picture_gives_an_empty_sheet() -> None:
    assert contact_sheet([], 3, 10).size > 0
