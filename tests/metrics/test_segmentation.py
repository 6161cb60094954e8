"""Segmentation metrics: exact on cases counted by hand, and not flattered by background."""

import math

import numpy as np
import pytest

from visage.metrics import segmentation as metrics


def maps(*pictures: list[list[int]]) -> np.ndarray:
    return np.array(pictures, np.uint8)


TRUTH = maps([[0, 1, 1], [0, 1, 1]], [[0, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 0]])
ANSWER = maps([[0, 0, 1], [0, 1, 1]], [[0, 0, 0], [0, 1, 1]], [[0, 1, 1], [0, 0, 0]])
COUNTS = metrics.overlap(TRUTH, ANSWER, 2)


def test_counts_and_ratios_of_a_case_counted_by_hand() -> None:
    assert COUNTS.common[:, 1].tolist() == [3, 1, 0]
    assert COUNTS.either[:, 1].tolist() == [4, 2, 2]
    assert metrics.pooled_iou(COUNTS) == pytest.approx([10 / 14, 4 / 8])
    assert metrics.mean_iou(COUNTS) == pytest.approx((10 / 14 + 4 / 8) / 2)
    assert metrics.picture_iou(COUNTS, 1).tolist() == [0.75, 0.5]
    assert metrics.false_alarms(COUNTS, 1, 1) == 1
    assert metrics.false_alarms(COUNTS, 1, 2) == 0


def test_the_counts_of_parts_add_up() -> None:
    parts = [metrics.overlap(TRUTH[part], ANSWER[part], 2) for part in (np.s_[:1], np.s_[1:])]
    whole = metrics.joined(parts)
    assert (whole.common == COUNTS.common).all()
    assert (whole.either == COUNTS.either).all()


def test_an_answer_of_background_alone_scores_nothing_on_the_pupil() -> None:
    truth = np.zeros((3, 400, 640), np.uint8)
    truth[:2, 180:225, 300:345] = 1
    counts = metrics.overlap(truth, np.zeros_like(truth), 2)
    background, pupil = metrics.pooled_iou(counts)
    assert background > 0.99
    assert pupil == 0
    assert metrics.picture_iou(counts, 1).tolist() == [0, 0]
    assert metrics.mean_iou(counts) < 0.5


def test_a_class_that_nobody_has_does_not_count() -> None:
    empty = np.zeros((2, 4, 4), np.uint8)
    counts = metrics.overlap(empty, empty, 2)
    assert metrics.mean_iou(counts) == 1
    assert math.isnan(metrics.pooled_iou(counts)[1])
    assert metrics.picture_iou(counts, 1).size == 0
    assert metrics.false_alarms(counts, 1, 0) == 0
    assert math.isnan(metrics.false_alarms(metrics.overlap(1 - empty, empty, 2), 1, 0))


def test_centres_that_were_not_found_are_missed_and_not_averaged() -> None:
    truth = np.array([[10, 10], [20, 20], [30, 30], [40, 40], [math.nan, math.nan]])
    answer = np.array([[10, 10.5], [23, 24], [math.nan, math.nan], [41, 40], [5, 5]])
    errors = metrics.centre_errors(truth, answer)
    assert errors.tolist() == [0.5, 5, math.inf, 1]
    report = metrics.centre_report(errors)
    assert report["found"] == 0.75
    assert report["centre_px"] == pytest.approx(6.5 / 3)
    assert report["centre_px_median"] == 3
    assert (report["within_1px"], report["within_2px"], report["within_5px"]) == (0.5, 0.5, 0.75)


def test_radii_are_compared_where_there_are_both() -> None:
    truth = np.array([[10, 10], [20, 20], [math.nan, math.nan]])
    answer = np.array([[11, 8], [math.nan, math.nan], [3, 3]])
    assert metrics.radius_error(truth, answer) == 1.5


def test_nothing_gives_not_a_number() -> None:
    report = metrics.centre_report(np.empty(0))
    assert all(math.isnan(value) for value in report.values())
