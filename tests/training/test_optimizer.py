"""AdamW decays matrices and kernels alone, and leaves frozen weights out."""

import torch
from torch import nn

from visage.training.optimizer import adamw


def test_only_weights_of_more_than_one_dimension_decay() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Linear(3, 2))
    model[2].weight.requires_grad_(False)
    groups = adamw(model, 0.1, 0.5).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert decay.pop(id(model[0].weight)) == 0.5
    assert id(model[2].weight) not in decay
    assert set(decay.values()) == {0.0} and len(decay) == 4


def test_without_gradients_decay_is_all_that_moves() -> None:
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone(), model.bias.detach().clone()
    optimizer = adamw(model, 0.1, 0.5)
    (0 * sum(p.sum() for p in model.parameters())).backward()
    optimizer.step()
    torch.testing.assert_close(model.weight.detach(), before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias.detach(), before[1])


def test_beta2_decides_how_far_the_mean_of_squared_gradients_looks_back() -> None:
    weight = nn.Parameter(torch.zeros(1, 1))
    model = nn.Module()
    model.register_parameter("weight", weight)
    optimizer = adamw(model, 0.1, 0.0, beta2=0.9)
    for gradient in (3.0, 1.0):
        weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
    mean = optimizer.state[weight]["exp_avg_sq"]
    torch.testing.assert_close(mean, torch.full((1, 1), 0.9 * 0.1 * 9.0 + 0.1 * 1.0))
    assert adamw(model, 0.1, 0.0).param_groups[0]["betas"] == (0.9, 0.999)
