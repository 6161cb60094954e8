"""Patches cover every pixel of any picture, and what they answer is put together without a trace of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visage.vision.patches import RowStitcher, cut, grid, starts, weights, window

SHAPES = st.tuples(st.integers(1, 90), st.integers(1, 90))


@st.composite
def patchings(draw: st.DrawFn) -> tuple[int, int]:
    """(size, overlap)."""
    size = draw(st.integers(1, 40))
    return size, draw(st.integers(0, size - 1))


def stitched(whole: np.ndarray, size: int, overlap: int) -> tuple[np.ndarray, list[int]]:
    """`whole` (H x W) cut into patches (1000 beyond the picture) and blended again; the heights of the portions."""
    height, width = whole.shape
    padded = np.full((height + size, width + size), 1000, np.float32)
    padded[:height, :width] = whole
    stitcher, portions = RowStitcher(height, width, size, overlap), []
    for box in grid(height, width, size, overlap):
        rows = stitcher.add(padded[box.y0 : box.y0 + size, box.x0 : box.x0 + size])
        if rows is not None:
            portions.append(rows)
    assert stitcher.done
    return np.concatenate(portions), [len(rows) for rows in portions]


def test_a_picture_of_512_px_has_nine_patches() -> None:
    assert starts(512, 256, 64) == [0, 192, 256]
    boxes = grid(512, 512, 256, 64)
    assert len(boxes) == 9
    assert boxes[1] == (192, 0, 448, 256)


def test_one_patch_is_enough_where_the_picture_has_its_size() -> None:
    assert grid(32, 32, 32, 8) == [(0, 0, 32, 32)]


@settings(deadline=None)
@given(SHAPES, patchings())
def test_every_pixel_is_covered_and_nothing_beyond(shape: tuple[int, int], patching: tuple[int, int]) -> None:
    (height, width), (size, overlap) = shape, patching
    count = np.zeros(shape, int)
    for box in grid(height, width, size, overlap):
        assert 0 <= box.x0 < box.x1 <= width and 0 <= box.y0 < box.y1 <= height
        assert box.x1 - box.x0 == min(size, width) and box.y1 - box.y0 == min(size, height)
        count[box.y0 : box.y1, box.x0 : box.x1] += 1
    assert count.min() >= 1


@given(st.integers(1, 400), patchings())
def test_neighbours_share_at_least_the_overlap_and_the_last_is_flush(length: int, patching: tuple[int, int]) -> None:
    size, overlap = patching
    begins = np.array(starts(length, size, overlap))
    assert begins[0] == 0 and begins[-1] == max(0, length - size)
    assert (np.diff(begins) > 0).all() and (np.diff(begins) <= size - overlap).all()


def test_an_overlap_as_large_as_the_patch_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        starts(100, 32, 32)


@given(st.integers(1, 4096))
def test_the_window_is_above_zero_everywhere(size: int) -> None:
    assert window(size).min() > 0
    np.testing.assert_allclose(window(size), window(size)[::-1], atol=1e-12)


@given(st.integers(1, 300), patchings())
def test_weights_of_a_pixel_sum_to_one(length: int, patching: tuple[int, int]) -> None:
    size, overlap = patching
    total = np.zeros(max(length, size))
    for begin, part in zip(starts(length, size, overlap), weights(length, size, overlap), strict=True):
        total[begin : begin + size] += part
    np.testing.assert_allclose(total[:length], 1, atol=1e-6)
    assert not total[length:].any()


@settings(deadline=None)
@given(SHAPES, patchings(), st.floats(-8, 8, width=32))
def test_constant_answers_give_the_constant(shape: tuple[int, int], patching: tuple[int, int], value: float) -> None:
    whole, _ = stitched(np.full(shape, value, np.float32), *patching)
    np.testing.assert_allclose(whole, value, rtol=1e-5, atol=1e-6)


@settings(deadline=None)
@given(SHAPES, patchings())
def test_patches_that_agree_give_back_the_picture(shape: tuple[int, int], patching: tuple[int, int]) -> None:
    picture = np.random.default_rng(shape).random(shape, dtype=np.float32)
    whole, portions = stitched(picture, *patching)
    np.testing.assert_allclose(whole, picture, atol=1e-5)
    # Rows come as soon as the next patches cannot change them.
    assert portions[:-1] == np.diff(starts(shape[0], *patching)).tolist()


def test_a_pixel_of_one_patch_keeps_its_answer_to_the_bit() -> None:
    picture = np.random.default_rng(0).random((100, 100), dtype=np.float32)
    whole, _ = stitched(picture, 40, 10)
    assert (whole[:30, :30] == picture[:30, :30]).all()
    assert (whole[-29:, -29:] == picture[-29:, -29:]).sum() >= 10 * 10


def test_blending_runs_smoothly_from_one_answer_to_the_other() -> None:
    stitcher = RowStitcher(32, 56, 32, 8)
    assert stitcher.add(np.zeros((32, 32), np.float32)) is None
    rows = stitcher.add(np.ones((32, 32), np.float32))
    assert rows is not None
    steps = np.diff(rows[0])
    assert (steps >= 0).all() and rows[0, 23] == 0 and rows[0, 32] == 1
    assert steps.max() < 0.25  # a hard seam would be 1
    assert steps[23] < 0.02 and steps[31] < 0.02


def test_memory_is_a_strip_whatever_the_height() -> None:
    small, tall = RowStitcher(200, 300, 64, 16), RowStitcher(20_000, 300, 64, 16)

    def held(stitcher: RowStitcher) -> int:
        return stitcher.strip.nbytes

    assert held(small) == held(tall) == 64 * 300 * 4


def test_beyond_the_picture_a_patch_is_filled() -> None:
    image = np.full((10, 20, 3), 7, np.uint8)
    patch = cut(image, grid(10, 20, 16, 4)[1], 16, np.array((1, 2, 3), np.uint8))
    assert patch.shape == (16, 16, 3)
    assert (patch[:10] == 7).all()
    assert (patch[10:] == (1, 2, 3)).all()
