"""Resizing keeps what each direction must keep: the mean when shrinking, smoothness when growing."""

import numpy as np
import pytest

from visage.vision.resize import resize


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_shrinking_by_a_whole_factor_is_the_mean_of_each_block():
    image = noise(8, 12, 3)
    blocks = image.reshape(4, 2, 6, 2, 3).mean(axis=(1, 3))
    assert np.abs(resize(image, 6, 4) - blocks).max() <= 0.5


def test_growing_is_linear():
    row = resize(np.array([[0.0, 100.0]], np.float32), 4, 1)[0]
    np.testing.assert_allclose(row, [0, 25, 75, 100])


def test_an_axis_that_shrinks_is_averaged_though_the_other_grows():
    stripes = np.tile(np.array([0, 255], np.uint8), (4, 8))
    assert np.abs(resize(stripes, 8, 9).astype(int) - 127).max() <= 1


def test_shrinking_a_little_still_uses_every_pixel():
    for column in range(10):
        image = np.zeros((4, 10), np.float32)
        image[:, column] = 1
        assert resize(image, 7, 4).sum() > 0.4 * 4


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (5, 7, 3)])
def test_shape_and_type_are_kept_and_the_result_is_a_new_array(shape):
    image = noise(*shape)
    assert resize(image, 9, 4).shape == (4, 9, *shape[2:])
    same = resize(image, 7, 5)
    np.testing.assert_array_equal(same, image)
    assert not np.shares_memory(same, image)


def test_a_side_below_one_pixel_is_refused():
    with pytest.raises(ValueError, match="at least 1 pixel"):
        resize(noise(4, 4), 0, 4)
