"""Hair takes the new colour and keeps its strands; everything else keeps its bytes."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from visage.errors import VisageError
from visage.io.images import read_image
from visage.vision.palette import delta_e, load_palette, parse_color, srgb_to_lab
from visage.vision.recolor import DEFAULT, Recipe, check_mask, hair_alpha, hair_box, hair_mean, recolor, to_lab

SIDE = 160
PALETTE = list(load_palette())
SHADES = {"black": (28, 24, 24), "brown": (92, 62, 45), "blond": (205, 170, 120), "grey": (150, 150, 152)}
SKIN, WALL = (222, 178, 152), (180, 190, 205)
BLONDE = parse_color("blonde")
# What was measured on photographs: half the way in lightness, at intensity 0.7.
MEASURED, ZERO = Recipe(lightness=0.5), Recipe(dead=0.0, full=1.0, lightness=0.5)


class Scene:
    """A face of even skin under hair with strands, before a wall; `coverage` is soft as a network's answer is."""

    def __init__(self, shade: str = "black", side: int = SIDE) -> None:
        rng = np.random.default_rng(7)
        y, x = np.mgrid[:side, :side] / side - 0.5
        head, face = np.hypot(x / 0.36, y / 0.42) < 1, np.hypot(x / 0.24, (y - 0.12) / 0.28) < 1
        self.hair, self.skin = head & ~face, face
        strands = cv2.GaussianBlur(rng.normal(size=(side, side)).astype(np.float32), (0, 0), sigmaX=0.8, sigmaY=9)
        strands = strands / strands.std() * 9 + rng.normal(size=(side, side)) * 2
        image = np.where(face[..., None], SKIN, WALL) + rng.normal(size=(side, side, 3)) * 3
        image[self.hair] = np.array(SHADES[shade]) + strands[self.hair][:, None]
        self.image = np.rint(image.clip(0, 255)).astype(np.uint8)
        self.coverage = cv2.GaussianBlur(self.hair.astype(np.float32), (0, 0), 2.5)
        # A network is sure of nothing: a little hair everywhere.
        self.coverage = self.coverage * np.float32(0.97) + np.float32(0.03)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene()


def lab_of(image: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.float64]:
    return srgb_to_lab(image[where])


pixels = st.integers(0, 2**32 - 1).map(lambda seed: np.random.default_rng(seed))


@settings(max_examples=40, deadline=None)
@given(pixels, st.integers(1, 24), st.integers(1, 24), st.sampled_from(PALETTE), st.floats(0, 1), st.booleans())
def test_pixels_of_alpha_0_keep_their_bytes(
    rng: np.random.Generator, height: int, width: int, name: str, intensity: float, with_skin: bool
) -> None:
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    coverage = rng.random((height, width), np.float32)
    skin = rng.random((height, width), np.float32) if with_skin else None
    before = image.copy()
    out = recolor(image, coverage, parse_color(name), intensity=intensity, skin=skin)
    np.testing.assert_array_equal(image, before)
    outside = hair_alpha(coverage, skin) == 0
    np.testing.assert_array_equal(out[outside], image[outside])
    assert out.shape == image.shape and out.dtype == np.uint8


@settings(max_examples=40, deadline=None)
@given(pixels, st.sampled_from(PALETTE), st.lists(st.floats(0, 1), min_size=2, max_size=5))
def test_every_channel_moves_one_way_as_the_intensity_grows(
    rng: np.random.Generator, name: str, intensities: list[float]
) -> None:
    image, coverage = rng.integers(0, 256, (12, 12, 3), np.uint8), rng.random((12, 12), np.float32)
    outs = [recolor(image, coverage, parse_color(name), intensity=i).astype(int) for i in sorted(intensities)]
    whole = recolor(image, coverage, parse_color(name), intensity=1).astype(int)
    way = np.sign(whole - image)
    for weaker, stronger in zip([image.astype(int), *outs], [*outs, whole], strict=True):
        assert ((stronger - weaker) * way >= 0).all()
        assert ((stronger == weaker) | (way != 0)).all()


@pytest.mark.parametrize("name", PALETTE)
def test_intensity_0_changes_nothing(name: str, scene: Scene) -> None:
    out = recolor(scene.image, scene.coverage, parse_color(name), intensity=0)
    np.testing.assert_array_equal(out, scene.image)
    assert not np.shares_memory(out, scene.image)


def test_the_same_input_gives_the_same_bytes_with_any_number_of_threads(scene: Scene) -> None:
    threads, outs = cv2.getNumThreads(), set()
    try:
        for count in (1, 2, 4):
            cv2.setNumThreads(count)
            outs |= {recolor(scene.image, scene.coverage, BLONDE).tobytes() for _ in range(2)}
    finally:
        cv2.setNumThreads(threads)
    assert len(outs) == 1


