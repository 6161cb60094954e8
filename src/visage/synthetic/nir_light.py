"""What light adds and the headset takes away: glints, tear line, shine, streaks, dark distractors, lens edge, rings.

Nothing here touches the label: a pupil under a glint or a streak is still a pupil, but dark blobs keep clear of the
iris and the lens edge is cut out of the label by `lens_mask`.
"""

from __future__ import annotations

import cv2
import numpy as np

from visage.synthetic.nir_draw import box, grid, lid_distances, opening_box
from visage.synthetic.nir_geometry import HEIGHT, WIDTH, Ellipse, Opening, gaze_shift
from visage.synthetic.nir_params import Frame, Subject
from visage.synthetic.noise import Array, fractal, smoothstep

_LINE_BITS = 3


def paint_distractors(scene: Array, iris: Ellipse, pupil_grey: float, rng: np.random.Generator) -> int:
    """Dark pupil-like blobs outside the iris, in place; returns how many were placed."""
    placed = 0
    for _ in range(int(rng.poisson(0.6))):
        x, y, r = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(8, 40)
        if np.hypot(x - iris.cx, y - iris.cy) > 1.1 * iris.a + 1.5 * r:
            _spot(scene, x, y, r, rng.uniform(0.5, 1.3) * r, rng.uniform(0, np.pi),
                  pupil_grey * rng.uniform(0.8, 1.6), rng.uniform(1, 12), rng.uniform(0.4, 1))  # fmt: skip
            placed += 1
    return placed


def _spot(scene: Array, x: float, y: float, a: float, b: float, angle: float, grey: float, edge: float,
          alpha: float) -> None:  # fmt: skip
    reach = max(a, b) + edge
    region = box(x - reach, y - reach, x + reach, y + reach)
    radius = cv2.magnitude(*Ellipse(x, y, a, b, angle).radius(*grid(region)))
    soft = edge / min(a, b)
    scene[region] += np.float32(alpha) * smoothstep(1 + soft, 1 - soft, radius) * (grey - scene[region])


