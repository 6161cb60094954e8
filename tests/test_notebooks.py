"""The notebooks: committed without results, free of logic, and each executed on the smallest data that there is."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from closure import ROOT
from project import Project
from visage import notebook
from visage.errors import ConfigError, DataError, VisageError

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LONGEST_CELL = 40
EYES = {"subjects": 6, "frames": 4, "epochs": 1}
# For each notebook: parameters for the smallest data, how many pictures it shows, and words that it has to print.
RUNS: dict[str, tuple[dict[str, object], int, tuple[str, ...]]] = {
    "01_data_prep": ({"size": 64}, 2, ("48 pictures, 0 rejected", "sessions in more than one split: none")),
    "02_feature_extract_microjobs": (
        {"images_per_job": 8},
        1,
        ("6 jobs of 48 pictures", "the time limit came with 5 jobs left", "5 jobs computed and 1 found"),
    ),
    "03_train_head_fastloop": ({"epochs": 2}, 2, ("best head:", "mlp_wide")),
    "04_finetune_hair": ({"epochs": 1}, 4, ("best model: epoch 1 of 1", "picture_iou")),
    "05_seg_patch_from_features": ({"epochs": 1}, 4, ("patches of 64 px", "stitched: 1 pictures", "seam_step")),
    "06_eval_export": ({}, 3, ("exported hair", "boundary_f", "Summary(done=1, failed=0)", "model_version")),
    "colab_training": (
        {"head_epochs": 2, "full_epochs": 1},
        2,
        ("full loop", "pictures/s", "memory MB", "best_model.pth"),
    ),
    "train_efficientvit": (EYES, 4, ("device:", "miou", "pupil_iou", "centre_px", "model.onnx (")),
    "train_ellipse": (EYES, 3, ("device:", "miou", "pupil_iou", "centre_px", "radius_px", "model.onnx (")),
}


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_cells(path: Path) -> list[Any]:
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_results(path: Path) -> None:
    book = read(path)
    nbformat.validate(book)
    assert book.cells[0].cell_type == "markdown"
    assert book.cells[0].source.startswith("# ")
    for cell in code_cells(path):
        assert not cell.outputs
        assert cell.execution_count is None
    assert len([cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]) == 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_logic(path: Path) -> None:
    for cell in code_cells(path):
        tree = ast.parse(cell.source)  # a shell line would hide its failure, and does not compile
        defined = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda)]
        assert not defined, f"{path.name} defines something: it belongs into the library"
        assert len(cell.source.splitlines()) <= LONGEST_CELL


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> str:
    """The source of the install cell, the same in all notebooks for Colab."""
    cells = [cell.source for path in NOTEBOOKS for cell in code_cells(path) if '"clone"' in cell.source]
    assert len(cells) == 3
    assert len(set(cells)) == 1
    monkeypatch.setattr(sys, "path", list(sys.path))
    return cells[0]


def test_the_install_cell_does_nothing_inside_the_repository(monkeypatch: pytest.MonkeyPatch, install: str) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("nothing is to be run here"))
    monkeypatch.chdir(ROOT / "notebooks")
    exec(install, {"repository": ""})
    assert Path.cwd() == ROOT / "notebooks"


def test_the_install_cell_clones_and_installs_what_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, install: str
) -> None:
    called: list[list[str]] = []

    def note(command: list[str], check: bool) -> None:
        called.append(command)
        if "clone" in command:
            Path(command[-1]).mkdir()

    monkeypatch.setattr(subprocess, "run", note)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="set `repository`"):
        exec(install, {"repository": ""})
    assert not called
    exec(install, {"repository": "https://example.org/visage.git"})
    assert called[0][:2] == ["git", "clone"]
    assert {"install", "-c", "constraints.txt", "-e"} <= set(called[1])
    assert Path.cwd() == tmp_path / "visage"


def test_every_notebook_is_executed_here() -> None:
    assert {path.stem for path in NOTEBOOKS} == RUNS.keys()


@pytest.fixture(scope="module")
def project(smoke: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = smoke.copy(tmp_path_factory.mktemp("notebooks") / "visage")
    # Notebooks start in their own folder.
    project.environment["PYTHONPATH"] = str(project.path / "src")
    return project


@pytest.mark.parametrize("name", RUNS)
def test_a_notebook_runs_and_leaves_the_pipelines_results_alone(project: Project, tmp_path: Path, name: str) -> None:
    parameters, pictures, words = RUNS[name]
    given = [word for key, value in parameters.items() for word in ("-p", key, str(value))]
    executed = tmp_path / f"{name}.ipynb"
    folder = "notebooks" if name.startswith("0") else "."
    papermill = ("papermill", "--no-progress-bar", "--log-level", "ERROR", "--cwd", folder)
    project.run(sys.executable, "-m", *papermill, f"notebooks/{name}.ipynb", str(executed), *given)
    outputs = [output for cell in code_cells(executed) for output in cell.outputs]
    shown = [output for output in outputs if "image/png" in output.get("data", {})]
    text = "\n".join(output.get("text", "") + output.get("data", {}).get("text/plain", "") for output in outputs)
    assert len(shown) == pictures
    assert [word for word in words if word not in text] == []
    assert not project.run("git", "status", "--porcelain")


def test_a_missing_input_names_the_stage_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere is not there: dvc repro prepare_faces makes it"):
        notebook.need(tmp_path / "nowhere", "prepare_faces")
    assert notebook.need(str(tmp_path), "prepare_faces") == tmp_path


def test_a_notebook_starts_at_the_root_whichever_folder_it_is_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    monkeypatch.chdir(ROOT / "notebooks")
    assert notebook.start("heads.epochs=3", "runtime.threads=1").heads.epochs == 3
    assert Path.cwd() == ROOT
    with pytest.raises(ConfigError, match="did you mean .heads.epochs."):
        notebook.start("heads.epochz=3")


def test_a_command_that_fails_stops_the_notebook(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(VisageError, match="visage train nothing failed with exit code 2"):
        notebook.run("train", "nothing")
    assert "no trainer 'nothing'" in capsys.readouterr().out


def test_a_command_gives_the_peak_of_its_own_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    # Smaller than the interpreter alone or larger than the whole machine would be another unit.
    assert 10 < notebook.run("--help") < 100_000


def test_a_device_that_is_asked_for_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    assert notebook.choose_device("cpu") == "cpu"
    assert "device: cpu" in capsys.readouterr().out


def test_a_history_is_drawn_with_a_line_for_each_split_of_each_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda: None)
    plt.switch_backend("agg")
    rows = ["epoch,head,train_loss,valid_loss,valid_iou", "1,a,3,4,0.1", "2,a,2,3,0.2", "1,b,5,6,0.3"]
    (tmp_path / "history.csv").write_text("\n".join(rows), encoding="utf-8")
    notebook.curves(tmp_path / "history.csv", ["loss", "iou"], by="head")
    loss, iou = plt.gcf().axes
    assert [line.get_label() for line in loss.lines] == ["a train", "a valid", "b train", "b valid"]
    assert [list(line.get_ydata()) for line in iou.lines] == [[0.1, 0.2], [0.3]]
    plt.close("all")


def test_files_are_offered_outside_of_colab_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.onnx").write_bytes(bytes(2000))
    notebook.offer(tmp_path / "model.onnx")
    assert "model.onnx (2 KB)" in capsys.readouterr().out
