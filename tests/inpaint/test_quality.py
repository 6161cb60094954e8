"""Measures of a result: each against its definition, what lowers and raises it, and when it is not measured."""

from __future__ import annotations

import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from torchvision import models

from inpaint.toy import portrait
from visage.errors import DataError, MissingWeightsError
from visage.inpaint import quality_networks
from visage.inpaint.quality import (
    background_psnr,
    fine_contrast,
    masked_psnr,
    mean_colour,
    measure,
    median_colour,
    ssim,
    summarise,
)  # fmt: skip
from visage.inpaint.quality_networks import (
    Lpips,
    curl_probe,
    inner_looks,
    lpips_on_hair,
    open_lpips,
    square_about,
    texture_distance,
)  # fmt: skip
from visage.inpaint.texture_net import TextureNetwork
from visage.vision.palette import delta_e, srgb_to_lab

SEEDS = st.integers(0, 2**32 - 1)
CONFIG = {"size": 32, "part": 0.3}


def noise(seed: int = 0, side: int = 64, low: int = 0, high: int = 256) -> np.ndarray:
    return np.random.default_rng(seed).integers(low, high, (side, side, 3), np.uint8)


def disc(side: int = 64, radius: float = 0.4) -> np.ndarray:
    y, x = np.indices((side, side)) - (side - 1) / 2
    return np.asarray(x**2 + y**2 < (radius * side) ** 2)


def nothing(side: int = 64) -> np.ndarray:
    return np.zeros((side, side), bool)


@pytest.fixture(scope="module")
def network() -> TextureNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TextureNetwork("mobilenet_v3_small", 16, 0.0).eval()


