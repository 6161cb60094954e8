"""Every command of every document is run in a clone with small results, or checked as far as the table below allows."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from closure import ROOT
from documents.commands import Command, check, commands
from project import Project
from visage.hair.prepared import load_set
from visage.io.atomic import write_bytes
from visage.io.images import encode_jpeg, encode_png

# Why a command is not run here, by what it contains. It is checked instead: its flags, stages, parameters and files.
NOT_HERE = {
    r"(data|models) fetch|eyes/data=openeds": "a download",
    r"--device cuda|runtime=cuda|runtime\.device=cuda": "a GPU",
    r"DASK_SCHEDULER_ADDRESS": "a cluster",
    r"dask_cluster(?!.*--print)": "a queue of Slurm or PBS: tests/jobs/test_dask_cluster.py has a small one",
    r"docker compose": "an engine and an image: tests/test_containers.py reads the files",
    r"modal (run|volume)": "an account of Modal: tests/test_cloud.py runs its functions here",
    r"train_hair_segmentation(?!.*--dry-run)": "a machine to set up: tests/test_scripts.py has small stand-ins",
    r"dvc (push|pull|remote|exp push)": "a remote",
    r"make notebooks": "a quarter of an hour: tests/test_notebooks.py runs each on less",
    r"MLFLOW_|mlflow": "a server",
    r"features=efficientnet_b0": "a download of ImageNet weights",
    r"experiment=(eyes_robust|hair_robust|faces_fast|standard)": "an hour: tests/test_config.py composes it",
    r"experiment=(full|khairstyle)": "weights and data that have to be asked for",
    r"dvc queue (start|logs)": "workers that outlive the command: tests/test_pipeline.py waits for them",
    r"visage tryon": "an inpainter that passes its gate, which the smallest does not: tests/serving/test_tryon.py",
    r"\.venv/bin/activate": "an environment that the tests are in already",
}
# Run by make test-all alone: half a minute and more each.
SLOW = (
    r"finetune\.lr=3e-4",
    r"(faces|hair)/data=folder",
    r"heads\.",
    r"eyes\.variants",
    r"openvino",
    r"visage train",
)
# What makes a command small enough, or puts what the documents speak of where it is.
SMALLER = {
    r"^visage compose": "visage compose experiment=smoke",
    r"^make repro": "make smoke",
    r"^make ([a-z]+)": rf"make \1 READY= VENV={sys.prefix}",
    r"dvc exp run": "dvc exp run -S experiment=smoke",
    r"~/people": "data/synthetic/faces",
    r"--epochs 10": "--epochs 1",
}
COMMANDS = commands()


def matching(patterns: "dict[str, str] | tuple[str, ...]", command: Command) -> list[str]:
    return [pattern for pattern in patterns if re.search(pattern, command.text)]


# In the order of the documents, each once: where it stands first.
RUNNABLE = [one for one in {one.text: one for one in reversed(COMMANDS)}.values() if not matching(NOT_HERE, one)]
RUNNABLE.sort(key=COMMANDS.index)


@pytest.fixture(scope="module")
def project(smoke: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A clone with the smoke preset's results, and the pictures and folders that the documents speak of."""
    project = smoke.copy(tmp_path_factory.mktemp("documents") / "visage")
    path = project.path
    hair = load_set(path / "data/processed/hair")
    for name, row in (("photos/me.jpg", 0), ("photos/her.jpg", 1), ("eyes/left.png", 2)):
        write_picture(path / name, hair.images[row])
    write_picture(path / "hair.png", hair.mask(0) * np.uint8(255))
    for row, image in enumerate(hair.images):
        write_picture(path / f"data/raw/hair/images/{row}/1.png", image)
        write_picture(path / f"data/raw/hair/masks/{row}/1.png", hair.mask(row) * np.uint8(255))
    shutil.copytree(path / "data/synthetic/hair", path / "data/raw/khairstyle")
    yield project
    project.run("dvc", "queue", "stop", code=None)


def write_picture(path: Path, image: np.ndarray) -> None:
    write_bytes(path, (encode_jpeg if path.suffix == ".jpg" else encode_png)(image))


def run(project: Project, command: Command) -> None:
    text = command.text
    for pattern, smaller in SMALLER.items():
        text = re.sub(pattern, smaller, text)
    project.run("bash", "-c", text)


@pytest.mark.parametrize("document", {command.document: 0 for command in RUNNABLE if not matching(SLOW, command)})
def test_the_commands_run_in_the_order_of_the_document(project: Project, document: str) -> None:
    for command in RUNNABLE:
        if command.document == document and not matching(SLOW, command):
            run(project, command)
    project.restore()


@pytest.mark.slow
@pytest.mark.parametrize("command", [one for one in RUNNABLE if matching(SLOW, one)], ids=str)
def test_the_slow_commands_run_too(project: Project, command: Command) -> None:
    if "data/raw/faces" not in command.text and "faces/data=folder" in command.text:
        shutil.copytree(project.path / "data/synthetic/faces", project.path / "data/raw/faces", dirs_exist_ok=True)
    run(project, command)
    project.restore()


def test_what_is_not_run_is_what_the_program_would_accept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    # The slow ones too, so that a change of their parameters is met at once.
    for command in {one.text: one for one in COMMANDS}.values():
        if matching(NOT_HERE, command) or matching(SLOW, command):
            for words in command.parts():
                check(words)


def test_every_exception_is_one_that_a_document_needs() -> None:
    for pattern in (*NOT_HERE, *SLOW):
        assert any(re.search(pattern, command.text) for command in COMMANDS), f"no command contains {pattern}"


def test_the_readme_keeps_its_promise_of_four_commands() -> None:
    first = [command.parts()[0][:2] for command in COMMANDS if command.document == "README.md"][:4]
    assert first == [["make", target] for target in ("repro", "report", "predict", "recolor")]
