"""Schedules: they last as long as the training, however short that is."""

import pytest
import torch

from visage.training.schedule import make_schedule


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


@pytest.mark.parametrize("steps", range(1, 14))
def test_one_cycle_ends_low_after_any_number_of_steps(steps: int) -> None:
    sgd = optimizer()
    schedule = make_schedule("onecycle", sgd, steps, None)
    rates = []
    for _ in range(steps):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        if len(rates) < steps:
            schedule.after_step()
    assert max(rates) <= 0.1 + 1e-9
    assert min(rates) > 0
    if steps >= 4:
        assert rates[-1] < 0.01 * max(rates)


def test_a_plateau_halves_the_rate_until_its_least() -> None:
    sgd = optimizer()
    schedule = make_schedule("plateau", sgd, 0, {"factor": 0.5, "patience": 1, "min_lr": 0.03})
    rates = []
    for _ in range(10):
        schedule.after_epoch(1.0)
        rates.append(sgd.param_groups[0]["lr"])
    assert rates[0] == 0.1
    assert rates[-1] == 0.03
