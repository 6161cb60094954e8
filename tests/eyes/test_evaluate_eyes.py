"""Evaluation and export of the eye networks: measured alike in whole-frame pixels, and files that answer like both."""

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from eyes.toy import HEIGHT, WIDTH, disc, ellipse_settings, prepared, pupil_settings, run_ellipse, run_pupil, runtime
from visage.errors import DataError, VisageError
from visage.eyes import export as exporting
from visage.eyes.evaluate import evaluate, network_answers
from visage.eyes.export import WholeEllipse, export
from visage.eyes.maps import in_pixels, moments_ellipse, normalised, resized
from visage.eyes.measure import measure
from visage.eyes.networks import FRAME, AtFullSize, load_trained
from visage.eyes.plots import histogram
from visage.eyes.prepared import EyeSet, load_set
from visage.io.atomic import read_jsonl
from visage.metrics.rounding import rounded
from visage.serving.model import read_card
from visage.serving.predict import PREDICTIONS, Summary, predict

MODELS = ("tiny", "micro", "ellipse")
COUNTS = {"train": 24, "val": 6, "test": 12}


def run_evaluate(folder: Path, data: Path | None = None) -> dict:
    evaluate(
        runtime(), seed=3, data=data or folder / "data", models=dict.fromkeys(MODELS, folder / "out"),
        metrics=folder / "evaluate.json", plots=folder / "plots",
    )  # fmt: skip
    return json.loads((folder / "evaluate.json").read_text())


