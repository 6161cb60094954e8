"""A run's story is told whatever happens in it, and telling it never changes what happens."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from visage.errors import Unfinished
from visage.tracking import database, machine, runs
from visage.tracking.background import BackgroundTracker
from visage.tracking.tracker import NullTracker, track

SRC = os.path.abspath("src")


def _rows(project):
    return database.read_runs(database.database_path(project))


def test_a_finished_run_leaves_one_row_with_its_parameters_and_last_and_best_values(project, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "brave-otter")
    with track("finetune_faces", params={"faces": {"lr": 0.1}}, tags={"note": "first"}) as tracker:
        for epoch, (loss, accuracy) in enumerate([(2.0, 0.5), (1.0, 0.9), (1.5, 0.7)]):
            tracker.metrics({"loss": loss, "accuracy": accuracy, "epoch_seconds": 1.0}, epoch)
        tracker.summary({"test_accuracy": 0.8, "weights": "best"})
    (row,) = _rows(project)
    assert row["metrics"] == {
        "step": 2,
        "loss": 1.5,
        "accuracy": 0.7,
        "epoch_seconds": 1.0,
        "loss.best": 1.0,
        "accuracy.best": 0.9,
        "test_accuracy": 0.8,
        "weights": "best",
    }
    assert (row["stage"], row["status"], row["experiment"]) == ("finetune_faces", "finished", "brave-otter")
    assert row["params"] == {"faces.lr": 0.1}
    assert row["tags"] == {"note": "first"}
    assert row["memory_mb"] > 5
    assert row["started"].endswith("+00:00")
    assert row["pid"] == os.getpid()


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (RuntimeError("x"), "failed"),
        (Unfinished("x"), "unfinished"),
        (KeyboardInterrupt(), "interrupted"),
        (SystemExit(2), "failed"),
    ],
)
def test_an_exception_names_the_status_and_goes_on(project, error, status):
    with pytest.raises(type(error)) as caught, track("s", params={}):
        raise error
    assert caught.value is error
    assert _rows(project)[0]["status"] == status


def test_only_rank_zero_records(project, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with track("s", params={}, live_dir=project / "live") as tracker:
        tracker.metrics({"loss": 1.0}, 0)
    assert isinstance(tracker, NullTracker)
    assert not list(project.iterdir())


def test_a_killed_process_is_shown_as_killed_with_the_metrics_it_had_reached(project):
    program = (
        "import time\nfrom visage.tracking.tracker import track\n"
        "with track('s', params={}) as tracker:\n"
        "    tracker.metrics({'loss': 1.0}, 0)\n    print('up', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": SRC}, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert runs.load_runs(project)[0]["status"] == "running"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (row,) = runs.load_runs(project)
    assert row["status"] == "killed"
    assert row["metrics"]["loss"] == 1.0
    assert _rows(project)[0]["status"] == "running", "showing a run must not change its row"


def test_a_pid_given_to_another_process_or_from_before_a_reboot_is_not_the_run():
    me = machine.process_identity()
    assert machine.is_alive(me)
    assert not machine.is_alive(me | {"born": me["born"] - 1})
    assert not machine.is_alive(me | {"boot": "another"})
    assert machine.is_alive(me | {"host": "elsewhere", "pid": 1}), "another machine cannot be asked"


def test_a_database_that_cannot_be_written_costs_one_warning_and_never_the_run(project, caplog):
    (project / "experiments").write_text("a file where the folder should be")
    with track("s", params={}) as tracker:
        tracker.metrics({"loss": 1.0}, 0)
    warnings = [record.getMessage() for record in caplog.records if "not recorded" in record.getMessage()]
    assert len(warnings) == 1
    assert "experiments.db" in warnings[0]


def test_a_database_that_vanishes_during_the_run_costs_one_warning_and_never_the_run(project, caplog, monkeypatch):
    monkeypatch.setattr("visage.tracking.record.FLUSH_SECONDS", 0.0)
    with track("s", params={}) as tracker:
        database.database_path(project).write_bytes(b"damaged" * 1000)
        for step in range(3):
            tracker.metrics({"loss": 1.0}, step)
    assert sum("is not recorded" in record.getMessage() for record in caplog.records) == 1


@pytest.mark.usefixtures("project")
def test_without_mlflow_configured_one_line_says_so(caplog):
    with track("s", params={}):
        pass
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "MLFLOW_TRACKING_URI" in caplog.text


def test_git_revision_ignores_what_stages_write_and_notices_code(project):
    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments], check=True, capture_output=True
        )

    assert machine.git_state() == ("", False)
    git("init")
    (project / "metrics").mkdir()
    (project / "code.py").write_text("a")
    (project / "metrics" / "x.json").write_text("{}")
    git("add", ".")
    git("commit", "-m", "x")
    (project / "metrics" / "x.json").unlink()
    assert len(machine.git_state()[0]) == 40
    assert not machine.git_state()[1]
    (project / "code.py").write_text("b")
    assert machine.git_state()[1]


def test_the_root_is_found_upward_where_dvc_does_not_name_it(project, monkeypatch):
    monkeypatch.delenv("DVC_ROOT")
    (project / "dvc.yaml").write_text("")
    (project / "a" / "b").mkdir(parents=True)
    assert machine.repository_root(project / "a" / "b") == project.resolve()
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    assert str(machine.repository_root()) == "/elsewhere"


class _Stuck(NullTracker):
    def __init__(self) -> None:
        self.release = threading.Event()

    def metrics(self, values, step):
        self.release.wait(30)


def test_a_stuck_listener_slows_nothing_and_close_gives_up_after_its_patience(caplog, monkeypatch):
    monkeypatch.setattr("visage.tracking.background.CAPACITY", 10)
    stuck = _Stuck()
    tracker = BackgroundTracker("there", lambda: stuck, patience=0.3)
    start = time.monotonic()
    for step in range(1000):
        tracker.metrics({"loss": 1.0}, step)
    assert time.monotonic() - start < 0.2
    tracker.close("finished")
    stuck.release.set()
    assert time.monotonic() - start < 1.5
    assert "no answer within 0.3 s" in caplog.text
    assert "were dropped" in caplog.text


def test_a_failing_listener_is_heard_of_once_and_without_its_password(caplog):
    def make():
        raise ConnectionError("cannot reach http://alice:hunter2@host:1/api")

    caplog.set_level(logging.DEBUG)
    tracker = BackgroundTracker("there", make, patience=5.0)
    tracker._thread.join(5)
    for step in range(10):
        tracker.metrics({"loss": 1.0}, step)
    tracker.close("finished")
    (record,) = caplog.records
    assert "ConnectionError" in record.getMessage()
    assert "hunter2" not in record.getMessage()
