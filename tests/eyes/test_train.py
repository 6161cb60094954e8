"""Training of the eye networks: learned, recorded under the promised names, repeated to the bit by a killed run."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eyes.toy import augmentation, ellipse_settings, prepared, pupil_settings, run_ellipse, run_pupil, runtime
from visage.errors import DataError, DoesNotFitError, Unfinished
from visage.eyes.config import Pupil
from visage.eyes.networks import KINDS, load_network
from visage.eyes.pupil_task import PupilTask
from visage.eyes.train import loop_settings
from visage.eyes.train_ellipse import mean_error
from visage.eyes.train_pupil import pupil_training
from visage.tracking.tracker import NullTracker
from visage.training.loop import Loop

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained micro network: 24 epochs, so that there are two tens and a last one."""
    folder = tmp_path_factory.mktemp("pupil")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        prepared(folder / "data")
        run_pupil(folder, pupil_settings(epochs=24))
    return folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with prepared eyes, and its own place for state and records."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    prepared(tmp_path / "data")
    return tmp_path


def test_the_pupil_is_learned(trained: Path) -> None:
    measured = json.loads((trained / "pupil.json").read_text())
    assert measured["valid_pupil_iou"] > 0.8
    assert measured["valid_picture_iou"] > 0.75
    assert measured["parameters"] == 9546
    assert measured["epochs"] == 24


def test_checkpoints_have_the_names_that_users_know_and_load_safely(trained: Path) -> None:
    names = sorted(path.name for path in (trained / "out").glob("*.pt"))
    regular = {f"efficientvit_tiny_model_epoch_{epoch}.pt" for epoch in (10, 20, 24)}
    assert {"best_efficientvit_tiny_model.pt"} | regular <= set(names)
    improved = [name for name in names if re.fullmatch(r"efficientvit_tiny_model_epoch\d+_miou0\.\d{4}\.pt", name)]
    assert len(improved) == 3
    assert len(names) == 7
    for name in names:
        saved = torch.load(trained / "out" / name, weights_only=True)
        assert saved.keys() == {"kind", "model", "epoch", "metrics", "height", "width", "config"}
        assert all(tensor.is_contiguous() for tensor in saved["model"].values())
    best = torch.load(trained / "out" / "best_efficientvit_tiny_model.pt", weights_only=True)
    assert f"efficientvit_tiny_model_epoch{best['epoch']}_miou{best['metrics']['valid_iou']:.4f}.pt" in improved


def test_a_checkpoint_gives_back_the_network(trained: Path) -> None:
    network, saved = load_network(trained / "out" / "best_efficientvit_tiny_model.pt")
    assert saved["kind"] == "micro"
    assert not network.training
    assert network(torch.zeros(1, 1, 80, 128)).shape == (1, 2, 80, 128)


def test_another_file_is_refused_in_one_line(tmp_path: Path) -> None:
    torch.save({"model": {}}, tmp_path / "x.pt")
    with pytest.raises(DataError, match="not a checkpoint of train_pupil"):
        load_network(tmp_path / "x.pt")
    torch.save({"kind": "micro", "model": KINDS["tiny"].build().state_dict()}, tmp_path / "y.pt")
    with pytest.raises(DataError, match="another micro network"):
        load_network(tmp_path / "y.pt")


def test_the_history_has_every_component(trained: Path) -> None:
    lines = (trained / "plots/history.csv").read_text().splitlines()
    names = ("loss", "iou", "pupil_iou", "picture_iou", "ce_loss", "dice_loss", "surface_loss")
    assert lines[0].split(",") == [
        "epoch",
        *(f"{split}_{name}" for split in ("train", "valid") for name in names),
        "lr",
    ]
    assert len(lines) == 25
    row = dict(zip(lines[0].split(","), map(float, lines[-1].split(",")), strict=True))
    # alpha is 0 in the last epoch, and the floor of the Dice term is 0.2.
    parts = row["valid_ce_loss"] + 0.2 * row["valid_dice_loss"] + row["valid_surface_loss"]
    assert row["valid_loss"] == pytest.approx(parts, abs=1e-5)


def test_the_state_is_gone_once_the_results_are_out(trained: Path) -> None:
    assert not list((trained / ".visage").rglob("*.pt"))


@pytest.mark.parametrize("variant", ["tiny", "shallow"])
def test_the_other_variants_train(folder: Path, variant: str) -> None:
    run_pupil(folder, pupil_settings(variant=variant, epochs=1, surface="normalised"))
    assert (folder / "out" / f"best_{KINDS[variant].file}.pt").is_file()


def test_the_ellipse_is_learned_far_better_than_the_mean(folder: Path) -> None:
    run_ellipse(folder, ellipse_settings())
    measured = json.loads((folder / "ellipse.json").read_text())
    assert measured["valid_centre_px"] < 0.25 * measured["baseline_centre_px"]
    names = {path.name for path in (folder / "out").glob("*.pt")}
    assert {"best_ellipse_model.pt", *(f"ellipse_model_epoch_{epoch}.pt" for epoch in (10, 20, 30))} <= names


