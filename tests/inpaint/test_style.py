"""The style: colours of the hair's thirds beside the texture's unit vector, and nothing of what is not hair."""

import cv2
import numpy as np
import pytest
import torch

from inpaint.tiny import TEXTURE, make_texture
from visage.inpaint.style import COLOURS, StyleEncoder, colours, open_style

EACH = COLOURS // 3


@pytest.fixture(scope="module")
def style(tmp_path_factory: pytest.TempPathFactory) -> StyleEncoder:
    folder = tmp_path_factory.mktemp("style")
    make_texture(folder)
    return open_style(folder / "train_texture/texture_encoder.safetensors")


def hair(top: int, middle: int, bottom: int, seed: int = 0) -> np.ndarray:
    """Hair of three grey levels from top to bottom, on a ground of noise."""
    image = np.random.default_rng(seed).integers(0, 256, (36, 36, 4), np.uint8)
    image[..., 3] = 0
    for row, level in zip((6, 14, 22), (top, middle, bottom), strict=True):
        image[row : row + 8, 9:27] = (level, level, level, 255)
    return image


def test_colours_are_those_of_thirds_and_of_hair_alone() -> None:
    plain = colours(hair(60, 60, 60))
    assert (plain.shape, plain.dtype) == ((COLOURS,), np.float32)
    assert np.array_equal(plain, colours(hair(60, 60, 60, seed=1)))  # another ground
    parts = plain.reshape(3, 2, 3)
    assert np.array_equal(parts[0], parts[2])
    assert np.allclose(parts[:, 1], 0, atol=1e-3)  # deviations
    tips = colours(hair(60, 60, 200))
    assert np.array_equal(tips[: 2 * EACH], plain[: 2 * EACH])
    assert not np.allclose(tips[2 * EACH :], plain[2 * EACH :])
    assert np.array_equal(tips[2 * EACH :], colours(hair(200, 200, 200))[:EACH])
    one = np.zeros((4, 4, 4), np.uint8)
    one[1, 2] = (60, 60, 60, 255)
    assert np.allclose(colours(one), plain, atol=1e-3)


def test_another_hue_is_another_colour() -> None:
    red, blue = hair(60, 60, 60), hair(60, 60, 60)
    red[..., 0] = blue[..., 2] = 140
    grey = colours(hair(60, 60, 60))
    apart = [float(np.linalg.norm(one - other)) for one, other in
             ((colours(red), grey), (colours(blue), grey), (colours(red), colours(blue)))]  # fmt: skip
    assert min(apart) > 1  # the length of the texture's part
    assert colours(np.dstack([red[..., 2::-1], red[..., 3]])) == pytest.approx(colours(blue))


def test_a_style_is_a_unit_vector_and_colours_and_0_without_hair(style: StyleEncoder) -> None:
    rng = np.random.default_rng(3)
    image = cv2.resize(rng.integers(0, 200, (12, 12, 3), np.uint8), (48, 48))
    alone = np.dstack([image, np.full((48, 48), 255, np.uint8)])
    torch.manual_seed(1)
    state = torch.get_rng_state()
    found = style.style(alone)
    assert torch.equal(torch.get_rng_state(), state)
    assert (found.shape, found.dtype) == ((style.width,), np.float32)
    assert float(np.linalg.norm(found[:-COLOURS])) == pytest.approx(1, abs=1e-5)
    assert np.array_equal(found[-COLOURS:], colours(alone))
    assert np.array_equal(found, style.style(alone))
    alone[..., 3] = 0
    assert not style.style(alone).any()
    assert style.config == TEXTURE
