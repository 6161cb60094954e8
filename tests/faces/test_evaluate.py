"""Evaluation and export: heads and finetuned network on the same pictures, and files that answer like both."""

import csv
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from faces.small import CLASSES, SIZE, cached, measure, prepared
from faces.test_heads import run as run_heads
from visage.errors import DataError
from visage.faces.data import face_preprocessing, load_split
from visage.faces.evaluate import load_finetuned, predict_scores, worst_mistakes
from visage.faces.head_model import head_path, load_head, predict
from visage.features.table import load_table
from visage.io.atomic import read_jsonl
from visage.serving.predict import PREDICTIONS
from visage.serving.predict import predict as serve


def onnx_scores(folder: Path, pictures: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    logits = session.run(None, {"image": pictures})[0]
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


def beside(trained: Path, folder: Path) -> None:
    """The models of `trained` in `folder`, for other data."""
    (folder / "out").symlink_to(trained / "out")
    (folder / "features").symlink_to(trained / "features")


def test_all_models_are_measured_on_the_same_pictures(trained: Path) -> None:
    measured = json.loads((trained / "evaluate.json").read_text())
    assert measured["heads"].keys() == {"linear", "mlp"}
    assert all(
        numbers.keys() == {"accuracy", "macro_f1", "calibration_error"} for numbers in measured["heads"].values()
    )
    assert measured["heads"][measured["best_head"]]["accuracy"] > 0.9
    assert measured["best_head"] == json.loads((trained / "heads.json").read_text())["best"]
    assert measured["finetuned"]["accuracy"] > 0.9
    assert measured["finetuned"]["baseline_accuracy"] == pytest.approx(1 / 3, abs=1e-3)
    assert measured["test_samples"] == 12
    assert measured["per_class"].keys() == set(CLASSES)


def test_the_comparison_has_a_row_for_each_model(trained: Path) -> None:
    measured = json.loads((trained / "evaluate.json").read_text())
    with open(trained / "plots/comparison.csv", newline="") as file:
        rows = {row["model"]: float(row["accuracy"]) for row in csv.DictReader(file)}
    models = {**measured["heads"], "finetuned": measured["finetuned"]}
    assert rows == {name: numbers["accuracy"] for name, numbers in models.items()}


def test_the_console_shows_every_model_and_the_best_head(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    beside(trained, tmp_path)
    (tmp_path / "data").symlink_to(trained / "data")
    measure(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    best = json.loads((tmp_path / "evaluate.json").read_text())["best_head"]
    assert [line.split()[0] for line in lines[-4:]] == ["model", "linear", "mlp", "finetuned"]
    assert [line.split()[0] for line in lines if "best head" in line] == [best]


def test_pictures_without_features_are_left_out_for_all_and_counted(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    # The manifest ends with the test pictures of the last class.
    cached(tmp_path / "features", prepared(tmp_path / "data"), leave_out=2)
    run_heads(tmp_path)
    (tmp_path / "out/best_model.pth").symlink_to(trained / "out/best_model.pth")
    measure(tmp_path)
    measured = json.loads((tmp_path / "evaluate.json").read_text())
    assert measured["test_samples"] == 10
    assert measured["per_class"]["cyd"]["support"] == 2
    assert "2 of 12 test pictures have no features" in capsys.readouterr().out


def test_no_test_pictures_and_other_classes_are_one_line_each(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    beside(trained, tmp_path)
    prepared(tmp_path / "data", {"train": 4})
    with pytest.raises(DataError, match="no test pictures"):
        measure(tmp_path)
    (tmp_path / "data/classes.json").write_text('["ada", "bob", "zoe"]')
    with pytest.raises(DataError, match="other classes"):
        measure(tmp_path)


def test_the_worst_mistakes_come_first_and_there_is_always_a_sheet(trained: Path) -> None:
    split = load_split(trained / "data", "test", CLASSES)
    truth = np.array(split.labels)
    right = np.eye(3)[truth] * 0.9 + 0.1 / 3
    assert worst_mistakes(split, right, truth, CLASSES).shape[2] == 3
    wrong = right.copy()
    wrong[5] = np.roll(right[5], 1)
    assert worst_mistakes(split, wrong, truth, CLASSES).shape[0] < worst_mistakes(split, right, truth, CLASSES).shape[0]


def test_the_exported_network_is_the_best_one(trained: Path) -> None:
    model, _ = load_finetuned(trained / "out/best_model.pth")
    split = load_split(trained / "data", "test", CLASSES)
    samples = split.samples(face_preprocessing(SIZE))
    pictures = np.stack([samples[(0, index)][0] for index in range(len(samples))])
    scores = predict_scores(model, split, SIZE, torch.device("cpu"))
    assert np.allclose(onnx_scores(trained / "model", pictures), scores, atol=1e-4)


def test_the_exported_head_answers_like_the_cached_features(trained: Path, tmp_path: Path) -> None:
    best = json.loads((trained / "evaluate.json").read_text())["best_head"]
    table = load_table(trained / "features")
    head, _ = load_head(head_path(trained / "out", best))
    wanted = predict(head, table, table.split("test"), torch.device("cpu"))
    # Served like anybody's pictures, by what the file itself says about them.
    pictures = [trained / "data" / table.rows[row]["path"] for row in table.split("test")]
    serve(trained / "head", pictures, tmp_path)
    answers = {row["image"]: row for row in read_jsonl(tmp_path / PREDICTIONS)}
    for picture, scores in zip(pictures, wanted, strict=True):
        answer = answers[picture.as_posix()]
        assert answer["label"] == CLASSES[scores.argmax()]
        assert [answer["scores"][name] for name in CLASSES] == pytest.approx(scores, abs=2e-2)


def test_the_model_cards_say_what_was_measured_and_made_of_what(trained: Path) -> None:
    measured = json.loads((trained / "evaluate.json").read_text())
    card = json.loads((trained / "model/model.json").read_text())
    assert card["metrics"] == measured["finetuned"]
    assert card["classes"] == CLASSES
    assert card["lineage"]["data"]["manifest"]
    card = json.loads((trained / "head/model.json").read_text())
    assert card["name"] == "faces_head"
    assert card["metrics"] == measured["heads"][measured["best_head"]]
    assert card["classes"] == CLASSES
    assert card["lineage"]["data"].keys() == {"manifest", "features", "encoder"}
    assert (card["preprocessing"]["width"], card["preprocessing"]["mean"]) == (SIZE, [0.5] * 3)


def test_the_metrics_of_the_export_are_of_both_models(trained: Path) -> None:
    exported = json.loads((trained / "export.json").read_text())
    assert exported.keys() == {"faces", "faces_head"}
    for name, folder in (("faces", "model"), ("faces_head", "head")):
        assert exported[name]["parity"]["onnx"]["argmax_agreement"] == 1
        assert exported[name]["bytes"]["model.onnx"] == (trained / folder / "model.onnx").stat().st_size
