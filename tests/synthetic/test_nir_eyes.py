"""Procedural near-infrared eyes: determinism, labels that are the geometry, and the statistics of real recordings."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np
import pytest

from visage.synthetic.nir_batch import EyeSpec, draw_eye, draw_eyes
from visage.synthetic.nir_eye import IRIS, PUPIL, Eye, draw_label, moments
from visage.synthetic.nir_geometry import (
    HEIGHT,
    WIDTH,
    Ellipse,
    iris_ellipse,
    opening,
    pupil_ellipse,
    visible_share,
)
from visage.synthetic.nir_params import MIN_CONTRAST, Frame, Subject, sample_frame, sample_subject
from visage.synthetic.nir_sensor import tone

SPECS = [EyeSpec(4, subject, frame) for subject, frame in itertools.product((0, 3, 17), (0, 5))]


def _digest(eye: Eye) -> str:
    values = repr((eye.pupil, eye.visible, eye.attributes)).encode()
    return hashlib.sha256(eye.image.tobytes() + eye.label.tobytes() + values).hexdigest()


def _rendered(ellipse: Ellipse) -> Any:
    u, v = ellipse.radius(np.arange(WIDTH, dtype=np.float32)[None], np.arange(HEIGHT, dtype=np.float32)[:, None])
    return u * u + v * v < 1


def _iou(a: Any, b: Any) -> float:
    return np.count_nonzero(a & b) / np.count_nonzero(a | b)


@pytest.fixture(scope="module")
def population() -> list[tuple[Subject, Frame]]:
    subjects = [sample_subject(1, number) for number in range(100)]
    return [(subject, sample_frame(1, subject, frame)) for subject in subjects for frame in range(4)]


@pytest.fixture(scope="module")
def eyes() -> list[Eye]:
    return [draw_eye(EyeSpec(2, number, number)) for number in range(40)]


def test_a_spec_gives_the_same_bytes_in_any_order_and_process() -> None:
    forward = [_digest(draw_eye(spec)) for spec in SPECS]
    assert [_digest(draw_eye(spec)) for spec in reversed(SPECS)][::-1] == forward
    assert [_digest(eye) for eye in draw_eyes(SPECS, workers=2)] == forward
    assert [_digest(eye) for eye in draw_eyes(SPECS, workers=1)] == forward
    assert len(set(forward)) == len(SPECS)


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="start at 0"):
        draw_eye(EyeSpec(0, -1, 0))
    with pytest.raises(ValueError, match="workers is 0"):
        draw_eyes(SPECS, workers=0)


def test_pictures_and_labels_are_400_by_640_bytes_of_four_classes(eyes: list[Eye]) -> None:
    for eye in eyes:
        assert eye.image.shape == eye.label.shape == (400, 640)
        assert eye.image.dtype == eye.label.dtype == np.uint8
        assert set(np.unique(eye.label)) <= {0, 1, 2, 3}
        assert eye.image.std() > 2


def test_the_pupil_label_is_the_whole_ellipse_cut_by_the_lids(population: list[tuple[Subject, Frame]]) -> None:
    for subject, frame in population[::9]:
        pupil, lids = pupil_ellipse(subject.wearer, frame), opening(subject.wearer, frame)
        label = draw_label(subject, iris_ellipse(subject.wearer, frame), pupil, lids)
        expected = _rendered(pupil) & lids.mask()
        assert np.count_nonzero(expected ^ (label == PUPIL)) <= 2
        assert np.count_nonzero(expected) / (np.pi * pupil.a * pupil.b) == pytest.approx(
            visible_share(subject.wearer, frame), abs=0.12
        )


def test_moments_of_an_upright_ellipse_are_its_semi_axes() -> None:
    mask = _rendered(Ellipse(300.25, 180.5, 40, 28, 0.0))
    assert moments(mask) == pytest.approx((300.25, 180.5, 40, 28), abs=0.15)
    assert moments(np.zeros((HEIGHT, WIDTH), bool)) is None


def test_the_visible_ellipse_covers_a_pupil_in_plain_view(eyes: list[Eye]) -> None:
    plain = [eye for eye in eyes if eye.visible and eye.attributes["occluded"] < 0.02]
    assert len(plain) >= 15
    scores = []
    for eye in plain:
        assert eye.visible is not None
        scores.append(_iou(_rendered(Ellipse(*eye.visible, 0.0)), eye.label == PUPIL))
    assert np.mean(scores) >= 0.95
    # A pupil seen at an angle is a slanted ellipse, which the axis-aligned target cannot follow.
    assert min(scores) >= 0.8
    assert np.mean(np.array(scores) >= 0.9) >= 0.85


def test_only_blinks_have_no_pupil(population: list[tuple[Subject, Frame]]) -> None:
    for subject, frame in population[::3]:
        geometry = iris_ellipse(subject.wearer, frame), pupil_ellipse(subject.wearer, frame)
        label = draw_label(subject, *geometry, opening(subject.wearer, frame))
        assert (np.count_nonzero(label == PUPIL) == 0) == frame.blink
        assert not frame.blink or not label.any()
    blinks = [sample_frame(1, population[0][0], frame).blink for frame in range(600)]
    assert 0.02 <= np.mean(blinks) <= 0.07


def test_geometry_follows_the_openeds_2020_table(population: list[tuple[Subject, Frame]]) -> None:
    open_frames = [(s, f) for s, f in population if not f.blink]
    pupils = [pupil_ellipse(s.wearer, f) for s, f in open_frames]
    rows = {
        "cx": [p.cx for p in pupils],
        "cy": [p.cy for p in pupils],
        "major": [p.a for p in pupils],
        "minor": [p.b for p in pupils],
        "ratio": [p.b / p.a for p in pupils],
        "area": [np.pi * p.a * p.b / 2560 for p in pupils],
    }
    # (p5, p50, p95), each (least, most) around the published 251/330/409, 148/228/299, 20/26/33, ... ; the upper
    # ends of the sizes reach further on purpose: dilated pupils are in.
    table = {
        "cx": ((225, 265), (310, 342), (390, 430)),
        "cy": ((130, 170), (212, 242), (280, 318)),
        "major": ((15, 21), (24, 30), (33, 60)),
        "minor": ((14, 20), (22, 28), (31, 58)),
        "ratio": ((0.74, 0.87), (0.91, 0.97), (0.97, 1.0)),
        "area": ((0.25, 0.5), (0.65, 1.0), (1.2, 4.0)),
    }
    for name, limits in table.items():
        for value, (least, most) in zip(np.percentile(rows[name], (5, 50, 95)), limits, strict=True):
            assert least <= value <= most, (name, value, least, most)
    assert 0.02 <= np.mean(np.array(rows["major"]) > 45) <= 0.2
    assert 55 < max(rows["major"]) <= 80
    assert all(p.a >= p.b > 8 for p in pupils)
    hidden = 1 - np.array([visible_share(s.wearer, f) for s, f in open_frames])
    assert 0.1 <= np.mean(hidden > 0.05) <= 0.28


def test_left_and_right_eyes_are_equally_common() -> None:
    sides = [sample_subject(6, number).side for number in range(400)]
    assert abs(np.mean(sides)) < 0.15


def test_the_pupil_is_darker_than_the_iris(eyes: list[Eye], population: list[tuple[Subject, Frame]]) -> None:
    for subject, _ in population:
        greys = subject.greys
        assert tone(greys.iris, subject.sensor) - tone(greys.pupil, subject.sensor) >= MIN_CONTRAST
    gaps = []
    for eye in eyes:
        if eye.visible and eye.attributes["occluded"] < 0.3:
            gaps.append(np.median(eye.image[eye.label == IRIS]) - np.median(eye.image[eye.label == PUPIL]))
    assert len(gaps) >= 20
    assert np.mean(np.array(gaps) >= 6) >= 0.9
    assert min(gaps) >= 2


def test_subjects_differ_and_frames_of_one_share_their_wearer() -> None:
    first, second = sample_subject(1, 0), sample_subject(1, 1)
    assert first.wearer != second.wearer
    assert sample_frame(1, first, 0).yaw != sample_frame(1, first, 1).yaw
    assert sample_subject(1, 0) == first
    assert sample_subject(2, 0) != first
