"""Lashes and brow: tapered strokes that darken what lies under them.

All strokes of one thickness go into one 8-bit layer in a single OpenCV call, which is what makes a hundred of them
cheap.
"""

from __future__ import annotations

import cv2
import numpy as np

from visage.synthetic.nir_geometry import HEIGHT, WIDTH, Opening
from visage.synthetic.nir_params import Frame, Subject
from visage.synthetic.noise import Array

_SHIFT = 4
_KNOTS = np.linspace(0, 1, 6)[:, None]


def paint_hairs(scene: Array, subject: Subject, frame: Frame, lids: Opening) -> None:
    """Darken `scene` (HxW float32, in place) with upper and lower lashes and, where the subject has one in view, the
    brow."""
    # One subject's lashes stay the same hairs in every frame.
    rng = np.random.default_rng(subject.texture_seed + 1)
    hairs = subject.hairs
    lift = hairs.lift if not frame.blink else -0.6
    # Lids that come down carry their lashes down with them.
    lift -= 0.5 * max(frame.pitch, 0) + 0.5 * (1 - min(frame.opening, 1))
    lashes = _fringe(rng, lids, lids.upper, hairs.upper, hairs.upper_length, -lift, hairs.clump)
    lashes += _fringe(rng, lids, lids.lower, hairs.lower, hairs.lower_length, 0.7, hairs.clump)
    layer = np.zeros((HEIGHT, WIDTH), np.uint8)
    if hairs.brow:
        cv2.polylines(layer, _brow(rng, subject, lids), False, 110, 1, cv2.LINE_AA, _SHIFT)
    thick = rng.random(len(lashes)) < 0.6
    bases = [lash[:4] for lash, wide in zip(lashes, thick, strict=True) if wide]
    cv2.polylines(layer, lashes, False, 190, 1, cv2.LINE_AA, _SHIFT)
    cv2.polylines(layer, bases, False, 235, 2, cv2.LINE_AA, _SHIFT)
    ink = layer.astype(np.float32) * np.float32(1 / 255)
    scene += ink * np.minimum(np.float32(hairs.shade * subject.greys.skin) - scene, 0)


def _fringe(
    rng: np.random.Generator, lids: Opening, row: Array, count: int, length: float, down: float, clump: float
) -> list[Array]:
    """`count` strokes, (6, 2) int32 each, from the lid `row`; `down` -1 grows up, +1 down."""
    t = np.sort(rng.uniform(-0.98, 0.98, count))
    x = 0.5 * (lids.left + lids.right) + 0.5 * (lids.right - lids.left) * t
    y = np.interp(x, np.arange(WIDTH), row) + rng.uniform(-3, 2, count)
    size = length * rng.uniform(0.45, 1.15, count)
    tuft = np.arange(count) // 4
    lean = 1.1 * t + rng.normal(0, 0.35, count // 4 + 1)[tuft] + rng.normal(0, 0.12, count)
    # Wet lashes meet at their tips: those of a tuft lean towards its middle.
    middle = np.bincount(tuft, x)[tuft] / np.bincount(tuft)[tuft]
    lean += clump * np.clip((middle - x) / size, -0.6, 0.6)
    reach = size / np.maximum(np.hypot(lean, down), 0.7)
    bend = rng.uniform(0.1, 0.45, count)
    knee = np.stack([x + 0.45 * reach * lean, y + reach * (0.45 * down + bend)], -1)
    return _strokes(np.stack([x, y], -1), knee, np.stack([x + reach * lean, y + reach * down], -1))


def _brow(rng: np.random.Generator, subject: Subject, lids: Opening) -> list[Array]:
    count, size = 320, subject.wearer.iris
    t = rng.uniform(-1, 1, count)
    cx = 0.5 * (lids.left + lids.right) + rng.uniform(-40, 40)
    x = cx + t * rng.uniform(1.8, 2.6) * size
    y = subject.hairs.brow_row + 0.25 * size * t * t + rng.normal(0, 0.11 * size, count) * (1 - 0.5 * t * t)
    length = rng.uniform(14, 40, count)
    lean = -subject.side * rng.uniform(0.5, 1.0, count)
    root = np.stack([x, y], -1)
    tips = root + np.stack([length * lean, length * rng.normal(-0.15, 0.25, count)], -1)
    middle = 0.5 * (root + tips) + np.stack([np.zeros(count), -0.15 * length], -1)
    return _strokes(root, middle, tips)


def _strokes(root: Array, middle: Array, tip: Array) -> list[Array]:
    """Quadratic curves through control points (n, 2), as fixed-point polylines."""
    a, b, c = (p[:, None] for p in (root, middle, tip))
    curve = (1 - _KNOTS) ** 2 * a + 2 * _KNOTS * (1 - _KNOTS) * b + _KNOTS**2 * c
    return list(np.rint(np.clip(curve, -200, 900) * (1 << _SHIFT)).astype(np.int32))
