"""DVCLive's files are a stage's output: the same bytes at every run, and nothing else in the repository changes."""

import os
import subprocess
from pathlib import Path

import pytest

from visage.tracking.live import LiveTracker, reproducible
from visage.tracking.tracker import track

HISTORY = [
    {"train_loss": 2 / 3, "valid/accuracy": 0.1, "epoch_seconds": 1.0},
    {"train_loss": 1 / 3, "valid/accuracy": 0.2},
]


def _record(directory: Path, noise: float, restart_at: int | None = None) -> dict[str, bytes]:
    """Record HISTORY; with `restart_at`, a first process stops there and a second one replays."""
    for last in [restart_at, len(HISTORY)] if restart_at else [len(HISTORY)]:
        with track("s", params={"lr": 0.1}, live_dir=directory) as tracker:
            for epoch, values in enumerate(HISTORY[:last]):
                tracker.metrics(values | {"images_per_second": noise, "peak_memory_mb": noise}, epoch)
            tracker.summary({"test_accuracy": 0.123456789, "best_epoch": 1, "seconds": noise})
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()
    }


def test_two_runs_at_different_speeds_and_a_resumed_one_leave_the_same_bytes(project):
    first = _record(project / "a", noise=1.0)
    assert first == _record(project / "b", noise=2.0) == _record(project / "c", noise=3.0, restart_at=1)
    assert sorted(first) == ["metrics.json", "plots/metrics/train_loss.tsv", "plots/metrics/valid/accuracy.tsv"]
    assert first["plots/metrics/train_loss.tsv"] == b"step\ttrain_loss\n0\t0.666667\n1\t0.333333\n"
    assert b"best_epoch" in first["metrics.json"]
    assert b"seconds" not in first["metrics.json"]


@pytest.mark.parametrize("name", ["epoch_seconds", "images_per_second", "peak_memory_mb", "time", "gpu/memory", "host"])
def test_what_differs_by_nature_is_left_out(name):
    assert reproducible({name: 1.0, "loss": 0.5}) == {"loss": 0.5}


@pytest.mark.parametrize("name", ["timeless", "best_time_step_loss", "memory_bank_loss", "rate", "accuracy"])
def test_names_that_only_look_like_times_are_kept(name):
    assert reproducible({name: 1.0}) == {name: 1.0}


def test_a_loss_that_is_not_a_number_is_recorded_and_stops_nothing(project):
    tracker = LiveTracker(project / "live")
    tracker.metrics({"loss": float("nan")}, 0)
    tracker.close("failed")
    assert (project / "live/plots/metrics/loss.tsv").read_text() == "step\tloss\n0\tnan\n"


def test_a_repository_without_a_commit_is_no_obstacle(project):
    subprocess.run(["git", "init", "-q"], check=True)
    (project / ".dvc").mkdir()
    (project / ".dvc" / "config").write_text("")
    assert "metrics.json" in _record(project / "live", noise=1.0)


def test_nothing_else_in_the_repository_is_touched(project, monkeypatch):
    subprocess.run(["git", "init", "-q"], check=True)
    (project / ".dvc").mkdir()
    (project / ".dvc" / "config").write_text("")
    (project / ".dvc" / ".gitignore").write_text("/tmp\n/cache\n/config.local\n")
    for name in ("dvc.yaml", "params.yaml"):
        (project / name).write_text("{}  # as people left it\n")
    subprocess.run(["git", "add", "."], check=True)
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "x"], check=True)
    before = os.stat(project / "dvc.yaml").st_mtime_ns, os.stat(project / "params.yaml").st_mtime_ns
    monkeypatch.setenv("DVC_STAGE", "s")
    _record(project / "live", noise=1.0)
    after = os.stat(project / "dvc.yaml").st_mtime_ns, os.stat(project / "params.yaml").st_mtime_ns
    status = subprocess.run(["git", "status", "--porcelain"], check=True, capture_output=True, text=True).stdout
    assert before == after
    assert status.split() == ["??", "experiments/", "??", "live/"]
