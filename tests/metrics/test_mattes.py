"""Metrics of soft masks: their values on masks whose answer is known, and what must hold of any."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visage.metrics import mattes

SHAPE = (40, 60)


def square(top: int, left: int, side: int, level: int = 255) -> np.ndarray:
    matte = np.zeros(SHAPE, np.uint8)
    matte[top : top + side, left : left + side] = level
    return matte


def test_the_truth_scores_full_marks() -> None:
    found = mattes.report(mattes.count(square(5, 5, 20), square(5, 5, 20)))
    assert [found[name] for name in ("iou", "f1", "precision", "recall", "boundary_f", "picture_iou")] == [1] * 6
    assert found["mae"] == 0
    assert math.isnan(found["empty_share"])


def test_a_shift_costs_what_it_covers_and_no_edge_within_reach() -> None:
    found = mattes.report(mattes.count(square(5, 5, 20), square(5, 7, 20)))
    assert found["iou"] == pytest.approx(360 / 440)
    assert found["f1"] == pytest.approx(360 / 400)
    assert found["mae"] == pytest.approx(80 / 2400)
    assert found["boundary_f"] == 1
    far = mattes.report(mattes.count(square(5, 5, 20), square(5, 8, 20)))
    assert 0.4 < far["boundary_f"] < 0.8


def test_no_answer_scores_nothing_and_an_empty_picture_has_no_iou() -> None:
    nothing = np.zeros(SHAPE, np.uint8)
    found = mattes.report(mattes.count(square(5, 5, 20), nothing))
    assert (found["iou"], found["recall"], found["picture_iou"]) == (0, 0, 0)
    assert math.isnan(found["precision"])
    assert math.isnan(found["boundary_f"])
    empty = mattes.count(nothing, square(0, 0, 12))
    assert mattes.report(empty)["empty_share"] == pytest.approx(144 / 2400)
    assert math.isnan(mattes.report(empty)["picture_iou"])
    assert math.isnan(mattes.picture_iou(mattes.count(nothing, nothing))[0])


def test_soft_coverage_counts_in_the_mean_error_alone() -> None:
    soft = square(5, 5, 20)
    soft[5] = np.where(soft[5], 140, 0)
    found = mattes.report(mattes.count(soft, square(5, 5, 20)))
    assert found["iou"] == 1
    assert found["mae"] == pytest.approx(20 * 115 / 255 / 2400)


def test_a_border_of_the_picture_is_no_edge() -> None:
    assert mattes.outline(np.ones(SHAPE, np.uint8)).sum() == 0
    assert mattes.outline((square(0, 0, 10) > 0).astype(np.uint8)).sum() == 19


levels = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed).integers(0, 256, SHAPE, np.uint8))


@given(levels, levels, levels, levels)
@settings(max_examples=20, deadline=None)
def test_pictures_add_up_and_the_curve_falls(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> None:
    both = mattes.joined([mattes.count(a, b), mattes.count(c, d)])
    stacked = mattes.count(np.vstack([a, c]), np.vstack([b, d]))
    for name in ("iou", "f1", "precision", "recall", "mae"):
        assert mattes.report(both)[name] == pytest.approx(mattes.report(stacked)[name])
    np.testing.assert_array_equal(both.of(np.array([False, True])).levels, mattes.count(c, d).levels)
    curve = mattes.precision_recall(both, range(1, 256))
    recalls = [recall for _, recall in curve]
    assert all(after <= before for before, after in itertools.pairwise(recalls))
    half = curve[mattes.HALF - 1]
    assert half == pytest.approx((mattes.report(both)["precision"], mattes.report(both)["recall"]))
