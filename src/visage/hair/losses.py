"""The losses of the hair networks, a value for each picture, so that parts of a batch add up to the whole.

Two classes need one number a pixel: the score, logit 1 less logit 0. The truth is coverage, not a mask, so an edge
pixel that is half hair asks for one half; cross-entropy is at its least there too.
"""

import torch
from torch import Tensor
from torch.nn import functional

from visage.features.pyramid import hair_score
from visage.hair.bisenet import SegmenterOutput

# Below the least square of a coverage that is not zero, 1 / 255.
TINY = 1e-6
# The share of the auxiliary heads' losses.
SIDE = 0.4


def cross_entropy(score: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy of every pixel: (B, H, W). truth: coverage in [0, 1]."""
    return functional.binary_cross_entropy_with_logits(score, truth, reduction="none")


def emphasised(each: Tensor, band: Tensor, boundary: float) -> Tensor:
    """The mean over pixels of `each` x (1 + boundary x band): (B,)."""
    return (each * (1 + boundary * band)).mean((1, 2))


def within(each: Tensor, band: Tensor) -> Tensor:
    """The mean of `each` over the pixels of `band`: (B,), 0 without any."""
    return (each * band).sum((1, 2)) / band.sum((1, 2)).clamp(min=1)


def soft_dice(hair: Tensor, truth: Tensor) -> Tensor:
    """1 - 2 sum(p t) / sum(p^2 + t^2) (Milletari et al., 3DV 2016): (B,), 0 for a picture without hair, about which
    the cross-entropy says enough. Squares, so that alpha = truth = 1/2 is a perfect answer."""
    common, both = (hair * truth).sum((1, 2)), (hair.square() + truth.square()).sum((1, 2))
    there = truth.sum((1, 2)) > 0
    return torch.where(there, 1 - 2 * common / both.clamp(min=TINY), 0)


def side_loss(output: SegmenterOutput, truth: Tensor, band: Tensor) -> Tensor:
    """What the heads beside the last one are off by: (B,).

    The coarse ones answer for the truth averaged over their cells (as if enlarged, at a fraction of the work), the
    detailed one for the edges alone (MODNet's detail loss).
    """
    total = truth.new_zeros(len(truth))
    for logits in output.coarse:
        answer = hair_score(logits)
        total = total + cross_entropy(answer, at_size(truth, answer)).mean((1, 2))
    if output.detail is not None:
        answer = hair_score(output.detail)
        total = total + within(cross_entropy(answer, at_size(truth, answer)), at_size(band, answer))
    return total


def at_size(maps: Tensor, like: Tensor) -> Tensor:
    """(B, H, W) averaged over the cells of `like` (B, h, w), whose size divides theirs."""
    return functional.avg_pool2d(maps[:, None], maps.shape[1] // like.shape[1])[:, 0]
