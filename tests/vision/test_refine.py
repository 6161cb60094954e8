"""Mending masks: what each step keeps, and the guided filter against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visage.vision.refine import fill_holes, guided_filter, hysteresis, keep_components


def random_mask(seed: int, share: float) -> np.ndarray:
    return (np.random.default_rng(seed).random((24, 31)) < share).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_hysteresis_lies_between_the_two_thresholds(seed: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    confidence = np.random.default_rng(seed).random((24, 31)).astype(np.float32)
    mask = hysteresis(confidence, low, high) == 1
    assert (mask >= (confidence >= high)).all()
    assert (mask <= (confidence >= low)).all()


def test_hysteresis_follows_weak_pixels_from_strong_ones_over_corners() -> None:
    confidence = np.array([[0.9, 0.0, 0.0, 0.5], [0.0, 0.5, 0.0, 0.5], [0.0, 0.0, 0.5, 0.0]], np.float32)
    np.testing.assert_array_equal(hysteresis(confidence, 0.4, 0.8), confidence > 0)
    confidence[1, 1] = 0.3
    np.testing.assert_array_equal(hysteresis(confidence, 0.4, 0.8), confidence == np.float32(0.9))
    np.testing.assert_array_equal(hysteresis(confidence, 0.5, 0.5), confidence >= 0.5)
    with pytest.raises(ValueError, match="low must be"):
        hysteresis(confidence, 0.6, 0.5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.floats(0, 1))
def test_components_only_go_and_holes_only_fill_and_both_are_idempotent(seed: int, share: float, part: float) -> None:
    mask = random_mask(seed, share)
    kept, filled = keep_components(mask, part), fill_holes(mask, part)
    assert (kept <= mask).all() and (filled >= mask).all()
    np.testing.assert_array_equal(keep_components(kept, part), kept)
    assert fill_holes(mask, 0).tolist() == mask.tolist()
    assert keep_components(mask, 0).tolist() == mask.tolist()


def test_components_are_measured_by_the_largest() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[:10, :10], mask[15, :10], mask[15, 15] = 1, 1, 1  # 100, 10 and 1 pixels
    assert keep_components(mask, 0.1).sum() == 110
    assert keep_components(mask, 0.11).sum() == 100
    assert keep_components(np.zeros((3, 3), np.uint8), 0.5).sum() == 0


def test_a_hole_is_filled_by_size_and_a_bay_never() -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[2:18, 2:18] = 1
    mask[5, 5] = 0  # a hole of one pixel
    mask[10:14, 10:14] = 0  # one of 16
    mask[2:6, 15] = 0  # a bay
    assert fill_holes(mask, 0.02).sum() == mask.sum() + 1
    assert fill_holes(mask, 0.1).sum() == mask.sum() + 17
    assert fill_holes(np.ones((4, 4), np.uint8), 1).all()
    ring = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.uint8)
    assert fill_holes(ring, 1)[1, 1] == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_the_guided_filter_is_its_definition(channels: int) -> None:
    rng = np.random.default_rng(3)
    guide = rng.integers(0, 256, (9, 11, channels)).astype(np.uint8)
    source, radius, eps = rng.random((9, 11)).astype(np.float32), 2, 1e-2
    result = guided_filter(guide if channels == 3 else guide[..., 0], source, radius, eps)

    colours = guide.astype(np.float64) / 255
    slopes, offsets = np.zeros((9, 11, channels)), np.zeros((9, 11))

    def window(y: int, x: int) -> tuple[slice, slice]:
        return slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)

    for y, x in np.ndindex(9, 11):
        inside, values = colours[window(y, x)].reshape(-1, channels), source[window(y, x)].ravel().astype(np.float64)
        spread = np.cov(inside.T, bias=True).reshape(channels, channels) + eps * np.eye(channels)
        shared = ((inside - inside.mean(0)) * (values - values.mean())[:, None]).mean(0)
        slopes[y, x] = np.linalg.solve(spread, shared)
        offsets[y, x] = values.mean() - slopes[y, x] @ inside.mean(0)
    for y, x in np.ndindex(9, 11):
        mean_slope = slopes[window(y, x)].reshape(-1, channels).mean(0)
        assert result[y, x] == pytest.approx(mean_slope @ colours[y, x] + offsets[window(y, x)].mean(), abs=1e-6)


def test_the_guided_filter_moves_a_coarse_edge_to_the_pictures() -> None:
    guide = np.zeros((40, 40, 3), np.uint8)
    guide[:, 18:] = (200, 120, 60)
    coarse = np.zeros((40, 40), np.float32)
    coarse[:, 20:] = 1  # two pixels off
    fine = guided_filter(guide, coarse, 8, 1e-4) >= 0.5
    np.testing.assert_array_equal(fine, guide[..., 0] > 0)
    flat = guided_filter(guide, np.full((40, 40), 0.3, np.float32), 50, 1e-4)
    np.testing.assert_allclose(flat, 0.3, atol=1e-6)


@pytest.mark.parametrize(("radius", "eps", "shape"), [(0, 1e-4, (8, 8)), (2, 0.0, (8, 8)), (2, 1e-4, (8, 9))])
def test_the_guided_filter_refuses_what_it_cannot_do(radius: int, eps: float, shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="guided filter"):
        guided_filter(np.zeros((8, 8, 3), np.uint8), np.zeros(shape, np.float32), radius, eps)
