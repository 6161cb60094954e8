"""Skin, eyeball and iris of a near-infrared eye: opaque layers in scene greys.

The eyeball is drawn in the opening's bounding box and the iris in its own: most of a frame is skin, which is one smooth
plane and costs next to nothing.
"""

from __future__ import annotations

import cv2
import numpy as np

from visage.synthetic.nir_geometry import HEIGHT, WIDTH, Ellipse, Opening
from visage.synthetic.nir_params import Subject
from visage.synthetic.noise import Array, fractal, smoothstep

Box = tuple[slice, slice]


def box(left: float, top: float, right: float, bottom: float) -> Box:
    """The part of the picture between the edges (pixels, rounded outwards), never empty."""
    x0, y0 = int(np.clip(np.floor(left), 0, WIDTH - 2)), int(np.clip(np.floor(top), 0, HEIGHT - 2))
    x1, y1 = int(np.clip(np.ceil(right) + 1, x0 + 2, WIDTH)), int(np.clip(np.ceil(bottom) + 1, y0 + 2, HEIGHT))
    return slice(y0, y1), slice(x0, x1)


def grid(region: Box) -> tuple[Array, Array]:
    """Column (1, w) and row (h, 1) coordinates of a region, float32."""
    rows, columns = region
    return np.arange(columns.start, columns.stop, dtype=np.float32)[None], np.arange(
        rows.start, rows.stop, dtype=np.float32
    )[:, None]


def opening_box(lids: Opening, margin: float) -> Box:
    """The bounding box of the opening, `margin` pixels wider on every side."""
    return box(
        lids.left - margin, float(lids.upper.min()) - margin, lids.right + margin, float(lids.lower.max()) + margin
    )


def lid_distances(lids: Opening, region: Box) -> tuple[Array, Array]:
    """Pixels below the upper and above the lower lid, (h, w) float32 each, both positive between the lids."""
    _, y = grid(region)
    columns = region[1]
    return (y - lids.upper[columns]) * lids.upper_cos[columns], (lids.lower[columns] - y) * lids.lower_cos[columns]