def run_export(folder: Path, out: Path) -> dict:
    export(
        runtime(), seed=3, data=folder / "data", models=dict.fromkeys(MODELS, folder / "out"),
        evaluation=folder / "evaluate.json", out=out, metrics=out / "export.json",
    )  # fmt: skip
    return json.loads((out / "export.json").read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the three networks trained for a moment, evaluated and exported."""
    folder = tmp_path_factory.mktemp("eyes")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_ROOT", str(folder))
        prepared(folder / "data", COUNTS)
        run_pupil(folder, pupil_settings(epochs=12))
        run_pupil(folder, pupil_settings(epochs=6, variant="tiny"))
        run_ellipse(folder, ellipse_settings(epochs=30))
        run_evaluate(folder)
        run_export(folder, folder / "models")
    return folder


def test_every_model_is_measured_beside_the_mean(trained: Path) -> None:
    measured = json.loads((trained / "evaluate.json").read_text())
    assert measured.keys() == {*MODELS, "baseline", "test_frames", "test_closed", "test_subjects"}
    assert (measured["test_frames"], measured["test_closed"]) == (12, 2)
    for name, most in (("tiny", 60_000), ("micro", 10_000), ("ellipse", 10_000)):
        row = measured[name]
        assert row["parameters"] < most
        assert 1e-3 < row["gmacs"] < 0.2
        assert 20 < row["onnx_kb"] < 300
        assert row["centre_px"] < measured["baseline"]["centre_px"]
        assert row["pupil_iou"] > measured["baseline"]["pupil_iou"]
        assert 0 <= row["within_1px"] <= row["within_2px"] <= row["within_5px"] <= 1
        assert row["miou"] == pytest.approx((row["background_iou"] + row["pupil_iou"]) / 2, abs=1e-4)
    assert measured["micro"]["pupil_iou"] > 0.7
    # It has no way to say that an eye is closed.
    assert measured["ellipse"]["blink_false_alarms"] == 1


def test_plots_are_complete_and_small(trained: Path) -> None:
    measured = json.loads((trained / "evaluate.json").read_text())
    with open(trained / "plots/comparison.csv", newline="") as file:
        rows = {row["model"]: float(row["pupil_iou"]) for row in csv.DictReader(file)}
    assert rows == {name: measured[name]["pupil_iou"] for name in (*MODELS, "baseline")}
    with open(trained / "plots/errors.csv", newline="") as file:
        bins = list(csv.DictReader(file))
    with open(trained / "plots/losses.csv", newline="") as file:
        losses = list(csv.DictReader(file))
    parts = {name: {row["part"] for row in losses if row["model"] == name} for name in MODELS}
    assert parts["tiny"] == parts["micro"] == {"total", "ce", "dice", "surface"}
    assert parts["ellipse"] == {"total"}
    assert len([row for row in losses if row["model"] == "micro"]) == 12 * 4 * 2
    for name in MODELS:
        assert sum(float(row["share"]) for row in bins if row["model"] == name) == pytest.approx(1, abs=1e-2)
        assert cv2.imread(str(trained / f"plots/sheets/{name}.png")).size
        assert (trained / f"plots/sheets/{name}.png").stat().st_size <= 200_000


def test_a_second_run_writes_the_same(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (tmp_path / "out").symlink_to(trained / "out")
    run_evaluate(tmp_path, trained / "data")
    assert (tmp_path / "evaluate.json").read_bytes() == (trained / "evaluate.json").read_bytes()
    names = {path.relative_to(tmp_path) for path in (tmp_path / "plots").rglob("*.*")}
    assert len(names) == 6
    for name in names:
        assert (tmp_path / name).read_bytes() == (trained / name).read_bytes(), name
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[-5:]] == ["model", *MODELS, "baseline"]


def answer_with(eyes: EyeSet, masks: Callable[[int], np.ndarray]) -> dict[str, float]:
    """The metrics of masks of the prepared size, made for each test row."""

    def answer(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = np.stack([masks(row) for row in rows])
        return found, np.array([moments_ellipse(mask) for mask in found])

    return measure(eyes, eyes.split("test"), answer).numbers


def test_the_truth_scores_full_marks_and_background_none(trained: Path) -> None:
    eyes = load_set(trained / "data")
    perfect = answer_with(eyes, eyes.label)
    assert (perfect["miou"], perfect["pupil_iou"], perfect["picture_iou"], perfect["found"]) == (1, 1, 1, 1)
    assert perfect["centre_px"] < 1e-3
    assert perfect["radius_px"] < 1e-3
    assert perfect["blink_false_alarms"] == 0
    empty = answer_with(eyes, lambda row: np.zeros((HEIGHT, WIDTH), np.uint8))
    assert (empty["pupil_iou"], empty["picture_iou"], empty["found"], empty["within_5px"]) == (0, 0, 0, 0)
    assert empty["background_iou"] > 0.9
    assert math.isnan(empty["centre_px"])
    assert math.isinf(empty["centre_px_median"])
    assert rounded(empty)["centre_px_median"] == "not measured"


def test_errors_are_in_pixels_of_a_whole_frame(trained: Path) -> None:
    eyes = load_set(trained / "data")
    moved = answer_with(eyes, lambda row: np.roll(eyes.label(row), 1, 1))
    # The toy's frames are a fifth of a whole one.
    assert moved["centre_px"] == pytest.approx(FRAME[1] / WIDTH, abs=1e-3)
    assert moved["within_2px"] == 0


def test_a_histogram_holds_everything_and_an_empty_one_nothing() -> None:
    rows = histogram("x", np.array([0.2, 0.5, 0.6, 30, math.inf]))
    assert [row["share"] for row in rows[:3]] == [0.4, 0.2, 0]
    assert (rows[-1]["share"], rows[-1]["within"]) == (0.4, 1)
    assert histogram("x", np.empty(0)) == []


def test_missing_frames_and_foreign_checkpoints_are_one_line_each(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    prepared(tmp_path / "data", {"train": 4})
    (tmp_path / "out").symlink_to(trained / "out")
    with pytest.raises(DataError, match="no test frames"):
        run_evaluate(tmp_path)
    eyes = load_set(trained / "data")
    with pytest.raises(DataError, match="best_efficientvit_tiny_model"):
        load_trained(tmp_path, "micro", (eyes.height, eyes.width))
    shutil.copy(trained / "out/best_ellipse_model.pt", tmp_path / "best_efficientvit_tiny_model.pt")
    with pytest.raises(DataError, match="ellipse trained on frames of 80 x 128, wanted micro on 80 x 128"):
        load_trained(tmp_path, "micro", (eyes.height, eyes.width))


def test_the_exported_files_are_small_and_agree(trained: Path) -> None:
    exported = json.loads((trained / "models/export.json").read_text())
    measured = json.loads((trained / "evaluate.json").read_text())
    assert exported.keys() == {f"pupil_{name}" for name in MODELS}
    for name in MODELS:
        folder = trained / "models" / f"pupil_{name}"
        sizes = exported[f"pupil_{name}"]["bytes"]
        assert sizes == {path.name: path.stat().st_size for path in folder.iterdir()}
        assert sizes["model.onnx"] < 300_000
        assert exported[f"pupil_{name}"]["parity"]["onnx"]["argmax_agreement"] > 0.9999
        card = read_card(folder)
        assert (card.preprocessing.height, card.preprocessing.width, card.preprocessing.colour) == (*FRAME, "GRAY")
        assert card.task == ("ellipse" if name == "ellipse" else "segmentation")
        assert card.metrics == measured[name]
        assert card.lineage["data"].keys() == {"index", "meta"}


def test_a_second_export_writes_the_same(trained: Path, tmp_path: Path) -> None:
    run_export(trained, tmp_path)
    for path in sorted((trained / "models").rglob("model.*")):
        assert path.read_bytes() == (tmp_path / path.relative_to(trained / "models")).read_bytes(), path


def test_a_file_that_is_too_large_is_refused(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporting, "MAX_BYTES", 10_000)
    with pytest.raises(VisageError, match=r"pupil_tiny: ONNX of .* at most 10,000"):
        run_export(trained, tmp_path)
    assert not (tmp_path / "pupil_tiny/model.onnx").exists()


def test_a_regressed_ellipse_lies_where_it_does_in_its_own_input() -> None:
    # A network that knows a half-size frame's ellipse, on the whole frame.
    label = disc(150, 90, 24, 18)
    truth = moments_ellipse(label)
    known = torch.tensor([normalised(truth, (200, 320))])

    class Known(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return known.expand(len(image), 4)

    answer = WholeEllipse(AtFullSize(Known()), 200, 320)(torch.zeros(1, 1, *FRAME))[0].tolist()
    found = in_pixels((answer[0], answer[1], answer[2], answer[3]), FRAME)
    assert found == pytest.approx(resized(truth, (200, 320), FRAME), abs=1e-3)
    assert found[0] == pytest.approx(2 * truth[0] + 0.5, abs=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_served_answers_are_those_that_were_measured(name: str, trained: Path, tmp_path: Path) -> None:
    eyes = load_set(trained / "data")
    rows = eyes.split("test")[:4]
    (tmp_path / "in").mkdir()
    for row in rows:
        # As a camera would give it, of whole size.
        cv2.imwrite(str(tmp_path / f"in/{row}.png"), cv2.resize(eyes.images[row], (FRAME[1], FRAME[0])))
    assert predict(trained / "models" / f"pupil_{name}", [tmp_path / "in"], tmp_path / "out") == Summary(4, 0)
    answers = {int(Path(row["image"]).stem): row for row in read_jsonl(tmp_path / "out" / PREDICTIONS)}
    core, _ = load_trained(trained / "out", name, (eyes.height, eyes.width))
    if name == "ellipse":
        # It sees its pupils twice as large as it learned; the same network on the same pictures is what to compare.
        whole = WholeEllipse(AtFullSize(core), HEIGHT, WIDTH)
        for row in rows:
            picture = cv2.resize(eyes.images[row], (FRAME[1], FRAME[0])).astype(np.float32)
            with torch.inference_mode():
                cx, cy, rx, ry = whole(torch.from_numpy(picture / 127.5 - 1)[None, None])[0].double().tolist()
            wanted = in_pixels((cx, cy, rx, ry), FRAME)
            assert [answers[row][key] for key in ("cx", "cy", "rx", "ry")] == pytest.approx(wanted, abs=0.01)
            assert answers[row]["angle"] == 0
        return
    for row in rows:
        mask = cv2.imread(answers[row]["mask"], cv2.IMREAD_UNCHANGED)
        assert mask.shape == FRAME
        assert answers[row]["area"] == np.count_nonzero(mask)
        assert (answers[row]["cx"] is None) == (not mask.any())


def test_a_segmenter_answers_half_and_whole_frames_alike(trained: Path) -> None:
    core, _ = load_trained(trained / "out", "micro", (HEIGHT, WIDTH))
    half = np.clip(130 - 90.0 * disc(150, 90, 11, 10) + np.random.default_rng(1).normal(0, 12, (200, 320)), 0, 255)
    half = half.astype(np.uint8)[None]
    whole = half.repeat(2, 1).repeat(2, 2)
    found = []
    for images in (half, whole):
        eyes = EyeSet(images, *(np.empty(0),) * 4, [])  # type: ignore[arg-type]
        masks, ellipses = network_answers(eyes, core, torch.device("cpu"))(np.arange(1))
        assert masks.shape == images.shape
        cx, cy, rx, ry = ellipses[0]
        found.append(resized((cx, cy, rx, ry), images.shape[1:], FRAME))
    assert found[0] == pytest.approx(found[1], abs=0.5)
    assert found[0][:2] == pytest.approx((300.5, 180.5), abs=2)
