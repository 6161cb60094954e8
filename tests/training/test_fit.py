"""The training loop: a killed run ends in the same bits; processes and micro-batches leave the gradient alone."""

import os
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from training.toy import ToyTask, toy_runtime, toy_settings, train_toy
from visage.errors import DataError, Unfinished, VisageError
from visage.training import checkpoint

ROOT = Path(__file__).parents[2]


def weights(path: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(path)["model"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def run_toy(state: Path, processes: int, seconds: float | None = None, threads: int = 1) -> int:
    """Run the toy's program, killed with its group after `seconds`; returns its exit code."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    command = [sys.executable, "-m", "training.toy", str(state), str(processes), str(threads)]
    program = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return program.wait(seconds)
    except subprocess.TimeoutExpired:
        program.send_signal(signal.SIGKILL)
        return program.wait()


@pytest.mark.parametrize("processes", [1, 2])
def test_killed_runs_end_in_the_same_bits_as_an_uninterrupted_one(tmp_path: Path, processes: int) -> None:
    start = time.monotonic()
    assert run_toy(tmp_path / "whole", processes) == 0
    whole = time.monotonic() - start
    rng = random.Random(3)
    codes = [run_toy(tmp_path / "killed", processes, whole * rng.uniform(0.6, 0.95)) for _ in range(4)]
    assert -signal.SIGKILL in codes
    assert run_toy(tmp_path / "killed", processes) == 0
    for name in ("state.pt", "best.pt"):
        assert same(weights(tmp_path / "whole" / name), weights(tmp_path / "killed" / name))
    a, b = (checkpoint.load(tmp_path / run / "state.pt")["progress"] for run in ("whole", "killed"))
    assert a["history"] == b["history"]


def test_processes_of_several_threads_do_not_wait_for_ever(tmp_path: Path) -> None:
    assert run_toy(tmp_path, 2, seconds=120, threads=2) == 0


def test_a_second_training_in_one_process_may_have_another_number_of_processes(tmp_path: Path) -> None:
    alone = train_toy(tmp_path / "alone", epochs=1)
    assert len(checkpoint.load(alone.final)["progress"]["history"]) == 1
    with pytest.raises(VisageError, match="a picture of process 1"):
        train_toy(tmp_path / "together", runtime=toy_runtime(2), task=OneIsBroken)


def test_a_picture_that_only_a_child_reads_is_named(tmp_path: Path) -> None:
    with pytest.raises(VisageError, match="a picture of process 1"):
        train_toy(tmp_path, runtime=toy_runtime(2), task=OneIsBroken)


class OneIsBroken(ToyTask):
    """A task whose second process meets a mistake that the first does not see."""

    def loss(self, model: Any, batch: Any, train: bool) -> Any:
        if os.environ["RANK"] == "1":
            raise DataError("a picture of process 1 is broken")
        return super().loss(model, batch, train)


def test_a_run_stopped_at_every_saved_step_continues_exactly(tmp_path: Path) -> None:
    train_toy(tmp_path / "whole")
    for _ in range(40):
        try:
            train_toy(tmp_path / "pieces", runtime=toy_runtime(max_minutes=1e-6))
            break
        except Unfinished:
            continue
    else:
        pytest.fail("the run in pieces never finished")
    assert same(weights(tmp_path / "whole" / "state.pt"), weights(tmp_path / "pieces" / "state.pt"))


def test_a_time_limit_is_never_a_finished_run(tmp_path: Path) -> None:
    with pytest.raises(Unfinished, match="start the same command again"):
        train_toy(tmp_path, runtime=toy_runtime(max_minutes=1e-6))


@pytest.mark.parametrize(("processes", "micro_batch"), [(2, 16), (1, 5), (2, 3)])
def test_processes_and_micro_batches_leave_the_gradient_as_it_is(
    tmp_path: Path, processes: int, micro_batch: int
) -> None:
    # Without batch norm and dropout the parts of a batch are independent, so the weights must agree up to rounding. 102
    # samples in batches of 16 leave a last batch of 6; 97 leave a last batch of 1, fewer than processes.
    for count in (102, 97):
        task = partial(ToyTask, count=count, norm=False, dropout=0.0)
        whole = train_toy(tmp_path / f"alone{count}", task=task, schedule="constant", epochs=2)
        alone = weights(whole.final)
        changes: dict[str, Any] = {"runtime": toy_runtime(processes), "micro_batch": micro_batch}
        changed = train_toy(tmp_path / f"changed{count}", task=task, schedule="constant", epochs=2, **changes)
        a, b = (run.progress.history[-1] for run in (changed, whole))
        assert a == pytest.approx(b, rel=1e-3)
        for name, value in weights(changed.final).items():
            torch.testing.assert_close(value, alone[name], rtol=1e-4, atol=1e-5)


def test_loader_processes_change_nothing(tmp_path: Path) -> None:
    here, beside = train_toy(tmp_path / "here"), train_toy(tmp_path / "beside", runtime=toy_runtime(loaders=2))
    assert same(weights(here.final), weights(beside.final))


def test_the_best_epoch_is_kept_and_patience_stops(tmp_path: Path) -> None:
    fitted = train_toy(tmp_path, epochs=30, patience=2, schedule="constant", task=partial(ToyTask, lr=0.0))
    assert fitted.progress.best_epoch == 0
    assert fitted.progress.epoch == 3
    assert checkpoint.load(fitted.best)["progress"]["epoch"] == 1


def test_a_loss_that_is_not_a_number_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="learning rate"):
        train_toy(tmp_path, task=partial(ToyTask, lr=1e30), schedule="constant")


def test_nothing_to_train_on_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        train_toy(tmp_path, task=partial(ToyTask, count=0))


def test_an_error_of_a_user_in_two_processes_is_raised_once_and_leaves_no_child(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="empty"):
        train_toy(tmp_path, runtime=toy_runtime(2), task=partial(ToyTask, count=0))
    import multiprocessing

    assert not multiprocessing.active_children()


@pytest.mark.parametrize("schedule", ["plateau", "constant"])
def test_every_schedule_resumes(tmp_path: Path, schedule: str) -> None:
    options = {"factor": 0.5, "patience": 0, "min_lr": 1e-7} if schedule == "plateau" else None
    train_toy(tmp_path / "whole", schedule=schedule, schedule_options=options)
    for _ in range(40):
        try:
            limited = toy_runtime(max_minutes=1e-6)
            train_toy(tmp_path / "pieces", runtime=limited, schedule=schedule, schedule_options=options)
            break
        except Unfinished:
            continue
    a, b = (checkpoint.load(tmp_path / run / "state.pt")["progress"] for run in ("whole", "pieces"))
    assert a["history"] == b["history"]
    assert toy_settings().epochs == len(a["history"])
