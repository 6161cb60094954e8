"""What is committed belongs together: dvc.lock, the code, the parameters, the metrics and the plots are of one run."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from closure import ROOT, dag


def load(name: str) -> Any:
    # Not PyYAML: it takes 1e-07 for a string.
    return OmegaConf.to_container(OmegaConf.create((ROOT / name).read_text(encoding="utf-8")))


LOCK: dict[str, Any] = load("dvc.lock")["stages"]
PARAMS = load("params.yaml")
STAGES = dag()


def md5(path: Path) -> str:
    """DVC's hash of a file, or of a folder: that of the list of its files."""
    if path.is_dir():
        files = sorted((file.relative_to(path).as_posix(), md5(file)) for file in path.rglob("*") if file.is_file())
        listing = json.dumps([{"md5": digest, "relpath": name} for name, digest in files], sort_keys=True)
        return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def value_at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree[part]
    return tree


def test_every_stage_has_run() -> None:
    assert LOCK.keys() == STAGES.keys()


@pytest.mark.parametrize("stage", LOCK)
def test_the_lock_is_of_this_code_these_parameters_and_these_results(stage: str) -> None:
    entries = [*LOCK[stage].get("deps", []), *LOCK[stage].get("outs", [])]
    # Data and weights are in DVC's cache, not in a plain clone.
    tracked = [e for e in entries if e["path"].startswith(("src/", "stages/", "metrics/", "plots/"))]
    stale = [entry["path"] for entry in tracked if md5(ROOT / entry["path"]) != entry["md5"]]
    assert not stale, f"run dvc repro and commit what it changes: {stale}"
    for key, value in LOCK[stage].get("params", {}).get("params.yaml", {}).items():
        assert value_at(PARAMS, key) == value, f"{key}: run dvc repro"


def test_the_committed_classifier_has_learned() -> None:
    measured = json.loads((ROOT / "metrics/evaluate_faces.json").read_text(encoding="utf-8"))
    assert measured["finetuned"]["accuracy"] >= 0.80
    assert measured["finetuned"]["baseline_accuracy"] < 0.1
    prepared = json.loads((ROOT / "metrics/prepare_faces.json").read_text(encoding="utf-8"))
    assert prepared["pictures"]["test"] == measured["test_samples"]
