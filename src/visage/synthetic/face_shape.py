"""The head of a person with an expression: profiles, relief of the features, and the points others hang on.

Features are sums of separable bumps on the frontal canvas; what makes them read as a nose or a lip under any light is
that normals, cast shadows and occlusion all come from this one map.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visage.synthetic.noise import Array, Plane, blur, fractal, smoothstep, stream
from visage.synthetic.people import FaceShape, Person
from visage.synthetic.pose import Canvas
from visage.synthetic.sessions import View
from visage.synthetic.solid import Solid


@dataclass(frozen=True)
class Mouth:
    """Curves of the mouth in units; each maps t in [-1, 1] (corner to corner) to y."""

    x: float
    y: float
    half: float
    smile: float
    gap: float
    upper: float
    lower: float
    cupid: float

    def line(self, t: Array) -> Array:
        """Where the lips meet (the upper lip's lower edge)."""
        dip = 0.10 * self.upper * np.cos(t * np.float32(2 * np.pi)) * (1 - t * t)
        return (
            np.float32(self.y)
            - np.float32(0.055 * self.smile) * t * t
            + dip
            - np.float32(0.25 * self.gap) * (1 - t * t)
        )

    def top(self, t: Array) -> Array:
        """Upper edge of the upper lip, with the cupid's bow."""
        taper = np.maximum(1 - np.abs(t) ** np.float32(1.7), 0)
        bow = 1 + self.cupid * (np.exp(-np.square((np.abs(t) - 0.26) / 0.16)) - 0.6 * np.exp(-np.square(t / 0.12)))
        return self.line(t) - self.upper * taper * bow

    def opening(self, t: Array) -> Array:
        """Upper edge of the lower lip."""
        return self.line(t) + np.float32(self.gap) * np.maximum(1 - t * t, 0)

    def bottom(self, t: Array) -> Array:
        """Lower edge of the lower lip."""
        return self.opening(t) + self.lower * np.maximum(1 - np.abs(t) ** np.float32(2.4), 0)


def mouth_of(person: Person, view: View) -> Mouth:
    """The mouth under the view's expression."""
    s, smile = person.shape, view.smile
    wide = s.mouth_width * (1 + 0.16 * smile - 0.12 * min(view.mouth_open, 1.0))
    thin = 1 - 0.22 * max(smile, 0)
    gap = 0.11 * view.mouth_open + 0.05 * max(smile - 0.45, 0)
    return Mouth(
        0.0, s.mouth_y - 0.012 * smile, wide, smile, gap, 1.22 * s.lip_upper * thin, 1.15 * s.lip_lower * thin, s.cupid
    )


def head_canvas(per_unit: float) -> Canvas:
    """The canvas that every map of the head shares."""
    return Canvas(-0.95, -1.28, 0.95, 1.32, per_unit)


def _relief(person: Person, view: View, mouth: Mouth, canvas: Canvas) -> Plane:
    s: FaceShape = person.shape
    x, y = canvas.xs, canvas.ys
    ax = np.abs(x)
    out = np.zeros(canvas.shape, np.float32)

    def bump(height: float, cx: float, cy: float, sx: float, sy: float) -> None:
        """Add a Gaussian; cx > 0 means one on each side."""
        u = np.exp(-np.square((ax if cx else x) - cx) / (2 * sx * sx))
        np.add(out, np.exp(-np.square(y - cy) / (2 * sy * sy)) * (u * np.float32(height)), out=out)

    smile, age = view.smile, max(person.skin.age - 30, 0) / 50
    bump(0.035 + s.brow_ridge, s.eye_x * 0.85, s.brow_y + 0.03, 0.20, 0.07)
    bump(s.brow_ridge * 0.6, 0, s.brow_y + 0.02, 0.10, 0.09)
    bump(-s.eye_depth, s.eye_x * 0.9, -0.01, 0.17, 0.10)
    bump(-0.10, 0.17, 0.02, 0.06, 0.10)
    bump(0.062, s.eye_x, 0.0, 0.105, 0.085)
    bump(s.cheekbone + 0.03 * max(smile, 0), 0.44, 0.30 - 0.02 * smile, 0.17, 0.12)
    bump(-s.hollow - 0.02 * age, 0.50, 0.62, 0.14, 0.16)
    bump(-0.025, 0.68, -0.30, 0.12, 0.16)
    bump(0.035, 0, 0.70, 0.26, 0.16)
    bump(s.chin_bump, 0, s.chin_y - 0.12, 0.16, 0.09)
    bump(-0.045, 0, mouth.y + s.lip_lower + 0.085, 0.15, 0.04)
    bump(-0.014 - 0.022 * age, s.eye_x * 0.93, 0.115, 0.11, 0.022)
    # The nose: a ridge whose height and width follow y, cut off under the tip.
    base = y + np.float32(1.6) * np.square(np.minimum(ax, 0.2))  # the underside rises from the columella to the sides
    t = np.clip((y + 0.10) / (s.nose_y + 0.10), 0, 1)
    ridge = s.nose_tip * (0.24 + 0.76 * t**1.45) + s.nose_bump * np.exp(-np.square((t - 0.45) / 0.18))
    ridge = (
        ridge
        * smoothstep(-0.24, 0.02, y)
        * (
            1
            - 0.62 * smoothstep(s.nose_y - 0.16, s.nose_y, y)
            - 0.38 * smoothstep(s.nose_y - 0.02, s.nose_y + 0.15, base)
        )
    )
    breadth = s.nose_bridge * 0.95 + (0.100 - s.nose_bridge * 0.95) * t**2.2
    out += ridge * (
        0.72 * np.exp(-0.5 * np.square(ax / breadth)) + 0.28 * np.exp(-0.5 * np.square(ax / (breadth * 1.9)))
    )
    tip = np.exp(-np.square(base - s.nose_y) / (2 * 0.080**2) - np.square(x) / (2 * 0.088**2))
    out += np.float32(0.50 * s.nose_tip) * tip
    bump(0.030, 0, s.nose_y + 0.085, 0.022, 0.045)
    bump(0.100, s.nose_width - 0.032, s.nose_y + 0.012, 0.043, 0.047)
    bump(-0.028, s.nose_width - 0.003, s.nose_y - 0.045, 0.018, 0.030)
    # Fold from the nostril to beside the mouth, deeper with a smile and with age.
    fold_x = s.nose_width + 0.045 + (y - s.nose_y) * (0.42 + 0.12 * smile)
    fold = np.exp(-np.square((ax - fold_x) / 0.030)) * smoothstep(s.nose_y - 0.06, s.nose_y + 0.06, y)
    out -= (
        np.float32(0.012 + 0.022 * max(smile, 0) + 0.020 * age)
        * fold
        * (1 - smoothstep(mouth.y - 0.06, mouth.y + 0.06, y))
    )
    out -= (
        0.010
        * np.exp(-np.square(x / 0.026))
        * smoothstep(s.nose_y + 0.1, s.nose_y + 0.15, y)
        * (1 - smoothstep(mouth.y - 0.08, mouth.y - 0.04, y))
    )
    _lips(out, mouth, canvas)
    if age > 0:
        _wrinkles(out, person, age, view.brows, canvas)
    return out


def _lips(out: Plane, mouth: Mouth, canvas: Canvas) -> None:
    """Add the rounding of the lips in a window."""
    rows, cols = canvas.window(-mouth.half - 0.1, mouth.y - 0.25, mouth.half + 0.1, mouth.y + 0.4)
    x, y = canvas.xs[:, cols], canvas.ys[rows]
    t = np.clip(x / mouth.half, -1, 1)
    line, top, opening, bottom = mouth.line(t), mouth.top(t), mouth.opening(t), mouth.bottom(t)
    taper = np.sqrt(np.maximum(1 - t * t, 0))
    upper = np.clip((y - top) / np.maximum(line - top, 1e-3), 0, 1)
    lower = np.clip((y - opening) / np.maximum(bottom - opening, 1e-3), 0, 1)
    lift = 0.030 * np.sin(np.pi * upper**0.75) + 0.040 * np.sin(np.pi * lower**0.8)
    groove = 0.03 * np.exp(-np.square((y - 0.5 * (line + opening)) / (0.012 + 0.5 * (opening - line))))
    edge = np.exp(-(np.square(x / mouth.half) ** 4) * 0.3)
    corner = 0.022 * np.exp(
        -np.square((np.abs(x) - mouth.half) / 0.025) - np.square((y - mouth.line(np.ones_like(t))) / 0.03)
    )
    out[rows, cols] += (lift - groove) * taper * edge - corner


def _wrinkles(out: Plane, person: Person, age: float, brows: float, canvas: Canvas) -> None:
    """Add forehead lines, crow's feet and general roughness; the pattern is the person's."""
    s, rng = person.shape, stream(person.seed, 11, person.person)
    x, y = canvas.xs, canvas.ys
    sway = fractal(rng, canvas.shape, (4, 6), 2) * 0.03
    phase = (y + sway + 0.05 * np.square(x)) * np.float32(2 * np.pi / rng.uniform(0.085, 0.12))
    lines = (
        np.maximum(np.cos(phase), 0) ** 4
        * smoothstep(s.brow_y - 0.06, s.brow_y - 0.14, y)
        * np.exp(-(np.square(x / 0.42) ** 2))
    )
    out -= np.float32(0.008 * age * (1 + 0.8 * max(brows, 0))) * lines
    dx, dy = np.abs(x) - s.eye_x - s.eye_width, y - 0.0
    fan = np.maximum(np.cos(np.arctan2(dy + sway * 0.3, dx + 0.06) * 11), 0) ** 3
    out -= np.float32(0.008 * age) * fan * np.exp(-np.square((dx - 0.09) / 0.05) - np.square(dy / 0.1))
    out += np.float32(0.006 * age) * fractal(rng, canvas.shape, (18, 13), 3)


def build_head(person: Person, view: View, per_unit: float) -> Solid:
    """The head under the view's expression, its relief on a canvas of `per_unit` pixels per unit."""
    s = person.shape
    canvas, mouth = head_canvas(per_unit), mouth_of(person, view)
    c, top = s.cheek, -s.crown
    drop = 0.06 * view.mouth_open
    base = s.chin_y + drop
    jaw_y = 0.70 + 0.3 * (base - 1.13)
    width = [
        (top, 0.0), (top + 0.03, 0.27 * c), (top + 0.10, 0.52 * c), (top + 0.24, 0.79 * c), (top + 0.45,
        0.96 * c * s.forehead),
        (-0.40, 1.04 * c * s.forehead), (-0.10, 1.04 * c), (0.18, 1.01 * c), (0.45, 0.95 * c), (jaw_y, s.jaw * c),
        (base - 0.25, (0.50 * s.jaw + 0.22) * c), (base - 0.12, s.chin), (base - 0.045, 0.66 * s.chin),
        (base - 0.012, 0.34 * s.chin), (base, 0.0),
    ]  # fmt: skip
    front = [
        (top, 0.0), (top + 0.03, 0.24), (top + 0.12, 0.48), (top + 0.30, 0.68), (-0.62, 0.775), (-0.30, 0.835), (0.0,
        0.815),
        (0.3, 0.82), (0.55, 0.83), (mouth.y, 0.825), (base - 0.22, 0.79), (base - 0.10, 0.77), (base - 0.045, 0.68),
        (base - 0.012, 0.45), (base, 0.0),
    ]  # fmt: skip
    back = [
        (top, 0.0), (top + 0.03, 0.30), (top + 0.14, 0.66), (top + 0.36, 0.95), (-0.4, 1.08), (0.0, 1.05), (0.3,
        0.92), (0.55, 0.70),
        (0.8, 0.45), (base - 0.1, 0.30), (base, 0.0),
    ]  # fmt: skip
    return Solid.build(width, front, back, canvas, _relief(person, view, mouth, canvas))


def cavity(relief: Plane, per_unit: float) -> Plane:
    """Ambient occlusion 0..1 (1 open) from a relief map: how far a point lies below its blurred surroundings, at two
    scales."""
    occlusion = np.ones_like(relief)
    for radius, strength in ((0.16, 2.2), (0.04, 4.0)):
        below = blur(relief, radius * per_unit) - relief
        occlusion -= np.clip(below * np.float32(strength), -0.06, 0.27)
    return np.clip(occlusion, 0.15, 1.08)
