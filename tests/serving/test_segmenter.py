"""An application's masks: of the picture's own size, prepared as the card says, with what made them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

import visage
from serving.toy import export_dark, iou, portrait, write
from visage.errors import VisageError
from visage.io.atomic import read_jsonl
from visage.serving.cache import ModelCache
from visage.serving.model import OnnxModel, read_card
from visage.serving.predict import PREDICTIONS, Summary, predict
from visage.serving.segmenter import Segmenter, shared_cache

SIZES = [(120, 90), (64, 64), (301, 517), (900, 700), (96, 200)]


@pytest.fixture(scope="module")
def hair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_dark(tmp_path_factory.mktemp("models") / "hair")


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_dark(tmp_path_factory.mktemp("models") / "fixed", dynamic=False)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_mask_and_alpha_have_the_pictures_size(height: int, width: int, hair: Path) -> None:
    image, truth = portrait(height, width)
    found = Segmenter(hair, cache=ModelCache()).segment(image)
    assert found.mask.shape == found.alpha.shape == (height, width)
    assert found.mask.dtype == np.uint8 and found.alpha.dtype == np.float32
    assert set(np.unique(found.mask)) == {0, 1}
    assert found.alpha.min() >= 0 and found.alpha.max() <= 1
    np.testing.assert_array_equal(found.mask, found.alpha > 0.5)
    assert iou(found.mask, truth) > 0.8
    assert (found.label, found.model_version) == ("hair", read_card(hair).model_version)
    assert set(found.timings) == {"decode", "load", "prepare", "run", "finish"}
    assert all(value >= 0 for value in found.timings.values())


def test_a_file_and_its_pixels_give_one_answer_which_is_predicts(hair: Path, tmp_path: Path) -> None:
    image, _ = portrait(150, 111)
    path = write(tmp_path / "a.png", image)
    segmenter = Segmenter(hair)
    one, other = segmenter.segment(path), segmenter.segment(image)
    np.testing.assert_array_equal(one.alpha, other.alpha)
    assert predict(hair, [path], tmp_path / "out", alpha=True) == Summary(1, 0)
    row = read_jsonl(tmp_path / "out" / PREDICTIONS)[0]
    assert row["alpha"] == (tmp_path / "out" / "a_alpha.png").as_posix()
    np.testing.assert_array_equal(cv2.imread(row["mask"], cv2.IMREAD_UNCHANGED), one.mask * 255)
    np.testing.assert_array_equal(cv2.imread(row["alpha"], cv2.IMREAD_UNCHANGED), np.rint(one.alpha * 255))


def test_a_finer_input_gives_a_finer_mask(hair: Path, tmp_path: Path) -> None:
    image, truth = portrait(480, 360)
    scores = [iou(Segmenter(hair, size=size).segment(image).mask, truth) for size in (32, None, 256, 512)]
    assert scores == sorted(scores) and scores[-1] > 0.97 > scores[1]
    path = write(tmp_path / "a.png", image)
    predict(hair, [path], tmp_path / "out", size=512)
    mask = cv2.imread(str(tmp_path / "out" / "a.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, Segmenter(hair, size=512).segment(image).mask * 255)


def test_a_size_that_cannot_be_had_is_refused(hair: Path, fixed: Path, tmp_path: Path) -> None:
    for size in (0, 500, -32, 8192):
        with pytest.raises(VisageError, match=f"size={size}: it must be a multiple of 32"):
            Segmenter(hair, size=size)
    with pytest.raises(VisageError, match="takes pictures of 64x64 pixels only: leave out the size"):
        Segmenter(fixed, size=512)
    assert Segmenter(fixed).segment(portrait()[0]).mask.any()


def test_the_card_of_another_size_keeps_the_models_shape(hair: Path) -> None:
    model = OnnxModel(hair)
    assert model.card_at(None) is model.card
    made = model.card_at(512).preprocessing
    assert (made.height, made.width, made.resize, made.mean) == (512, 512, "letterbox", model.card.preprocessing.mean)


def test_many_threads_get_the_answer_of_one(hair: Path) -> None:
    segmenter = Segmenter(hair, cache=ModelCache(threads=1))
    images = [portrait(80 + 7 * step, 60 + 5 * step)[0] for step in range(12)]
    expected = [segmenter.segment(image).alpha for image in images]
    with ThreadPoolExecutor(6) as pool:
        for found, alpha in zip(pool.map(segmenter.segment, images), expected, strict=True):
            np.testing.assert_array_equal(found.alpha, alpha)


def test_a_new_file_in_its_place_answers_the_next_picture(hair: Path, tmp_path: Path) -> None:
    image, _ = portrait()
    folder = tmp_path / "hair"
    shutil.copytree(hair, folder)
    segmenter = Segmenter(folder)
    first = segmenter.segment(image)
    other = export_dark(tmp_path / "other", shift=-5.0)  # everything is hair
    os.replace(other / "model.onnx", folder / "model.onnx")
    second = segmenter.segment(image)
    assert first.model_version != second.model_version == read_card(folder).model_version
    assert second.mask.all() and not first.mask.all()


def test_what_is_no_segmentation_model_is_refused(model_folder: Path) -> None:
    with pytest.raises(VisageError, match="does classification: give a segmentation model"):
        Segmenter(model_folder)


def test_without_an_exported_model_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VisageError, match=r"no hair model yet .*models/hair/model\.onnx.* dvc repro export_hair"):
        Segmenter()
    with pytest.raises(VisageError, match="no model 'mine'"):
        Segmenter("mine")


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4), "u1"), ((4, 4, 4), "u1"), ((4, 4, 3), "f4"), ((0, 4, 3), "u1")])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...], dtype: str, hair: Path) -> None:
    with pytest.raises(VisageError, match="give HxWx3 uint8 RGB"):
        Segmenter(hair).segment(np.zeros(shape, dtype))


def test_a_broken_file_is_named(hair: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(VisageError, match=r"a\.png"):
        Segmenter(hair).segment(tmp_path / "a.png")


def test_segmenters_share_open_models(hair: Path) -> None:
    assert Segmenter(hair).cache is Segmenter(hair).cache is shared_cache()


def test_soft_masks_never_take_the_place_of_others(hair: Path, tmp_path: Path) -> None:
    image, _ = portrait()
    for name in ("a", "a_alpha", "A_alpha"):
        write(tmp_path / "in" / f"{name}.png", image)
    assert predict(hair, [tmp_path / "in"], tmp_path / "out", alpha=True) == Summary(3, 0)
    rows = read_jsonl(tmp_path / "out" / PREDICTIONS)
    paths = [row[key] for row in rows for key in ("mask", "alpha")]
    assert len({path.casefold() for path in paths}) == 6
    assert all(Path(path).is_file() for path in paths)


def test_soft_masks_are_for_models_that_have_masks(model_folder: Path, draw: Callable, tmp_path: Path) -> None:
    with pytest.raises(VisageError, match="does classification, which has no soft masks"):
        predict(model_folder, [draw("a.png", 9)], tmp_path / "out", alpha=True)
    assert not (tmp_path / "out").exists()


def test_the_package_loads_its_names_when_they_are_asked_for() -> None:
    script = (
        "import sys, visage.serving\n"
        "print([name for name in ('numpy', 'cv2', 'onnxruntime', 'torch') if name in sys.modules])\n"
        "from visage.serving import ModelCache, OutputStore, Segmenter, recolor_file\n"
        "print(Segmenter.__module__, [name for name in ('onnxruntime', 'torch') if name in sys.modules])\n"
        "try: visage.serving.Nothing\n"
        "except AttributeError as error: print(error)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(visage.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    first, second, third = done.stdout.splitlines()
    assert (first, second) == ("[]", "visage.serving.segmenter []")
    assert "no attribute 'Nothing'" in third
