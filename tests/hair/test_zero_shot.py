"""Hair without training: GrabCut finds drawn hair, MediaPipe's model is taken where it is, the stage goes on when
killed and never calls one method by the other's name."""

import csv
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from hair.zero_shot_toy import PERSONS, SIZE, portrait, runtime, settings, write_set
from visage.errors import ConfigError, DataError, MissingWeightsError, Unfinished
from visage.hair import mediapipe_hair, zero_shot, zero_shot_work
from visage.hair.face_fit import Face, find_face, place_priors
from visage.hair.grabcut import segment_hair
from visage.hair.mediapipe_hair import HairSegmenter, mediapipe_installed
from visage.hair.prepared import load_set
from visage.io.images import read_image
from visage.jobs import queue
from visage.jobs.local import run_local
from visage.jobs.plan import Job
from visage.jobs.store import Store
from visage.jobs.work import Work
from visage.jobs.worker import Worker


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("hair") / "set")


@pytest.fixture(scope="module")
def models(root: Path) -> Path:
    folder = root.parent / "shared" / "models"
    if not (folder / "hair_segmenter.tflite").is_file() or not mediapipe_installed():
        pytest.skip("no MediaPipe or no hair model beside the repository")
    return folder


@pytest.fixture(autouse=True)
def own_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setenv("VISAGE_WORKERS", "1")
    monkeypatch.setattr(queue, "engine_from_environment", lambda: in_this_process)


def in_this_process(work: Work, store: Store, jobs: Sequence[Job], workers: int) -> Iterator[Job]:
    """An engine that starts no process."""
    worker = Worker(work, store)
    for job in jobs:
        worker.perform(job)
        yield job


def run(folder: Path, data: Path, **changes: object) -> dict:
    places = {"out": folder / "out", "metrics": folder / "metrics.json", "plots": folder / "plots"}
    return zero_shot.segment(settings(**changes), runtime(), data=data, **places)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def test_the_face_is_found_and_hair_around_it() -> None:
    found, faces = [], []
    for person in PERSONS:
        drawn = portrait(person)
        x0, y0, x1, y1 = drawn.face_box
        face = find_face(drawn.image)
        faces.append(np.hypot(face.x - (x0 + x1) / 2, face.y - (y0 + y1) / 2) / (x1 - x0))
        confidence = segment_hair(drawn.image)
        assert confidence.dtype == np.float32
        assert confidence.min() >= 0 and confidence.max() <= 1
        np.testing.assert_array_equal(confidence, segment_hair(drawn.image))
        found.append(iou(confidence >= 0.5, drawn.hair_alpha >= 128))
    assert np.median(faces) < 0.3  # of a face's width
    assert np.mean(found) > 0.6


@pytest.mark.parametrize("shape", [(256, 256), (64, 20), (15, 300), (1, 1), (17, 900)])
def test_a_picture_without_anything_in_it_has_no_hair(shape: tuple[int, int]) -> None:
    confidence = segment_hair(np.full((*shape, 3), 128, np.uint8))
    assert confidence.shape == shape
    assert confidence.max() < 0.5


def test_a_face_that_is_given_is_believed() -> None:
    drawn = portrait(PERSONS[2])
    away = Face(10.0, 118.0, 12.0, 16.0)
    assert iou(segment_hair(drawn.image, away) >= 0.5, drawn.hair_alpha >= 128) < 0.1
    priors = place_priors((64, 64), Face(32, 36, 20, 27))
    np.testing.assert_allclose(priors.sum(0), 1, rtol=1e-5)
    assert priors[:, 36, 32].argmax() == 1  # the nose is skin
    assert priors[:, 18, 32].argmax() == 0  # above the forehead is hair
    assert priors[:, 2, 2].argmax() == 2


