"""Losses of the inpainting network: each against its definition, and that gradients pass through frozen networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from torch import Tensor, nn
from torchvision.models import VGG16_Weights
from torchvision.models.vgg import cfgs, make_layers

from visage.errors import DataError, MissingWeightsError
from visage.inpaint.losses import mask_aware, min_snr, offset_noise
from visage.inpaint.perceptual import EncoderTexture, Frozen, GramLoss, IdentityLoss, gram, strands
from visage.inpaint.texture_data import REACH, even_strands
from visage.inpaint.texture_net import TextureNetwork

SEEDS = st.integers(0, 2**32 - 1)
CONFIG = {"size": 48, "part": 0.5}
SIDE = 64


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A state dict as torchvision's, of random weights that keep the signal's size; with a piece of the classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        features = make_layers(cfgs["D"], batch_norm=False)
        for layer in features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    state = {f"features.{name}": value for name, value in features.state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg16.pth"
    torch.save(state | {"classifier.6.bias": torch.zeros(1000)}, path)
    return str(path)


@pytest.fixture(scope="module")
def gram_loss(vgg: str) -> GramLoss:
    return GramLoss(vgg)


@pytest.fixture(scope="module")
def texture_loss() -> EncoderTexture:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return EncoderTexture(TextureNetwork("mobilenet_v3_small", 16, 0.0), CONFIG, SIDE)


@pytest.fixture(scope="module")
def identity_loss() -> IdentityLoss:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        convolution = nn.Conv2d(3, 8, 5, stride=4)
    return IdentityLoss(nn.Sequential(convolution, nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()))


@pytest.fixture(params=["gram_loss", "texture_loss", "identity_loss"])
def loss(request: pytest.FixtureRequest) -> Frozen:
    return request.getfixturevalue(request.param)


@given(seed=SEEDS, inside=st.floats(0, 20), off=st.sampled_from([1.0, -1.0]))
@budget(max_examples=30, deadline=None)
def test_a_difference_of_one_is_a_loss_of_one(seed: int, inside: float, off: float) -> None:
    target, mask = noise(2, 4, 5, 6, seed=seed), torch.rand(2, 1, 5, 6)
    assert float(mask_aware(target + off, target, mask, inside, None)) == pytest.approx(1, abs=1e-5)


@given(seed=SEEDS, inside=st.floats(0, 20))
@budget(max_examples=30, deadline=None)
def test_a_batch_is_the_mean_of_its_samples(seed: int, inside: float) -> None:
    one, other, mask = noise(3, 4, 6, 6, seed=seed), noise(3, 4, 6, 6, seed=seed + 1), torch.rand(3, 1, 6, 6)
    weights = torch.tensor([0.2, 1.0, 3.0])
    whole = mask_aware(one, other, mask, inside, weights)
    singles = [mask_aware(one[i : i + 1], other[i : i + 1], mask[i : i + 1], inside, weights[i : i + 1])
               for i in range(3)]  # fmt: skip
    assert float(whole) == pytest.approx(float(torch.stack(singles).mean()), rel=1e-5)


def test_the_mask_weighs_what_is_within() -> None:
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    off = torch.zeros(1, 4, 4, 4)
    off[..., :2] = 1
    assert float(mask_aware(off, torch.zeros_like(off), mask, 4, None)) == pytest.approx(5 / 6)
    assert float(mask_aware(1 - off, torch.zeros_like(off), mask, 4, None)) == pytest.approx(1 / 6)
    half = mask_aware(off.half(), torch.zeros_like(off).half(), mask.half(), 4, None)
    assert half.dtype == torch.float32


def test_min_snr_is_the_papers() -> None:
    betas = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    alphas, steps = betas.alphas_cumprod, torch.tensor([0, 100, 400, 700, 999])
    snr = (alphas / (1 - alphas))[steps]
    least = torch.minimum(snr, torch.tensor(5.0))
    assert torch.allclose(min_snr(alphas, steps, 5, "sample"), least, rtol=1e-4)
    assert torch.allclose(min_snr(alphas, steps, 5, "epsilon"), least / snr, rtol=1e-4)
    assert torch.allclose(min_snr(alphas, steps, 5, "v_prediction"), least / (snr + 1), rtol=1e-4)


@pytest.mark.parametrize(("prediction", "last"), [("sample", 0.0), ("epsilon", 1.0), ("v_prediction", 0.0)])
def test_noise_alone_has_a_weight(prediction: str, last: float) -> None:
    alphas = DDPMScheduler(beta_schedule="scaled_linear", rescale_betas_zero_snr=True).alphas_cumprod.clone()
    alphas[0], alphas[-1] = 1, 0  # no noise at all, and nothing else
    weights = min_snr(alphas, torch.arange(1000), 5, prediction)
    assert weights.isfinite().all()
    assert float(weights[-1]) == last


def test_offset_noise_moves_whole_channels() -> None:
    drawn = noise(3, 4, 8, 8)
    one = offset_noise(drawn, 0.1, torch.Generator().manual_seed(5)) - drawn
    assert torch.allclose(one, one[..., :1, :1].expand_as(one), atol=1e-6)
    assert len(one[..., 0, 0].unique()) == 12
    again = offset_noise(drawn, 0.1, torch.Generator().manual_seed(5)) - drawn
    assert torch.equal(one, again)
    assert offset_noise(drawn, 0) is drawn


def test_a_picture_is_no_different_from_itself(loss: Frozen) -> None:
    image, mask = pictures(2, 3, SIDE, SIDE), torch.ones(2, 1, SIDE, SIDE)
    mask[..., : SIDE // 2] = 0
    assert float(loss(image, image, mask)) == pytest.approx(0, abs=1e-6)
    assert float(loss(pictures(2, 3, SIDE, SIDE, seed=1), image, mask)) > 1e-6


def test_gradients_pass_through_frozen_networks_to_what_made_the_picture(loss: Frozen) -> None:
    """Defect 1: a decoder without gradients leaves a loss that is reported and teaches nothing."""
    decoder = nn.ConvTranspose2d(4, 3, 4, stride=4).requires_grad_(False)
    latents = noise(2, 4, SIDE // 4, SIDE // 4).requires_grad_()
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[..., 16:48] = 1
    loss.train()
    assert not any(part.training for part in loss.modules())
    assert not any(weight.requires_grad for weight in loss.parameters())
    loss(decoder(latents), pictures(2, 3, SIDE, SIDE), mask).backward()
    assert latents.grad is not None
    assert latents.grad.isfinite().all()
    assert (latents.grad.flatten(1).abs().sum(1) > 0).all()


@pytest.mark.parametrize("filled", [0.0, 0.3, 1.0])
def test_a_mask_of_nothing_and_a_picture_of_one_colour_have_gradients(loss: Frozen, filled: float) -> None:
    image = torch.full((1, 3, SIDE, SIDE), filled, requires_grad=True)
    empty = torch.zeros(1, 1, SIDE, SIDE)
    value = loss(image, pictures(1, 3, SIDE, SIDE), empty)
    value.backward()
    assert image.grad is not None and image.grad.isfinite().all()
    if loss.name != "identity":  # for which everything is then outside the hair
        assert value.item() == pytest.approx(0, abs=1e-6)
        assert not image.grad.any()
    full = loss(image, pictures(1, 3, SIDE, SIDE), 1 - empty)
    (slope,) = torch.autograd.grad(full, image)
    assert slope.isfinite().all()


def test_what_is_outside_the_hair_is_no_texture(gram_loss: GramLoss, texture_loss: EncoderTexture) -> None:
    image = pictures(1, 3, 16, 128).requires_grad_()
    mask = torch.zeros(1, 1, 16, 128)
    mask[..., :32] = 1
    texture_loss(image, pictures(1, 3, 16, 128, seed=1), mask).backward()
    assert image.grad is not None and image.grad[..., :32].any()
    assert not image.grad[..., 32:].any()
    (slope,) = torch.autograd.grad(gram_loss(image, pictures(1, 3, 16, 128, seed=1), mask), image)
    assert slope[..., :32].any()
    assert not slope[..., 32 + 46 :].any()  # relu4_3 sees 46 pixels to either side


def test_hair_is_nobody(identity_loss: IdentityLoss) -> None:
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., :24, :] = 1
    truth, hair = pictures(1, 3, SIDE, SIDE), pictures(1, 3, SIDE, SIDE, seed=1)
    other = torch.where(mask > 0, hair, truth).requires_grad_()
    assert identity_loss(other, truth, mask).item() == pytest.approx(0, abs=1e-6)
    (slope,) = torch.autograd.grad(identity_loss(other, hair, mask), other)
    assert not slope[..., :24, :].any()
    assert slope[..., 24:, :].any()


def test_half_of_a_texture_is_the_same_texture(gram_loss: GramLoss) -> None:
    """Defect 11: a picture masked before the network has an edge, and sums grow with the area."""
    texture = pictures(1, 3, 16, 16, seed=3).repeat(1, 1, 10, 10)
    whole, half = torch.zeros(1, 1, 160, 160), torch.zeros(1, 1, 160, 160)
    whole[..., 48:112, 48:112] = 1  # the picture's own edge is out of sight
    half[..., 48:112, 48:80] = 1

    def apart(one: list[Tensor], other: list[Tensor]) -> list[float]:
        return [float((a - b).norm() / b.norm()) for a, b in zip(one, other, strict=True)]

    with torch.no_grad():
        same = gram_loss.grams(texture, whole)
        assert max(apart(gram_loss.grams(texture, half), same)) < 0.01
        assert max(apart(gram_loss.grams(texture * half, half), same)) > 0.15


@given(channels=st.integers(1, 8), side=st.integers(1, 8), value=st.floats(0.1, 10))
@budget(max_examples=30, deadline=None)
def test_the_scale_of_a_gram_is_that_of_the_features(channels: int, side: int, value: float) -> None:
    """Defect 10: over channels and pixels a Gram loss is 1e-11 and no usual weight is heard."""
    features, mask = torch.full((2, channels, side, side), value), torch.ones(2, 1, side, side)
    mask[0, 0, 0, 0] = 0.5
    assert torch.allclose(gram(features, mask), torch.full((2, channels, channels), value**2), rtol=1e-4)


def test_a_gram_loss_is_heard(gram_loss: GramLoss) -> None:
    mask = torch.ones(1, 1, 32, 32)
    smooth = torch.zeros(1, 3, 32, 32)
    assert float(gram_loss(pictures(1, 3, 32, 32), smooth, mask)) > 1e-3


def test_the_encoder_is_shown_what_it_was_trained_on() -> None:
    rng = np.random.default_rng(0)
    y, x = np.indices((160, 160))
    waves = 100 + 50 * np.sin(x / 4 + np.sin(y / 9)) + rng.normal(0, 8, (160, 160))
    hair = np.clip(waves[..., None] * np.array([1, 0.8, 0.5]), 0, 255).astype(np.uint8)
    there = ((x - 80) ** 2 + (y - 80) ** 2 < 50**2).astype(np.uint8)
    expected, _ = even_strands(np.dstack([hair * there[..., None], there * 255]))
    images = torch.from_numpy(hair.transpose(2, 0, 1)[None].astype(np.float32)) / 127.5 - 1
    found = strands(images, torch.from_numpy(there)[None, None].float(), REACH * 160)[0, 0].numpy()
    assert np.abs(found - expected)[there == 1].mean() < 1  # even_strands cuts the fraction off
    assert np.abs(found - expected).max() < 4
    assert expected[there == 1].std() > 30


def test_a_crop_is_shown_at_the_scale_of_the_whole_picture(texture_loss: EncoderTexture) -> None:
    shown: list[tuple[int, ...]] = []
    handle = texture_loss.network.register_forward_pre_hook(lambda _, inputs: shown.append(tuple(inputs[0].shape)))
    for side in (32, 64):
        texture_loss.embed(pictures(1, 3, side, side), torch.ones(1, 1, side, side))
    handle.remove()
    assert shown == [(1, 3, 48, 48), (1, 3, 96, 96)]  # half of the side is what the encoder's 48 pixels are


def test_weights_that_are_missing_or_foreign_are_refused(
    vgg: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MissingWeightsError, match=r"none\.pth.*https://.*vgg16.*inpainter\.consistency\.file"):
        GramLoss(str(tmp_path / "none.pth"))
    state = torch.load(vgg, weights_only=True)
    for change in ("features.28.bias", "features.0.weight"):
        torch.save({name: value for name, value in state.items() if name != change}, tmp_path / "part.pth")
        with pytest.raises(DataError, match=change.replace(".", r"\.")):
            GramLoss(str(tmp_path / "part.pth"))
    torch.save(state | {"features.0.weight": torch.zeros(64, 1, 3, 3)}, tmp_path / "grey.pth")
    with pytest.raises(DataError, match=r"features\.0\.weight"):
        GramLoss(str(tmp_path / "grey.pth"))

    def offline(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(VGG16_Weights, "get_state_dict", offline)
    with pytest.raises(MissingWeightsError, match=r"no network.*https://.*inpainter\.consistency\.file"):
        GramLoss(None)
