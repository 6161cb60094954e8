"""Augmentation of eyes: everything known about a frame moves together, and the same key gives the same sample."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyes.toy import augmentation, disc, prepared
from visage.eyes import augment
from visage.eyes.data import EllipseSamples, PupilSamples
from visage.eyes.maps import in_pixels, moments_ellipse, normalised, signed_distance, spatial_weights
from visage.eyes.prepared import load_set

SHAPE = (200, 320)
FLIP = np.array([[-1.0, 0, SHAPE[1] - 1], [0, 1, 0]])
motions = st.builds(
    lambda degrees, scale, x, y, flip: _matrix(degrees, scale, x, y, flip),
    st.floats(-25, 25), st.floats(0.8, 1.25), st.floats(-25, 25), st.floats(-15, 15), st.booleans(),
)  # fmt: skip
pupils = st.builds(disc, st.floats(110, 210), st.floats(80, 120), st.floats(9, 30), st.floats(9, 30), st.floats(0, 180))


def _matrix(degrees: float, scale: float, x: float, y: float, flip: bool) -> np.ndarray:
    matrix = cv2.getRotationMatrix2D(((SHAPE[1] - 1) / 2, (SHAPE[0] - 1) / 2), degrees, scale)
    matrix[:, 2] += x, y
    return FLIP @ np.vstack([matrix, [0, 0, 1]]) if flip else matrix


def halved(distance: np.ndarray) -> np.ndarray:
    return distance.reshape(SHAPE[0] // 2, 2, SHAPE[1] // 2, 2).mean((1, 3)).astype(np.float16)


def ellipse_of(label: np.ndarray) -> np.ndarray:
    return np.array(normalised(moments_ellipse(label), SHAPE), np.float32)


@given(pupils, st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_flipping_twice_changes_nothing(label: np.ndarray, seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 256, SHAPE, np.uint8)
    weights = (spatial_weights(label) * 12.75).astype(np.uint8)
    for move, array in ((augment.move_image, image), (augment.move_label, label), (augment.move_weights, weights)):
        once = move(array, FLIP)
        np.testing.assert_array_equal(once, array[:, ::-1])
        np.testing.assert_array_equal(move(once, FLIP), array)
    ellipse = ellipse_of(label)
    once_moved = augment.move_ellipse(ellipse, label, FLIP)
    np.testing.assert_allclose(
        augment.move_ellipse(once_moved, augment.move_label(label, FLIP), FLIP), ellipse, atol=1e-5
    )
    distance = halved(signed_distance(label))
    plain = augment.move_distance(distance, augment.IDENTITY)
    np.testing.assert_allclose(augment.move_distance(distance, FLIP)[:, ::-1], plain, atol=1e-3)


@given(pupils, motions)
@settings(max_examples=60, deadline=None)
def test_everything_moves_by_the_same_motion(label: np.ndarray, matrix: np.ndarray) -> None:
    moved = augment.move_label(label, matrix)
    ellipse = in_pixels(tuple(augment.move_ellipse(ellipse_of(label), label, matrix)), SHAPE)
    # Moved by exactly half a pixel, a mask of whole pixels grows by a row.
    np.testing.assert_allclose(ellipse, moments_ellipse(moved), atol=0.6)
    distance = augment.move_distance(halved(signed_distance(label)), matrix)
    assert distance.shape == SHAPE
    clear = np.abs(distance) > 1.5
    np.testing.assert_array_equal(distance[clear] < 0, moved[clear] > 0)
    # Near the pupil: farther away the border has been repeated into the frame.
    near = np.abs(distance) < 20
    assert np.abs(distance - signed_distance(moved))[near].max() < 2.5
    heavy = augment.move_weights((spatial_weights(label) * 12.75).astype(np.uint8), matrix) > 200
    assert np.abs(distance[heavy]).max() < 3.5
    dark = augment.move_image(np.uint8(200) - np.uint8(150) * label, matrix) < 125
    assert np.count_nonzero(dark != moved) <= 0.02 * moved.sum()


def test_distances_grow_with_the_picture() -> None:
    label = disc(160, 100, 20, 20)
    distance = signed_distance(label)
    larger = augment.move_distance(halved(distance), _matrix(0, 1.25, 0, 0, False))
    assert larger[100, 235] == pytest.approx(1.25 * distance[100, 220], abs=1)


def test_a_closed_eye_stays_closed_and_a_pupil_may_leave() -> None:
    empty = np.zeros(SHAPE, np.uint8)
    assert np.isnan(augment.move_ellipse(np.full(4, np.nan, np.float32), empty, FLIP)).all()
    label = disc(20, 100, 10, 10)
    assert np.isnan(augment.move_ellipse(ellipse_of(label), label, _matrix(0, 1, -60, 0, False))).all()


def test_no_augmentation_leaves_a_picture_as_it_is() -> None:
    nothing = augmentation(**dict.fromkeys(vars(augmentation()), 0.0))
    image = np.random.default_rng(0).integers(0, 256, SHAPE, np.uint8)
    np.testing.assert_array_equal(augment.spoil(image, None, nothing, np.random.default_rng(0)), image)
    matrix = augment.draw_motion(*SHAPE, nothing, np.random.default_rng(0))
    np.testing.assert_allclose(matrix, augment.IDENTITY, atol=1e-9)


@pytest.mark.parametrize("name", ["lines", "blur", "glints", "noise", "clahe"])
def test_each_mark_changes_the_picture_and_not_its_size(name: str) -> None:
    only = augmentation(**(dict.fromkeys(vars(augmentation()), 0.0) | {name: 1.0}))
    image = np.random.default_rng(0).integers(60, 120, SHAPE, np.uint8)
    before, spoilt = image.copy(), augment.spoil(image, (160.0, 100.0), only, np.random.default_rng(1))
    assert spoilt.shape == SHAPE and spoilt.dtype == np.uint8
    assert (spoilt != image).any()
    np.testing.assert_array_equal(image, before)
    if name in ("lines", "glints"):
        assert spoilt.max() > image.max()
    if name == "blur":
        assert spoilt.std() < image.std()


def test_a_sample_is_a_function_of_seed_epoch_and_frame(tmp_path: Path) -> None:
    eyes = load_set(prepared(tmp_path / "data"))
    rows = eyes.split("train")
    samples, again, other = (PupilSamples(eyes, rows, augmentation(), seed) for seed in (3, 3, 4))
    for one, two in zip(samples[(2, 5)], again[(2, 5)], strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(samples[(2, 5)][0], samples[(3, 5)][0])
    assert not np.array_equal(samples[(2, 5)][0], other[(2, 5)][0])
    image, label, weights, distance = samples[(0, 0)]
    assert image.shape == (1, 80, 128) and image.dtype == np.float32 and np.abs(image).max() <= 1
    assert {label.dtype, weights.dtype} == {np.dtype(np.uint8)} and distance.dtype == np.float32
    assert label.shape == weights.shape == distance.shape == (80, 128)


def test_both_kinds_of_samples_see_the_same_picture(tmp_path: Path) -> None:
    eyes = load_set(prepared(tmp_path / "data"))
    maps, numbers = (kind(eyes, eyes.split("train"), augmentation(), 3) for kind in (PupilSamples, EllipseSamples))
    for index in range(len(maps)):
        (image, label, _, distance), (same, ellipse) = maps[(1, index)], numbers[(1, index)]
        np.testing.assert_array_equal(image, same)
        assert label.any() == np.isfinite(ellipse).all()
        if not label.any():
            assert distance.min() == distance.max() == pytest.approx(np.hypot(80, 128))


def test_validation_frames_are_as_they_were_prepared(tmp_path: Path) -> None:
    eyes = load_set(prepared(tmp_path / "data"))
    row = int(eyes.split("val")[0])
    image, label, weights, distance = PupilSamples(eyes, eyes.split("val"))[(0, 0)]
    np.testing.assert_allclose(image[0], eyes.images[row] / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(label, eyes.label(row))
    np.testing.assert_array_equal(weights, eyes.weights[row])
    assert np.abs(distance - signed_distance(label)).max() < 1.5
