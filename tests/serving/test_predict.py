"""Every picture gets its row, right or wrong, whatever its neighbours are."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import visage
from visage.errors import VisageError
from visage.io.atomic import read_jsonl
from visage.io.images import read_image
from visage.serving.model import OnnxModel, read_card
from visage.serving.predict import PREDICTIONS, Summary, predict
from visage.vision.normalise import preprocess

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)
PORTRAITS = Path(visage.__file__).parents[2] / ".." / "shared" / "real" / "portraits"


def test_each_picture_gets_its_label_and_scores(model_folder: Path, draw: Callable, tmp_path: Path) -> None:
    images = [draw("r.png", RED), draw("g.png", GREEN), draw("b.png", BLUE)]
    assert predict(model_folder, images, tmp_path / "out") == Summary(done=3, failed=0)
    rows = read_jsonl(tmp_path / "out" / PREDICTIONS)
    assert [row["label"] for row in rows] == ["red", "green", "blue"]
    assert [row["image"] for row in rows] == [path.as_posix() for path in images]
    for row in rows:
        assert set(row) == {"image", "label", "scores", "model_version"}
        assert row["model_version"] == read_card(model_folder).model_version
        assert row["label"] == max(row["scores"], key=row["scores"].get)
        assert abs(sum(row["scores"].values()) - 1) < 1e-5


def test_scores_are_the_softmax_of_the_models_logits(model_folder: Path, draw: Callable, tmp_path: Path) -> None:
    path = draw("a.png", (120, 130, 125), 33, 47)
    predict(model_folder, [path], tmp_path / "out")
    model = OnnxModel(model_folder)
    logits = model.run(preprocess(read_image(path), model.card.preprocessing)[None])[0].astype(float)
    expected = np.exp(logits) / np.exp(logits).sum()
    scores = read_jsonl(tmp_path / "out" / PREDICTIONS)[0]["scores"]
    np.testing.assert_allclose([scores[name] for name in model.card.classes], expected, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_bad_files_cost_only_their_own_rows(
    batch_size: int, model_folder: Path, draw: Callable, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    good = [draw("a.png", RED), draw("e.png", BLUE)]
    (tmp_path / "b.png").write_bytes(b"not a picture")
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "d.png").write_bytes(good[0].read_bytes()[:60])
    images = [tmp_path / f"{stem}.png" for stem in "abcde"]
    assert predict(model_folder, images, tmp_path / "out", batch_size=batch_size) == Summary(done=2, failed=3)
    rows = read_jsonl(tmp_path / "out" / PREDICTIONS)
    assert [row.get("label") for row in rows] == ["red", None, None, None, "blue"]
    assert [set(row) for row in rows if "error" in row] == [{"image", "error", "model_version"}] * 3
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3
    assert all(name in line for name, line in zip(("b.png", "c.png", "d.png"), lines, strict=True))


def test_rows_do_not_depend_on_the_batch_size(model_folder: Path, draw: Callable, tmp_path: Path) -> None:
    images = [draw(f"{shade}.png", (shade, 255 - shade, 90), 9 + shade, 25) for shade in range(10, 120, 15)]
    outs = [tmp_path / f"out{size}" for size in (1, 3, 50)]
    for out, size in zip(outs, (1, 3, 50), strict=True):
        predict(model_folder, images, out, batch_size=size)
    assert len({(out / PREDICTIONS).read_bytes() for out in outs}) == 1


@pytest.mark.parametrize(("colour", "height", "width"), [(RED, 1, 1), (GREEN, 2, 3000), (BLUE, 3000, 1), (128, 20, 30)])
def test_pictures_of_every_shape_are_answered(
    colour: tuple | int, height: int, width: int, model_folder: Path, draw: Callable, tmp_path: Path
) -> None:
    image = draw("a.png", colour, height, width)
    assert predict(model_folder, [image], tmp_path / "out") == Summary(done=1, failed=0)


def test_folders_are_searched_in_order_and_twins_keep_their_rows(
    model_folder: Path, draw: Callable, tmp_path: Path
) -> None:
    draw("in/b/x.png", BLUE), draw("in/a/x.png", RED), draw("in/x.JPG", GREEN)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    out = tmp_path / "in" / "out"
    for _ in range(2):  # the second run must not read what the first wrote
        draw("in/out/mask.png", 255)
        assert predict(model_folder, [tmp_path / "in", tmp_path / "in" / "x.JPG"], out) == Summary(done=3, failed=0)
        rows = read_jsonl(out / PREDICTIONS)
        assert [(Path(row["image"]).parent.name, row["label"]) for row in rows] == [
            ("a", "red"),
            ("b", "blue"),
            ("in", "green"),
        ]


def test_nothing_is_written_when_the_call_cannot_be_honoured(
    model_folder: Path, draw: Callable, tmp_path: Path
) -> None:
    image, out = draw("a.png", RED), tmp_path / "out"
    (tmp_path / "empty").mkdir()
    for images, reason in (
        ([image, "gone.png"], "gone.png: no such"),
        ([tmp_path / "empty"], "no pictures in .*empty"),
    ):
        with pytest.raises(VisageError, match=reason):
            predict(model_folder, images, out)
    with pytest.raises(VisageError, match="batch_size=0"):
        predict(model_folder, [image], out, batch_size=0)
    with pytest.raises(VisageError, match="is a file"):
        predict(model_folder, [image], image)
    assert not out.exists()


def test_an_answer_that_is_no_number_is_an_error_row(
    model_folder: Path, draw: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxModel, "run", lambda _, batch: np.full((len(batch), 3), np.nan, np.float32))
    assert predict(model_folder, [draw("a.png", RED)], tmp_path / "out") == Summary(done=0, failed=1)
    assert "not a number" in read_jsonl(tmp_path / "out" / PREDICTIONS)[0]["error"]


def test_predicting_needs_neither_torch_nor_pillow(model_folder: Path, draw: Callable, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from visage.serving.predict import predict\n"
        "assert 'onnxruntime' not in sys.modules, 'loaded at import'\n"
        "predict(sys.argv[1], [sys.argv[2]], Path(sys.argv[3]))\n"
        "print([name for name in ('torch', 'torchvision', 'PIL', 'onnx', 'safetensors') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, str(model_folder), str(draw("a.png", RED)), str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(Path(visage.__file__).parents[1])}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_real_photographs_are_answered(model_folder: Path, tmp_path: Path) -> None:
    if not PORTRAITS.is_dir():
        pytest.skip("no real portraits on this machine")
    summary = predict(model_folder, [PORTRAITS], tmp_path / "out")
    assert summary.done > 0
    assert summary.failed == 0
