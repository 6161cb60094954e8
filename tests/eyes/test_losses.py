"""The losses of the eye networks against their definitions, and the mistakes that public code makes in them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from eyes.toy import disc, pupil_settings
from visage.eyes import losses
from visage.eyes.maps import signed_distance, spatial_weights
from visage.eyes.prepared import LARGEST_WEIGHT
from visage.eyes.pupil_task import overlap

PUPIL = disc(160, 100, 14, 12)


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))[None]


def sure(label: np.ndarray) -> Tensor:
    """The scores of an answer that is certain of `label`."""
    return 30 * (2 * tensor(label) - 1)


def components(
    answer: np.ndarray, truth: np.ndarray = PUPIL, kind: str = "normalised", clip: float = 10
) -> list[float]:
    """Cross-entropy, Dice and surface of a certain answer."""
    score, weights = sure(answer), tensor(spatial_weights(truth))
    pupil = score.sigmoid()
    edge = losses.surface(pupil, tensor(signed_distance(truth)), kind, clip)
    return [
        float(x)
        for x in (
            losses.cross_entropy(score, tensor(truth), weights),
            losses.generalised_dice(pupil, tensor(truth)),
            edge,
        )
    ]


def test_cross_entropy_is_torchs() -> None:
    logits, truth = torch.randn(3, 2, 8, 8), torch.randint(0, 2, (3, 8, 8))
    ours = losses.cross_entropy(losses.pupil_score(logits), truth.float(), torch.zeros(3, 8, 8))
    expected = torch.nn.functional.cross_entropy(logits, truth, reduction="none").mean((1, 2))
    torch.testing.assert_close(ours, expected)


def test_edge_pixels_pull_twenty_one_times_as_hard() -> None:
    """Pitfall 7: reduced to a scalar first, the weights would only scale it."""
    weights = tensor(spatial_weights(PUPIL))
    score = torch.zeros_like(weights, requires_grad=True)
    losses.cross_entropy(score, tensor(PUPIL), weights).sum().backward()
    assert score.grad is not None
    pull = score.grad.abs()
    assert (pull[weights == LARGEST_WEIGHT] / pull[weights == 0].mean()).mean() == pytest.approx(21)


def test_dice_is_its_definition() -> None:
    pupil, truth = torch.rand(20, 30), torch.from_numpy(PUPIL[90:110, 150:180]).float()
    assert 0 < truth.mean() < 1
    upper = lower = 0.0
    for p, t in ((pupil, truth), (1 - pupil, 1 - truth)):
        weight = 1 / float(t.sum()) ** 2
        upper, lower = upper + weight * float((p * t).sum()), lower + weight * float((p + t).sum())
    assert float(losses.generalised_dice(pupil[None], truth[None])) == pytest.approx(1 - 2 * upper / lower, rel=1e-4)
    assert components(PUPIL)[1] == pytest.approx(0, abs=1e-4)
    assert components(np.zeros_like(PUPIL))[1] > 0.9


def test_a_closed_eye_does_not_dominate_the_dice() -> None:
    """Pitfall 14: with 1 / eps for an absent class the loss of a nearly perfect answer would be 1."""
    empty = torch.zeros(1, 200, 320)
    assert float(losses.generalised_dice(empty + 1e-6, empty)) < 0.05
    both = losses.generalised_dice(torch.cat((empty + 1e-6, tensor(PUPIL))), torch.cat((empty, tensor(PUPIL))))
    assert both.tolist() == pytest.approx([0, 0], abs=1e-3)
    pupil = torch.full((1, 200, 320), 0.01, requires_grad=True)
    losses.generalised_dice(pupil, empty).sum().backward()
    assert pupil.grad is not None and pupil.grad.isfinite().all()


def test_the_surface_of_two_classes_is_that_of_their_distance_maps() -> None:
    distance = tensor(signed_distance(PUPIL))
    softmax = torch.rand(1, 200, 320)
    maps = torch.stack((-distance, distance), 1) / math.hypot(200, 320)
    expected = (torch.stack((1 - softmax, softmax), 1) * maps).mean()
    assert float(losses.surface(softmax, distance, "normalised", 10)) == pytest.approx(float(expected), rel=1e-4)


def test_the_clipped_surface_is_felt() -> None:
    """Pitfall 4: normalised by the diagonal, an empty answer costs no more than a perfect one."""
    gap = {}
    for kind in ("normalised", "clipped"):
        perfect, empty = (components(answer, kind=kind)[2] for answer in (PUPIL, np.zeros_like(PUPIL)))
        gap[kind] = empty - perfect
    assert 0 < gap["normalised"] < 4e-4
    assert gap["clipped"] >= 20 * gap["normalised"]


@pytest.mark.parametrize("kind", ["normalised", "clipped"])
def test_the_surface_prefers_the_truth(kind: str) -> None:
    answers = (PUPIL, np.roll(PUPIL, 5, 1), np.roll(PUPIL, 90, 1))
    values = [components(answer, kind=kind)[2] for answer in answers]
    assert values == sorted(values)
    blink = np.zeros_like(PUPIL)
    assert components(blink, blink, kind)[2] < components(PUPIL, blink, kind)[2]


@pytest.mark.parametrize(
    ("after", "epoch", "alpha"),
    [(0.0, 0, 0.992), (0.0, 124, 0), (0.0, 125, 0), (1.0, 124, 0), (1.0, 125, 1), (0.3, 200, 0.3)],
)
def test_alpha_falls_for_125_epochs_and_is_then_what_was_asked_for(after: float, epoch: int, alpha: float) -> None:
    """Pitfall 16: public trainers end at 1 or at 0."""
    assert losses.alpha_at(epoch, pupil_settings(epochs=300, alpha_after=after)) == pytest.approx(alpha)


def test_a_short_run_goes_through_the_whole_schedule() -> None:
    settings = pupil_settings(epochs=4)
    assert [losses.alpha_at(epoch, settings) for epoch in range(4)] == pytest.approx([0.75, 0.5, 0.25, 0])


def test_the_dice_never_vanishes() -> None:
    """Pitfall 4: in the last epoch alpha is 0."""
    settings = pupil_settings(epochs=4, dice_floor=0.2)
    one, none = torch.ones(1), torch.zeros(1)
    assert float(losses.combined(none, one, none, 3, settings)) == pytest.approx(0.2)
    assert float(losses.combined(none, one, none, 3, replace(settings, dice_floor=0.0))) == 0
    assert float(losses.combined(none, one, none, 0, settings)) == pytest.approx(0.75)
    assert float(losses.combined(none, none, one, 0, settings)) == pytest.approx(0.25)


def test_closed_eyes_have_no_say_in_the_ellipse() -> None:
    predicted = torch.tensor([[0.5, 0.5, 0.1, 0.1], [0.2, 0.7, 0.1, 0.2]], requires_grad=True)
    target = torch.tensor([[0.4, 0.6, 0.1, 0.2], [math.nan] * 4])
    loss = losses.ellipse_loss(predicted, target)
    assert loss.tolist() == pytest.approx([0.005 + 0.0025 + 0.5 * 0.0075, 0])
    loss.mean().backward()
    assert predicted.grad is not None and predicted.grad.isfinite().all()
    assert predicted.grad[1].abs().max() == 0


def test_votes_are_wanted_around_the_centre_and_from_open_eyes_alone() -> None:
    target = torch.tensor([[10.5 / 40, 5.5 / 25, 0.1, 0.1], [math.nan] * 4])
    there, elsewhere = (torch.full((2, 25, 40), -9.0) for _ in range(2))
    there[:, 5, 10] = elsewhere[:, 20, 30] = 0
    there.requires_grad_()
    near, far = (
        losses.vote_loss(there.flatten(1).log_softmax(1).view(2, 25, 40), target),
        losses.vote_loss(elsewhere, target),
    )
    assert near[0] < far[0]
    assert near[1] == far[1] == 0
    near.sum().backward()
    assert there.grad is not None and there.grad.isfinite().all()


def test_an_answer_of_background_alone_scores_nothing() -> None:
    """Pitfall 15: with the background's share it would score a half."""
    truth = torch.stack((torch.from_numpy(PUPIL) > 0, torch.zeros(200, 320, dtype=torch.bool)))
    nothing, perfect = overlap(torch.zeros_like(truth), truth), overlap(truth, truth)
    assert nothing["common"] == nothing["picture_iou"] == 0
    assert nothing["open"] == perfect["open"] == perfect["picture_iou"] == 1
    assert perfect["common"] == perfect["either"] == PUPIL.sum()
