"""The generated reference is whole: every parameter with its meaning, every stage, every command, every module."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from closure import ROOT, SRC, dag
from visage.config import Config, known_keys
from visage.reference import api, commands, parameters, stages
from visage.reference.prose import as_markdown

PARAMETERS = [one for section in parameters.sections(ROOT) for one in section.parameters]


def test_every_key_of_the_schema_is_a_parameter() -> None:
    tree = OmegaConf.structured(Config)
    leaves = {key for key in known_keys() if not OmegaConf.is_dict(OmegaConf.select(tree, key))} | {"heads.designs"}
    assert {one.key for one in PARAMETERS if ".NAME." not in one.key} == leaves
    assert len({one.key for one in PARAMETERS}) == len(PARAMETERS)


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda one: one.key)
def test_every_parameter_has_a_meaning(parameter: parameters.Parameter) -> None:
    assert parameter.meaning, f"say what {parameter.key} is in the docstring of its dataclass"


def test_defaults_are_those_of_params_yaml() -> None:
    params = OmegaConf.load(ROOT / "params.yaml")
    for one in PARAMETERS:
        if ".NAME." not in one.key:
            value = OmegaConf.select(params, one.key)
            assert OmegaConf.create(f"value: {one.default}").value == value or (value is None and one.default == "null")


def test_comments_are_those_beside_the_values_in_conf() -> None:
    comments = parameters.conf_comments(ROOT / "conf")
    assert comments["finetune.rotation"] == "degrees either way"
    assert comments["segmenter.augment.erase"] == "a patch of another picture"
    assert comments["lr"].startswith("of the head loop")


def test_every_stage_is_there_with_what_decides_it() -> None:
    page, made = stages.page(ROOT), stages.stages(ROOT)
    assert {name.split("@")[0] for name in made} == {name.split("@")[0] for name in dag()}
    assert all(f"## {name}\n" in page for name in made)
    assert "[`faces.synthesize`](parameters.md#facessynthesize)" in page
    assert "`artifacts/eyes/train_pupil_{tiny,micro}`" in page


def test_every_command_is_there_with_its_options() -> None:
    page = commands.page()
    names = {name for name, _ in commands.commands()}
    assert {"visage predict", "visage jobs", "visage jobs gc", "visage data check"} <= names
    assert "visage data" not in names
    assert "| `--alpha` | soft masks too: \\<name>_alpha.png, 0 to 255 |" in page


def test_every_package_has_a_page_with_its_modules() -> None:
    made = api.packages(SRC / "visage")
    assert made.keys() == {f"visage.{path.parent.name}" for path in (SRC / "visage").glob("*/__init__.py")}
    assert "::: visage.serving.segmenter\n" in api.pages(SRC / "visage")["serving"]


def test_prose_is_shown_as_it_is_written() -> None:
    assert as_markdown("S_*/k.png of <class>, `a[*]` and [,group]") == "S_\\*/k.png of \\<class>, `a[*]` and \\[,group]"


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = os.environ | {"PYTHONPATH": "src"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = (tmp_path / "site/reference/parameters.html").read_text(encoding="utf-8")
    assert "inpainter.consistency.every" in shown
    assert "Segmenter" in (tmp_path / "site/reference/api/serving.html").read_text(encoding="utf-8")
