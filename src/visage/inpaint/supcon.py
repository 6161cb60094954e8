"""Supervised contrastive loss (Khosla et al., NeurIPS 2020), form L_out, for pictures in several views.

An anchor without a positive has no term in the mean; with two views of each picture every anchor has at least its own
other view, whatever its label. Pictures without a label have no other positive and are everybody's negative.
"""

import torch
from torch import Tensor

from visage.inpaint.prompt import MISSING


def supcon(projections: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """The mean over anchors that have a positive; 0, with a gradient, where none has.

    -1 / |P(i)| sum over p in P(i) of log(exp(z_i z_p / T) / sum over a != i of exp(z_i z_a / T)).

    Args:
        projections: (B, V, D) float32 of unit length: V views of each of B pictures.
        labels: (B,) integers, -1 where unknown.
        temperature: T, above 0.
    """
    batch, views, width = projections.shape
    z = projections.transpose(0, 1).reshape(batch * views, width)
    picture = torch.arange(batch, device=z.device).repeat(views)
    of = labels.repeat(views)
    same = (of[:, None] == of[None]) & (of[:, None] != MISSING)
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = (same | (picture[:, None] == picture[None])) & ~itself
    logits = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    # log_softmax of an anchor with itself is -inf, and 0 x -inf no number: masked before it is summed.
    chances = logits.log_softmax(1).masked_fill(~positive, 0)
    count = positive.sum(1)
    terms = -chances.sum(1) / count.clamp(min=1)
    return terms.sum() / (count > 0).sum().clamp(min=1)
