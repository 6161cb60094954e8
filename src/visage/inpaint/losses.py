"""What the inpainting network's training takes beside its main loss: the mask's weight, min-SNR and offset noise.

Every mean is taken of each sample by itself before samples are averaged, so that neither the size of a mask nor the
company of a batch changes what a sample counts.
"""

from types import SimpleNamespace

import torch
from diffusers.training_utils import compute_snr
from torch import Tensor


def mask_aware(predicted: Tensor, target: Tensor, mask: Tensor, inside: float, weights: Tensor | None) -> Tensor:
    """The mean squared difference in which an element within the mask weighs 1 + `inside` times one outside.

    A difference of 1 everywhere gives 1 whatever the mask, and a batch the mean of its samples. In float32.

    Args:
        predicted: (B, C, h, w); target: the same.
        mask: (B, 1, h, w) of 0 to 1.
        weights: (B,), of the samples (`min_snr`); None is 1.
    """
    difference = predicted.float() - target.float()
    # Spread over the channels before it is summed: the sum of one channel would make the loss C times too large.
    weight = (1 + inside * mask.float()).expand_as(difference)
    each = (weight * difference.square()).flatten(1).sum(1) / weight.flatten(1).sum(1)
    return each.mean() if weights is None else (each * weights.float()).mean()


def min_snr(alphas_cumprod: Tensor, timesteps: Tensor, gamma: float, prediction: str) -> Tensor:
    """Weights of samples by their noise, (B,) float32 (Hang et al., ICCV 2023, "min-SNR-gamma").

    min(SNR, gamma) for what predicts the sample, over SNR for "epsilon", over SNR + 1 for "v_prediction". Noise alone
    (SNR 0, of a rescaled schedule) weighs 0, and 1 for "epsilon", the limit; no weight is nan or infinite.

    Args:
        alphas_cumprod: (T,), of the schedule.
        timesteps: (B,) integers below T.
        gamma: above 0.
        prediction: "sample", "epsilon" or "v_prediction".
    """
    snr = compute_snr(SimpleNamespace(alphas_cumprod=alphas_cumprod), timesteps)
    if prediction == "epsilon":
        return (gamma / snr).clamp(max=1)  # gamma / 0 is infinite and becomes 1, where 0 / 0 would be no number
    weight = snr.clamp(max=gamma)
    if prediction == "v_prediction":
        return weight / (snr + 1)
    assert prediction == "sample", prediction
    return weight


def offset_noise(noise: Tensor, strength: float, generator: torch.Generator | None = None) -> Tensor:
    """`noise` (B, C, h, w) with `strength` times one more number for each sample and channel, so that a network learns
    to move a picture's mean (Guttenberg 2023; as diffusers' train_text_to_image_sdxl). 0 gives `noise` itself."""
    if not strength:
        return noise
    device = noise.device if generator is None else generator.device
    offset = torch.randn(*noise.shape[:2], 1, 1, generator=generator, device=device)
    return noise + strength * offset.to(noise)
