"""What is done to hair beyond the portraits' own: dyes, pinned-up hair, hair under a hat, hair cropped to the scalp.

Hair is changed either as strands, before it is drawn, or as colour of the drawn buffers, whose coverage is left alone:
both keep the alpha exact.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from visage.synthetic.hair_draw import Hair, palette
from visage.synthetic.hair_strands import Strands
from visage.synthetic.light import Light
from visage.synthetic.noise import Array, Plane, fractal, linear, smoothstep
from visage.synthetic.people import Person
from visage.synthetic.pose import Pose
from visage.synthetic.sessions import Wash
from visage.synthetic.solid import Solid
from visage.synthetic.wild_plan import Plan

_LUMA = np.array((0.25, 0.60, 0.15), np.float32)


def flatten(strands: Strands, head: Solid, line: float, slope: float, room: float) -> Strands:
    """Hair pressed under a hat: points above the plane y = line + slope z come to within `room` units of the head."""
    path = strands.path
    cell = (path[..., 1] - head.top) * ((len(head.width) - 1) / (head.bottom - head.top))
    cell = np.clip(cell, 0, len(head.width) - 1).astype(np.intp)
    wide, deep = head.width[cell], np.where(path[..., 2] > 0, head.front[cell], head.back[cell])
    out = np.sqrt(np.square(path[..., 0] / wide) + np.square(path[..., 2] / deep)) + np.float32(1e-4)
    near = np.minimum(out, 1 + np.float32(room) / np.maximum(wide, np.float32(0.3))) / out
    # Pressed fully above the plane, released over the 0.3 units below it.
    free = smoothstep(0.0, 0.3, path[..., 1] - np.float32(line) - np.float32(slope) * path[..., 2])
    pull = near + (1 - near) * free
    pressed = path.copy()
    pressed[..., 0] *= pull
    pressed[..., 2] *= pull
    pressed[..., 1] = np.maximum(pressed[..., 1], np.float32(head.top) - np.float32(0.04) - 9 * free)
    return replace(strands, path=pressed)


def pinned(strands: Strands, plan: Plan) -> Strands:
    """The strands and those of a bun, a top knot, two buns or a pony tail."""
    rng, points = plan.stream(20), strands.path.shape[1]
    many = max(200, len(strands.path) // 4)
    kind = float(rng.random())
    along = np.linspace(0, 1, points, dtype=np.float32)[None, :, None]
    if kind < 0.6:
        high = float(rng.uniform(-1.45, -0.3))
        centre = np.array((0.0, high, -0.35 - 0.6 * max(high + 1.2, 0.0)), np.float32)
        radius = float(rng.uniform(0.22, 0.42))
        axis = rng.normal(0, 0.45, (many, 3)).astype(np.float32) + np.array((0.2, 0.3, 1.0), np.float32)
        axis /= np.linalg.norm(axis, axis=1, keepdims=True)
        first = rng.standard_normal((many, 3), dtype=np.float32)
        first -= axis * (first * axis).sum(1, keepdims=True)
        first /= np.linalg.norm(first, axis=1, keepdims=True)
        second = np.cross(axis, first)
        turn = along * np.float32(rng.uniform(1.2, 3.5))
        lift = (rng.uniform(-0.8, 0.8, (many, 1, 1)) * axis[:, None]).astype(np.float32)
        ring = first[:, None] * np.cos(turn) + second[:, None] * np.sin(turn)
        ball = ring * np.sqrt(np.maximum(1 - np.square(lift).sum(-1, keepdims=True), 0.05)) + lift
        ball = ball * np.float32(radius) * rng.uniform(0.85, 1.06, (many, 1, 1)).astype(np.float32)
        path = centre + ball
        if kind < 0.1:  # one on each side
            side = np.where(rng.random(many) < 0.5, -1, 1).astype(np.float32)
            path = ball + np.array((0, -0.95, -0.3), np.float32)
            path[..., 0] += 0.5 * side[:, None]
    else:
        swing, high, long = float(rng.normal(0, 0.5)), float(rng.uniform(-0.9, 0.2)), float(rng.uniform(0.9, 2.4))
        body = rng.standard_normal((many, 1, 3)).astype(np.float32) * np.array((0.13, 0.08, 0.10), np.float32)
        x = np.float32(swing) * along**0.7 + body[..., :1] * (0.4 + 1.2 * np.sin(np.pi * along**0.8))
        y = high - 0.25 * np.sin(np.pi * np.minimum(along * 2.2, 1)) + np.float32(long) * along**1.3 + body[..., 1:2]
        z = -0.85 - 0.35 * np.sin(np.pi * along**0.6) + body[..., 2:] + 0.0 * y
        path = np.concatenate((x, y, z), -1)
    tint = (0.9 * rng.standard_normal(many)).astype(np.float32)
    layer = rng.uniform(0.3, 1.0, many).astype(np.float32)
    return Strands(
        np.concatenate((path.astype(np.float32), strands.path)), np.concatenate((layer, strands.layer)),
        np.concatenate((tint, strands.tint)), np.concatenate((np.zeros(many, bool), strands.stray)),
    )  # fmt: skip


def crop_coat(hair: Hair, person: Person, wash: Wash, light: Light, cover: Plane, plan: Plan) -> Hair:
    """Short hair made dense: where roots stand close the scalp under them counts as hair and takes its colour.

    Cropped hair covers the scalp all round the head; strands alone, wide enough to be drawn, leave it spotted. `cover`
    is the head's coverage (size x size).
    """
    rng, size = plan.stream(21), cover.shape[0]
    albedo = palette(person, wash)[1]
    dense = hair.roots[..., 0] / (np.float32(0.92) - np.clip(1.2 * albedo[0], 0, 0.75))
    grain = fractal(rng, (size, size), (50, 50), 3, 0.9)
    under = smoothstep(0.42, 0.72, dense + 0.12 * grain) * cover
    open_ = 1 - hair.before[..., 3]
    if max(light.rim) > 0:
        lamp = 0.75 * np.asarray(light.key, np.float32) * max(light.key_dir[2] + 0.4, 0.15)
    else:
        lamp = 0.6 * np.asarray(light.key, np.float32) * max(light.key_dir[2] + 0.4, 0.2)
    colour = albedo * (lamp * np.float32(0.6) + np.asarray(light.sky, np.float32) * np.float32(0.6))
    before = hair.before.copy()
    share = under * open_
    before[..., :3] += share[..., None] * colour * np.exp(np.float32(0.5) * grain)[..., None]
    before[..., 3] += share
    return Hair(hair.behind, before, hair.roots)


def recolour(hair: Hair, person: Person, wash: Wash, plan: Plan, pose: Pose) -> Hair:
    """Dyes, ombre and streaks, and a little of each tint for everybody: colours are not eleven but a continuum."""
    rng, size = plan.stream(22), pose.size
    base = palette(person, wash)[1]
    light = np.float32(base @ _LUMA)
    drift = np.exp(rng.normal(0, (0.10, 0.04, 0.10))).astype(np.float32) * np.float32(np.exp(rng.normal(0, 0.2)))
    gain = np.broadcast_to(drift, (size, size, 3))
    if plan.has("dyed") or plan.has("ombre") or plan.has("streaks"):
        dye = linear(plan.dye) if plan.has("dyed") or rng.random() < 0.3 else base * np.array((4, 3, 2), np.float32)
        ratio = np.clip(dye, 0.01, 0.9) / (base if not plan.has("dyed") else light)
        share = np.ones((size, size), np.float32)
        if plan.has("ombre"):
            rows = (np.arange(size, dtype=np.float32) - size / 2) / np.float32(pose.scale) - np.float32(pose.offset[1])
            share = smoothstep(0.2, 1.4, rows)[:, None] * share
        if plan.has("streaks"):
            share = share * smoothstep(0.1, 0.5, fractal(rng, (size, size), (3, rng.uniform(25, 60)), 2))
        gain = 1 + (np.minimum(ratio, 14) - 1) * share[..., None]
    behind, before = (_gained(part, gain, plan.has("dyed")) for part in (hair.behind, hair.before))
    return Hair(behind, before, hair.roots)


def _gained(part: Array, gain: Array, grey_first: bool) -> Array:
    out = part.copy()
    colour = part[..., :3]
    if grey_first:
        colour = (colour @ _LUMA)[..., None]
    out[..., :3] = np.minimum(colour * gain, np.float32(1.5) * part[..., 3:])
    return out


def shine(hair: Hair, light: Light, plan: Plan, pose: Pose) -> Hair:
    """Bands of reflected sky or flash across the hair, far brighter than its colour: smooth hair mirrors windows."""
    rng, size = plan.stream(23), pose.size
    high = float(rng.uniform(-1.0, -0.2))
    flat = np.array([(x, high - 0.25 * (1 - x * x), 0.6) for x in (-0.7, 0.0, 0.7)], np.float32)
    (x0, y0), (x1, y1), (x2, y2) = pose.project(flat)[0]
    axis = np.arange(size, dtype=np.float32)
    bow = (y0 + y2) / 2 + (y1 - (y0 + y2) / 2) * (1 - np.square((axis - x1) / (abs(x2 - x0) / 2 + 1)))
    lean = (y2 - y0) / (x2 - x0 + 1e-3) * (axis - x1)
    off = (axis[:, None] - bow[None, :] - lean[None, :]) / np.float32(pose.scale * rng.uniform(0.08, 0.3))
    ragged = 1 + 0.6 * fractal(rng, (size, size), (4, 40), 3)
    band = np.exp(-np.square(off)) * np.clip(ragged, 0, 2) * np.float32(rng.uniform(0.05, 0.4))
    glow = band[..., None] * (np.asarray(light.sky, np.float32) + np.float32(0.5) * np.asarray(light.key, np.float32))
    before = hair.before.copy()
    before[..., :3] += before[..., 3:] * glow.astype(np.float32)
    return Hair(hair.behind, before, hair.roots)
