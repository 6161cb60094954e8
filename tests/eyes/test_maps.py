"""Maps and ellipses of a mask: each check that facts/eyes.md names for a known pitfall."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyes.published import edt, iou, mask
from visage.eyes.convert import resize_label
from visage.eyes.maps import (
    in_pixels,
    moments_ellipse,
    normalised,
    resized,
    signed_distance,
    spatial_weights,
)
from visage.eyes.prepared import half_diagonal

ELLIPSES = {
    "cx": st.floats(60, 580),
    "cy": st.floats(60, 340),
    "a": st.floats(12, 60),
    "ratio": st.floats(0.75, 1),
    "degrees": st.floats(0, 180),
}


def test_weights_are_the_edge_dilated_by_three_pixels_times_twenty():
    label = mask()
    weights = spatial_weights(label)
    edge = cv2.Canny(label * 255, 0, 3)
    assert weights.dtype == np.float32
    assert set(np.unique(weights)) == {0.0, 20.0}
    assert np.array_equal(weights > 0, cv2.dilate(edge, np.ones((3, 3), np.uint8)) > 0)
    # A kernel of two elements would give 1.6 pixels to each of the edge.
    assert np.count_nonzero(weights) > 3 * np.count_nonzero(edge)
    assert spatial_weights(np.zeros_like(label)).max() == 0


def test_one_pixel_dilates_to_nine():
    from visage.eyes.maps import NEIGHBOURHOOD

    point = np.zeros((11, 11), np.uint8)
    point[5, 5] = 1
    assert np.count_nonzero(cv2.dilate(point, NEIGHBOURHOOD)) == 9


def test_distance_is_the_euclidean_one_of_both_sides():
    for label in (mask(degrees=30), mask(5, 3, 40, 30), mask(639, 399, 50, 20)):
        expected = edt(label == 0) - edt(label == 1)
        assert np.abs(signed_distance(label) - expected).max() < 1e-3
        assert np.array_equal(signed_distance(label) < 0, label == 1)


def test_without_a_pupil_the_distance_is_the_diagonal():
    empty = np.zeros((200, 320), np.uint8)
    assert np.all(signed_distance(empty) == np.float32(2 * half_diagonal(200, 320)))
    assert np.all(signed_distance(empty + 1) == -np.float32(2 * half_diagonal(200, 320)))


@settings(max_examples=15, deadline=None)
@given(**ELLIPSES)
def test_the_maps_of_a_mirrored_label_are_the_mirrored_maps(cx, cy, a, ratio, degrees):
    label = mask(cx, cy, a, a * ratio, degrees)
    mirrored = np.ascontiguousarray(label[:, ::-1])
    assert np.array_equal(mirrored[:, ::-1], label)
    assert np.allclose(signed_distance(mirrored), signed_distance(label)[:, ::-1], atol=1e-4)
    x, y, rx, ry = moments_ellipse(label)
    assert moments_ellipse(mirrored) == pytest.approx((639 - x, y, rx, ry), abs=1e-6)


@pytest.mark.parametrize(("a", "b", "degrees", "least"), [(30, 28, 30, 0.95), (30, 28, 120, 0.95), (30, 24, 30, 0.88),
                                                         (40, 26, 0, 0.98), (26, 20, 90, 0.97)])  # fmt: skip
def test_the_rendered_ellipse_covers_the_mask(a, b, degrees, least):
    label = mask(311.3, 187.8, a, b, degrees)
    cx, cy, rx, ry = moments_ellipse(label)
    assert iou(mask(cx, cy, rx, ry), label) >= least
    assert (cx, cy) == pytest.approx((311.3, 187.8), abs=0.05)


def test_an_upright_ellipse_is_found_with_its_axes_in_place():
    assert moments_ellipse(mask(300.25, 180.5, 40, 26)) == pytest.approx((300.25, 180.5, 40, 26), abs=0.1)
    assert moments_ellipse(mask(300.25, 180.5, 40, 26, degrees=90)) == pytest.approx((300.25, 180.5, 26, 40), abs=0.1)
    assert all(math.isnan(value) for value in moments_ellipse(np.zeros((40, 64), np.uint8)))


def test_normalising_uses_the_published_divisors():
    assert normalised((320, 200, 37.736, 18.868), (400, 640)) == pytest.approx((0.5, 0.5, 0.1, 0.05), rel=1e-4)
    assert in_pixels((0.5, 0.5, 0.1, 0.05), (400, 640)) == pytest.approx((320, 200, 37.736, 18.868), rel=1e-4)


@settings(max_examples=15, deadline=None)
@given(**ELLIPSES, size=st.sampled_from([(200, 320), (240, 320), (160, 256), (480, 704)]))
def test_a_resized_label_keeps_its_area_and_its_ellipse(cx, cy, a, ratio, degrees, size):
    label = mask(cx, cy, a, a * ratio, degrees)
    small = resize_label(label, *size)
    share = size[0] * size[1] / label.size
    assert set(np.unique(small)) == {0, 1}
    assert np.count_nonzero(small) == pytest.approx(np.count_nonzero(label) * share, abs=1)
    moved = resized(moments_ellipse(label), label.shape, size)
    assert moments_ellipse(small) == pytest.approx(moved, abs=0.3)


def test_distances_are_the_same_bits_whatever_the_memory_and_the_threads():
    label = mask()
    threads = cv2.getNumThreads()
    found = set()
    try:
        for count in (1, 2):
            cv2.setNumThreads(count)
            for offset in range(16):
                memory = np.zeros(label.size + offset, np.uint8)
                memory[offset:] = label.ravel()
                found.add(signed_distance(memory[offset:].reshape(label.shape)).tobytes())
    finally:
        cv2.setNumThreads(threads)
    assert len(found) == 1