@pytest.mark.parametrize("shade", SHADES)
@pytest.mark.parametrize("name", PALETTE)
def test_hair_reaches_the_target(name: str, shade: str) -> None:
    scene, target = Scene(shade, 96), parse_color(name)
    sure = hair_alpha(scene.coverage, None) == 1
    before = delta_e(lab_of(scene.image, sure).mean(0), target.lab)
    distances = [
        float(delta_e(lab_of(recolor(scene.image, scene.coverage, target, intensity=i), sure).mean(0), target.lab))
        for i in (0.5, 0.8, 1.0)
    ]
    assert distances[2] < 4, "what the strands and the edge of the gamut may cost"
    assert distances[2] <= distances[1] + 1 and distances[1] <= distances[0] + 1
    assert distances[1] < max(4, 0.35 * before)


@pytest.mark.parametrize("name", ["black", "blonde", "platinum", "white", "blue"])
@pytest.mark.parametrize("shade", SHADES)
def test_strands_stay(name: str, shade: str) -> None:
    scene = Scene(shade)
    sure = hair_alpha(scene.coverage, None) == 1
    old = lab_of(scene.image, sure)[:, 0]
    new = lab_of(recolor(scene.image, scene.coverage, parse_color(name), intensity=1), sure)[:, 0]
    assert np.corrcoef(old, new)[0, 1] > 0.85
    assert new.std() > 0.25 * old.std(), "flat"
    # Less than a hundredth of the hair at either end: nothing is clipped.
    assert ((new < 0.5) | (new > 99.5)).mean() < 0.01


def test_skin_does_not_move(scene: Scene) -> None:
    bled = np.maximum(scene.coverage, np.where(scene.skin, np.float32(0.95), 0))
    for skin in (scene.skin.astype(np.float32), scene.skin.astype(np.uint8) * np.uint8(255)):
        out = recolor(scene.image, bled, BLONDE, intensity=1, skin=skin)
        np.testing.assert_array_equal(out[scene.skin], scene.image[scene.skin])
        assert (out[scene.hair] != scene.image[scene.hair]).any()
    # Half skin is enough, however sure of hair the network is.
    half = np.where(scene.skin, np.float32(0.5), 0)
    out = recolor(scene.image, np.ones_like(bled), BLONDE, intensity=1, skin=half)
    np.testing.assert_array_equal(out[scene.skin], scene.image[scene.skin])


def test_the_dead_zone_keeps_colour_off_the_surroundings(scene: Scene) -> None:
    """The order of the measured table: coverage as alpha, a dead zone of 0.1, of 0.5, and with a skin veto."""
    near = cv2.dilate(scene.hair.astype(np.uint8), np.ones((31, 31), np.uint8)) > 0
    ring, far = near & ~scene.hair & ~scene.skin, ~near & ~scene.skin
    figures = []
    for recipe, skin in ((ZERO, None), (Recipe(0.1, 0.9, 0.5), None), (MEASURED, None), (MEASURED, scene.skin)):
        shade = None if skin is None else skin.astype(np.float32)
        out = recolor(scene.image, scene.coverage, BLONDE, intensity=0.7, skin=shade, recipe=recipe)
        moved = delta_e(srgb_to_lab(scene.image), srgb_to_lab(out))
        figures.append((moved[scene.hair].mean(), moved[scene.skin].mean(), moved[ring].mean(), moved[far].mean()))
    hair, skin, ringed, beyond = (list(column) for column in zip(*figures, strict=True))
    assert min(hair) > 25 and max(hair) - min(hair) < 5
    assert skin[0] > skin[1] > skin[2] > skin[3] == 0
    assert ringed[0] > ringed[1] > ringed[2] >= ringed[3] and ringed[2] < 1.5
    assert beyond[0] > 0 and beyond[1:] == [0, 0, 0]


def test_lightness_must_move_for_dark_hair_to_become_blonde(scene: Scene) -> None:
    sure = hair_alpha(scene.coverage, None) == 1
    only_hue = recolor(scene.image, scene.coverage, BLONDE, intensity=1, recipe=Recipe(lightness=0))
    whole = recolor(scene.image, scene.coverage, BLONDE, intensity=1)
    near, far = (delta_e(lab_of(out, sure).mean(0), BLONDE.lab) for out in (whole, only_hue))
    assert near < 4 and far > 40