def skin(subject: Subject, lids: Opening, rng: np.random.Generator) -> Array:
    """HxW float32: pores, folds, the crease over the upper lid, the socket's shade, the rims of the lids."""
    greys = subject.greys
    coarse = fractal(rng, (HEIGHT // 2, WIDTH // 2), (5, 8), octaves=6, gain=0.85)
    texture = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    plane = greys.skin * (1 + greys.skin_texture * 2.5 * texture)
    x, y = grid((slice(0, HEIGHT), slice(0, WIDTH)))
    size = np.float32(subject.wearer.iris)
    nose = WIDTH / 2 + subject.side * 1.9 * size
    hollow = np.exp(-(((x - nose) / (1.3 * size)) ** 2)) * np.exp(-(((y - lids.upper.mean()) / (1.1 * size)) ** 2))
    above = lids.crease - y
    # A crease is a sharp line below and a long shade above: the brow's overhang.
    fold = np.exp(np.minimum(above * np.float32(0.3), -above / (np.float32(0.25) * size)))
    fold *= smoothstep(lids.left - 10, lids.left + 50, x) * smoothstep(lids.right + 10, lids.right - 50, x)
    wide = smoothstep(lids.left - 120, lids.left + 90, x) * smoothstep(lids.right + 120, lids.right - 90, x)
    under = wide * np.exp(-(((y - lids.lower - 0.32 * size) / (0.13 * size)) ** 2))
    plane *= 1 - greys.socket * (0.6 * hollow + 0.35 * under) - greys.lid_shadow * 0.7 * fold
    _wrinkles(plane, subject, lids, rng)
    _rims(plane, subject, lids, rng)
    return plane.astype(np.float32)


def _wrinkles(plane: Array, subject: Subject, lids: Opening, rng: np.random.Generator) -> None:
    layer = np.zeros((HEIGHT, WIDTH), np.uint8)
    x = np.linspace(lids.left - 60, lids.right + 60, 24)
    inside = np.clip(np.rint(x).astype(int), 0, WIDTH - 1)
    for _ in range(int(rng.integers(0, 12))):
        below = rng.random() < 0.7
        row = lids.lower[inside] if below else lids.crease[inside]
        away = rng.uniform(10, 90) if below else -rng.uniform(6, 60)
        first, last = np.sort(rng.choice(len(x), 2, replace=False))
        y = row + away * (1 + 0.25 * np.cos(np.linspace(0, 3, len(x)) + rng.uniform(0, 6))) + rng.normal(0, 0.7, len(x))
        line = np.stack([x, y], -1)[first : last + 1]
        cv2.polylines(layer, [np.rint(line * 8).astype(np.int32)], False, int(rng.integers(40, 255)),
                      int(rng.integers(1, 4)), cv2.LINE_AA, 3)  # fmt: skip
    if layer.any():
        soft = cv2.GaussianBlur(layer, (0, 0), 1.6).astype(np.float32)
        plane *= 1 - soft * np.float32(4 * subject.greys.skin_texture / 255)


def _rims(plane: Array, subject: Subject, lids: Opening, rng: np.random.Generator) -> None:
    """The lids' edges: a dark line of lash roots above, a wet bright shelf below."""
    region = opening_box(lids, 14)
    below, above = lid_distances(lids, region)
    x, _ = grid(region)
    within = smoothstep(lids.left - 6, lids.left + 30, x) * smoothstep(lids.right + 6, lids.right - 30, x)
    roots = np.exp(-((below / np.float32(rng.uniform(1.5, 5))) ** 2)) * np.float32(rng.uniform(0, 0.5))
    height = np.float32(rng.uniform(3, 7))
    shelf = np.exp(-(((above + 0.7 * height) / height) ** 2)) * np.float32(rng.uniform(-0.15, 0.25))
    plane[region] *= 1 + within * (shelf - roots)


def paint_eyeball(scene: Array, subject: Subject, iris: Ellipse, pupil: Ellipse, lids: Opening) -> None:
    """Paint sclera, iris and pupil over `scene` (HxW float32, in place) where the lids leave them visible."""
    region = opening_box(lids, 3)
    rng = np.random.default_rng(subject.texture_seed)
    greys, size = subject.greys, subject.wearer.iris
    x, y = grid(region)
    turn = ((x - iris.cx) ** 2 + (y - iris.cy) ** 2) / np.float32((2.6 * size) ** 2)
    noise = fractal(rng, (y.size, x.size), (3, 6), octaves=2)
    ball = greys.sclera * (1 - np.float32(0.5 * greys.lid_shadow + 0.1) * turn + np.float32(0.06) * noise)
    _caruncle(ball, subject, lids, x, y)
    _vessels(ball, subject, rng, region)
    _paint_iris(ball, subject, iris, pupil, region, rng)
    below, above = lid_distances(lids, region)
    shade = greys.lid_shadow * np.exp(-np.maximum(below, 0) / np.float32(0.16 * size))
    shade += 0.4 * greys.lid_shadow * np.exp(-np.maximum(above, 0) / np.float32(0.06 * size))
    ball *= 1 - np.minimum(shade, 0.7)
    alpha = np.clip(below + 0.5, 0, 1) * np.clip(above + 0.5, 0, 1)
    alpha *= ((x > lids.left) & (x < lids.right)).astype(np.float32)
    scene[region] += alpha * (ball - scene[region])


def _caruncle(ball: Array, subject: Subject, lids: Opening, x: Array, y: Array) -> None:
    size = subject.wearer.iris
    cx = lids.right - 0.12 * size if subject.side > 0 else lids.left + 0.12 * size
    column = int(np.clip(cx, 0, WIDTH - 1))
    cy = 0.5 * (lids.upper[column] + lids.lower[column])
    d = ((x - cx) / (0.22 * size)) ** 2 + ((y - cy) / (0.13 * size)) ** 2
    ball += (0.9 * subject.greys.skin - ball) * np.exp(-np.minimum(d * d, 30))


def _vessels(ball: Array, subject: Subject, rng: np.random.Generator, region: Box) -> None:
    height, width = ball.shape
    layer = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(0, 7))):
        steps = np.cumsum(rng.normal((rng.choice((-7, 7)), 0), (3, 4), (18, 2)), axis=0)
        start = (rng.uniform(0, width), rng.uniform(0.2, 0.9) * height)
        cv2.polylines(layer, [np.rint(8 * (steps + start)).astype(np.int32)], False, 255, 1, cv2.LINE_AA, 3)
    ball *= 1 - layer.astype(np.float32) * np.float32(rng.uniform(0.03, 0.15) / 255)


