"""Face detectors: YuNet through OpenCV, YOLO through an ONNX file, or none; all give boxes and, where they can, points.

None of them has weights in the project: each takes a local file. A detector is opened once in a process and is not
shared between threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from visage.errors import DataError, MissingWeightsError

Picture = NDArray[np.uint8]
# Larger pictures are brought to this side: faces that fill a portrait need no more, and time grows with the area.
LARGEST_SIDE = 1024
OVERLAP = 0.3  # IoU from which two boxes are one face
YOLO_SIDE = 640
YOLO_FILL = 114  # grey around a letterboxed picture, as YOLO is trained


@dataclass(frozen=True, eq=False)
class Face:
    """A face. box: x0, y0, x1, y1 in pixels of the picture. points: 5 x 2 float32 (x, y) of the eye, the other eye,
    nose, mouth's corner and the other, each pair from the picture's left; None where the detector gives none."""

    box: tuple[float, float, float, float]
    score: float
    points: NDArray[np.float32] | None = None

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return max(0.0, self.box[2] - self.box[0]) * max(0.0, self.box[3] - self.box[1])


Detector = Callable[[Picture], list[Face]]


def open_detector(name: str, file: Path, score: float) -> Detector | None:
    """The detector `name`, "yunet", "yolo" or "none" (None), with the weights in `file`.

    score: least confidence of a face.

    Raises:
        MissingWeightsError: no such file.
        DataError: the file is no such detector.
    """
    if name == "none":
        return None
    if not file.is_file():
        raise MissingWeightsError(f"{file}: no face detector there: visage models fetch yunet, or use none")
    return YuNet(file, score) if name == "yunet" else YoloFace(file, score)


def largest(faces: Sequence[Face]) -> Face | None:
    """The face with the largest box, the surer of equal ones; None of none."""
    return max(faces, key=lambda face: (face.area, face.score), default=None)


class YuNet:
    """YuNet (Wu et al. 2023) as OpenCV's FaceDetectorYN: RGB H x W x 3 uint8 -> faces with points."""

    def __init__(self, file: Path, score: float) -> None:
        try:
            self.detector = cv2.FaceDetectorYN.create(str(file), "", (64, 64), score, OVERLAP, 5000)
        except cv2.error:
            raise DataError(f"{file}: OpenCV cannot load it as YuNet: visage models fetch yunet") from None

    def __call__(self, image: Picture) -> list[Face]:
        height, width = image.shape[:2]
        scale = min(1.0, LARGEST_SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        self.detector.setInputSize(size)
        _, rows = self.detector.detect(cv2.cvtColor(small, cv2.COLOR_RGB2BGR))
        back = np.array((width / size[0], height / size[1]), np.float32)
        return [] if rows is None else [_yunet_face(row, back) for row in rows]


def _yunet_face(row: NDArray[np.float32], back: NDArray[np.float32]) -> Face:
    """A row of FaceDetectorYN: x, y, width, height, five points (the person's right first), score."""
    x0, y0 = row[:2] * back
    x1, y1 = (row[:2] + row[2:4]) * back
    return Face((float(x0), float(y0), float(x1), float(y1)), float(row[14]), row[4:14].reshape(5, 2) * back)


class YoloFace:
    """A YOLO (v8 or later) of faces as ONNX: input 1 x 3 x 640 x 640, output 1 x (5 + 3 points) x N, boxes as centre
    and size in pixels of the input, with five points (x, y, visibility) or none."""

    def __init__(self, file: Path, score: float) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        try:
            self.session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime has an exception for every way in which a file is none
            raise DataError(f"{file}: not an ONNX model ({str(error).splitlines()[0][:80]}): export it again") from None
        shape = self.session.get_outputs()[0].shape
        if len(shape) != 3 or shape[1] not in (5, 20):
            raise DataError(f"{file}: its output is {shape}, and a YOLO of one class, faces, gives 1 x 5 (or 20) x N")
        self.score = score

    def __call__(self, image: Picture) -> list[Face]:
        height, width = image.shape[:2]
        scale = YOLO_SIDE / max(height, width)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        padded = np.full((YOLO_SIDE, YOLO_SIDE, 3), YOLO_FILL, np.uint8)
        left, top = (YOLO_SIDE - size[0]) // 2, (YOLO_SIDE - size[1]) // 2
        padded[top : top + size[1], left : left + size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        blob = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32) / 255
        rows: Any = self.session.run(None, {self.session.get_inputs()[0].name: blob})[0]
        rows = rows[0].T[rows[0][4] >= self.score]
        corners = np.concatenate((rows[:, :2] - rows[:, 2:4] / 2, rows[:, 2:4]), 1)
        kept = cv2.dnn.NMSBoxes(corners.tolist(), rows[:, 4].tolist(), self.score, OVERLAP) if len(rows) else []
        origin = np.array((left, top), np.float32)
        return [self._face(rows[index], origin, scale) for index in np.array(kept, np.intp).ravel()]

    @staticmethod
    def _face(row: NDArray[np.float32], origin: NDArray[np.float32], scale: float) -> Face:
        x0, y0 = (row[:2] - row[2:4] / 2 - origin) / scale
        x1, y1 = (row[:2] + row[2:4] / 2 - origin) / scale
        points = ((row[5:].reshape(5, 3)[:, :2] - origin) / scale).astype(np.float32) if len(row) == 20 else None
        return Face((float(x0), float(y0), float(x1), float(y1)), float(row[4]), points)