def test_coverage_in_bytes_is_coverage_in_shares(scene: Scene) -> None:
    coarse = np.rint(scene.coverage * 255).astype(np.uint8)
    shares = coarse.astype(np.float32) / np.float32(255)
    np.testing.assert_array_equal(recolor(scene.image, coarse, BLONDE), recolor(scene.image, shares, BLONDE))


def test_parts_of_larger_arrays_are_taken(scene: Scene) -> None:
    part = (slice(3, -5), slice(7, -9))
    np.testing.assert_array_equal(
        recolor(scene.image[part], scene.coverage[part], BLONDE),
        recolor(scene.image[part].copy(), scene.coverage[part].copy(), BLONDE),
    )


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("side", [1, 2, 17])
def test_nothing_and_everything_may_be_hair(value: int, side: int) -> None:
    image = np.full((side, side, 3), 40, np.uint8)
    out = recolor(image, np.full((side, side), value, np.uint8), BLONDE, intensity=1)
    expected = BLONDE.rgb if value else (40, 40, 40)
    assert np.abs(out.astype(int) - expected).max() <= 1


def test_a_single_strand_in_a_large_picture_is_found() -> None:
    image, coverage = np.full((1500, 1500, 3), 40, np.uint8), np.zeros((1500, 1500), np.uint8)
    coverage[1:1499, 1] = coverage[1, 1:1499] = 255  # beside the grid that the mean is taken of
    out = recolor(image, coverage, BLONDE, intensity=1)
    assert np.abs(out[700, 1].astype(int) - BLONDE.rgb).max() <= 1
    assert (out[:, 5:][2:] == 40).all()


def test_the_box_holds_all_hair_and_no_more() -> None:
    coverage = np.zeros((40, 50), np.uint8)
    coverage[10:20, 30:35], coverage[5, 5] = 200, 127
    assert hair_box(coverage) == (slice(10, 20), slice(30, 35))
    assert hair_box(np.zeros((4, 4), np.float32)) is None


def test_the_mean_of_a_large_picture_is_that_of_its_pixels() -> None:
    scene = Scene("brown", 900)
    alpha = hair_alpha(scene.coverage, None)
    mean = hair_mean(scene.image, alpha)
    assert mean is not None
    weights = alpha[..., None].astype(float)
    assert delta_e(mean, (srgb_to_lab(scene.image) * weights).sum((0, 1)) / weights.sum()) < 0.5
    assert hair_mean(scene.image, np.zeros_like(alpha)) is None


def test_the_fast_conversion_is_the_standards() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    assert delta_e(to_lab(colours), srgb_to_lab(colours)).max() < 0.1


@pytest.mark.parametrize("intensity", [-0.1, 1.01, float("nan")])
def test_an_intensity_outside_0_to_1_is_refused(intensity: float, scene: Scene) -> None:
    with pytest.raises(VisageError, match="intensity="):
        recolor(scene.image, scene.coverage, BLONDE, intensity=intensity)


def test_masks_that_cannot_be_meant_are_refused(scene: Scene) -> None:
    with pytest.raises(VisageError, match="mask: is 10x20 pixels, the picture 160x160"):
        recolor(scene.image, np.zeros((20, 10), np.uint8), BLONDE)
    with pytest.raises(VisageError, match="skin mask: is 10x20"):
        recolor(scene.image, scene.coverage, BLONDE, skin=np.zeros((20, 10), np.uint8))
    with pytest.raises(VisageError, match="a.png: has the values 0 and 1"):
        check_mask("a.png", scene.hair.astype(np.uint8), scene.image)


@pytest.mark.parametrize("values", [{"dead": 1.0}, {"full": 0.5}, {"full": 1.1}, {"lightness": -1}, {"chroma": 2}])
def test_a_recipe_out_of_range_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(VisageError, match=f"recipe.{next(iter(values))}="):
        Recipe(**values)
    assert Recipe() == DEFAULT


def test_a_photograph_turns_blonde_and_its_surroundings_stay(portraits: Path) -> None:
    """The figures of the measured table on a photograph with a hand-made mask, softened to a network's edge."""
    image = read_image(portraits / "woman_512.png")
    hair = read_image(portraits / "woman_512_hairmask.png")[..., 0] > 127
    coverage = cv2.GaussianBlur(hair.astype(np.float32), (0, 0), 2)
    out = recolor(image, coverage, BLONDE, intensity=0.7, recipe=MEASURED)
    moved = delta_e(srgb_to_lab(image), srgb_to_lab(out))
    away = cv2.distanceTransform((~hair).astype(np.uint8), cv2.DIST_L2, 5)
    assert moved[hair].mean() > 30
    assert moved[(away > 0) & (away <= 15)].mean() < 1.4
    assert moved[away > 15].max() == 0
