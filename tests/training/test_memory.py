"""The memory budget: a prediction that holds, and a refusal that names what fits."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from training.toy import ToyTask, toy_runtime
from visage.errors import DoesNotFitError
from visage.training import memory

ROOT = Path(__file__).parents[2]
BUDGET = memory.Budget(base=1000.0, per_sample=50.0, limit=2000.0)

MEASURED = """
import sys
from visage.runtime import Runtime, peak_memory_mb, resident_memory_mb, tune
runtime = Runtime("cpu", 1, 1, 0, "fp32", "channels_last", True, 64.0, 0.0)
tune(runtime)
import torch
from torch.nn import functional
from visage.features import encoders
from visage.training import memory

class Samples(dict):
    def resident_bytes(self):
        return 0

class Task:
    def __init__(self):
        self.model = encoders.build("mobilenet_v3_small", 10)
        self.train_samples = self.valid_samples = Samples({(0, i): (torch.randn(3, 224, 224), 1) for i in range(2)})
    def loss(self, model, batch, train):
        return functional.cross_entropy(model(batch[0]), batch[1]), {}

task, size = Task(), int(sys.argv[1])
budget = memory.measure(task, runtime)
task.model.to(memory_format=torch.channels_last)
optimizer = torch.optim.Adam(task.model.parameters())
batch = (torch.randn(size, 3, 224, 224).to(memory_format=torch.channels_last), torch.ones(size, dtype=torch.long))
for _ in range(2):
    loss, _ = task.loss(task.model, batch, True)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
print(budget.predicted(size), peak_memory_mb())
"""


@pytest.mark.parametrize("size", [8, 48])
def test_the_prediction_is_near_what_a_real_step_takes(size: int) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", MEASURED, str(size)], capture_output=True, text=True, check=True, cwd=ROOT / "src"
    )
    predicted, measured = map(float, answer.stdout.split())
    assert 0.8 * measured <= predicted <= 1.4 * measured


def test_measuring_leaves_the_model_as_it_was() -> None:
    task = ToyTask()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    memory.measure(task, toy_runtime())
    assert all(torch.equal(value, before[name]) for name, value in task.model.state_dict().items())


def test_what_the_data_set_keeps_is_counted() -> None:
    task = ToyTask()
    less = memory.measure(task, toy_runtime()).base
    task.train_samples.images = np.zeros((200 << 20,), np.uint8)
    assert memory.measure(task, toy_runtime()).base - less > 150


def test_frozen_layers_cost_nothing() -> None:
    whole, frozen = ToyTask(), ToyTask()
    frozen.model.requires_grad_(False)
    list(frozen.model.children())[-1].requires_grad_(True)
    assert memory.measure(frozen, toy_runtime()).per_sample < memory.measure(whole, toy_runtime()).per_sample


@pytest.mark.parametrize(("at_most", "largest"), [(64, 20), (8, 8)])
def test_the_largest_micro_batch_that_fits(at_most: int, largest: int) -> None:
    assert BUDGET.largest(at_most) == largest


def test_nothing_fits_below_the_base() -> None:
    assert replace(BUDGET, limit=900.0).largest(64) == 0


def test_what_does_not_fit_is_refused_with_the_setting_that_does() -> None:
    runtime = replace(toy_runtime(processes=2), memory_gb=2 * 2000 / 1024)
    with pytest.raises(DoesNotFitError, match="finetune.micro_batch=20"):
        memory.check(BUDGET, "finetune.micro_batch", micro_batch=64, batch_size=128, runtime=runtime)
    memory.check(BUDGET, "finetune.micro_batch", micro_batch=20, batch_size=128, runtime=runtime)
    # Two processes halve a batch of 40 between them.
    memory.check(BUDGET, "finetune.micro_batch", micro_batch=64, batch_size=40, runtime=runtime)


def test_where_not_even_one_sample_fits_the_budget_is_named() -> None:
    runtime = replace(toy_runtime(), memory_gb=0.5)
    with pytest.raises(DoesNotFitError, match="runtime.memory_gb="):
        memory.check(replace(BUDGET, limit=512.0), "finetune.micro_batch", 4, 4, runtime)