@pytest.fixture(scope="module")
def squeeze(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A state dict as torchvision's SqueezeNet 1.1, of random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = models.squeezenet1_1(weights=None).state_dict()
    path = tmp_path_factory.mktemp("squeeze") / "squeezenet1_1.pth"
    torch.save(state, path)
    return str(path)


@pytest.fixture(scope="module")
def judge(squeeze: str) -> Lpips:
    opened = open_lpips("squeeze", squeeze)
    assert opened is not None
    return opened


def test_psnr_is_its_definition_and_only_of_the_mask() -> None:
    truth, mask = np.full((64, 64, 3), 100, np.uint8), disc()
    result = truth.copy()
    result[mask] = 110
    assert masked_psnr(result, truth, mask) == pytest.approx(20 * math.log10(255 / 10))
    assert background_psnr(result, truth, mask) == math.inf
    result[~mask] = 0
    assert masked_psnr(result, truth, mask) == pytest.approx(20 * math.log10(255 / 10))
    assert masked_psnr(result, truth, nothing()) is None
    assert background_psnr(result, truth, ~nothing()) is None


@given(seed=SEEDS)
@budget(max_examples=20, deadline=None)
def test_what_is_outside_the_mask_is_not_read(seed: int) -> None:
    truth, result, mask = noise(seed), noise(seed + 1), disc()
    other = np.where(mask[..., None], result, noise(seed + 2))
    assert masked_psnr(other, truth, mask) == masked_psnr(result, truth, mask)
    assert fine_contrast(other, mask) == fine_contrast(result, mask)
    colours = median_colour(other, mask), median_colour(result, mask)
    assert np.array_equal(*colours)


def test_ssim_of_the_hair_and_of_the_whole() -> None:
    truth, mask = noise(), disc()
    same = ssim(truth, truth, mask)
    assert (same.whole, same.hair) == pytest.approx((1, 1))
    spoiled = np.where(disc(radius=0.2)[..., None], noise(1), truth)
    found = ssim(spoiled, truth, mask)
    assert found.hair is not None
    assert found.hair < found.whole < 1
    assert ssim(spoiled, truth, disc(radius=0.1)).hair == pytest.approx(0, abs=0.2)
    assert ssim(spoiled, truth, nothing()).hair is None


def test_the_median_colour_is_that_of_most_hair() -> None:
    image, mask = noise(), disc()
    image[mask] = (120, 80, 40)
    image[30:33, 30:33] = 255  # a shine
    colour = median_colour(image, mask)
    assert colour == pytest.approx(srgb_to_lab((120, 80, 40)))
    assert float(delta_e(colour, srgb_to_lab((120, 80, 40)))) == pytest.approx(0)
    assert median_colour(image, nothing()) is None


@given(seed=SEEDS)
@budget(max_examples=10, deadline=None)
def test_a_blur_lowers_fine_contrast_and_noise_raises_it(seed: int) -> None:
    image, mask = noise(seed, 128, 60, 190), disc(128)
    blurred = [fine_contrast(cv2.GaussianBlur(image, (0, 0), sigma), mask) for sigma in (0.4, 0.8, 1.6, 3.2)]
    found = [fine_contrast(image, mask), *blurred]
    assert all(one > other for one, other in pairwise(found))
    grain = np.random.default_rng(seed).normal(0, 1, image.shape)
    louder = [fine_contrast(np.clip(image + level * grain, 0, 255).astype(np.uint8), mask) for level in (10, 20, 40)]
    assert found[0] < louder[0] < louder[1] < louder[2]


def test_fine_contrast_reads_no_outline() -> None:
    image = np.where(disc(128)[..., None], np.uint8(20), np.uint8(240)).repeat(3, axis=2)
    image = cv2.GaussianBlur(image, (0, 0), 0.7)
    assert fine_contrast(image, disc(128)) == pytest.approx(0, abs=0.2)
    assert fine_contrast(image, nothing(128)) is None
    thin = nothing(128)
    thin[:, 60:62] = True
    assert fine_contrast(image, thin) is None


def test_the_mean_colour_knows_the_colour_and_nothing_else() -> None:
    truth, bald, mask = noise(0), noise(1), disc()
    painted = mean_colour(truth, bald, mask)
    assert np.array_equal(painted[~mask], bald[~mask])
    assert np.array_equal(np.unique(painted[mask], axis=0), np.rint(truth[mask].mean(0, keepdims=True)))
    assert fine_contrast(painted, mask) == pytest.approx(0, abs=1e-3)
    assert masked_psnr(painted, truth, mask) > masked_psnr(bald, truth, mask)
    assert np.array_equal(mean_colour(truth, bald, nothing()), bald)


def test_what_is_measured_of_pictures_is_summarised() -> None:
    truth, mask = portrait(1)
    hair = mask != 0
    blurred = np.where(hair[..., None], cv2.GaussianBlur(truth, (0, 0), 2), truth)
    found = measure(blurred, truth, hair)
    assert found["background_psnr"] == math.inf
    assert found["contrast_share"] < 0.5
    assert found["ssim"] > found["hair_ssim"]
    empty = measure(truth, truth, nothing(96))
    assert {name for name, value in empty.items() if value is not None} == {"background_psnr", "ssim"}
    summary = summarise([found, empty, {**found, "hair_psnr": found["hair_psnr"] + 2, "lpips": None}])
    assert summary["hair_psnr"] == {
        "mean": round(found["hair_psnr"] + 1, 4), "median": round(found["hair_psnr"] + 1, 4), "pictures": 2,
    }  # fmt: skip
    assert summary["background_psnr"] == {"mean": "identical", "median": "identical", "pictures": 3}
    assert summary["lpips"] == "not measured"
    json.dumps(summary, allow_nan=False)
    mixed = summarise([{"psnr": value} for value in (20.0, 30.0, math.inf)])["psnr"]
    assert mixed == {"mean": 25.0, "median": 30.0, "pictures": 3}
    assert summarise([]) == {}


def test_lpips_is_never_on_random_weights(squeeze: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert open_lpips("squeeze", None) is None
    with pytest.raises(MissingWeightsError, match=r"none\.pth.*https://.*tryout\.lpips_file"):
        open_lpips("squeeze", str(tmp_path / "none.pth"))
    state = torch.load(squeeze, weights_only=True)
    del state["features.12.expand3x3.bias"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(DataError, match=r"features\.12\.expand3x3\.bias.*tryout\.lpips_file"):
        open_lpips("squeeze", str(tmp_path / "part.pth"))
    monkeypatch.setitem(sys.modules, "lpips", None)
    assert open_lpips("squeeze", squeeze) is None


def test_lpips_has_the_trunk_of_the_file_and_the_heads_of_the_package(judge: Lpips, squeeze: str) -> None:
    import lpips

    state = torch.load(squeeze, weights_only=True)
    loaded = judge.network.net.state_dict()
    trunk = {name.partition(".")[2]: value for name, value in loaded.items()}
    wanted = {name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")}
    assert trunk.keys() == wanted.keys()
    assert all(torch.equal(trunk[name], wanted[name]) for name in wanted)
    heads = torch.load(Path(lpips.__file__).parent / "weights/v0.1/squeeze.pth", "cpu", weights_only=True)
    own = judge.network.state_dict()
    assert len(heads) == 7
    assert all(torch.equal(own[name], value) for name, value in heads.items())
    assert all(torch.equal(own[f"lins.{name[3:]}"], value) for name, value in heads.items())


def test_lpips_on_hair_reads_the_hair(judge: Lpips) -> None:
    truth, mask = noise(0, 96), disc(96, 0.3)
    result = noise(1, 96)
    far = lpips_on_hair(judge, result, truth, mask)
    assert far is not None
    other = np.where(mask[..., None], result, noise(2, 96))
    assert lpips_on_hair(judge, other, truth, mask) == far
    assert lpips_on_hair(judge, np.where(mask[..., None], truth, result), truth, mask) == 0
    assert far > 0
    assert lpips_on_hair(None, result, truth, mask) is None
    assert lpips_on_hair(judge, result, truth, nothing(96)) is None


@given(st.data())
@budget(max_examples=50, deadline=None)
def test_the_square_holds_the_mask(data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(8, 200), st.integers(8, 200)))
    top, left = data.draw(st.tuples(st.integers(0, height - 1), st.integers(0, width - 1)))
    bottom, right = data.draw(st.tuples(st.integers(top + 1, height), st.integers(left + 1, width)))
    mask = np.zeros((height, width), bool)
    mask[top:bottom, left:right] = True
    part = mask[square_about(mask)]
    assert part.sum() == mask.sum()
    side = max(bottom - top, right - left, 64)
    assert part.shape == (min(side, height), min(side, width))


def test_parts_of_the_hair_show_no_outline() -> None:
    """Every part lies in the hair, so none has the grey of what is not; and what is outside changes nothing."""
    image, mask = noise(0, 96), disc(96)
    views = inner_looks(image, mask, CONFIG, 6, 3)
    assert views is not None
    assert views.shape == (6, 3, 32, 32)
    assert views.dtype == np.float32
    elsewhere = np.where(mask[..., None], image, noise(1, 96))
    assert np.array_equal(views, inner_looks(elsewhere, mask, CONFIG, 6, 3))
    assert not np.array_equal(views, inner_looks(image, mask, CONFIG, 6, 4))
    bar = nothing(96)
    bar[:, 30:64] = True  # little wider than a part of 29 pixels
    within = inner_looks(image, bar, CONFIG, 40, 3)
    assert within is not None
    ground = (128 / 255 - 0.485) / 0.229
    assert (np.abs(within[:, 0] - ground) < 0.01).mean((1, 2)).max() < 0.06
    assert inner_looks(image, disc(96, 0.05), CONFIG, 6, 3) is None
    assert inner_looks(image, nothing(96), CONFIG, 6, 3) is None


def test_a_part_that_is_small_keeps_the_width_of_its_strands(monkeypatch: pytest.MonkeyPatch) -> None:
    stripes = np.where(np.indices((96, 96))[1] // 3 % 2, np.uint8(160), np.uint8(60))[..., None].repeat(3, axis=2)
    wide = inner_looks(stripes, disc(96), CONFIG, 1, 0)
    narrow = inner_looks(stripes, disc(96, 0.13), CONFIG, 1, 0)
    assert wide is not None and narrow is not None

    def crossings(view: np.ndarray) -> int:
        row = view[0, 0, 16] - np.median(view[0, 0, 16])
        return int(np.count_nonzero(np.diff(np.sign(row[row != 0]))))

    assert crossings(wide) == pytest.approx(crossings(narrow), abs=2)
    monkeypatch.setattr(quality_networks, "SHARES", (1.0,))
    assert inner_looks(stripes, disc(96, 0.13), CONFIG, 1, 0) is None


def test_textures_are_compared_at_the_same_places(network: TextureNetwork) -> None:
    image, mask = noise(0, 96), disc(96)
    assert texture_distance(network, CONFIG, image, image, mask) == pytest.approx(0, abs=1e-9)
    other = cv2.GaussianBlur(image, (0, 0), 3)
    far = texture_distance(network, CONFIG, image, other, mask)
    assert far is not None
    assert far > 1e-9
    assert texture_distance(network, CONFIG, image, other, mask) == far
    assert texture_distance(network, CONFIG, image, other, nothing(96)) is None


def test_the_curl_is_what_the_head_says_of_parts_of_the_hair(network: TextureNetwork) -> None:
    image, mask = noise(0, 96), disc(96)
    chances = curl_probe(network, CONFIG, image, mask)
    assert chances is not None
    assert chances.shape == (4,)
    assert chances.sum() == pytest.approx(1)
    elsewhere = np.where(mask[..., None], image, noise(1, 96))
    assert np.array_equal(chances, curl_probe(network, CONFIG, elsewhere, mask))
    assert curl_probe(network, CONFIG, image, nothing(96)) is None
