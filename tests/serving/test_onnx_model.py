"""A model opens from a folder, a file or a name; anything that is not ours is refused with its reason."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from visage.errors import VisageError
from visage.export.card import STAMP, ModelCard, Preprocessing
from visage.serving.model import OnnxModel, available_threads, find_model, read_card
from visage.serving.tasks import task_of


def test_a_folder_a_file_and_a_name_open_the_same_model(
    model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(model_folder, tmp_path / "artifacts" / "models" / "colours")
    monkeypatch.chdir(tmp_path)
    cards = [read_card(model) for model in (model_folder, model_folder / "model.onnx", "colours", Path("colours"))]
    assert cards == [cards[0]] * 4
    assert len(cards[0].model_version) == 12


def test_the_onnx_file_alone_is_enough(model_folder: Path, tmp_path: Path) -> None:
    shutil.copy(model_folder / "model.onnx", tmp_path / "renamed.onnx")
    assert OnnxModel(tmp_path / "renamed.onnx").run(np.zeros((2, 3, 12, 16), np.float32)).shape == (2, 3)


def test_a_missing_model_is_named_with_where_it_was_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(VisageError, match=r"'nobody'.*artifacts/models/nobody/model\.onnx"):
        find_model("nobody")
    with pytest.raises(VisageError, match=r"some/where/model\.onnx"):
        find_model("some/where")


def test_several_threads_get_the_answers_of_one(model_folder: Path) -> None:
    model = OnnxModel(model_folder, threads=1)
    batches = list(np.random.default_rng(0).standard_normal((32, 3, 3, 12, 16), np.float32))
    expected = [model.run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for got, wanted in zip(pool.map(model.run, batches), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_a_batch_of_the_wrong_shape_is_refused_in_one_line(model_folder: Path) -> None:
    with pytest.raises(VisageError, match=r"cannot run a batch of \(1, 1, 12, 16\)") as error:
        OnnxModel(model_folder).run(np.zeros((1, 1, 12, 16), np.float32))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_truncated_file_is_refused(keep: int, model_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes((model_folder / "model.onnx").read_bytes()[:keep])
    with pytest.raises(VisageError, match=r"model\.onnx: not (a readable ONNX model|exported by visage)") as error:
        OnnxModel(path)
    assert "\n" not in str(error.value)


def test_an_onnx_file_of_somebody_else_is_refused(model_folder: Path, tmp_path: Path) -> None:
    graph = onnx.load(model_folder / "model.onnx")
    del graph.metadata_props[:]
    onnx.save(graph, tmp_path / "foreign.onnx")
    with pytest.raises(VisageError, match=r"foreign\.onnx: not exported by visage"):
        OnnxModel(tmp_path / "foreign.onnx")


@pytest.fixture
def restamp(model_folder: Path, tmp_path: Path) -> Callable[..., Path]:
    """Write a copy of the model whose card says something else."""

    def write(**changes: Any) -> Path:
        graph = onnx.load(model_folder / "model.onnx")
        card: ModelCard = replace(read_card(model_folder), **changes)
        onnx.helper.set_model_props(graph, {STAMP: card.to_json()})
        onnx.save(graph, tmp_path / "restamped.onnx")
        return tmp_path / "restamped.onnx"

    return write


@pytest.mark.parametrize(
    "preprocessing",
    [Preprocessing(12, 16, (0.5,), (0.25,), colour="GRAY"), Preprocessing(16, 12, (0.5,) * 3, (0.25,) * 3)],
    ids=["channels", "size"],
)
def test_a_card_that_contradicts_the_input_is_refused(restamp: Callable, preprocessing: Preprocessing) -> None:
    with pytest.raises(VisageError, match="but its card says"):
        OnnxModel(restamp(preprocessing=preprocessing))


def test_a_card_without_a_version_is_refused(restamp: Callable) -> None:
    with pytest.raises(VisageError, match="no model_version"):
        OnnxModel(restamp(model_version=""))


def test_a_card_with_more_classes_than_logits_is_refused(restamp: Callable) -> None:
    with pytest.raises(VisageError, match=r"gives logits Nx\(3,\), but classification with its card needs Nx\(4,\)"):
        task_of(OnnxModel(restamp(classes=["a", "b", "c", "d"])))


def test_an_unknown_task_is_refused_with_the_known_ones(restamp: Callable) -> None:
    with pytest.raises(VisageError, match=r"unknown task 'poetry': known are .*classification"):
        task_of(OnnxModel(restamp(task="poetry")))


@pytest.mark.parametrize(("asked", "expected"), [("3", 3), ("1", 1), ("0", None), ("", None), ("many", None)])
def test_the_environment_chooses_the_threads(asked: str, expected: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    assert available_threads() == expected or (expected is None and available_threads() >= 1)
