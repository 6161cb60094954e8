"""Eyes: sclera, iris, lids, lashes and catch light, painted on the head's frontal canvas.

The lids are curves in the eye's own tilted frame and the ball is shaded as a sphere under them; a sclera of one flat
white is what makes a drawn eye stare.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from visage.synthetic.light import Light
from visage.synthetic.noise import Array, Plane, linear, mix, smoothstep, stream
from visage.synthetic.people import IRIS_COLOURS, Person
from visage.synthetic.pose import Canvas
from visage.synthetic.sessions import View
from visage.synthetic.skin import Coat, strokes


@dataclass(frozen=True)
class Lids:
    """Lid curves of one eye in its frame (u outward, v down, units), t in [-1, 1] from inner to outer corner."""

    half: float
    upper_rise: float
    lower_drop: float

    def upper(self, t: Array) -> Array:
        """v of the upper lid's edge: fuller on the inner third."""
        arch = np.maximum(1 - np.abs(t - 0.06 * (1 - t * t)) ** np.float32(2.3), 0) ** np.float32(0.8)
        return -np.float32(self.upper_rise) * arch

    def lower(self, t: Array) -> Array:
        """v of the lower lid's edge: lowest on the outer third."""
        return np.float32(self.lower_drop) * np.maximum(1 - np.square(t) + 0.25 * t * (1 - t * t), 0)


def lids_of(person: Person, view: View) -> Lids:
    """The lids at the view's blink and smile."""
    s = person.shape
    openness = float(np.clip(1 - view.blink, 0.02, 1.2))
    squint = 1 - 0.25 * max(view.smile, 0)
    rise = s.eye_open * (1.18 * openness - 0.25 * (1 - openness)) * (0.6 + 0.4 * squint)
    return Lids(s.eye_width, rise, s.eye_open * (0.55 + 0.25 * openness) * squint)


def paint_eyes(coat: Coat, person: Person, view: View, light: Light, canvas: Canvas) -> tuple[Plane, Plane]:
    """Paint both eyes into `coat`; returns `opening` (HxW 0..1, the visible ball) and `glint` (HxW, catch light to
    add under the key)."""
    opening, glint = np.zeros(canvas.shape, np.float32), np.zeros(canvas.shape, np.float32)
    lids = lids_of(person, view)
    for side in (-1, 1):
        _paint_eye(coat, opening, glint, person, view, light, canvas, lids, side)
    return opening, glint


