"""The losses of the eye networks, a value for each picture, so that parts of a batch add up to the whole.

Two classes need one number a pixel: the pupil's score, logit 1 less logit 0. The softmax is its sigmoid, and the signed
distance of the background is that of the pupil with the other sign (up to a constant, which has no gradient).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from visage.eyes.config import Pupil
from visage.eyes.ellipse_net import centres

# Standard deviation of the votes that are wanted, in cells of the map.
VOTE_WIDTH = 0.6


def pupil_score(logits: Tensor) -> Tensor:
    """Logits (B, 2, H, W) -> (B, H, W) float32, positive where the pupil is more likely."""
    return logits[:, 1].float() - logits[:, 0].float()


def cross_entropy(score: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Mean over the pixels of cross-entropy x (1 + weights): (B,). All are (B, H, W) float, truth of {0, 1}.

    The weights meet the single pixels: RITnet's public code reduces the cross-entropy first, where they only scale it.
    """
    return (functional.binary_cross_entropy_with_logits(score, truth, reduction="none") * (1 + weights)).mean((1, 2))


def generalised_dice(pupil: Tensor, truth: Tensor) -> Tensor:
    """1 - 2 sum_k(w_k |p t|) / sum_k(w_k (|p| + |t|)), w_k = 1 / |t|^2, over both classes (Sudre et al. 2017): (B,).

    pupil: probabilities (B, H, W). A class that the picture does not have is left out: its weight would be infinite,
    and a single closed eye would outweigh the batch.
    """
    pixels = truth.shape[1] * truth.shape[2]
    predicted, true, common = pupil.sum((1, 2)), truth.sum((1, 2)), (pupil * truth).sum((1, 2))
    there = torch.stack((true, pixels - true), 1)
    both = torch.stack((predicted + true, 2 * pixels - predicted - true), 1)
    shared = torch.stack((common, pixels - predicted - true + common), 1)
    weight = torch.where(there > 0, there.clamp(min=1) ** -2, 0)
    return 1 - 2 * (weight * shared).sum(1) / (weight * both).sum(1)


def surface(pupil: Tensor, distance: Tensor, kind: str, clip: float) -> Tensor:
    """Mean over pixels and classes of softmax x signed distance (boundary loss, Kervadec et al., MIDL 2019): (B,).

    distance: (B, H, W) pixels to the pupil's edge, negative inside. kind: "normalised" divides it by the diagonal, as
    RITnet does (hardly felt: a perfect and an empty answer differ by 1e-4); "clipped" cuts it to `clip` pixels either
    way and divides by that.
    """
    if kind == "clipped":
        scaled = distance.clamp(-clip, clip) / clip
    else:
        scaled = distance / math.hypot(distance.shape[1], distance.shape[2])
    return ((2 * pupil - 1) * scaled).mean((1, 2)) / 2


def alpha_at(epoch: int, settings: Pupil) -> float:
    """The Dice term's share in `epoch` (from 0): 1 - (e + 1) / n until epoch n, then `alpha_after`.

    n is `alpha_epochs` (125 as published), or all epochs where they are fewer.
    """
    falling = min(settings.alpha_epochs, settings.epochs)
    return 1 - (epoch + 1) / falling if epoch < falling else settings.alpha_after


def combined(ce: Tensor, dice: Tensor, edge: Tensor, epoch: int, settings: Pupil) -> Tensor:
    """CE + max(alpha, dice_floor) x Dice + (1 - alpha) x surface, of values for each picture: (B,)."""
    alpha = alpha_at(epoch, settings)
    return ce + max(alpha, settings.dice_floor) * dice + (1 - alpha) * edge


def ellipse_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """SmoothL1(centre) + SmoothL1(radii) + 0.5 MSE of (cx, cy, rx, ry), normalised: (B,), 0 for a closed eye.

    target: (B, 4), not a number where there is no pupil.
    """
    there = target.isfinite().all(1)
    # Left in, it would reach the gradient: 0 x nan is nan.
    target = torch.where(there[:, None], target, predicted.detach())
    smooth = functional.smooth_l1_loss(predicted, target, reduction="none")
    squared = (predicted - target).square().mean(1)
    return torch.where(there, smooth[:, :2].mean(1) + smooth[:, 2:].mean(1) + 0.5 * squared, 0)


def vote_loss(chances: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy of the votes against a narrow Gaussian around the true centre: (B,), 0 for a closed eye (the
    regularisation of Nibali et al. 2018, by another divergence).

    chances: logarithms (B, h, w). target: (B, 4), not a number where there is no pupil.
    """
    height, width = chances.shape[1:]
    there = target.isfinite().all(1)
    away = centres(height, width).to(target) - torch.where(there[:, None], target[:, :2], 0)[:, :, None]
    cells = away * target.new_tensor([[width], [height]])
    wanted = (-0.5 * (cells / VOTE_WIDTH).square().sum(1)).softmax(-1)
    return torch.where(there, -(wanted * chances.flatten(1)).sum(1), 0)
