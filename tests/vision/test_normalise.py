"""A picture reaches the network with the same bits in training and in serving."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visage.export.card import Preprocessing
from visage.vision.normalise import fit, normalise, placement, preprocess
from visage.vision.resize import resize

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width, 3), np.uint8)


def test_normalise_equals_torchvision_bit_for_bit() -> None:
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchvision.transforms.functional")
    image = np.stack([np.arange(256, dtype=np.uint8).reshape(16, 16)] * 3, axis=2)
    expected = functional.normalize(torch.from_numpy(image).permute(2, 0, 1) / 255, MEAN, STD).numpy()
    np.testing.assert_array_equal(normalise(image, Preprocessing(16, 16, MEAN, STD)), expected)


def test_stretch_is_the_resize_and_nothing_else() -> None:
    image = noise(37, 91)
    np.testing.assert_array_equal(fit(image, Preprocessing(24, 32, MEAN, STD)), resize(image, 32, 24))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from(["stretch", "letterbox"]), st.booleans())
def test_every_picture_becomes_the_cards_input(height: int, width: int, how: str, grey: bool) -> None:
    channels = 1 if grey else 3
    preprocessing = Preprocessing(24, 32, (0.5,) * channels, (0.25,) * channels, how, "GRAY" if grey else "RGB")
    made = preprocess(noise(height, width), preprocessing)
    assert made.shape == (channels, 24, 32)
    assert made.dtype == np.float32
    assert made.flags.c_contiguous
    left, top, box_width, box_height = placement(height, width, preprocessing)
    assert min(left, top) >= 0
    assert min(box_width, box_height) >= 1
    assert left + box_width <= 32
    assert top + box_height <= 24


def test_letterbox_keeps_the_aspect_and_pads_with_the_mean() -> None:
    preprocessing = Preprocessing(20, 20, MEAN, STD, resize="letterbox")
    image = noise(20, 40)
    made = fit(image, preprocessing)
    np.testing.assert_array_equal(made[5:15], resize(image, 20, 10))
    padding = normalise(made, preprocessing)[:, :5]
    assert np.abs(padding).max() <= 0.5 / 255 / min(STD) + 1e-6


def test_grey_comes_out_the_same_from_one_channel_and_from_three() -> None:
    preprocessing = Preprocessing(12, 16, (0.5,), (0.25,), colour="GRAY")
    grey = noise(33, 21)[:, :, 0]
    np.testing.assert_array_equal(
        preprocess(grey, preprocessing), preprocess(np.repeat(grey[:, :, None], 3, axis=2), preprocessing)
    )


def test_the_picture_itself_is_left_as_it_is() -> None:
    image = noise(24, 32)
    before = image.copy()
    preprocess(image, Preprocessing(24, 32, MEAN, STD))
    np.testing.assert_array_equal(image, before)
