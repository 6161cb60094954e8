"""What a run keeps beside its best and its last epoch, and the epoch that a task is told."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from training.toy import ToyTask, toy_runtime, toy_settings, train_toy
from visage.errors import Unfinished
from visage.training import checkpoint
from visage.training.keep import improvements, kept_epochs, kept_path


def history(*values: float) -> list[dict[str, float]]:
    return [{"valid_accuracy": value} for value in values]


def test_improvements_are_better_than_all_before() -> None:
    assert improvements(history(0.1, 0.3, 0.2, 0.3, 0.4), "accuracy", "max") == [1, 2, 5]
    assert improvements(history(0.4, 0.3, 0.3, 0.35, 0.1), "accuracy", "min") == [1, 2, 5]
    assert improvements([], "accuracy", "max") == []


@pytest.mark.parametrize(
    ("every", "last", "kept"), [(0, 0, set()), (2, 0, {2, 4}), (0, 2, {2, 5}), (2, 1, {2, 4, 5}), (10, 9, {1, 2, 5})]
)
def test_what_is_kept_follows_from_the_history(every: int, last: int, kept: set[int]) -> None:
    settings = toy_settings(keep_every=every, keep_improvements=last)
    assert kept_epochs(history(0.1, 0.3, 0.2, 0.3, 0.4), settings) == kept


def test_the_files_are_those_of_their_epochs_and_no_others(tmp_path: Path) -> None:
    fitted = train_toy(tmp_path, epochs=5, keep_every=2, keep_improvements=1)
    better = improvements(fitted.progress.history, "accuracy", "max")[-1]
    assert fitted.kept == {epoch: kept_path(tmp_path, epoch) for epoch in sorted({2, 4, better})}
    assert set(tmp_path.glob("epoch-*.pt")) == set(fitted.kept.values())
    for epoch, path in fitted.kept.items():
        assert checkpoint.load(path)["progress"]["epoch"] == epoch


def test_nothing_is_kept_unless_asked_for(tmp_path: Path) -> None:
    assert train_toy(tmp_path, epochs=2).kept == {}
    assert not list(tmp_path.glob("epoch-*.pt"))


class Scheduled(ToyTask):
    """A loss that depends on the epoch."""

    def begin_epoch(self, epoch: int) -> None:
        self.factor = 1 / (1 + epoch)

    def loss(self, model: nn.Module, batch: Any, train: bool) -> tuple[Tensor, Mapping[str, Tensor]]:
        loss, stats = super().loss(model, batch, train)
        return self.factor * loss, stats


def test_a_run_in_pieces_keeps_the_same_states_and_knows_its_epoch(tmp_path: Path) -> None:
    keep = {"keep_every": 2, "keep_improvements": 2, "task": Scheduled}
    whole = train_toy(tmp_path / "whole", **keep)
    for _ in range(40):
        try:
            pieces = train_toy(tmp_path / "pieces", runtime=toy_runtime(max_minutes=1e-6), **keep)
            break
        except Unfinished:
            continue
    assert pieces.progress.history == whole.progress.history
    assert pieces.kept.keys() == whole.kept.keys()
    for epoch, path in whole.kept.items():
        for name, tensor in checkpoint.load(path)["model"].items():
            assert tensor.equal(checkpoint.load(pieces.kept[epoch])["model"][name])
