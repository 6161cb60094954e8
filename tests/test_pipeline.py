"""The whole DAG at its smallest, in a copy of the repository, as a user drives it: repro, experiments, queue, diffs."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from closure import dag
from project import SMALLEST, Project


@pytest.fixture(scope="module")
def project(smoke: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = smoke.copy(tmp_path_factory.mktemp("pipeline") / "visage")
    yield project
    project.run("dvc", "queue", "stop", code=None)


def test_every_declared_result_is_there(project: Project) -> None:
    for name, stage in dag().items():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):
                path = entry if isinstance(entry, str) else next(iter(entry))
                assert (project.path / path).exists(), f"{name} did not write {path}"
    assert (project.path / "artifacts/models/faces/model.onnx").is_file()
    assert (project.path / "artifacts/models/faces_head/model.onnx").is_file()
    measured = project.metrics("evaluate_faces")
    for result in (measured["finetuned"], *measured["heads"].values()):  # type: ignore[attr-defined]
        assert 0 <= result["accuracy"] <= 1  # type: ignore[index]


def test_a_second_run_has_nothing_to_do(project: Project) -> None:
    output = project.run("dvc", "repro")
    assert not project.ran(output)
    assert "up to date" in output
    assert not project.run("git", "status", "--porcelain")


def test_a_second_cold_run_gives_the_same_lock_and_metrics(project: Project) -> None:
    # --force runs every stage again; --no-run-cache keeps DVC from taking the results of the first time.
    project.run("dvc", "repro", "--force", "--no-run-cache", "extract_features", "finetune_faces", "export_faces")
    assert not project.run("git", "status", "--porcelain")


def test_a_learning_rate_reruns_only_the_heads_and_what_measures_and_exports_them(project: Project) -> None:
    output = project.run("dvc", "exp", "run", "--name", "heads", *(f"-S{o}" for o in (*SMALLEST, "lr=3e-4")))
    assert project.ran(output) == {"train_heads", "evaluate_faces", "export_faces"}
    assert "0.0003" in project.run("dvc", "params", "diff")
    project.restore()


def finished(jobs: Path) -> list[Path]:
    """The records of finished jobs. A killed write leaves a hidden file that ends like a record and is none."""
    return list(jobs.rglob("[!.]*.done"))


def test_a_killed_extraction_computes_only_the_rest(project: Project) -> None:
    lock = (project.path / "dvc.lock").read_bytes()
    jobs = project.path / ".visage" / "jobs"
    shutil.rmtree(jobs)
    repro = ("dvc", "repro", "--force", "--no-run-cache", "--single-item", "extract_features")
    running = subprocess.Popen(repro, cwd=project.path, env=project.environment, start_new_session=True)
    while running.poll() is None and len(finished(jobs)) < 2:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    (project.path / ".dvc" / "tmp" / "rwlock").unlink(missing_ok=True)
    done = {path: path.stat().st_mtime_ns for path in finished(jobs)}
    state = project.run("visage", "jobs")
    assert f"unfinished: {len(done)} of" in state
    output = project.run(*repro)
    assert f"{len(done)} of them there already" in output
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert (project.path / "dvc.lock").read_bytes() == lock
    assert not project.run("git", "status", "--porcelain")


def test_an_experiment_reruns_only_what_depends_on_it(project: Project) -> None:
    output = project.run("dvc", "exp", "run", "--name", "lower", *(f"-S{o}" for o in (*SMALLEST, "finetune.lr=3e-4")))
    assert project.ran(output) == {"finetune_faces", "evaluate_faces", "export_faces"}
    assert "valid_accuracy" in project.run("dvc", "metrics", "diff", "--all")
    assert "0.0003" in project.run("dvc", "params", "diff")
    plots = json.loads(project.run("dvc", "plots", "diff", "--json", code=0).splitlines()[-1])
    assert plots["data"]
    project.restore()


def test_the_queue_runs_a_sweep_and_shares_the_finished_jobs(project: Project) -> None:
    jobs = project.path / ".visage" / "jobs"
    sweep = ("dvc", "exp", "run", "--queue", *(f"-S{o}" for o in SMALLEST))
    project.run(*sweep, "-Slr=1e-2,1e-3,3e-4")
    # Reruns the extraction in a temporary workspace, whose jobs are those that the workspace has done.
    project.run(*sweep, "-Sfeatures.max_bad_fraction=0.04", "--name", "shared")
    before = {path: path.stat().st_mtime_ns for path in finished(jobs)}
    assert before
    project.run("dvc", "queue", "start", "-j", "2")
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        status = project.run("dvc", "queue", "status")
        if status.count("Success") + status.count("Failed") == 4:
            break
        time.sleep(3)
    assert status.count("Success") == 4, status + project.run("dvc", "queue", "logs", status.split()[8], code=None)
    shown = project.run("dvc", "exp", "show", "--csv", "--no-pager")
    assert all(value in shown for value in ("0.01", "0.001", "0.0003"))
    assert "0 jobs computed" in project.run("dvc", "queue", "logs", "shared")
    after = {path: path.stat().st_mtime_ns for path in finished(jobs)}
    assert after == before


def test_a_mistyped_experiment_runs_nothing(project: Project) -> None:
    output = project.run("dvc", "exp", "run", "-Sfinetune.epochz=3", code=255)
    assert "epochz" in output
    assert not project.ran(output)
    assert not project.run("git", "status", "--porcelain")


@pytest.mark.parametrize("model", ["faces", "faces_head"])
def test_the_exported_models_answer(project: Project, model: str) -> None:
    pictures = sorted((project.path / "data/processed/faces/test").rglob("*.png"))[:3]
    project.run("visage", "predict", model, *map(str, pictures), "--out", "answers")
    rows = [
        json.loads(line)
        for line in (project.path / "answers/predictions.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [Path(row["image"]).name for row in rows] == [path.name for path in pictures]
    assert all(row["label"] in row["scores"] and row["model_version"] for row in rows)
    shutil.rmtree(project.path / "answers")


def test_the_report_stands_alone(project: Project) -> None:
    project.run("visage", "report")
    page = (project.path / "report.html").read_text(encoding="utf-8")
    assert "evaluate_faces" in page
    assert 'src="http' not in page


def test_a_trainer_by_hand_writes_where_it_is_told(project: Project, tmp_path: Path) -> None:
    project.run(
        "visage", "train", "finetune_faces", "--epochs", "1", "--batch-size", "8", "--output-dir", str(tmp_path)
    )
    assert (tmp_path / "best_model.pth").is_file()
    assert (tmp_path / "metrics/finetune_faces.json").is_file()
    assert not project.run("git", "status", "--porcelain")
    output = project.run("visage", "train", "finetune_faces", "--device", "cuda", code=2)
    assert "runtime.device=cpu" in output


def test_the_largest_micro_batch_is_printed_as_an_override(project: Project) -> None:
    assert project.run("visage", "fit", "finetune").startswith("finetune.micro_batch=")
    assert "finetune.micro_batch" in project.run("visage", "fit", "finetune", "runtime.memory_gb=100")
    assert "memory_gb" in project.run("visage", "fit", "finetune", "runtime.memory_gb=0.1", code=2)


def test_every_run_is_listed(project: Project) -> None:
    rows = json.loads(project.run("visage", "runs", "--json", "--where", "stage=finetune_faces"))
    assert rows
    assert all(row["status"] == "finished" for row in rows)


@pytest.mark.slow
def test_the_default_is_learned_from_nothing(project: Project) -> None:
    project.run("visage", "compose")
    project.run("dvc", "repro")
    finetuned = project.metrics("evaluate_faces")["finetuned"]
    # Other processors end in other bits, and so a few pictures away from the committed accuracy.
    assert finetuned["accuracy"] >= 0.8  # type: ignore[index]
