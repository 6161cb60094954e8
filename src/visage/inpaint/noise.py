"""The noise that training adds and sampling takes away: schedule, targets, and samplers, all of diffusers.

SDXL's betas; with a zero terminal signal-to-noise ratio (Lin et al., WACV 2024) the last step is noise alone, so that
sampling begins where training was, and colours can be as dark or light as they are.
"""

from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler, EulerDiscreteScheduler
from torch import Tensor

STEPS = 1000
SAMPLERS = {"ddim": DDIMScheduler, "dpm": DPMSolverMultistepScheduler, "euler": EulerDiscreteScheduler}


def open_noise(prediction: str, zero_snr: bool) -> Any:
    """The schedule of training, for a network that predicts the "sample", the noise ("epsilon") or "v_prediction"."""
    return DDPMScheduler(
        num_train_timesteps=STEPS,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=prediction,
        clip_sample=False,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=zero_snr,
    )


def open_sampler(name: str, noise: Any, steps: int) -> Any:
    """The sampler `name` of `SAMPLERS` over the schedule of training, set to `steps` steps."""
    options: dict[str, Any] = {"timestep_spacing": "trailing"}
    if name == "ddim":
        options |= {"clip_sample": False, "set_alpha_to_one": True, "steps_offset": 0}
    sampler = SAMPLERS[name].from_config(noise.config, **options)
    sampler.set_timesteps(steps)
    return sampler


def random_times(count: int, noisier: float, device: torch.device) -> Tensor:
    """(count,) int64 below `STEPS`, drawn with a density in proportion to the time to the power of `noisier`; 0 asks at
    all times alike. A sampler of few steps asks of much noise alone, where the picture is decided."""
    shares = torch.rand(count, device=device) ** (1 / (1 + noisier))
    return (STEPS * shares).long().clamp(max=STEPS - 1)


def target_of(noise: Any, clean: Tensor, added: Tensor, times: Tensor) -> Tensor:
    """What the network is to say at `times` (N) of `clean` latents with `added` noise."""
    prediction = noise.config.prediction_type
    if prediction == "sample":
        return clean
    return added if prediction == "epsilon" else noise.get_velocity(clean, added, times)


def clean_of(noise: Any, said: Tensor, noisy: Tensor, times: Tensor) -> Tensor:
    """The clean latents that the network's answer at `times` (N) means."""
    prediction = noise.config.prediction_type
    if prediction == "sample":
        return said
    alphas = noise.alphas_cumprod.to(noisy.device)[times][:, None, None, None]
    signal, spread = alphas.sqrt(), (1 - alphas).sqrt()
    if prediction == "v_prediction":
        return signal * noisy - spread * said
    return (noisy - spread * said) / signal.clamp_min(1e-4)


def draw(shape: tuple[int, ...], seed: int) -> Tensor:
    """Noise for sampling, the same for the same seed on every machine."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