def _paint_iris(
    ball: Array, subject: Subject, iris: Ellipse, pupil: Ellipse, outer: Box, rng: np.random.Generator
) -> None:
    greys = subject.greys
    reach = iris.a + greys.limbus_edge
    region = box(iris.cx - reach, iris.cy - reach, iris.cx + reach, iris.cy + reach)
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(region, outer, strict=True))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    x, y = grid((rows, columns))
    rho, theta = cv2.cartToPolar(*iris.radius(x, y))
    rho_pupil = cv2.magnitude(*pupil.radius(x, y))
    mean_axis = float(np.sqrt(pupil.a * pupil.b))
    # 0 at the pupil's edge, 1 at the limbus: fibres stretch as the pupil closes, as they do.
    depth = np.clip((rho_pupil - 1) * mean_axis / (iris.a - mean_axis), 0, 1)
    texture = cv2.remap(
        _fibres(rng, greys.collarette),
        theta * np.float32(_ANGLES / (2 * np.pi)), depth * np.float32(_DEPTHS - 1),
        cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    ring = greys.limbal_ring * smoothstep(0.72, 1.0, rho)
    # Texture belongs to the iris's contrast: a flat iris must not be mottled down to the pupil's grey.
    swing = min(1.0, 1.5 * (greys.iris - greys.pupil) / greys.iris)
    grey = greys.iris * (1 + np.float32(swing) * (greys.iris_texture * texture - ring))
    grey = np.maximum(grey, greys.pupil + 0.6 * (greys.iris - greys.pupil))
    width = greys.limbus_edge / (2 * iris.a)
    layer = ball[rows.start - outer[0].start : rows.stop - outer[0].start,
                 columns.start - outer[1].start : columns.stop - outer[1].start]  # fmt: skip
    layer += smoothstep(1 + width, 1 - width, rho) * (grey - layer)
    # smoothstep passes from 10 to 90 % within 0.61 of its width.
    width = greys.pupil_edge / 0.61 / (2 * mean_axis)
    layer += smoothstep(1 + width, 1 - width, rho_pupil) * (greys.pupil - layer)


_ANGLES, _DEPTHS = 384, 40


def _fibres(rng: np.random.Generator, collarette: float) -> Array:
    """(_DEPTHS, _ANGLES + 1) float32 of unit range, the last column the first: fibres, furrows, crypts, collarette."""
    out = np.zeros((_DEPTHS, _ANGLES + 1), np.float32)
    for rows, columns, weight in ((2, 16, 0.3), (3, 64, 0.35), (5, 128, 0.45), (8, 24, 0.35), (14, 48, 0.3)):
        out += np.float32(weight) * _around(rng.standard_normal((rows, columns), dtype=np.float32), _DEPTHS)
    depth = np.linspace(0, 1, _DEPTHS, dtype=np.float32)[:, None]
    edge = 0.32 + 0.05 * _around(rng.standard_normal((1, 24), dtype=np.float32), 1)
    return out + 5 * collarette * smoothstep(0.09, 0, depth - edge)


def _around(noise: Array, rows: int) -> Array:
    """Noise (r, c) stretched to (rows, _ANGLES + 1), periodic in the second axis; c divides _ANGLES."""
    scale = _ANGLES // noise.shape[1]
    wrapped = np.hstack([noise[:, -2:], noise, noise[:, :2]])
    wide = cv2.resize(wrapped, (wrapped.shape[1] * scale, rows), interpolation=cv2.INTER_CUBIC)
    return wide[:, 2 * scale : 2 * scale + _ANGLES + 1]
