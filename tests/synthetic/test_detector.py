"""The realism ruler: a face detector trained on photographs finds the faces, and agrees about where they are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from visage.synthetic.draw import Spec, draw

MODEL = Path(__file__).resolve().parents[2].parent / "shared" / "models" / "face_detection_yunet_2023mar.onnx"


@pytest.mark.skipif(
    not MODEL.exists(), reason="needs shared/models/face_detection_yunet_2023mar.onnx beside the repository"
)
def test_yunet_finds_drawn_faces_and_agrees_on_box_and_eyes() -> None:
    size, count, found = 256, 20, 0
    detector = cv2.FaceDetectorYN.create(str(MODEL), "", (size, size), 0.6)
    for person in range(count):
        p = draw(Spec(77, person, person % 4, person % 3, size))
        _, faces = detector.detect(np.ascontiguousarray(p.image[..., ::-1]))
        for x, y, w, h, *points in [] if faces is None else faces[:, :14].tolist():
            x0, y0, x1, y1 = p.face_box
            across, down = min(x + w, x1) - max(x, x0), min(y + h, y1) - max(y, y0)
            both = max(across, 0) * max(down, 0)
            eyes = np.reshape(points, (5, 2))[:2]
            gap = np.linalg.norm(p.landmarks[0] - p.landmarks[1])
            close = np.linalg.norm(eyes - p.landmarks[:2], axis=1).max() < 0.35 * gap
            if close and both / (w * h + (x1 - x0) * (y1 - y0) - both) > 0.5:
                found += 1
                break
    assert found >= 0.8 * count
