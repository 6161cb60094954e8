"""Finetuning: learned, recorded, honest, and repeated to the bit by a run that was killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from faces.small import CLASSES, SIZE, prepared, runtime, settings
from visage.errors import ConfigError, DoesNotFitError, Unfinished
from visage.faces.config import Finetune
from visage.faces.finetune import finetune
from visage.runtime import Runtime
from visage.training import checkpoint

ROOT = Path(__file__).parents[2]


def run(folder: Path, settings: Finetune, runtime: Runtime) -> None:
    """finetune_faces on `folder`/data, its results in `folder`."""
    finetune(
        settings, runtime, size=SIZE, seed=3, data=folder / "data", encoder="",
        out=folder / "out", metrics=folder / "finetune.json", plots=folder / "plots",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with prepared faces, and its own place for state and records."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    prepared(tmp_path / "data")
    return tmp_path


def test_colours_are_learned(trained: Path) -> None:
    measured = json.loads((trained / "evaluate.json").read_text())
    assert measured["finetuned"]["accuracy"] > 0.9
    assert measured["finetuned"]["baseline_accuracy"] == pytest.approx(1 / 3, abs=1e-3)
    assert measured["test_samples"] == 12
    assert measured["per_class"].keys() == set(CLASSES)


def test_checkpoints_hold_what_is_promised_and_load_safely(trained: Path) -> None:
    for name in ("best_model.pth", "final_model.pth"):
        saved = torch.load(trained / "out" / name, weights_only=True)
        wanted = {"model", "optimizer", "scheduler", "epoch", "best_valid_accuracy", "classes", "config"}
        assert saved.keys() == wanted
        assert saved["classes"] == CLASSES
        assert saved["config"]["lr"] == 2e-3


def test_the_state_is_gone_once_the_results_are_out(trained: Path) -> None:
    assert not list((trained / ".visage").rglob("*.pt"))


def test_dvclive_wrote_the_same_history(trained: Path) -> None:
    rows = (trained / "out/live/plots/metrics/valid_accuracy.tsv").read_text().splitlines()
    assert len(rows) == 13


def test_the_history_has_a_row_an_epoch(trained: Path) -> None:
    lines = (trained / "plots/history.csv").read_text().splitlines()
    assert lines[0] == "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,lr"
    assert len(lines) == 13


def test_a_killed_stage_ends_in_the_same_files(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from faces.small import *; from faces.test_finetune import run\n"
        "from visage.runtime import tune; tune(runtime(2))\n"
        "run(Path(sys.argv[1]), settings(epochs=6), runtime(2))"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}

    def attempt(where: Path, wait: float | None) -> int:
        if not (where / "data").exists():
            prepared(where / "data")
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(where)],
            env=environment | {"DVC_ROOT": str(where)},
            stdout=subprocess.DEVNULL,
        )
        try:
            return child.wait(wait)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            return child.wait()

    start = time.monotonic()
    assert attempt(folder / "whole", None) == 0
    seconds = time.monotonic() - start
    codes = [attempt(folder / "killed", seconds * share) for share in (0.7, 0.8, 0.9)]
    assert -signal.SIGKILL in codes
    assert attempt(folder / "killed", None) == 0
    for name in ("out/best_model.pth", "out/final_model.pth", "finetune.json", "plots/history.csv"):
        assert (folder / "whole" / name).read_bytes() == (folder / "killed" / name).read_bytes(), name


def test_a_time_limit_keeps_the_work_and_writes_no_result(folder: Path) -> None:
    with pytest.raises(Unfinished):
        run(folder, settings(), runtime(max_minutes=1e-6))
    assert not list((folder / "out").glob("*.pth"))
    assert not (folder / "finetune.json").exists()
    assert list((folder / ".visage/state/finetune_faces").rglob("state.pt"))


@pytest.mark.parametrize(
    "changes",
    [
        {"batch_size": 0}, {"epochs": 0}, {"micro_batch": 0}, {"lr": -1.0}, {"plateau_factor": 1.5}, {"flip": 2.0},
        {"freeze_ratio": 1.5}, {"freeze_ratio": -0.1},
    ],
)  # fmt: skip
def test_a_number_out_of_range_is_one_line(changes: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"finetune.{next(iter(changes))}"):
        settings(**changes).check()


def test_weights_that_the_pipeline_does_not_watch_are_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="data/raw/weights"):
        run(folder, settings(weights="file", weights_path="/somewhere/w.pth"), runtime())


def test_what_passes_the_memory_budget_is_refused_before_training(folder: Path) -> None:
    small = runtime()
    small.memory_gb = 0.1
    with pytest.raises(DoesNotFitError, match="finetune.micro_batch=8"):
        run(folder, settings(), small)


def test_without_validation_pictures_training_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    prepared(tmp_path / "data", {"train": 4, "test": 2})
    run(tmp_path, settings(epochs=1), runtime())
    assert "no validation pictures" in capsys.readouterr().out
    assert checkpoint.load(tmp_path / "out/best_model.pth")["epoch"] == 1
