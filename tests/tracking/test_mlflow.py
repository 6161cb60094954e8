"""A real MLflow server on loopback hears the whole story; a dead, hung or missing one never costs the run."""

import builtins
import socket
import time

import pytest

from visage.tracking import database
from visage.tracking.tracker import track

pytest.importorskip("mlflow")
pytestmark = pytest.mark.usefixtures("project")


def _client(uri):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def _only_run(uri, experiment):
    client = _client(uri)
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return client, run


def _warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "visage.tracking"]


def test_parameters_metrics_artefacts_and_tags_arrive(project, server, monkeypatch, caplog, capfd):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "whole-story")
    (project / "folder").mkdir()
    (project / "folder" / "a.txt").write_text("a")
    (project / "model.json").write_text("{}")
    params = {"faces": {"lr": 0.1, "hub": {"token": "hunter2"}}, "many": {f"p{i}": i for i in range(150)}}
    with track("finetune_faces", params=params, tags={"note": "first"}) as tracker:
        for epoch in range(3):
            tracker.metrics({"loss": 1.0 / (epoch + 1), "top@1": float("nan")}, epoch)
        tracker.summary({"accuracy": 0.75, "weights": "best"})
        tracker.artifact(project / "folder")
        tracker.artifact(project / "model.json")
    client, run = _only_run(server.uri, "whole-story")
    assert run.info.status == "FINISHED"
    assert len(run.data.params) == 152
    assert run.data.params["faces.lr"] == "0.1"
    assert run.data.params["faces.hub.token"] == "[hidden]"
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert run.data.metrics["final/accuracy"] == 0.75
    assert "top_1" in run.data.metrics
    tags = {"stage": "finetune_faces", "note": "first", "weights": "best", "status": "finished"}
    assert tags.items() <= run.data.tags.items()
    assert sorted(item.path for item in client.list_artifacts(run.info.run_id)) == ["folder", "model.json"]
    assert _warnings(caplog) == []
    assert capfd.readouterr().out == ""


def test_every_checkpoint_of_an_eye_network_arrives(project, server, monkeypatch):
    from eyes.toy import prepared, pupil_settings, run_pupil

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "eyes")
    prepared(project / "data")
    run_pupil(project, pupil_settings(epochs=2))
    client, run = _only_run(server.uri, "eyes")
    written = {path.name for path in (project / "out").glob("*.pt")}
    assert len(written) >= 3
    assert written <= {item.path for item in client.list_artifacts(run.info.run_id)}
    tags = {"model_type": "TinyEfficientViT-Micro", "architecture": "TinyEfficientViTSeg"}
    assert tags.items() <= run.data.tags.items()
    for name in ("train_loss", "valid_loss", "train_iou", "valid_iou", "valid_ce_loss", "valid_dice_loss"):
        assert len(client.get_metric_history(run.info.run_id, name)) == 2


def test_the_experiment_is_the_one_in_the_environment(server, monkeypatch):
    experiment_id = _client(server.uri).create_experiment("chosen")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment_id)
    with pytest.raises(RuntimeError), track("s", params={}):
        raise RuntimeError
    _, run = _only_run(server.uri, "chosen")
    assert run.info.experiment_id == experiment_id
    assert run.info.status == "FAILED"


@pytest.mark.parametrize("behaviour", ["refuses", "hangs"])
def test_a_server_that_is_not_there_or_hangs_costs_one_line_and_no_time_of_training(
    project, monkeypatch, caplog, behaviour
):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if behaviour == "hangs":
            listener.listen()
        port = listener.getsockname()[1]
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://alice:hunter2@127.0.0.1:{port}")
        monkeypatch.setattr("visage.tracking.remote.CLOSE_SECONDS", 1.0)
        with track("s", params={"lr": 0.1}) as tracker:
            start = time.monotonic()
            for step in range(100):
                tracker.metrics({"loss": 1.0}, step)
            assert time.monotonic() - start < 1.0
            stop = time.monotonic()
        assert time.monotonic() - stop < 8.0
    (warning,) = _warnings(caplog)
    assert "MLflow at http://127.0.0.1" in warning
    (row,) = database.read_runs(database.database_path(project))
    assert row["status"] == "finished"
    assert "hunter2" not in caplog.text
    assert "hunter2" not in str(row)


def test_without_the_package_one_line_says_what_to_install_and_the_run_goes_on(monkeypatch, caplog):
    real = builtins.__import__
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setattr("importlib.import_module", lambda name: real(name + "_that_is_not_installed"))
    with track("s", params={}) as tracker:
        tracker.metrics({"loss": 1.0}, 0)
    assert len(_warnings(caplog)) == 1
    assert "pip install mlflow" in caplog.text


def test_a_server_killed_in_mid_run_costs_the_tracking_and_never_the_training(project, server, monkeypatch, caplog):
    """Last in this file: it ends the server."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "cut-short")
    trained = []
    with track("s", params={"lr": 0.1}) as tracker:
        tracker.metrics({"loss": 1.0}, 0)
        deadline = time.monotonic() + 20
        while not _arrived(server.uri) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert _arrived(server.uri)
        server.kill()
        for epoch in range(1, 30):
            tracker.metrics({"loss": 1.0 / epoch}, epoch)
            trained.append(epoch)
    assert len(trained) == 29
    (warning,) = _warnings(caplog)
    assert "the run goes on" in warning
    assert len(caplog.records) == 1
    (row,) = database.read_runs(database.database_path(project))
    assert row["status"] == "finished"
    assert row["metrics"]["loss"] == 1.0 / 29


def _arrived(uri):
    client = _client(uri)
    experiment = client.get_experiment_by_name("cut-short")
    runs = client.search_runs([experiment.experiment_id]) if experiment else []
    return bool(runs) and "loss" in runs[0].data.metrics
