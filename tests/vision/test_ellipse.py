"""An ellipse drawn and fitted again is the same ellipse, whatever is odd about its mask."""

import math

import numpy as np
import pytest

from visage.vision.ellipse import Ellipse, fit_ellipse, largest_component, render_ellipse, surest_part

HEIGHT, WIDTH = 200, 260


def random_ellipses(count: int) -> list[Ellipse]:
    rng = np.random.default_rng(0)
    return [
        Ellipse(rng.uniform(100, 160), rng.uniform(80, 120), *rng.uniform(8, 60, 2), rng.uniform(-math.pi / 4, 0.78))
        for _ in range(count)
    ]


def test_a_drawn_ellipse_is_found_within_a_third_of_a_pixel() -> None:
    for wanted in random_ellipses(200):
        if max(wanted.rx, wanted.ry) > 3 * min(wanted.rx, wanted.ry):
            continue
        found = fit_ellipse(render_ellipse(wanted, HEIGHT, WIDTH))
        assert found is not None
        for name in ("cx", "cy", "rx", "ry"):
            assert abs(getattr(found, name) - getattr(wanted, name)) < 0.3, (name, wanted, found)
        # The far ends move by less than a pixel by what the angle is off.
        assert abs(found.angle - wanted.angle) * abs(wanted.rx - wanted.ry) < 1, (wanted, found)


def test_sizes_are_not_biased() -> None:
    drawn = random_ellipses(200)
    found = [fit_ellipse(render_ellipse(ellipse, HEIGHT, WIDTH)) for ellipse in drawn]
    for name in ("cx", "cy", "rx", "ry"):
        away = [getattr(b, name) - getattr(a, name) for a, b in zip(drawn, found, strict=True) if b is not None]
        assert len(away) == len(drawn)
        assert abs(np.mean(away)) < 0.1, name


def test_the_angle_is_that_of_rx_which_lies_nearer_to_x() -> None:
    for degrees in (-44, -20, 0, 20, 44):
        found = fit_ellipse(render_ellipse(Ellipse(100, 90, 40, 20, math.radians(degrees)), HEIGHT, WIDTH))
        assert found is not None
        assert found.rx > found.ry
        assert math.degrees(found.angle) == pytest.approx(degrees, abs=1)
    upright = fit_ellipse(render_ellipse(Ellipse(100, 90, 20, 40), HEIGHT, WIDTH))
    assert upright is not None
    assert upright.ry == pytest.approx(40, abs=0.3)
    assert upright.angle == pytest.approx(0, abs=0.02)


def test_an_empty_mask_has_none() -> None:
    assert fit_ellipse(np.zeros((20, 30), np.uint8)) is None


def test_the_largest_part_counts_and_holes_do_not() -> None:
    mask = render_ellipse(Ellipse(100, 90, 30, 25), HEIGHT, WIDTH)
    mask[85:95, 95:105] = 0
    alone = fit_ellipse(mask)
    mask[5:15, 5:20] = 1
    assert fit_ellipse(mask) == alone
    assert alone is not None
    assert (alone.cx, alone.cy, alone.rx, alone.ry) == pytest.approx((100, 90, 30, 25), abs=0.3)
    assert largest_component(mask)[:40, :40].sum() == 0


def test_a_small_part_that_is_sure_beats_a_large_doubtful_one() -> None:
    score = np.full((60, 80), -3.0, np.float32)
    score[5:35, 5:45], score[45:52, 60:67] = 0.1, 6.0
    part = surest_part(score)
    assert part.dtype == np.uint8
    assert part[45:52, 60:67].all() and part.sum() == 49
    np.testing.assert_array_equal(surest_part(np.where(score == np.float32(0.1), 9, score)), score == np.float32(0.1))
    assert not surest_part(np.full((4, 5), -1.0)).any()
    assert surest_part(np.ones((4, 5))).all()


def test_a_reflection_leaves_no_hole_and_no_notch() -> None:
    whole = render_ellipse(Ellipse(30, 40, 20, 14, 0.3), 80, 60)
    score = np.where(whole, 2.0, -2.0)
    score[38:42, 24:28] = -1
    score[20:36, 29:32] = -1  # in from the edge
    answer = surest_part(score)
    assert answer[38:42, 24:28].all()
    assert np.count_nonzero(answer != whole) < 0.02 * whole.sum() < np.count_nonzero((score > 0) != whole)


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float32])
def test_specks_and_lines_are_answered_with_their_size(dtype: type) -> None:
    for height, width in ((1, 1), (1, 2), (2, 2), (1, 30), (40, 1), (3, 50)):
        mask = np.zeros((60, 70), dtype)
        mask[10 : 10 + height, 5 : 5 + width] = 1
        found = fit_ellipse(mask)
        assert found is not None
        assert (found.cx, found.cy) == pytest.approx((5 + (width - 1) / 2, 10 + (height - 1) / 2), abs=0.01)
        assert 0.5 < min(found.rx, found.ry) <= max(found.rx, found.ry) < max(height, width) + 1


def test_a_full_mask_is_answered() -> None:
    found = fit_ellipse(np.ones((40, 60), np.uint8))
    assert found is not None
    assert (found.cx, found.cy) == pytest.approx((29.5, 19.5), abs=0.1)


def test_what_is_not_a_number_is_drawn_as_nothing() -> None:
    assert not render_ellipse(Ellipse(math.nan, math.nan, math.nan, math.nan), 10, 10).any()
    assert not render_ellipse(Ellipse(2.5, 2.5, 0, 0), 10, 10).any()
