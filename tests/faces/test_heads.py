"""The fast loop: heads learn, repeat their bits whatever happens, and the best is chosen on validation."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from faces.small import CLASSES, cached, head_settings, prepared, runtime
from visage.errors import ConfigError, DataError, Unfinished
from visage.faces.config import HeadDesign, Heads
from visage.faces.head_model import best_head, head_path, load_head, load_heads, predict
from visage.faces.head_task import HeadTask, training_samples
from visage.faces.heads import train_heads
from visage.features.table import FEATURES, load_table
from visage.training import checkpoint
from visage.training.feed import Feed

ROOT = Path(__file__).parents[2]


def run(folder: Path, settings: Heads | None = None, max_minutes: float = 0.0) -> dict[str, Any]:
    """train_heads on `folder`/features, its results in `folder`; returns the metrics."""
    train_heads(
        settings or head_settings(), runtime(max_minutes=max_minutes), seed=3, features=folder / "features",
        data=folder / "data", out=folder / "out", metrics=folder / "heads.json", plots=folder / "curves",
    )  # fmt: skip
    return json.loads((folder / "heads.json").read_text())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with cached features of prepared faces, and its own place for state and records."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    cached(tmp_path / "features", prepared(tmp_path / "data"))
    return tmp_path


def task(folder: Path, **changes: Any) -> HeadTask:
    settings = head_settings(**changes)
    samples = training_samples(load_table(folder / "features"), CLASSES)
    return HeadTask(settings, settings.designs["linear"], len(CLASSES), *samples)


def test_heads_learn_and_are_measured_and_recorded(folder: Path) -> None:
    measured = run(folder)
    assert measured.keys() == {"linear", "mlp", "best"}
    for name in ("linear", "mlp"):
        assert measured[name]["valid_accuracy"] > 0.9
        assert measured[name]["epochs"] == 6
    assert measured["linear"]["parameters"] == 16 * 3 + 3
    lines = (folder / "curves/history.csv").read_text().splitlines()
    assert lines[0] == "epoch,head,train_loss,valid_loss,train_accuracy,valid_accuracy"
    assert [line.split(",")[:2] for line in lines[1:]] == [[str(n), h] for h in ("linear", "mlp") for n in range(1, 7)]
    assert not list((folder / ".visage").rglob("*.pt")), "the state is still there"


def test_a_checkpoint_holds_all_that_its_answers_need(folder: Path) -> None:
    run(folder)
    saved = torch.load(folder / "out/exp_mlp/checkpoints/best_head.pt", weights_only=True)
    assert saved.keys() == {
        "model", "design", "classes", "encoder", "dim", "epoch", "best_valid_accuracy", "best_valid_loss", "config",
    }  # fmt: skip
    assert saved["design"] == {"hidden": [24], "dropout": 0.3}
    head, _ = load_head(folder / "out/exp_mlp/checkpoints/best_head.pt")
    table = load_table(folder / "features")
    scores = predict(head, table, table.split("val"), torch.device("cpu"))
    truth = [CLASSES.index(table.rows[row]["class"]) for row in table.split("val")]
    assert scores.sum(1) == pytest.approx(np.ones(12))
    assert (scores.argmax(1) == truth).mean() == saved["best_valid_accuracy"]


def test_another_design_beside_it_changes_no_byte_of_a_head(folder: Path) -> None:
    run(folder)
    before = head_path(folder / "out", "mlp").read_bytes()
    run(folder, head_settings(designs={"mlp": HeadDesign([24], 0.3)}))
    assert head_path(folder / "out", "mlp").read_bytes() == before
    assert not head_path(folder / "out", "linear").exists(), "a head of an earlier run is still there"


def test_a_killed_stage_ends_in_the_same_files(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from faces.small import *; from faces.test_heads import run\n"
        "from visage.runtime import tune; tune(runtime())\n"
        "run(Path(sys.argv[1]), head_settings(epochs=150))"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}

    def attempt(where: Path, wait: float | None) -> int:
        if not where.exists():
            cached(where / "features", prepared(where / "data"))
        child = subprocess.Popen(
            [sys.executable, "-c", program, str(where)],
            env=environment | {"DVC_ROOT": str(where)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return child.wait(wait)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            return child.wait()

    start = time.monotonic()
    assert attempt(folder / "whole", None) == 0
    seconds = time.monotonic() - start
    codes = [attempt(folder / "killed", seconds * share) for share in (0.75, 0.85)]
    assert -signal.SIGKILL in codes
    assert attempt(folder / "killed", None) == 0
    for name in ("linear", "mlp"):
        assert head_path(folder / "whole/out", name).read_bytes() == head_path(folder / "killed/out", name).read_bytes()
    for name in ("heads.json", "curves/history.csv"):
        assert (folder / "whole" / name).read_bytes() == (folder / "killed" / name).read_bytes(), name


def test_a_run_stopped_in_any_step_goes_on_to_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever edits the package while this runs would change the key of the state.
    monkeypatch.setattr(checkpoint, "code_digest", lambda: "the same")
    run(folder, head_settings(epochs=2))
    whole = [head_path(folder / "out", name).read_bytes() for name in ("linear", "mlp")]
    stops = 0
    while True:
        try:
            run(folder, head_settings(epochs=2), max_minutes=1e-6)
            break
        except Unfinished:
            stops += 1
            assert not (folder / "out/exp_mlp/checkpoints/best_head.pt").exists()
    assert stops == 2 * (2 * 3 - 1)
    assert [head_path(folder / "out", name).read_bytes() for name in ("linear", "mlp")] == whole


def test_noise_and_mixing_are_training_only_and_of_the_seeded_generator(folder: Path) -> None:
    problem = task(folder)
    batch = problem.train_samples.__getitems__([(0, index) for index in range(16)])

    def loss(seed: int, train: bool) -> float:
        torch.manual_seed(seed)
        return float(problem.loss(problem.model, batch, train)[0].detach())

    assert loss(1, True) == loss(1, True) != loss(2, True)
    assert loss(1, False) == loss(2, False)
    for changes in ({"noise": 0.0}, {"mixup": 0.0}):
        assert loss(1, True) != float(task(folder, **changes).loss(problem.model, batch, True)[0].detach())
    problem = task(folder, noise=0.0, mixup=0.0)
    assert loss(1, True) == loss(2, True) == loss(1, False)


def test_a_batch_is_what_its_samples_are_in_the_order_of_the_file(folder: Path) -> None:
    samples, _ = training_samples(load_table(folder / "features"), CLASSES)
    assert samples.resident_bytes() == 0
    features, labels = next(Feed(samples, runtime()).read([[(2, 7), (2, 0), (2, 40), (2, 7)]]))
    singles = [samples[(2, index)] for index in (0, 7, 7, 40)]
    assert features.dtype == torch.float32
    assert torch.equal(features, torch.stack([single[0] for single in singles]))
    assert labels.tolist() == [int(single[1]) for single in singles] == [0, 0, 0, 2]


def test_biases_do_not_decay(folder: Path) -> None:
    matrices, biases = task(folder).optimizer().param_groups
    assert (matrices["weight_decay"], biases["weight_decay"]) == (0.01, 0.0)
    assert [p.ndim for p in matrices["params"] + biases["params"]] == [2, 1]


def test_training_stops_early(folder: Path) -> None:
    measured = run(folder, head_settings(epochs=50, early_stop=2))
    for name in ("linear", "mlp"):
        assert measured[name]["epochs"] == measured[name]["best_epoch"] + 2 < 50


def test_the_best_is_the_most_accurate_then_the_surest_then_the_smallest() -> None:
    def saved(accuracy: float, loss: float, size: int) -> dict[str, Any]:
        return {"best_valid_accuracy": accuracy, "best_valid_loss": loss, "model": {"weight": torch.zeros(size)}}

    heads = {"a": saved(0.8, 0.1, 1), "b": saved(0.9, 0.5, 9), "c": saved(0.9, 0.4, 9), "d": saved(0.9, 0.4, 3)}
    assert best_head(heads) == "d"
    assert best_head({name: heads[name] for name in "abc"}) == "c"
    assert best_head({name: heads[name] for name in "ab"}) == "b"


def test_the_metrics_and_the_checkpoints_name_the_same_best(folder: Path) -> None:
    best = run(folder)["best"]
    heads = load_heads(folder / "out", CLASSES, load_table(folder / "features"))
    assert best_head({name: saved for name, (_, saved) in heads.items()}) == best


def test_features_that_are_not_numbers_name_the_picture(folder: Path) -> None:
    features = np.load(folder / "features" / FEATURES)
    features[4, 2] = np.nan
    np.save(folder / "features" / FEATURES, features)
    with pytest.raises(DataError, match=r"train/ada/4.png are not numbers"):
        run(folder)


def test_a_single_class_is_always_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr("faces.small.CLASSES", ["ada"])
    cached(tmp_path / "features", prepared(tmp_path / "data"))
    assert run(tmp_path)["linear"]["valid_accuracy"] == 1


def test_without_validation_pictures_training_goes_on_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    cached(tmp_path / "features", prepared(tmp_path / "data", {"train": 4, "test": 2}))
    run(tmp_path, head_settings(epochs=1))
    assert "no validation pictures" in capsys.readouterr().out


def test_what_does_not_belong_together_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = load_table(folder / "features")
    with pytest.raises(DataError, match="run train_heads"):
        load_heads(folder / "out", CLASSES, table)
    run(folder, head_settings(epochs=1))
    with pytest.raises(DataError, match="other classes"):
        load_heads(folder / "out", ["ada", "bob", "zoe"], table)
    with pytest.raises(DataError, match=r"of toy \(16\), not of other \(16\)"):
        load_heads(folder / "out", CLASSES, replace(table, encoder={**table.encoder, "encoder": "other"}))
    (folder / "data/classes.json").write_text('["ada", "bob", "zoe"]')
    with pytest.raises(DataError, match="class 'cyd'"):
        run(folder)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="accelerate launch"):
        run(folder)


def test_without_training_rows_nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    cached(tmp_path / "features", prepared(tmp_path / "data", {"test": 2}))
    with pytest.raises(DataError, match="no training rows"):
        run(tmp_path)


@pytest.mark.parametrize("name", ["best", "finetuned", "a/b", ".."])
def test_a_name_that_cannot_be_a_heads_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"heads\.designs\."):
        head_settings(designs={name: HeadDesign([], 0.0)}).check()


def test_a_checkpoint_is_what_checkpoint_load_reads(folder: Path) -> None:
    run(folder, head_settings(epochs=1))
    assert checkpoint.load(head_path(folder / "out", "linear"))["config"]["mixup"] == 0.2
