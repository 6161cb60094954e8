"""Where lids, iris and pupil lie in the picture: the projection of one eyeball, and what the lids leave visible.

Lids are one row per picture column, so the opening, distances to its edges and the label all come from broadcasting
two vectors of 640 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from visage.synthetic.noise import Array

HEIGHT, WIDTH = 400, 640
# Eyeball centre to iris plane, in iris radii.
LEVER = 1.72


class Exposure(Protocol):
    """What geometry needs of a frame: see `visage.synthetic.nir_params.Frame`."""

    @property
    def yaw(self) -> float: ...
    @property
    def pitch(self) -> float: ...
    @property
    def dilation(self) -> float: ...
    @property
    def slip(self) -> tuple[float, float]: ...
    @property
    def opening(self) -> float: ...


@dataclass(frozen=True)
class Lids:
    """Lid shape in iris radii: half width, heights above and below the corner line, crease above the upper lid;
    `tilt` a slope, `skew` moves the peak, powers round the ends, `follow_*` is the share of the gaze a lid joins."""

    half_width: float
    upper: float
    lower: float
    tilt: float
    skew: float
    upper_power: float
    lower_power: float
    crease: float
    follow_upper: float
    follow_lower: float
    bulge: float


@dataclass(frozen=True)
class Wearer:
    """Anatomy: iris radius in pixels, pupil / iris radius, decentring in iris radii, eyeball centre in pixels, lids,
    and the camera's angles to the straight-ahead gaze in radians."""

    iris: float
    ratio: float
    decentre: tuple[float, float]
    eyeball: tuple[float, float]
    lids: Lids
    camera_yaw: float
    camera_tilt: float


@dataclass(frozen=True)
class Ellipse:
    """Centre, semi-axes a >= b in pixels (pixel centres at integers), angle of `a` in radians, x towards y."""

    cx: float
    cy: float
    a: float
    b: float
    angle: float

    def radius(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Coordinates along `a` and `b` in units of the semi-axes: (u, v), inside where u*u + v*v < 1."""
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        x, y = x - np.float32(self.cx), y - np.float32(self.cy)
        return (x * cos + y * sin) * np.float32(1 / self.a), (y * cos - x * sin) * np.float32(1 / self.b)


@dataclass(frozen=True)
class Opening:
    """Lid rows (640,) float32 (`upper` < `lower` where the eye is open), cosines of their slopes, crease rows, and the
    columns of the corners."""

    upper: Array
    lower: Array
    upper_cos: Array
    lower_cos: Array
    crease: Array
    left: float
    right: float

    def mask(self) -> Array:
        """HxW bool: pixels between the lids."""
        rows = np.arange(HEIGHT, dtype=np.float32)[:, None]
        return (rows > self.upper) & (rows < self.lower)


def iris_ellipse(wearer: Wearer, frame: Exposure) -> Ellipse:
    """The limbus: foreshortened along the direction in which the eye is turned away from the camera."""
    yaw, pitch = frame.yaw + wearer.camera_yaw, frame.pitch + wearer.camera_tilt
    away = (np.sin(yaw) * np.cos(pitch), np.sin(pitch))
    foreshortening = np.sqrt(max(1 - away[0] ** 2 - away[1] ** 2, 0.25))
    shift = gaze_shift(wearer, frame)
    cx, cy = wearer.eyeball[0] + frame.slip[0] + shift[0], wearer.eyeball[1] + frame.slip[1] + shift[1]
    angle = (np.arctan2(away[1], away[0]) + np.pi / 2) % np.pi
    return Ellipse(float(cx), float(cy), wearer.iris, float(wearer.iris * foreshortening), float(angle))


def pupil_ellipse(wearer: Wearer, frame: Exposure) -> Ellipse:
    """The whole pupil, hidden parts included."""
    iris = iris_ellipse(wearer, frame)
    ratio = float(np.clip(wearer.ratio * frame.dilation, 0.16, 0.6))
    dx, dy = (d * wearer.iris for d in wearer.decentre)
    # The cornea refracts: a pupil seen at an angle narrows later than the flat limbus does.
    narrow = 0.99 * np.cos(np.arccos(iris.b / iris.a) / 1.12)
    return Ellipse(iris.cx + dx, iris.cy + dy, iris.a * ratio, float(iris.a * ratio * narrow), iris.angle)


def gaze_shift(wearer: Wearer, frame: Exposure) -> tuple[float, float]:
    """How far the gaze moves the iris from the eyeball's centre, in pixels."""
    reach = LEVER * wearer.iris
    return float(reach * np.sin(frame.yaw) * np.cos(frame.pitch)), float(reach * np.sin(frame.pitch))


def opening(wearer: Wearer, frame: Exposure) -> Opening:
    """The lids: both follow the gaze, and the upper one comes down to the lower as `frame.opening` goes to 0."""
    lids, size = wearer.lids, wearer.iris
    x = np.arange(WIDTH, dtype=np.float32)
    cx, half = wearer.eyeball[0] + frame.slip[0], lids.half_width * size
    shift_x, shift_y = gaze_shift(wearer, frame)
    t = np.clip((x - cx) / half, -1, 1)
    s = np.clip(t + lids.skew * (1 - t * t), -1, 1)
    arch, bowl = (1 - s * s) ** lids.upper_power, (1 - t * t) ** lids.lower_power
    above = lids.upper * size - lids.follow_upper * shift_y
    below = lids.lower * size + lids.follow_lower * shift_y
    gap = max(above + below, 0.3 * size) * frame.opening
    base = wearer.eyeball[1] + frame.slip[1] + lids.tilt * (x - cx)
    lower = base + below * bowl
    cornea = lids.bulge * size * np.exp(-(((x - cx - shift_x) / (0.8 * size)) ** 2)) * (1 - t * t)
    # Closed, the upper lid has taken on the lower one's curve.
    share = min(frame.opening, 1.0)
    upper = base + (below - gap) * ((1 - share) * bowl + share * arch) - share * cornea
    upper = np.minimum(upper, lower) if frame.opening > 0 else lower
    crease = base - (max(above, 0.2 * size) + lids.crease * size) * arch - 0.1 * size
    return Opening(
        upper.astype(np.float32), lower.astype(np.float32), _cosine(upper), _cosine(lower), crease.astype(np.float32),
        float(cx - half), float(cx + half),
    )  # fmt: skip


def visible_share(wearer: Wearer, frame: Exposure) -> float:
    """The share of the pupil between the lids, 0..1, from about 200 points."""
    pupil = pupil_ellipse(wearer, frame)
    grid = np.linspace(-1, 1, 17)
    u, v = (g[np.hypot(*np.meshgrid(grid, grid)) < 1] for g in np.meshgrid(grid, grid))
    cos, sin = np.cos(pupil.angle), np.sin(pupil.angle)
    x = pupil.cx + u * pupil.a * cos - v * pupil.b * sin
    y = pupil.cy + u * pupil.a * sin + v * pupil.b * cos
    lids = opening(wearer, frame)
    column = np.clip(np.rint(x).astype(int), 0, WIDTH - 1)
    return float(np.mean((y > lids.upper[column]) & (y < lids.lower[column])))


def _cosine(row: Array) -> Array:
    return (1 / np.hypot(1, np.gradient(row))).astype(np.float32)
