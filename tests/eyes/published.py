"""A drawn pupil small enough for every test, and each published layout filled with it."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HEIGHT, WIDTH = 400, 640


def mask(cx: float = 300, cy: float = 180, a: float = 30, b: float = 26, degrees: float = 0.0) -> np.ndarray:
    """400 x 640 uint8 {0, 1}: the pixels whose centres lie in the ellipse."""
    x, y = np.arange(WIDTH)[None] - cx, np.arange(HEIGHT)[:, None] - cy
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (((x * cos + y * sin) / a) ** 2 + ((y * cos - x * sin) / b) ** 2 < 1).astype(np.uint8)


def picture(label: np.ndarray, seed: int = 0) -> np.ndarray:
    """A grey gradient with a darker pupil and noise, uint8."""
    rows = np.linspace(90, 160, label.shape[0])[:, None] + np.linspace(-20, 20, label.shape[1])[None]
    noise = np.random.default_rng(seed).normal(0, 3, label.shape)
    return np.clip(rows + noise - 60 * label, 0, 255).astype(np.uint8)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def edt(values: np.ndarray) -> np.ndarray:
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(values)


def published_distance(label: np.ndarray, version: int) -> np.ndarray:
    """dist_map, 2 x 400 x 640 float32, as each published set defines it (facts/eyes.md, section 5)."""
    channels = []
    for inside in (label == 0, label == 1):
        if version == 1:
            channels.append((edt(~inside) * ~inside - (edt(inside) - 1) * inside) / math.hypot(399, 639))
        else:
            channels.append((edt(~inside) - edt(inside)) / math.hypot(400, 640))
    return np.stack(channels).astype(np.float32)


def published_weights(label: np.ndarray, version: int) -> np.ndarray:
    ones = np.ones((3, 3), np.uint8)
    if version == 1:
        return (cv2.dilate(cv2.Canny(label * 255, 0, 3), ones) / 255 * 20).astype(np.float32)
    edge = (cv2.dilate(label, ones) - cv2.erode(label, ones)).astype(np.float32)
    return cv2.GaussianBlur(edge, (0, 0), 5)


def write_v1(path: Path, labels: list[np.ndarray], names: list[str], **columns: list) -> None:
    """Conner/openeds-precomputed: flat lists."""
    table = {
        "image": [picture(label, seed).ravel() for seed, label in enumerate(labels)],
        "label": [label.ravel() for label in labels],
        "spatial_weights": [published_weights(label, 1).ravel() for label in labels],
        "dist_map": [published_distance(label, 1).ravel() for label in labels],
        "filename": names,
    }
    write(path, table | columns)


def write_v2(path: Path, labels: list[np.ndarray], names: list[str], **columns: list) -> None:
    """Conner/sddec25-01: nested lists, ellipses, preprocessed."""
    table = {
        "image": [picture(label, seed).tolist() for seed, label in enumerate(labels)],
        "label": [label.tolist() for label in labels],
        "spatial_weights": [published_weights(label, 2).tolist() for label in labels],
        "dist_map": [published_distance(label, 2).tolist() for label in labels],
        "filename": names,
        "preprocessed": [True] * len(labels),
    }
    write(path, table | columns)


TYPES = {
    "image": pa.uint8(), "label": pa.uint8(), "spatial_weights": pa.float32(), "dist_map": pa.float32(),
    "filename": pa.string(), "source": pa.string(), "preprocessed": pa.bool_(),
}  # fmt: skip


def write(path: Path, table: dict[str, list], group: int = 2) -> None:
    arrays = {}
    for name, values in table.items():
        kind = TYPES.get(name, pa.float32())
        found = next((value for value in values if value is not None), None)
        while isinstance(found, (list, np.ndarray)):
            kind, found = pa.list_(kind), found[0]
        arrays[name] = pa.array(values, kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(arrays), path, row_group_size=group)
