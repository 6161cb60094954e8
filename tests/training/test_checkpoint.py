"""Checkpoints: whole or absent, and loaded without running what they contain."""

import pickle
from pathlib import Path

import pytest
import torch

from visage.errors import DataError
from visage.training import checkpoint


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