def light_up(scene: Array, subject: Subject, rng: np.random.Generator) -> None:
    """The illumination's gradient and slow unevenness, in place."""
    dx, dy = subject.headset.gradient
    x, y = np.linspace(-1, 1, WIDTH, dtype=np.float32), np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None]
    uneven = cv2.resize(fractal(rng, (25, 40), (2, 3), octaves=2), (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    scene *= np.maximum(1 + dx * x + dy * y + np.float32(2 * subject.headset.unevenness) * uneven, 0.45)


def paint_glints(
    scene: Array, subject: Subject, frame: Frame, iris: Ellipse, lids: Opening, rng: np.random.Generator
) -> list[tuple[float, float]]:
    """Reflections of the LED ring on the cornea, in place; returns the centres of those between the lids."""
    lamps, size = subject.lamps, subject.wearer.iris
    shift = gaze_shift(subject.wearer, frame)
    # The cornea's mirror image moves about half as far as the pupil.
    cx = iris.cx - 0.45 * shift[0] + lamps.offset[0]
    cy = iris.cy - 0.45 * shift[1] + lamps.offset[1]
    shown = []
    for angle in lamps.angles:
        kept, strength, jitter = rng.random() > 0.25, rng.uniform(0.5, 1.2), rng.normal(0, 1.5, 2)
        x = float(cx + lamps.ring * size * np.cos(angle) + jitter[0])
        y = float(cy + lamps.ring * size * lamps.squash * np.sin(angle) + jitter[1])
        column = int(np.clip(x, 0, WIDTH - 1))
        if not kept or not lids.upper[column] < y < lids.lower[column]:
            continue
        on_cornea = np.hypot(x - iris.cx, y - iris.cy) < 1.05 * size
        # Off the cornea the mirror is the wet sclera: fainter and smeared.
        _flare(scene, x, y, lamps.sigma * (1 if on_cornea else 2.2), lamps.peak * strength * (1 if on_cornea else 0.4),
               rng.uniform(0.75, 1.35), rng.uniform(0, np.pi))  # fmt: skip
        shown.append((x, y))
    return shown


def paint_shine(scene: Array, subject: Subject, lids: Opening, rng: np.random.Generator) -> None:
    """Wet and oily light, in place: tear line, specular blobs, sparkle on the skin."""
    region = opening_box(lids, 6)
    _, above = lid_distances(lids, region)
    x, _ = grid(region)
    shine = subject.greys.shine
    breaks = np.maximum(fractal(rng, (1, x.size), (1, 14), octaves=3) + np.float32(0.25), 0)
    inside = smoothstep(lids.left, lids.left + 40, x) * smoothstep(lids.right, lids.right - 40, x)
    line = np.exp(-(((above - 1.5) / np.float32(rng.uniform(1, 2.2))) ** 2)) + 0.25 * np.exp(-(((above + 4) / 3) ** 2))
    scene[region] += np.float32(110 * shine) * breaks * inside * line
    # A wide veil stronger than the pupil's own contrast would leave nothing to find.
    veil = subject.greys.iris - subject.greys.pupil
    for _ in range(int(rng.poisson(2))):
        x0 = rng.uniform(lids.left - 20, lids.right + 20)
        y0 = rng.uniform(lids.upper.min() - 40, lids.lower.max() + 40)
        wide = rng.random() < 0.2
        sigma = rng.uniform(8, 25) if wide else rng.uniform(1, 5)
        peak = veil * rng.uniform(0.2, 0.9) if wide else rng.uniform(40, 260)
        _flare(scene, x0, y0, sigma, peak, rng.uniform(0.3, 1), rng.uniform(0, np.pi))
    if shine > 0.35:
        _sparkle(scene, lids, shine, rng)


def _sparkle(scene: Array, lids: Opening, shine: float, rng: np.random.Generator) -> None:
    count = int(rng.integers(30, 160))
    x = np.clip(rng.normal(rng.uniform(0, WIDTH), 120, count), 0, WIDTH - 1).astype(int)
    gap = rng.exponential(45, count) + 6
    y = np.where(rng.random(count) < 0.6, lids.lower[x] + gap, lids.upper[x] - gap).astype(int)
    kept = (y >= 0) & (y < HEIGHT)
    layer = np.zeros((HEIGHT, WIDTH), np.float32)
    layer[y[kept], x[kept]] = rng.uniform(100, 900, int(kept.sum()))
    scene += np.float32(shine) * cv2.GaussianBlur(layer, (5, 5), 1.1)


def paint_streaks(scene: Array, subject: Subject, frame: Frame, centre: tuple[float, float],
                  rng: np.random.Generator) -> None:  # fmt: skip
    """Starburst around `centre`, and a spectacle lens's frame, reflections and streaks, in place."""
    layer = np.zeros((HEIGHT, WIDTH), np.uint8)
    if frame.starburst:
        for angle in rng.uniform(0, np.pi, int(rng.integers(2, 7))):
            length = rng.uniform(25, 160)
            _line(layer, centre, angle, length, int(rng.integers(60, 255)), int(rng.integers(1, 5)))
    if subject.headset.glasses:
        if rng.random() < 0.75:
            angle, at = rng.uniform(0, np.pi), (rng.uniform(60, WIDTH - 60), rng.uniform(20, HEIGHT - 20))
            for _ in range(int(rng.integers(1, 9))):
                place = (at[0] + rng.normal(0, 40), at[1] + rng.normal(0, 40))
                _line(layer, place, angle + rng.normal(0, 0.08), rng.uniform(40, 400), int(rng.integers(20, 200)),
                      int(rng.integers(1, 7)))  # fmt: skip
        for _ in range(int(rng.integers(0, 3))):
            _flare(scene, rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(4, 16), rng.uniform(30, 160),
                   rng.uniform(0.3, 1), rng.uniform(0, np.pi))  # fmt: skip
        _rim(scene, np.random.default_rng(subject.texture_seed + 2))
    if layer.any():
        scene += cv2.GaussianBlur(layer, (0, 0), rng.uniform(0.8, 2.5)).astype(np.float32)


def _line(layer: Array, centre: tuple[float, float], angle: float, length: float, grey: int, width: int) -> None:
    half = np.array((np.cos(angle), np.sin(angle))) * length / 2
    ends = [tuple(int(v) for v in np.rint((np.array(centre) + sign * half) * (1 << _LINE_BITS))) for sign in (-1, 1)]
    cv2.line(layer, ends[0], ends[1], grey, width, cv2.LINE_AA, _LINE_BITS)


def _rim(scene: Array, rng: np.random.Generator) -> None:
    if rng.random() < 0.5:
        layer = np.zeros((HEIGHT, WIDTH), np.uint8)
        centre = (int(rng.normal(320, 20)), int(rng.normal(200, 20)))
        axes = (int(rng.uniform(290, 350)), int(rng.uniform(165, 230)))
        cv2.ellipse(layer, centre, axes, rng.uniform(-8, 8), 0, 360, 255, int(rng.integers(6, 28)), cv2.LINE_AA)
        ink = cv2.GaussianBlur(layer, (0, 0), 2.5).astype(np.float32) / 255
        scene += ink * (np.float32(rng.uniform(5, 120)) - scene)


def _flare(scene: Array, x: float, y: float, sigma: float, peak: float, squash: float, angle: float) -> None:
    reach = 3.2 * sigma * max(squash, 1)
    region = box(x - reach, y - reach, x + reach, y + reach)
    u, v = Ellipse(x, y, sigma, sigma * squash, angle).radius(*grid(region))
    scene[region] += np.float32(peak) * np.exp(np.float32(-0.5) * (u * u + v * v))


def lens_radius(subject: Subject) -> Array:
    """HxW float32: pixels from the headset lens's centre."""
    x, y = grid((slice(0, HEIGHT), slice(0, WIDTH)))
    cx, cy = subject.headset.centre
    return np.sqrt((x - np.float32(cx)) ** 2 + (y - np.float32(cy)) ** 2)


def cover_with_headset(scene: Array, subject: Subject, rng: np.random.Generator) -> None:
    """The dark outside of the lens and its Fresnel rings, in place; for a headset whose lens edge is in view."""
    headset, radius = subject.headset, lens_radius(subject)
    if headset.fresnel:
        phase = np.float32(2 * np.pi / headset.period) * radius + np.float32(rng.uniform(0, 6))
        scene += np.float32(headset.fresnel) * np.sin(phase)
    inside = smoothstep(headset.radius + headset.softness, headset.radius - headset.softness, radius)
    scene *= np.float32(headset.dark) + np.float32(1 - headset.dark) * inside
