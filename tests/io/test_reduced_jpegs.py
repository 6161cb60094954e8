"""Decoding a JPEG no larger than it is needed: never too small, in place, and close to decoding it whole."""

import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from visage.errors import BadImageError
from visage.io.images import decode, read_image, read_sized
from visage.vision.resize import resize


def picture(height: int, width: int) -> np.ndarray:
    """A smooth picture without symmetry, so that every orientation differs."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    planes = [255 * x / width, 255 * y / height, 127 + 100 * np.sin(x / 17 + y / 29)]
    return np.stack(planes, axis=2).astype(np.uint8)


def saved(image: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(height: int, width: int, orientation: int = 1, mode: str = "RGB", progressive: bool = False) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(picture(height, width)).convert(mode)
    return saved(image, "JPEG", quality=92, exif=exif, progressive=progressive)


def close(image: np.ndarray, expected: np.ndarray) -> None:
    assert image.shape == expected.shape
    assert np.abs(image.astype(float) - expected).mean() < 2


def expected_scale(size: tuple[int, int], least: tuple[int, int]) -> int:
    for scale in (8, 4, 2):
        reduced = [-(-side // scale) for side in size]
        shifts = [part * (small * scale / side - 1) for part, small, side in zip(least, reduced, size, strict=True)]
        if all(small >= part for small, part in zip(reduced, least, strict=True)) and max(shifts) <= 0.25 + 1e-9:
            return scale
    return 1


sides = st.integers(1, 400)
leasts = st.tuples(sides, sides) | st.tuples(st.integers(1, 60), st.integers(1, 60))


@settings(max_examples=200, deadline=None)
@given(height=sides, width=sides, least=leasts, orientation=st.integers(1, 8))
@example(height=256, width=256, least=(128, 128), orientation=1)
@example(height=255, width=256, least=(128, 128), orientation=1)
@example(height=399, width=320, least=(40, 49), orientation=6)
def test_a_reduced_jpeg_is_the_smallest_that_is_large_enough_and_in_place(height, width, least, orientation):
    data = jpeg(height, width, orientation)
    upright = (width, height) if orientation >= 5 else (height, width)
    scale = expected_scale(upright, least)
    image = decode(data, "a", at_least=least)
    assert image.shape == (-(-upright[0] // scale), -(-upright[1] // scale), 3)
    assert scale == 1 or (image.shape[0] >= least[0] and image.shape[1] >= least[1])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(("height", "width"), [(512, 768), (301, 403), (257, 999)])
def test_a_reduced_jpeg_resizes_to_what_the_whole_one_does(height, width, orientation):
    data = jpeg(height, width, orientation)
    reduced = decode(data, "a", at_least=(64, 50))
    assert reduced.nbytes < height * width
    close(resize(reduced, 50, 64), resize(decode(data, "a"), 50, 64))


@pytest.mark.parametrize("options", [{"mode": "L"}, {"mode": "CMYK"}, {"mode": "RGB", "progressive": True}])
@pytest.mark.parametrize(("size", "scale"), [(150, 2), (75, 4), (37, 8)])
def test_every_kind_of_jpeg_is_reduced_alike(options, size, scale):
    data = jpeg(304, 400, **options)
    reduced = decode(data, "a", at_least=(size, size))
    assert reduced.shape == (304 // scale, 400 // scale, 3)
    close(resize(reduced, size, size), resize(decode(data, "a"), size, size))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP"])
def test_other_formats_are_decoded_whole(kind):
    data = saved(Image.fromarray(picture(60, 80)), kind)
    np.testing.assert_array_equal(decode(data, "a", at_least=(2, 2)), decode(data, "a"))


def test_a_truncated_jpeg_is_refused_at_every_scale_and_a_bomb_by_its_own_size():
    data = jpeg(200, 300)
    for size in (100, 50, 25):
        with pytest.raises(BadImageError, match="truncated JPEG"):
            decode(data[: len(data) // 2], "a", at_least=(size, size))
    with pytest.raises(BadImageError, match=r"too many pixels \(300x200"):
        decode(data, "a", max_pixels=200 * 300 - 1, at_least=(25, 25))


@pytest.mark.parametrize(("orientation", "size"), [(1, (200, 300)), (6, (300, 200))])
def test_a_reduced_picture_keeps_its_own_size_on_record(orientation, size, tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(200, 300, orientation))
    image, found = read_sized(tmp_path / "a.jpg", (50, 50))
    assert found == size
    assert image.shape[:2] == (size[0] // 4, size[1] // 4)


def test_reduced_real_photographs_resize_to_what_whole_ones_do(portraits):
    for path in sorted(portraits.iterdir()):
        reduced = read_image(path, at_least=(128, 128))
        close(resize(reduced, 128, 128), resize(read_image(path), 128, 128))
