"""Augmentation: a pure function of its generator, with the strengths it is given."""

import cv2
import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from visage.vision.augment import LUMA, Augmentation, augment, random_affine, random_colour

STILL = Augmentation(flip=0, rotation=0, brightness=0, contrast=0, saturation=0)


def picture(size: int = 32) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 2)


def test_the_same_generator_gives_the_same_picture() -> None:
    a, b = (augment(picture(), Augmentation(), np.random.default_rng(5)) for _ in range(2))
    assert (a == b).all()
    assert (a != augment(picture(), Augmentation(), np.random.default_rng(6))).any()


def test_no_strength_changes_nothing() -> None:
    assert (augment(picture(), STILL, np.random.default_rng(0)) == picture()).all()


def test_a_sure_flip_is_an_exact_mirror() -> None:
    flipped = augment(picture(), Augmentation(1, 0, 0, 0, 0), np.random.default_rng(0))
    assert (flipped == picture()[:, ::-1]).all()


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_colour_changes_are_torchvisions(name: str) -> None:
    settings = Augmentation(
        **{**dict.fromkeys(("flip", "rotation", "brightness", "contrast", "saturation"), 0.0), name: 0.2}
    )
    ours = cv2.transform(picture(), random_colour(picture(), settings, np.random.default_rng(3)))
    draws, names = np.random.default_rng(3), ("brightness", "contrast", "saturation")
    factor = dict(
        zip(names, (1 + draws.uniform(-getattr(settings, n), getattr(settings, n)) for n in names), strict=True)
    )[name]
    tensor = torch.from_numpy(picture()).permute(2, 0, 1)
    wanted = getattr(reference, f"adjust_{name}")(tensor, factor).permute(1, 2, 0).numpy()
    assert np.abs(ours.astype(int) - wanted).max() <= 2


def test_the_matrix_moves_points_as_it_moves_pixels() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    cv2.circle(image, (20, 40), 2, (255, 255, 255), -1)
    rng = np.random.default_rng(1)
    matrix = random_affine(64, 64, Augmentation(flip=1, rotation=10, scale=0.1, shift=0.05), rng)
    moved = cv2.warpAffine(image, matrix, (64, 64))
    y, x = np.argwhere(moved[..., 0] > 128).mean(0)
    assert np.allclose(matrix @ (20, 40, 1), (x, y), atol=0.7)


def test_luma_weights_are_a_mean() -> None:
    assert LUMA.sum() == pytest.approx(1)
