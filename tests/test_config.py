"""Configuration: conf/ composes, params.yaml is its composition, and a mistake is one line before anything runs."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from closure import ROOT
from visage.compose import compose_params, params_differ
from visage.config import Config, load_config
from visage.errors import ConfigError

PRESETS = sorted(path.stem for path in (ROOT / "conf/experiment").glob("*.yaml"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of what configuration needs, as the working directory."""
    for name in ("conf", "src", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_stage(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": "src"}
    command = [sys.executable, "stages/finetune_faces.py", *arguments]
    return subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)


def test_params_yaml_is_what_conf_composes_to(project: Path) -> None:
    assert not params_differ([]), "run visage compose"


def test_every_value_has_a_type_in_the_schema(project: Path) -> None:
    load_config()
    assert "???" not in Path("params.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_composes(project: Path, preset: str) -> None:
    compose_params([f"experiment={preset}"])
    load_config()


@pytest.mark.parametrize("override", ["runtime=cuda", "pretrain=imagenet", "pretrain=file", "faces/data=folder"])
def test_every_group_choice_composes(project: Path, override: str) -> None:
    compose_params([override])
    load_config()


@pytest.mark.parametrize(
    ("override", "hint"),
    [
        ("finetune.lr=-1", "finetune.lr=-1"),
        ("finetune.lrr=1", "finetune.lr'"),
        ("finetune.epochz=1", "epochz"),
        ("finetune.epochs=many", "many"),
        ("finetune=foo", "foo"),
        ("lrr=1", "lrr"),
    ],
)
def test_a_mistyped_override_changes_nothing(project: Path, override: str, hint: str) -> None:
    before = Path("params.yaml").read_bytes()
    with pytest.raises(ConfigError, match=hint) as caught:
        compose_params([override])
    assert "\n" not in str(caught.value)
    assert Path("params.yaml").read_bytes() == before


def test_a_typo_in_conf_names_the_key_that_was_meant(project: Path) -> None:
    path = Path("conf/finetune/default.yaml")
    path.write_text(path.read_text(encoding="utf-8").replace("epochs:", "epochz:"), encoding="utf-8")
    with pytest.raises(ConfigError, match="epochz"):
        compose_params([])


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["finetune.epochz=1"], "epochz"),
        (["finetune.epochs=many"], "many"),
        (["lr=1e-2"], "heads.lr"),
        (["features.backend=tensorflow"], "torch, openvino"),
        (["heads.mixup=-1"], "heads.mixup=-1"),
        (["features.size=224"], "faces.prepare.size"),
        (["runtime.device=tpu"], "cpu, cuda"),
        (["runtime.precision=bf16"], "fp32"),
        (["runtime.device=cuda", "runtime.processes=2"], "runtime=cuda"),
        (["runtime.threads=0"], "from 1"),
        (["pretrain.epochs=0"], "pretrain.epochs=0"),
        (["finetune.arch=resnet999"], "efficientnet_b0, mobilenet_v3_small"),
        (["finetune.weights=magic"], "encoder, imagenet, file, none"),
    ],
)
def test_a_mistake_in_a_stage_by_hand_is_one_line_and_code_2(project: Path, arguments: list[str], hint: str) -> None:
    answer = run_stage(project, *arguments)
    assert answer.returncode == 2
    assert hint in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_a_typo_in_params_yaml_stops_the_stage(project: Path) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    params["finetune"]["epochz"] = 1
    Path("params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")
    answer = run_stage(project)
    assert answer.returncode == 2
    assert "epochz" in answer.stderr


def test_a_stage_shows_its_configuration_and_leaves_no_files(project: Path) -> None:
    before = sorted(path.name for path in project.iterdir())
    answer = run_stage(project, "--cfg", "job", "finetune.epochs=9")
    assert yaml.safe_load(answer.stdout)["finetune"]["epochs"] == 9
    assert sorted(path.name for path in project.iterdir()) == before


def test_a_new_field_starts_without_a_value() -> None:
    # A default in the schema would hide a value that conf/ forgot.
    tree = OmegaConf.structured(Config)
    open_values = [key for key in ("lr", "seed") if OmegaConf.is_missing(tree, key)]
    assert open_values == ["lr", "seed"]
    for section in ("runtime", "finetune", "pretrain"):
        assert all(OmegaConf.is_missing(tree[section], key) for key in tree[section])


def test_no_parameters_here_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="repository's root"):
        load_config()
