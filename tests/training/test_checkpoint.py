"""Checkpoints: whole or absent, and loaded without running what they contain."""

import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from visage.errors import DataError
from visage.training import checkpoint

SRC = Path(__file__).parents[2] / "src"


def stop_half_way(directory: Path) -> None:
    (directory / "state.pt").write_text("half")
    raise DataError("stop")


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    state = {"model": {"w": torch.arange(4.0)}, "epoch": 3, "names": ["a"], "nested": {"x": [1.5, None]}}
    checkpoint.save(tmp_path / "a.pt", state)
    loaded = checkpoint.load(tmp_path / "a.pt")
    assert torch.equal(loaded["model"]["w"], torch.arange(4.0))
    assert loaded["nested"] == {"x": [1.5, None]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_the_same_state_is_the_same_bytes_under_any_name(tmp_path: Path) -> None:
    for name in ("a.pt", "b.pt"):
        checkpoint.save(tmp_path / name, {"model": {"w": torch.arange(4.0)}, "epoch": 3})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_a_state_that_was_loaded_is_saved_as_the_same_bytes(tmp_path: Path) -> None:
    name = "weight"
    state = {
        "model": {name: torch.arange(4.0)},
        "groups": [{name: 1, "betas": (0.9, 0.99)}],
        "other": "".join(["wei", "ght"]),
    }
    checkpoint.save(tmp_path / "a.pt", state)
    checkpoint.save(tmp_path / "b.pt", checkpoint.load(tmp_path / "a.pt"))
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "b.pt").read_bytes()


def test_a_truncated_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save(path, {"model": {"w": torch.zeros(100)}})
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a\.pt"):
        checkpoint.load(path)


def test_a_checkpoint_cannot_run_code(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (str(tmp_path / "ran"),))  # type: ignore[return-value]

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    torch.save({"model": Evil()}, tmp_path / "evil_zip.pt")
    for name in ("evil.pt", "evil_zip.pt"):
        with pytest.raises(DataError):
            checkpoint.load(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_another_parameter_is_another_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    a, b = (checkpoint.state_dir("x", {"lr": lr}) for lr in (1e-3, 1e-4))
    assert a != b
    assert a == checkpoint.state_dir("x", {"lr": 1e-3})
    assert tmp_path in a.parents


def test_a_finished_block_leaves_no_state_and_an_unfinished_one_all(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    directory = checkpoint.state_dir("x", {"lr": 1})
    with pytest.raises(DataError), checkpoint.resumable("x", {"lr": 1}):
        stop_half_way(directory)
    with checkpoint.resumable("x", {"lr": 1}) as again:
        assert (again / "state.pt").read_text() == "half"
    assert not directory.exists()


def test_a_second_process_with_the_same_work_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    program = (
        "from visage.training import checkpoint\n"
        "with checkpoint.resumable('x', {}) as d: print('in', (d / 'mine').exists(), flush=True)"
    )
    with checkpoint.resumable("x", {}) as directory:
        (directory / "mine").touch()
        other = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=SRC)
        assert other.stdout is not None
        assert "waiting" in other.stdout.readline()
    assert other.communicate(timeout=60)[0] == "in False\n"


def test_old_states_that_nobody_holds_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    for lr in (1, 2):
        directory = checkpoint.state_dir("x", {"lr": lr})
        with pytest.raises(DataError), checkpoint.resumable("x", {"lr": lr}):
            stop_half_way(directory)
    old = time.time() - 15 * 86_400
    os.utime(directory.with_suffix(".lock"), (old, old))
    with checkpoint.resumable("x", {"lr": 3}):
        assert not directory.exists()
        assert checkpoint.state_dir("x", {"lr": 1}).exists()
