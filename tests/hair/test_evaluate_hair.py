"""Evaluation of hair: every way measured alike on the test pictures, and one line for what is missing."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from visage.errors import DataError
from visage.hair.answers import stitched_answers, zero_shot_answers
from visage.hair.evaluate import evaluate
from visage.hair.prepared import ALPHAS, IMAGES, INDEX, INDEX_COLUMNS, META, load_set
from visage.io.atomic import write_bytes, write_csv, write_json
from visage.io.images import encode_png

SIZE = 64


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve pictures of a band of hair, the last of each split bald, each 64 wide and 48 high in its square."""
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    folder = tmp_path / "data"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (12, SIZE, SIZE, 3), np.uint8)
    alphas = np.zeros((12, SIZE, SIZE), np.uint8)
    rows = []
    for row in range(12):
        if row % 4 != 3:
            alphas[row, 12 + row : 30 + row, 8:56] = 255
        facts = (row, f"p{row}", f"person{row // 4}", ("train", "val", "test")[row // 4], f"p{row}.jpg", 0, 8, 64, 48,
                 96, 128, ("straight", "wavy")[row % 2], "short", "", "" if row % 4 != 3 else "empty")  # fmt: skip
        rows.append(dict(zip(INDEX_COLUMNS, facts, strict=True)))
    np.save(folder / IMAGES, images)
    np.save(folder / ALPHAS, alphas)
    write_json(folder / META, {"size": SIZE})
    write_csv(folder / INDEX, rows, INDEX_COLUMNS)
    return folder


def run(data: Path, answers: dict) -> dict:
    evaluate(answers, data=data, metrics=data / "metrics.json", plots=data / "plots")
    return json.loads((data / "metrics.json").read_text())


def test_the_truth_wins_the_table(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hair = load_set(data)
    measured = run(data, {"truth": lambda row: hair.alphas[row], "nothing": lambda row: 0 * hair.alphas[row],
                          "all": lambda row: np.full((SIZE, SIZE), 255, np.uint8)})  # fmt: skip
    assert (measured["test_pictures"], measured["test_sources"]) == (4, 1)
    truth = measured["truth"]
    assert (truth["iou"], truth["boundary_f"], truth["mae"], truth["empty_share"]) == (1, 1, 0, 0)
    assert truth["curl"] == {"straight": 1, "wavy": 1}
    assert truth["bangs"] == {}
    assert (measured["nothing"]["iou"], measured["nothing"]["precision"]) == (0, "not measured")
    # Of what fills the square only the picture counts: 3 bands of 18 x 48 in 4 pictures of 48 x 64.
    assert measured["all"]["iou"] == pytest.approx(3 * 18 * 48 / (4 * 48 * 64), abs=1e-4)
    assert measured["all"]["empty_share"] == 1
    with open(data / "plots/comparison.csv", newline="") as file:
        assert [row["segmenter"] for row in csv.DictReader(file)] == ["truth", "nothing", "all"]
    assert sorted(path.stem for path in (data / "plots/worst").iterdir()) == ["all", "nothing", "truth"]
    with open(data / "plots/precision_recall.csv", newline="") as file:
        assert {row["segmenter"] for row in csv.DictReader(file)} == {"truth", "all"}
    assert "boundary_f" in capsys.readouterr().out


def test_answers_of_the_stages_are_read_in_the_prepared_square(data: Path) -> None:
    hair = load_set(data)
    folder = data / "zero"
    folder.mkdir()
    write_json(folder / "method.json", {"method": "grabcut"})
    write_csv(folder / "rows.csv", [{"row": row} for row in (8, 9, 10, 11)], ["row"])
    np.save(folder / "confidence.npy", np.array(hair.alphas[8:]))
    stitched = data / "stitched"
    rows = []
    for row in range(8, 12):
        # The original is twice as large, and has no padding.
        whole = np.kron(hair.alphas[row][hair.inside(row)], np.ones((2, 2), np.uint8))
        write_bytes(stitched / f"{row}.png", encode_png(whole))
        rows.append({"sample_id": f"p{row}", "mask": f"{row}.png"})
    write_csv(stitched / "stitched.csv", rows, ["sample_id", "mask"])
    method, zero = zero_shot_answers(folder)
    measured = run(data, {method: zero, "patches": stitched_answers(stitched, hair)})
    assert measured["grabcut"]["iou"] == 1
    assert measured["patches"]["iou"] == 1
    with pytest.raises(DataError, match="picture 0 of the prepared set"):
        zero(0)
    with pytest.raises(DataError, match="p0 is not answered"):
        stitched_answers(stitched, hair)(0)


def test_what_has_not_run_is_one_line(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run segment_zero_shot first"):
        zero_shot_answers(tmp_path)
    with pytest.raises(DataError, match="run stitch_masks first"):
        stitched_answers(tmp_path, load_set(data))
    rows = (data / INDEX).read_text().replace("test", "train")
    (data / INDEX).write_text(rows)
    with pytest.raises(DataError, match="no test pictures"):
        run(data, {"truth": lambda row: np.zeros((SIZE, SIZE), np.uint8)})
