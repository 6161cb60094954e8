"""Masks and ellipses come out in the picture's own pixels, whatever its size and colours."""

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from visage.errors import VisageError
from visage.export.card import ModelCard, Preprocessing
from visage.io.atomic import read_jsonl
from visage.serving.predict import PREDICTIONS, Summary, predict
from visage.vision.ellipse import Ellipse, render_ellipse

HEIGHT, WIDTH = 100, 160
SIZES = [(400, 640), (100, 160), (480, 640), (333, 517), (1200, 900), (61, 97)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks that call what is dark a pupil, as a map ("pupil_dark", and "hair_dark" with other classes, "boxed" with
    a letterbox) and as an ellipse ("ellipse_dark", "ellipse_boxed")."""
    import torch
    from torch import Tensor, nn

    from visage.export.export import export_model

    class DarkMap(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.cat((10 * x, -10 * x), 1)

    class DarkEllipse(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            # A letterbox is padded with 0, which is not dark.
            weight = torch.sigmoid(-40 * (x + 0.25)).flatten(1)
            weight = weight / weight.sum(1, keepdim=True)
            rows, columns = torch.arange(HEIGHT).repeat_interleave(WIDTH), torch.arange(WIDTH).repeat(HEIGHT)
            values = []
            for place, side in ((columns, WIDTH), (rows, HEIGHT)):
                centre = (weight * place).sum(1, keepdim=True)
                spread = 2 * ((weight * (place - centre) ** 2).sum(1, keepdim=True)).sqrt()
                values.append((centre / side, spread / (math.hypot(HEIGHT, WIDTH) / 2)))
            (cx, rx), (cy, ry) = values
            return torch.cat((cx, cy, rx, ry), 1)

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    segments, regresses = ["background", "pupil"], ["cx", "cy", "rx", "ry"]
    made: dict[str, tuple[nn.Module, str, list[str], str]] = {
        "pupil_dark": (DarkMap(), "segmentation", segments, "stretch"),
        "hair_dark": (DarkMap(), "segmentation", ["background", "hair"], "stretch"),
        "boxed": (DarkMap(), "segmentation", segments, "letterbox"),
        "ellipse_dark": (DarkEllipse(), "ellipse", regresses, "stretch"),
        "ellipse_boxed": (DarkEllipse(), "ellipse", regresses, "letterbox"),
    }
    example = torch.from_numpy((eye(HEIGHT, WIDTH)[0] / 127.5 - 1).astype(np.float32))[None, None]
    for name, (network, task, classes, resize) in made.items():
        preprocessing = Preprocessing(HEIGHT, WIDTH, (0.5,), (0.5,), resize, "GRAY")
        card = ModelCard(name, task, preprocessing, classes, {}, {}, "dark")
        export_model(network.eval(), card, example, folder / name)
    return folder


def eye(height: int, width: int, angle: float = 0.0) -> tuple[np.ndarray, Ellipse, np.ndarray]:
    """A light grey picture with a dark ellipse, the ellipse and its mask."""
    ellipse = Ellipse(0.4 * width, 0.55 * height, 0.12 * width, 0.2 * height, angle)
    mask = render_ellipse(ellipse, height, width)
    return np.where(mask, 20, 235).astype(np.uint8), ellipse, mask


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero((one > 0) & (other > 0)) / np.count_nonzero((one > 0) | (other > 0))


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("name", ["pupil_dark", "boxed"])
def test_a_mask_has_its_pictures_size_and_its_ellipse_the_pictures_pixels(
    name: str, height: int, width: int, models: Path, tmp_path: Path
) -> None:
    picture, ellipse, truth = eye(height, width)
    cv2.imwrite(str(tmp_path / "my eye.png"), picture)
    assert predict(models / name, [tmp_path / "my eye.png"], tmp_path / "out") == Summary(1, 0)
    row = read_jsonl(tmp_path / "out" / PREDICTIONS)[0]
    assert row.keys() == {"image", "model_version", "mask", "area", "cx", "cy", "rx", "ry", "angle"}
    assert row["mask"] == (tmp_path / "out" / "my eye.png").as_posix()
    mask = cv2.imread(row["mask"], cv2.IMREAD_UNCHANGED)
    assert mask.shape == (height, width)
    assert set(np.unique(mask)) == {0, 255}
    assert row["area"] == np.count_nonzero(mask)
    # A pixel of the network is so many of the picture's.
    coarse = max(1.0, height / HEIGHT, width / WIDTH)
    assert iou(mask, truth) > (0.95 if min(height, width) > 90 else 0.9)
    for key in ("cx", "cy", "rx", "ry"):
        assert row[key] == pytest.approx(getattr(ellipse, key), abs=0.5 * coarse)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("name", ["ellipse_dark", "ellipse_boxed"])
def test_a_regressed_ellipse_is_in_the_pictures_pixels(
    name: str, height: int, width: int, models: Path, tmp_path: Path
) -> None:
    picture, ellipse, _ = eye(height, width)
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    assert predict(models / name, [tmp_path / "a.png"], tmp_path / "out") == Summary(1, 0)
    row = read_jsonl(tmp_path / "out" / PREDICTIONS)[0]
    assert row.keys() == {"image", "model_version", "cx", "cy", "rx", "ry", "angle"}
    assert row["angle"] == 0
    for key in ("cx", "cy", "rx", "ry"):
        assert row[key] == pytest.approx(getattr(ellipse, key), abs=0.5 * max(1.0, height / HEIGHT, width / WIDTH))
    assert [path.name for path in (tmp_path / "out").iterdir()] == [PREDICTIONS]


def test_grey_colour_and_transparent_pictures_are_alike(models: Path, tmp_path: Path) -> None:
    grey = eye(200, 320, 0.5)[0]
    (tmp_path / "in").mkdir()
    for name, image in (("grey", grey), ("colour", cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)),
                        ("clear", cv2.cvtColor(grey, cv2.COLOR_GRAY2BGRA))):  # fmt: skip
        cv2.imwrite(str(tmp_path / "in" / f"{name}.png"), image)
    cv2.imwrite(str(tmp_path / "in" / "deep.png"), grey.astype(np.uint16) * 257)
    assert predict(models / "pupil_dark", [tmp_path / "in"], tmp_path / "out") == Summary(4, 0)
    rows = [
        {key: value for key, value in row.items() if key not in ("image", "mask")}
        for row in read_jsonl(tmp_path / "out" / PREDICTIONS)
    ]
    assert rows == [rows[0]] * 4
    assert rows[0]["angle"] != 0
    assert len({(tmp_path / "out" / f"{name}.png").read_bytes() for name in ("grey", "colour", "clear", "deep")}) == 1


def test_a_closed_eye_has_an_empty_mask_and_no_ellipse(models: Path, draw: Callable, tmp_path: Path) -> None:
    predict(models / "pupil_dark", [draw("a.png", 220)], tmp_path / "out")
    row = read_jsonl(tmp_path / "out" / PREDICTIONS)[0]
    assert row["area"] == 0
    assert [row[key] for key in ("cx", "cy", "rx", "ry", "angle")] == [None] * 5
    assert not cv2.imread(row["mask"], cv2.IMREAD_UNCHANGED).any()


def test_only_pupils_get_an_ellipse(models: Path, draw: Callable, tmp_path: Path) -> None:
    predict(models / "hair_dark", [draw("a.png", 20)], tmp_path / "out")
    row = read_jsonl(tmp_path / "out" / PREDICTIONS)[0]
    assert row.keys() == {"image", "model_version", "mask", "area"}
    assert row["area"] == 600


def test_pictures_of_equal_stems_keep_their_masks(models: Path, draw: Callable, tmp_path: Path) -> None:
    draw("in/a/x.png", 20), draw("in/b/x.png", 220)
    predict(models / "pupil_dark", [tmp_path / "in"], tmp_path / "out")
    rows = read_jsonl(tmp_path / "out" / PREDICTIONS)
    assert [Path(row["mask"]).name for row in rows] == ["x.png", "x_2.png"]
    assert [row["area"] for row in rows] == [600, 0]


def test_a_mask_never_takes_the_place_of_a_picture(models: Path, draw: Callable, tmp_path: Path) -> None:
    before = draw("in/x.png", 20).read_bytes()
    other = draw("x.png", 220)
    with pytest.raises(VisageError, match=r"x\.png: lies in .*another folder"):
        predict(models / "pupil_dark", [other, tmp_path / "in/x.png"], tmp_path / "in")
    assert (tmp_path / "in/x.png").read_bytes() == before
    assert not (tmp_path / "in" / PREDICTIONS).exists()
    # A regression writes no pictures, so it may answer beside them.
    assert predict(models / "ellipse_dark", [tmp_path / "in/x.png"], tmp_path / "in") == Summary(1, 0)


def test_a_bad_file_costs_its_own_row(models: Path, draw: Callable, tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(b"not a picture")
    images = [draw("a.png", 20), tmp_path / "b.png", draw("c.png", 20, 1, 1)]
    assert predict(models / "pupil_dark", images, tmp_path / "out") == Summary(done=2, failed=1)
    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["a.png", "c.png"]
