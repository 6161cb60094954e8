"""The committed pupil models on a real near-infrared photograph; drawn eyes are all that they were trained on."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from visage.io.atomic import read_jsonl
from visage.io.images import encode_png
from visage.serving.model import read_card
from visage.serving.predict import PREDICTIONS, predict

ROOT = Path(__file__).parents[2]
PHOTOGRAPH = ROOT.parent / "shared/real/eyes/nir_640x480.png"
# As it is, and as a headset's dim camera would have it.
VIEWS = {"as it is": lambda grey: grey, "dim": lambda grey: (0.3 * grey + 20).astype(np.uint8)}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", ["tiny", "micro"])
def test_the_pupil_of_a_photograph_is_found(name: str, view: str, tmp_path: Path) -> None:
    model = ROOT / f"artifacts/models/pupil_{name}"
    if not PHOTOGRAPH.is_file() or not (model / "model.onnx").is_file():
        pytest.skip("no photograph beside the repository, or nothing exported yet")
    committed = json.loads((ROOT / "metrics/evaluate_eyes.json").read_text(encoding="utf-8"))
    if read_card(model).metrics != committed[name]:
        pytest.skip("the models here are of another experiment")
    grey, truth = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (PHOTOGRAPH, _mask(PHOTOGRAPH)))
    assert grey is not None
    assert truth is not None
    # The proportions of an eye camera's frame, without the text that is burned in below.
    part = slice(20, 420)
    (tmp_path / "eye.png").write_bytes(encode_png(np.ascontiguousarray(VIEWS[view](grey[part]))))
    predict(model, [tmp_path / "eye.png"], tmp_path / "out")
    (row,) = read_jsonl(tmp_path / "out" / PREDICTIONS)
    answer, pupil = cv2.imread(row["mask"], cv2.IMREAD_GRAYSCALE) > 127, truth[part] > 127
    assert np.count_nonzero(answer & pupil) / np.count_nonzero(answer | pupil) >= 0.70


def _mask(photograph: Path) -> Path:
    return photograph.with_name(f"{photograph.stem}_pupil.png")