def test_the_stage_writes_confidences_rows_and_numbers_under_the_methods_name(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run(tmp_path / "a", prepared)
    assert report["method"] == "grabcut" and report["model_sha256"] == ""
    assert "mediapipe" not in report
    assert json.loads((tmp_path / "a" / "metrics.json").read_text()) == report
    assert list(report["grabcut"]["test"]) == list(zero_shot.STEPS)
    assert report["grabcut"]["pictures"] == {"val": 1, "test": 3}
    with open(tmp_path / "a" / "out" / "rows.csv") as file:
        rows = [int(row["row"]) for row in csv.DictReader(file)]
    assert rows == [1, 2, 3, 4]
    confidence, hair = np.load(tmp_path / "a" / "out" / "confidence.npy", mmap_mode="r"), load_set(prepared)
    assert confidence.shape == (4, SIZE, SIZE) and confidence.dtype == np.uint8
    assert not confidence[-1][:, : SIZE // 8].any()  # the grey beside the picture
    truth = np.stack([hair.mask(row) for row in rows[1:]]) == 1
    assert report["grabcut"]["test"]["guided"]["iou"] == round(iou(confidence[1:] >= 128, truth), 4)
    assert (tmp_path / "a" / "plots" / "samples.png").stat().st_size < 200_000
    assert json.loads((tmp_path / "a" / "out" / "method.json").read_text())["postprocessing"]["high"] == 0.8

    # Other jobs in another process give the same bytes.
    monkeypatch.setattr(queue, "engine_from_environment", lambda: run_local)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "elsewhere"))
    run(tmp_path / "b", prepared)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_stopped_run_goes_on(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(zero_shot, "PICTURES_PER_JOB", 1)
    monkeypatch.setattr(zero_shot, "draw_samples", lambda *_: None)
    places = {"out": tmp_path / "out", "metrics": tmp_path / "metrics.json", "plots": tmp_path / "plots"}
    with pytest.raises(Unfinished):
        zero_shot.segment(settings(), runtime(max_minutes=1e-9), data=prepared, **places)
    assert not (tmp_path / "metrics.json").exists()
    capsys.readouterr()
    zero_shot.segment(settings(), runtime(), data=prepared, **places)
    assert "4 jobs, 1 of them there already" in capsys.readouterr().out
    assert len(np.load(tmp_path / "out" / "confidence.npy")) == 4
    # Other mending needs no picture again.
    zero_shot.segment(settings(guided=0), runtime(), data=prepared, **places)
    assert "4 jobs, 4 of them there already" in capsys.readouterr().out


def test_mending_does_what_it_says() -> None:
    confidence = np.zeros((40, 40), np.float32)
    confidence[5:30, 5:30] = 0.9
    confidence[12, 12] = 0.1  # a hole
    confidence[35:37, 35:37] = 0.9  # a crumb
    confidence[2:4, 34:38] = 0.6  # doubtful and alone
    confidence[30, 5:30] = 0.45  # doubtful beside the sure
    steps = zero_shot.mend(confidence, np.full((40, 40, 3), 9, np.uint8), settings(low=0.4, guided=0))
    assert steps["raw"] is confidence
    assert steps["hysteresis"][2, 34] == 0 and steps["hysteresis"][30, 6] == 0.5
    assert steps["hysteresis"][35, 35] > 0.5 and steps["components"][35, 35] == 0
    assert steps["components"][12, 12] < 0.5 and steps["holes"][12, 12] == 1
    np.testing.assert_array_equal(steps["guided"], steps["holes"])


def test_auto_takes_what_is_there_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "model.tflite"
    assert zero_shot_work.choose_method(settings(method="auto", model_file=str(file))) == ("grabcut", "")
    assert "GrabCut runs" in capsys.readouterr().out
    with pytest.raises(MissingWeightsError, match="visage models fetch hair_segmenter"):
        zero_shot_work.choose_method(settings(method="mediapipe", model_file=str(file)))
    file.write_bytes(b"no model")
    for module in (zero_shot_work, mediapipe_hair):
        monkeypatch.setattr(module, "mediapipe_installed", lambda: False)
    assert zero_shot_work.choose_method(settings(method="auto", model_file=str(file))) == ("grabcut", "")
    assert "pip install" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="pip install"):
        zero_shot_work.choose_method(settings(method="mediapipe", model_file=str(file)))


def test_a_set_without_pictures_to_segment_is_refused(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="prepare_hair"):
        run(tmp_path, tmp_path / "nothing")
    with pytest.raises(ConfigError, match="zero_shot.low"):
        run(tmp_path, prepared, low=0.9)


def test_val_alone_and_without_any_hair_is_measured_as_far_as_it_goes(prepared: Path, tmp_path: Path) -> None:
    bald = tmp_path / "bald"
    shutil.copytree(prepared, bald)
    (bald / "index.csv").write_text((bald / "index.csv").read_text().replace(",test,", ",train,"))
    np.save(bald / "alphas.npy", np.zeros_like(np.load(bald / "alphas.npy")))
    report = run(tmp_path, bald)["grabcut"]
    assert "test" not in report and report["val"]["raw"]["picture_iou"] == "not measured"


def test_mediapipes_model_segments_a_real_portrait(models: Path, portraits: Path) -> None:
    image = read_image(portraits / "woman_512.png")
    truth = read_image(portraits / "woman_512_hairmask.png")[..., 0] > 127
    with HairSegmenter(models / "hair_segmenter.tflite") as segmenter:
        assert segmenter.label == "hair"
        confidence = segmenter(image)
        np.testing.assert_array_equal(confidence, segmenter(image))
        assert segmenter(image[:77, :33]).shape == (77, 33)
    assert iou(confidence >= 0.5, truth) > 0.8
    assert iou(segment_hair(image) >= 0.5, truth) > 0.5  # the built-in method, 0.68 when written


def test_the_stage_with_mediapipes_model_names_it_so(
    models: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zero_shot, "draw_samples", lambda *_: None)
    report = run(tmp_path, prepared, method="auto", model_file=str(models / "hair_segmenter.tflite"))
    assert report["method"] == "mediapipe" and "grabcut" not in report
    assert len(report["model_sha256"]) == 64
    assert report["mediapipe"]["test"]["guided"]["iou"] > 0.6


def test_a_file_that_is_no_hair_model_is_refused_in_one_line(models: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.tflite"
    file.write_bytes((models / "hair_segmenter.tflite").read_bytes()[:50_000])
    with pytest.raises(DataError, match=r"model\.tflite: MediaPipe cannot load it") as caught:
        HairSegmenter(file)
    assert "\n" not in str(caught.value)