def test_the_error_of_the_mean_ignores_closed_eyes() -> None:
    train = np.array([[0.5, 0.5, 0, 0], [np.nan] * 4, [0.7, 0.5, 0, 0]], np.float32)
    valid = np.array([[0.6, 0.6, 0, 0], [np.nan] * 4], np.float32)
    assert mean_error(train, valid) == pytest.approx(40, abs=1e-3)


def stage(folder: Path) -> subprocess.Popen[bytes]:
    """A process that trains on `folder`/data."""
    if not (folder / "data").exists():
        prepared(folder / "data")
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}", "DVC_ROOT": str(folder)}
    return subprocess.Popen([sys.executable, "-m", "eyes.toy", str(folder)], env=environment, stdout=subprocess.DEVNULL)


def kill_after_an_epoch(folder: Path) -> int:
    """Kill a stage once it has saved a state of its own; its exit code."""
    begin, child = time.time(), stage(folder)
    while child.poll() is None:
        if any(path.stat().st_mtime > begin for path in folder.glob(".visage/state/*/*/state.pt")):
            child.send_signal(signal.SIGKILL)
            break
        time.sleep(0.02)
    return child.wait()


def test_a_killed_stage_ends_in_the_same_files(folder: Path) -> None:
    assert stage(folder / "whole").wait() == 0
    assert [kill_after_an_epoch(folder / "killed") for _ in range(2)] == [-signal.SIGKILL] * 2
    assert stage(folder / "killed").wait() == 0
    names = {path.relative_to(folder / "whole") for path in (folder / "whole" / "out").glob("*.pt")}
    assert len(names) == 5
    for name in (*names, Path("pupil.json"), Path("plots/history.csv")):
        assert (folder / "whole" / name).read_bytes() == (folder / "killed" / name).read_bytes(), name
    assert {path.relative_to(folder / "killed") for path in (folder / "killed" / "out").glob("*.pt")} == names


def test_the_loss_of_a_continued_epoch_has_that_epochs_alpha(folder: Path) -> None:
    seen: list[tuple[int, bool]] = []

    class Watched(PupilTask):
        def loss(self, model, batch, train):  # type: ignore[no-untyped-def]
            seen.append((self.epoch, train))
            return super().loss(model, batch, train)

    settings = pupil_settings(epochs=3, batch_size=8, micro_batch=8)
    state = folder / "state"
    settings_of_loop = replace(loop_settings(pupil_training(settings, folder / "data", 3), 3), save_steps=1)
    for _ in range(40):
        loop = Loop(
            Watched(settings, folder / "data", 3), settings_of_loop, runtime(max_minutes=1e-6), state, NullTracker()
        )
        loop.run()
        if loop.progress.done:
            break
    assert loop.progress.done
    assert seen == [(epoch, train) for epoch in range(3) for train in (True, True, True, False)]


def test_a_time_limit_keeps_the_work_and_writes_no_result(folder: Path) -> None:
    with pytest.raises(Unfinished):
        run_pupil(folder, pupil_settings(), runtime(max_minutes=1e-6))
    assert not list(folder.glob("out/*.pt"))
    assert list((folder / ".visage/state/train_pupil_micro").rglob("state.pt"))


def test_without_validation_frames_training_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    prepared(tmp_path / "data", {"train": 6})
    run_pupil(tmp_path, pupil_settings(epochs=1))
    assert "no validation frames" in capsys.readouterr().out


def test_no_training_frames_and_no_data_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="prepare_eyes"):
        run_pupil(tmp_path, pupil_settings())
    prepared(tmp_path / "data", {"val": 4})
    with pytest.raises(DataError, match="no training frames"):
        run_pupil(tmp_path, pupil_settings())


def test_what_passes_the_memory_budget_is_refused_before_training(folder: Path) -> None:
    small = runtime()
    small.memory_gb = 0.1
    with pytest.raises(DoesNotFitError, match="pupil.micro_batch=4"):
        run_pupil(folder, pupil_settings(), small)


def test_closed_eyes_alone_make_a_finite_loss(folder: Path) -> None:
    """A batch may hold nothing else."""
    task = PupilTask(_still(), folder / "data", 3)
    closed = [index for index, row in enumerate(task.eyes.rows) if row["split"] == "train" and row["empty"] == "1"]
    batch = torch.utils.data.default_collate([task.train_samples[(0, index)] for index in closed[:2]])
    loss, sums = task.loss(task.model, batch, True)
    loss.backward()
    assert loss.isfinite()
    assert sums["open"] == 0
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.model.parameters())


def _still() -> Pupil:
    return pupil_settings(augment=augmentation(**dict.fromkeys(vars(augmentation()), 0.0)))
