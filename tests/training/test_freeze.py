"""Freezing: no gradients, and running statistics that stay where they are."""

import copy

import pytest
import torch
from torch import nn

from visage.training.freeze import count_parameters, freeze, frozen_count


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))


def test_frozen_batch_norms_keep_their_statistics_through_train() -> None:
    model = network()
    freeze([model[0], model[1]])
    before = copy.deepcopy(model.state_dict())
    model.train()
    model(torch.randn(4, 3, 8, 8) + 3)
    after = model.state_dict()
    assert torch.equal(before["1.running_mean"], after["1.running_mean"])
    assert not torch.equal(before["3.running_mean"], after["3.running_mean"])
    assert not model[1].training
    assert model[3].training


def test_a_copy_of_a_frozen_model_is_frozen_itself() -> None:
    model = network()
    freeze([model[1]])
    twin = copy.deepcopy(model).train()
    twin(torch.randn(4, 3, 8, 8) + 3)
    assert not twin[1].training
    assert torch.equal(twin[1].running_mean, torch.zeros(4))


def test_only_what_is_not_frozen_counts_as_trained() -> None:
    model = network()
    freeze([model[0]])
    everything, trained = count_parameters(model)
    assert everything - trained == sum(p.numel() for p in model[0].parameters())


@pytest.mark.parametrize(("ratio", "frozen"), [(0, 0), (0.7, 7), (0.99, 9), (1, 10)])
def test_a_ratio_freezes_its_share(ratio: float, frozen: int) -> None:
    assert frozen_count(10, ratio) == frozen
