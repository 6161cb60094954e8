"""What the documents say exists: files, commands, parameters, presets."""

import os
import re
import subprocess
import sys

import pytest
from typer.main import get_command

from closure import ROOT
from visage.cli import app
from visage.config import load_config

DOCUMENTS = ["README.md", "CONTRIBUTING.md"]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_files_that_anything_depends_on_are_in_git() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    needed = {
        "constraints.txt",
        "LICENSE",
        "Makefile",
        "dvc.yaml",
        "params.yaml",
        ".ci/run",
        "data/raw/weights/.gitignore",
    }
    for name in DOCUMENTS:
        links = re.findall(r"\]\(([^)#:]+)\)", text(name))
        paths = re.findall(r"`((?:docs|benchmarks|tests|conf|stages|src)/[\w./-]+\.\w+)`", text(name))
        needed |= {path for path in (*links, *paths) if "verb_noun" not in path}
    assert not needed - set(listed)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_and_commands_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.M))
    assert set(re.findall(r"`?make ([a-z-]+)", text(name))) - {"it", "everything"} <= targets
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert set(re.findall(r"(?:^|`)visage ([a-z]+)", text(name), re.M)) - {"trains"} <= commands


@pytest.mark.parametrize("name", DOCUMENTS)
def test_parameters_and_presets_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config()
    sections = "features|finetune|heads|pretrain|runtime|faces"
    for key in re.findall(rf"(?<!\+)\b((?:{sections})(?:\.[a-z_]+)+)(?=[=`)\s,])", text(name)):
        value: object = config
        for part in key.split("."):
            assert hasattr(value, part), f"{name} speaks of {key}"
            value = getattr(value, part)
    for preset in re.findall(r"experiment=(\w+)", text(name)):
        assert (ROOT / f"conf/experiment/{preset}.yaml").is_file()


def test_the_help_answers_without_loading_what_it_does_not_need() -> None:
    heavy = ("torch", "cv2", "numpy", "dvc", "hydra")
    program = f"import sys; import visage.cli; print([name for name in {heavy} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": "src"}
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    assert answer.stdout.strip() == "[]"
