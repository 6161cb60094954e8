"""The noise that is added and taken away, and the picture that comes out: what is kept stays to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from inpaint.tiny import inpainter, noise, told
from visage.errors import ConfigError
from visage.inpaint.conditions import Told
from visage.inpaint.noise import SAMPLERS, STEPS, clean_of, draw, open_noise, open_sampler, random_times, target_of
from visage.inpaint.sampling import compose, sample

SEEDS = st.integers(0, 2**32 - 1)


@settings(max_examples=60, deadline=None)
@given(
    which=st.sampled_from([("sample", True), ("sample", False), ("v_prediction", True), ("v_prediction", False),
                           ("epsilon", False)]),
    time=st.integers(0, STEPS - 1), seed=SEEDS,
)  # fmt: skip
def test_the_clean_latents_come_back_from_the_target(which: tuple[str, bool], time: int, seed: int) -> None:
    schedule = open_noise(*which)
    clean, added, times = noise(2, 4, 3, 3, seed=seed), noise(2, 4, 3, 3, seed=seed + 1), torch.tensor([time, 400])
    noisy = schedule.add_noise(clean, added, times)
    target = target_of(schedule, clean, added, times)
    assert torch.allclose(clean_of(schedule, target, noisy, times), clean, atol=2e-4)
    wanted = {"sample": clean, "epsilon": added}.get(which[0])
    assert wanted is None or torch.equal(target, wanted)


def test_the_last_step_is_noise_alone() -> None:
    rescaled, plain = open_noise("sample", True), open_noise("sample", False)
    assert float(rescaled.alphas_cumprod[-1]) == 0
    assert float(plain.alphas_cumprod[-1]) == pytest.approx(0.0047, abs=1e-4)  # SDXL's
    assert float(rescaled.alphas_cumprod[0]) == pytest.approx(float(plain.alphas_cumprod[0]))
    added = noise(1, 4, 2, 2)
    assert torch.equal(rescaled.add_noise(torch.full_like(added, 50.0), added, torch.tensor([STEPS - 1])), added)
    with pytest.raises(ConfigError, match=r"^inpainter\.prediction=epsilon: .*zero_snr=false$"):
        inpainter(prediction="epsilon").check()


@pytest.mark.parametrize("noisier", [0.0, 1.0, 3.0])
def test_times_are_asked_for_in_proportion(noisier: float) -> None:
    torch.manual_seed(1)
    times = random_times(20_000, noisier, torch.device("cpu"))
    assert times.dtype == torch.int64 and times.min() >= 0 and times.max() == STEPS - 1
    for least in (250, 500, 750):
        share = float((times >= least).float().mean())
        assert share == pytest.approx(1 - (least / STEPS) ** (1 + noisier), abs=0.015)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("which", [("sample", True), ("v_prediction", True), ("epsilon", False)])
def test_sampling_begins_where_training_was_and_ends_at_what_the_network_means(
    name: str, which: tuple[str, bool]
) -> None:
    schedule = open_noise(*which)
    clean = noise(2, 4, 3, 3, seed=8)
    asked: list[float] = []

    def oracle(noisy: Tensor, times: Tensor, mask: Tensor, known: Tensor, given_all: Told) -> Tensor:
        asked.append(float(times[0]))
        moments = times.round().long()
        signal = schedule.alphas_cumprod[moments][:, None, None, None].sqrt()
        spread = (1 - signal.square()).sqrt()
        return target_of(schedule, clean, (noisy - signal * clean) / spread, moments)

    for steps in (1, 4, 10):
        asked.clear()
        assert int(open_sampler(name, schedule, steps).timesteps[0]) == STEPS - 1
        made = sample(oracle, schedule, draw((2, 4, 3, 3), 1), clean[:, :1], clean, told(2), sampler=name,  # type: ignore[arg-type]
                      steps=steps, guidance=1.0)  # fmt: skip
        assert asked[0] == STEPS - 1
        assert len(asked) == steps
        assert torch.allclose(made, clean, atol=2e-2)


def test_guidance_leads_away_from_nothing() -> None:
    schedule = open_noise("sample", True)
    shape = (2, 4, 3, 3)

    def network(noisy: Tensor, times: Tensor, mask: Tensor, known: Tensor, given_all: Told) -> Tensor:
        return given_all.there.mean() * torch.ones_like(noisy)

    for guidance in (1.0, 3.0):
        made = sample(network, schedule, draw(shape, 1), torch.zeros(2, 1, 3, 3), draw(shape, 2), told(2),  # type: ignore[arg-type]
                      sampler="ddim", steps=1, guidance=guidance)  # fmt: skip
        assert torch.allclose(made, torch.full(shape, guidance), atol=1e-5)
    assert torch.equal(draw(shape, 5), draw(shape, 5))
    assert not torch.equal(draw(shape, 5), draw(shape, 6))


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(8, 40), st.floats(0.0, 1.0))
def test_what_is_not_painted_stays_to_the_last_bit(seed: int, side: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    image, painted = rng.integers(0, 256, (2, side, side, 3), np.uint8)
    paint = (rng.random((side, side)) < share).astype(np.uint8)
    paint[: side // 2, : side // 2] = seed % 2
    kept, before = image.copy(), painted.copy()
    made = compose(image, painted, paint)
    assert (made.shape, made.dtype) == (image.shape, np.uint8)
    assert np.array_equal(made[paint == 0], kept[paint == 0])
    low, high = np.minimum(image, painted), np.maximum(image, painted)
    assert ((made >= low) & (made <= high)).all()
    assert np.array_equal(image, kept) and np.array_equal(painted, before)


def test_well_within_the_mask_is_what_was_painted() -> None:
    rng = np.random.default_rng(1)
    image, painted = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    paint = np.zeros((64, 64), np.uint8)
    paint[16:48, 16:48] = 1
    made = compose(image, painted, paint)
    assert np.array_equal(made[20:44, 20:44], painted[20:44, 20:44])
    assert not np.array_equal(made[paint == 1], painted[paint == 1])  # its border is soft
    assert np.array_equal(compose(image, painted, np.ones_like(paint)), painted)
