"""What the documents say exists: files, commands, parameters, presets. Their bash blocks: tests/documents/."""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields

import pytest
from typer.main import get_command

from closure import ROOT
from documents.commands import documents
from visage.cli import app
from visage.config import Config, load_config

DOCUMENTS = documents()


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
        # Links between pages of the site are checked when it is built.
        links = re.findall(r"\]\(([^)#:]+)\)", text(name)) if "/" not in name else []
        paths = re.findall(r"`((?:docs|benchmarks|tests|conf|stages|src)/[\w./-]+\.\w+)`", text(name))
        needed |= {path for path in (*links, *paths) if "verb_noun" not in path}
    assert not needed - set(listed)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_make_targets_and_commands_exist(name: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.M))
    # In bash blocks they are checked whole: tests/documents/.
    assert set(re.findall(r"`make ([a-z-]+)", text(name))) <= targets
    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert set(re.findall(r"`visage ([a-z]+)", text(name))) <= commands


@pytest.mark.parametrize("name", DOCUMENTS)
def test_parameters_and_presets_exist(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    config = load_config()
    sections = "|".join(field.name for field in fields(Config) if field.name not in ("lr", "seed"))
    prose = re.sub(r"\]\([^)]*\)|[\w/]+\.(?:md|png|jpg)\b", "", text(name))
    for key in re.findall(rf"(?<!\+)\b((?:{sections})(?:\.[a-z_]+)+)(?=[=`)\s,])", prose):
        value: object = config
        for part in key.split("."):
            assert hasattr(value, part), f"{name} speaks of {key}"
            value = getattr(value, part)
    for preset in re.findall(r"experiment=([a-z_]+)", text(name)):
        assert (ROOT / f"conf/experiment/{preset}.yaml").is_file()


def test_the_readmes_table_of_domains_has_the_committed_numbers() -> None:
    rows = {found[1]: found[0] for found in re.finditer(r"^\| \[(\w+)\].*$", text("README.md"), re.M)}
    faces, hair, eyes, painted = (
        json.loads(text(f"metrics/evaluate_{name}.json")) for name in ("faces", "hair", "eyes", "inpainter")
    )
    heads = sorted(head["accuracy"] for head in faces["heads"].values())
    masks = [hair[name]["iou"] for name in ("finetuned", "patches", "grabcut")]
    for domain, told in (
        ("faces", f"accuracy {faces['finetuned']['accuracy']:.2f} finetuned"),
        ("faces", f"{heads[0]:.2f} to {heads[-1]:.2f} by a head"),
        ("hair", "IoU {:.2f}, {:.2f} and {:.2f}".format(*masks)),
        ("eyes", "pupil IoU {:.2f} and {:.2f}".format(*(eyes[name]["pupil_iou"] for name in ("tiny", "micro")))),
        ("eyes", f"within {eyes['ellipse']['centre_px_median']:.1f} px"),
        ("inpaint", f"colour off by {painted['gate']['delta_e']:.1f}"),
        ("inpaint", f"{painted['gate']['over_inpaint']:.0f} dB above"),
    ):
        assert told in rows[domain], f"README.md, {domain}: metrics/ says {told!r}"


def test_the_help_answers_without_loading_what_it_does_not_need() -> None:
    heavy = ("torch", "cv2", "numpy", "dvc", "hydra")
    program = f"import sys; import visage.cli; print([name for name in {heavy} if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": "src"}
    answer = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    assert answer.stdout.strip() == "[]"