def _paint_eye(
    coat: Coat,
    opening: Plane,
    glint: Plane,
    person: Person,
    view: View,
    light: Light,
    canvas: Canvas,
    lids: Lids,
    side: int,
) -> None:
    s, rng = person.shape, stream(person.seed, 13, person.person)
    reach = s.eye_width + 0.12
    rows, cols = canvas.window(side * s.eye_x - reach, -0.24, side * s.eye_x + reach, 0.2)
    dx, dy = (canvas.xs[:, cols] - side * s.eye_x) * side, canvas.ys[rows]
    ct, st = np.float32(np.cos(s.eye_tilt)), np.float32(np.sin(s.eye_tilt))
    u, v = dx * ct - dy * st, dx * st + dy * ct
    aa = np.float32(0.5 / canvas.per_unit + 0.003)
    t = np.clip(u / np.float32(lids.half), -1, 1)
    upper, lower = lids.upper(t), lids.lower(t)
    ends = smoothstep(1.04, 0.96, np.abs(u) / np.float32(lids.half))
    visible = smoothstep(-1, 1, (v - upper) / aa) * smoothstep(1, -1, (v - lower) / aa) * ends
    albedo = coat.albedo[rows, cols]

    # Lids: crease, lash line, wet lower rim.
    crease_depth = max(s.crease, 0.0) * (0.5 + 0.5 * np.clip(1 - view.blink, 0, 1)) + 0.012
    crease = np.exp(-np.square((v - upper + crease_depth) / 0.009)) * smoothstep(1.25, 0.8, np.abs(u / lids.half))
    albedo *= 1 - np.float32(0.42 * min(max(s.crease, 0) / 0.02, 1)) * crease[..., None] * np.array(
        (0.75, 0.95, 1.0), np.float32
    )
    hollow = np.exp(-np.square((v - lower - 0.028) / 0.014)) * smoothstep(1.15, 0.7, np.abs(u / lids.half))
    albedo *= 1 - 0.10 * hollow[..., None]
    rim = np.exp(-np.square((v - lower) / 0.010)) * smoothstep(1.02, 0.9, np.abs(t))
    albedo += rim[..., None] * np.array((0.05, 0.012, 0.012), np.float32) * (0.4 + albedo)

    # The ball.
    gx, gy = view.gaze[0] * side * 0.055, view.gaze[1] * 0.04
    du, dv = u - np.float32(gx), v - np.float32(gy - 0.006)
    r = np.sqrt(du * du + dv * dv) / np.float32(s.iris)
    sphere = np.clip(1.06 - 0.42 * np.square(u / lids.half) - 0.5 * np.square(v / 0.12), 0.3, 1)
    white = np.array((0.40, 0.355, 0.335), np.float32) * sphere[..., None]
    veins = np.array((0.0, 0.10, 0.09), np.float32) * smoothstep(0.4, 1.0, np.abs(t))[..., None]
    inner = smoothstep(-0.80, -0.98, u / np.float32(lids.half))
    ball = mix(white - veins, np.broadcast_to(np.array((0.50, 0.22, 0.20), np.float32), white.shape), inner * 0.8)
    fibres = rng.normal(0, 1, 72).astype(np.float32)
    angle = np.arctan2(dv, du) / np.float32(2 * np.pi)
    spoke = np.interp((angle % 1) * 72, np.arange(73), np.append(fibres, fibres[0])).astype(np.float32)
    colour = linear(IRIS_COLOURS[person.iris])
    tone = (1 + 0.22 * spoke * smoothstep(0.3, 0.6, r)) * (0.72 + 0.5 * np.exp(-np.square((r - 0.52) / 0.18)))
    tone = tone * (1 + 0.45 * np.clip(dv / s.iris, -1, 1)) * (1 - 0.72 * smoothstep(0.78, 1.0, r))
    iris = np.clip(tone, 0.05, 2)[..., None] * colour
    pupil = smoothstep(0.44, 0.34, r)[..., None]
    soft = np.float32(aa / s.iris * 0.8)
    ball = mix(ball, iris * (1 - 0.95 * pupil), smoothstep(1 + soft, 1 - soft, r))
    lid_shadow = 0.38 + 0.62 * smoothstep(0.0, 0.042, v - upper)
    ball *= (lid_shadow * (1 - 0.25 * smoothstep(0.02, 0.0, lower - v)))[..., None]
    coat.albedo[rows, cols] = mix(albedo, ball, visible)
    coat.gloss[rows, cols] *= 1 - 0.8 * visible
    opening[rows, cols] = np.maximum(opening[rows, cols], visible)

    # Catch light: where the cornea mirrors the key, a soft rectangle; a faint second one from the fill below.
    lx, ly, lz = light.key_dir
    hx, hy = lx * 0.5 * side, ly * 0.4 - 0.18
    spark = np.exp(-((np.square((du - hx * s.iris) / 0.010) + np.square((dv - hy * s.iris) / 0.011)) ** 2))
    low = 0.05 * np.exp(-(np.square((du + hx * s.iris) / 0.02) + np.square((dv - 0.55 * s.iris) / 0.012)))
    glint[rows, cols] += (spark * np.float32(0.9 * np.clip(lz + 0.3, 0, 1)) + low) * visible * (r < 1.3)
    _lashes(coat, person, canvas, lids, side, rng, view)


def _lashes(
    coat: Coat, person: Person, canvas: Canvas, lids: Lids, side: int, rng: np.random.Generator, view: View
) -> None:
    s = person.shape
    female = person.sex == "female"
    count = 46
    t = np.linspace(-0.86, 1.0, count, dtype=np.float32)
    jitter = rng.normal(0, 1, (2, count)).astype(np.float32)
    length = (0.036 if female else 0.024) * (0.55 + 0.45 * np.clip(t + 0.6, 0, 1)) * (1 + 0.2 * jitter[0])
    lean = 0.75 * t + 0.14 * jitter[1]
    k = np.linspace(0, 1, 4, dtype=np.float32)
    u = t[:, None] * lids.half + length[:, None] * k * np.sin(lean[:, None] + 0.2 * k)
    closing = float(np.clip(view.blink, 0, 1))
    v = (
        lids.upper(t)[:, None]
        - length[:, None] * k * (0.15 + 0.85 * k * (1 - 2 * closing)) * np.cos(lean[:, None])
        + 0.010 * k * (1 - k)
    )
    edge = np.stack((t * lids.half, lids.upper(t)), -1)[None]
    ct, st = np.cos(s.eye_tilt), np.sin(s.eye_tilt)

    def place(local: Array) -> Array:
        x = local[..., 0] * ct + local[..., 1] * st
        y = -local[..., 0] * st + local[..., 1] * ct
        return np.stack((side * (x + s.eye_x), y), -1).astype(np.float32)

    rows, cols = canvas.window(side * s.eye_x - s.eye_width - 0.1, -0.24, side * s.eye_x + s.eye_width + 0.1, 0.2)
    hairs = strokes(canvas, place(np.stack((u, v), -1)))[rows, cols]
    liner = strokes(canvas, place(edge), max(1, round((0.016 if female else 0.010) * canvas.per_unit)))[rows, cols]
    fine = min(1.0, canvas.per_unit / 150)
    alpha = np.clip(
        hairs * np.float32((0.62 if female else 0.4) * fine) + liner * np.float32(0.78 if female else 0.6), 0, 0.92
    )
    dark = np.array((0.022, 0.015, 0.013), np.float32)
    coat.albedo[rows, cols] = mix(coat.albedo[rows, cols], np.broadcast_to(dark, (*alpha.shape, 3)), alpha)
