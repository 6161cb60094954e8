"""The Modal application without Modal: what it sends, what it runs, what it brings back."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from closure import ROOT, dag

pytest.importorskip("modal")
# Modal says so of its volumes.
pytestmark = pytest.mark.filterwarnings("ignore:The run_stage function is executing locally")
TINY = ["experiment=smoke", "runtime.threads=1"]


def load(root: Path) -> ModuleType:
    """cloud/modal_app.py of the repository in `root`."""
    spec = importlib.util.spec_from_file_location("modal_app", root / "cloud/modal_app.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tracked() -> list[str]:
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [name for name in names if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    """The application of a copy of the repository."""
    root = tmp_path_factory.mktemp("cloud") / "visage"
    for name in tracked():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, root / name)
    subprocess.run(["git", "init", "--quiet", root], check=True)
    return load(root)


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DVC_ROOT", "DVC_STAGE", "DVC_EXP_NAME", "GIT_DIR", "VISAGE_OUTPUT_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_a_stage_runs_with_all_its_variants_and_once(copy: ModuleType) -> None:
    code, files = copy.run_stage.local("train_pupil", TINY)
    assert code == 0
    for variant in ("tiny", "micro"):
        assert list((copy.ROOT / f"artifacts/eyes/train_pupil_{variant}").glob("best_*.pt"))
    changed = {"params.yaml", "dvc.lock", "metrics/train_pupil_tiny.json", "plots/train_pupil_micro/history.csv"}
    assert changed <= set(files) and "metrics/train_ellipse.json" not in files
    assert files["dvc.lock"] == (copy.ROOT / "dvc.lock").read_bytes()
    assert copy.run_stage.local("train_pupil@micro", TINY) == (0, {})


def test_a_mistake_is_an_exit_code_and_changes_nothing(copy: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    assert copy.run_stage.local("train_pupil", ["pupil.epochz=1"]) == (2, {})
    assert "epochz" in capfd.readouterr().err


def test_the_command_passes_its_options_on_and_brings_the_results_back(
    copy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    class Remote:
        def with_options(self, **options: Any) -> "Remote":
            asked.append(options)
            return self

        def remote(self, *arguments: Any) -> tuple[int, dict[str, bytes | None]]:
            asked.append(arguments)
            return code, {"metrics/new.json": b"{}", "plots/train_ellipse/history.csv": None}

    monkeypatch.setattr(copy, "run_stage", Remote())
    code = 0
    copy.main.info.raw_f("train_ellipse", gpu="H100", timeout=60, overrides="ellipse.epochs=3 seed=2")
    assert asked == [
        {"gpu": "H100", "timeout": 60},
        ("train_ellipse", ["runtime=cuda", "ellipse.epochs=3", "seed=2"]),
    ]
    assert (copy.ROOT / "metrics/new.json").read_bytes() == b"{}"
    assert not (copy.ROOT / "plots/train_ellipse/history.csv").exists()
    code = 3
    with pytest.raises(SystemExit, match="exit code 3"):
        copy.main.info.raw_f("train_ellipse", gpu="none")
    assert asked[2:] == [{"gpu": None, "timeout": 3600}, ("train_ellipse", [])]


def test_a_stage_that_does_not_exist_is_one_line(copy: ModuleType) -> None:
    with pytest.raises(SystemExit, match="^error: dvc.yaml has no stage train_pupils: choose one of .*train_pupil, "):
        copy.check_stage("train_pupils")
    copy.check_stage("train_pupil@tiny")


def test_the_command_line_needs_neither_network_nor_account(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_")}
    environment |= {"HOME": str(tmp_path), "MODAL_SERVER_URL": "http://127.0.0.1:1"}
    command = [sys.executable, "-m", "modal", "run", "cloud/modal_app.py", "--help"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    assert all(option in done.stdout for option in ("--stage", "--gpu", "--timeout", "--overrides"))


def test_whatever_stages_write_is_in_a_volume_or_comes_back() -> None:
    module = load(ROOT)
    kept = set(module.kept_files())
    for stage in dag().values():
        for output in stage.get("outs", []):
            assert any(Path(folder) in Path(output).parents for folder in module.VOLUMES)
        for entry in [*stage.get("metrics", []), *stage.get("plots", [])]:
            name = next(iter(entry))
            files = list((ROOT / name).glob("*")) if (ROOT / name).is_dir() else [ROOT / name]
            assert {path.relative_to(ROOT).as_posix() for path in files} <= kept


def test_the_container_gets_the_code_and_an_empty_place_for_each_volume() -> None:
    module = load(ROOT)
    sent = [name for name in tracked() if not module.is_no_code(Path(name))]
    assert set(sent) == {name for name in tracked() if not name.startswith("data/")}
    assert module.is_no_code(Path(".venv")) and module.is_no_code.can_prune_directories()
    for folder in module.VOLUMES:
        assert not [name for name in sent if name.startswith(f"{folder}/")]
    seeds = [name.removeprefix("data/") for name in tracked() if name.startswith("data/")]
    assert seeds and not [name for name in seeds if module.is_no_seed(Path(name))]
    assert module.is_no_seed(Path("raw/faces/ada/1.jpg"))


def test_the_cloud_is_set_up_as_the_container_is() -> None:
    module, dockerfile = load(ROOT), (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (packages,) = re.findall(r"apt-get install --yes --no-install-recommends ([\w ]+) \\", dockerfile)
    assert tuple(packages.split()) == module.APT
    copied = [name for line in re.findall(r"^COPY (\w.*) \S+$", dockerfile, re.M) for name in line.split()]
    assert sorted(copied) == sorted(module.SET_UP)
