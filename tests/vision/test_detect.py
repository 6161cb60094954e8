"""Face detectors: boxes and points in the picture's own pixels, the largest face, and files that are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from visage.errors import DataError, MissingWeightsError
from visage.vision.align import SIDE, TEMPLATE, align, crop_square, similarity
from visage.vision.detect import YOLO_SIDE, Face, largest, open_detector

SHARED = Path(__file__).parents[3] / "shared"
YUNET = SHARED / "models" / "face_detection_yunet_2023mar.onnx"


def yolo(path: Path, rows: list[list[float]]) -> Path:
    """An ONNX model that answers every picture with `rows` (each 5 or 20 numbers)."""
    content = np.array(rows, np.float32).T[None]
    answer = helper.make_node("Constant", [], ["answer"], value=numpy_helper.from_array(content))
    # An output that hangs on the input, as a real one does.
    nodes = [answer, helper.make_node("ReduceSum", ["image"], ["sum"], keepdims=0),
             helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
             helper.make_node("Add", ["answer", "nothing"], ["out"])]  # fmt: skip
    graph = helper.make_graph(
        nodes, "faces", [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, YOLO_SIDE, YOLO_SIDE])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, list(content.shape))],
        [numpy_helper.from_array(np.float32(0), "zero")],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_yolo_gives_boxes_in_the_pictures_own_pixels(tmp_path: Path) -> None:
    points = [value for x in (300, 340, 320, 305, 335) for value in (x, 320, 0.9)]
    near = [[320, 320, 100, 120, 0.9, *points], [322, 321, 100, 120, 0.8, *points], [100, 300, 40, 40, 0.2, *points]]
    detector = open_detector("yolo", yolo(tmp_path / "faces.onnx", near), 0.5)
    assert detector is not None
    (face,) = detector(np.zeros((320, 640, 3), np.uint8))  # scaled by 1, 160 rows of grey above
    assert face.box == pytest.approx((270, 100, 370, 220))
    assert face.points is not None
    assert face.points[0] == pytest.approx((300, 160))
    (small,) = detector(np.zeros((1280, 640, 3), np.uint8))  # scaled by a half, 160 columns of grey beside
    assert small.box == pytest.approx((220, 520, 420, 760))


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"no model")
    with pytest.raises(MissingWeightsError, match="visage models fetch yunet"):
        open_detector("yunet", tmp_path / "absent.onnx", 0.5)
    for name in ("yunet", "yolo"):
        with pytest.raises(DataError, match=r"x\.onnx"):
            open_detector(name, tmp_path / "x.onnx", 0.5)
    with pytest.raises(DataError, match="YOLO of one class"):
        open_detector("yolo", yolo(tmp_path / "many.onnx", [[0.0] * 84]), 0.5)
    assert open_detector("none", tmp_path / "absent.onnx", 0.5) is None


def test_the_largest_face_wins() -> None:
    small, large = Face((0, 0, 10, 10), 0.99), Face((20, 20, 60, 50), 0.61)
    assert largest([small, large]) is large
    assert largest([]) is None


@given(
    angle=st.floats(-3, 3), scale=st.floats(0.2, 5), x=st.floats(-50, 50), y=st.floats(-50, 50),
)  # fmt: skip
def test_a_similarity_is_found_again(angle: float, scale: float, x: float, y: float) -> None:
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = TEMPLATE @ matrix.T + (x, y)
    found = similarity(TEMPLATE, moved)
    assert np.allclose(found, np.column_stack((matrix, (x, y))), atol=1e-6 * scale + 1e-7)


def test_an_aligned_face_has_its_points_where_the_template_says() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((300, 300, 3), np.uint8)
    points = (TEMPLATE * 1.7 + (40, 30)).astype(np.float32)
    for x, y in points:
        cv2.circle(image, (round(float(x)), round(float(y))), 4, rng.integers(100, 255, 3).tolist(), -1)
    aligned = align(image, points)
    assert aligned.shape == (SIDE, SIDE, 3)
    for (x, y), (u, v) in zip(points, TEMPLATE, strict=True):
        assert np.abs(aligned[round(v), round(u)].astype(int) - image[round(float(y)), round(float(x))]).max() < 30


def test_a_square_crop_passes_borders() -> None:
    image = np.arange(1, 101, dtype=np.uint8).reshape(10, 10)
    assert np.array_equal(crop_square(image, (0, 0, 10, 10), 10), image)
    wide = crop_square(image, (-5, -5, 5, 5), 10)
    assert np.array_equal(wide[5:, 5:], image[:5, :5])
    assert not wide[:5].any()
    assert not wide[:, :5].any()
    assert crop_square(image, (8, 8, 12, 12), 4)[:2, :2].tolist() == image[8:, 8:].tolist()
    assert not crop_square(image, (50, 50, 60, 60), 10).any()


@pytest.mark.skipif(not YUNET.is_file(), reason="no YuNet beside the repository")
@pytest.mark.parametrize("name", ["biden", "obama", "obama2", "obama3"])
def test_yunet_finds_the_face_of_a_photograph_at_any_size(name: str) -> None:
    image = cv2.imread(str(SHARED / "real" / "portraits" / f"{name}.jpg"))
    assert image is not None
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    detector = open_detector("yunet", YUNET, 0.6)
    assert detector is not None
    face = largest(detector(image))
    assert face is not None
    assert face.points is not None
    large = largest(detector(cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_LINEAR)))
    assert large is not None
    assert np.abs(np.array(large.box) / 2 - np.array(face.box)).max() < 0.08 * (face.box[2] - face.box[0])
    eyes = align(image, face.points)[45:58]
    skin = align(image, face.points)[60:70]
    assert eyes.mean() < skin.mean()
