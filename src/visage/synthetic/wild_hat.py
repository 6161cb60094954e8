"""Hats, headbands, turbans and hoods: solids round the head, traced and lit as the head is.

A hat lies on everything, and hair is pressed under it first (`wild_hair.flatten`): what is drawn above its brim is hat
alone, and the labels need no special case.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from visage.synthetic.light import Light, shade
from visage.synthetic.noise import Array, Plane, blur, fractal, smoothstep
from visage.synthetic.people import Person
from visage.synthetic.pose import PIVOT, Canvas, Pose, euler
from visage.synthetic.solid import Solid, Surface
from visage.synthetic.wild_background import some_colour
from visage.synthetic.wild_plan import Plan
from visage.synthetic.wild_scene import Scene, put_blob

# Range of the lower edge's y, rise over the crown and room under the cloth, in head units.
_SIZES = {
    "beanie": (-0.62, -0.25, 0.16, 0.06), "cap": (-0.60, -0.42, 0.06, 0.06), "brim": (-0.62, -0.45, 0.22, 0.05),
    "headband": (-0.72, -0.50, 0.0, 0.05), "turban": (-0.58, -0.45, 0.2, 0.16), "hood": (-0.1, -0.1, 0.25, 0.24),
}  # fmt: skip
_CENTRE = np.array((0.0, -0.4, -0.1), np.float32)


@dataclass(frozen=True)
class Hat:
    """`line` (y, head units) and `slope` (per z) of its lower edge, `room` it leaves to hair, `pose` its own."""

    kind: str
    line: float
    slope: float
    room: float
    pose: Pose
    surface: Surface
    colours: tuple[Array, Array]


def _profile(head: Solid, kind: str, top: float, line: float, room: float) -> Solid:
    """The hat's solid: the head at `line`, grown by `room`, closed towards `top`."""
    at = int((min(line, 0.1) - head.top) / (head.bottom - head.top) * (len(head.width) - 1))
    wide, front, back = (
        max(float(v[at]), float(v[: at + 1].max())) + room for v in (head.width, head.front, head.back)
    )
    power, taper = {"brim": (9.0, 0.14), "turban": (3.0, -0.25)}.get(kind, (2.6, 0.0))
    height = np.linspace(0, 1, 9)
    if kind == "headband":
        shape = np.array((0.97, 0.99, 1, 1, 1, 1, 1, 0.99, 0.97))
    else:
        shape = np.sqrt(np.maximum(1 - height**power, 0.0004)) * (1 - taper * height)
    ys = line + (top - line) * height
    points = [[(float(y), float(s * size)) for y, s in zip(ys[::-1], shape[::-1], strict=True)]
              for size in (wide, front, back)]  # fmt: skip
    if kind == "hood":  # falls over neck and shoulders
        for rows, size in zip(points, (wide, front, back), strict=True):
            rows.extend([(line + 0.7, size * 1.0), (line + 1.2, size * 1.02), (1.75, size * 1.25)])
    canvas = Canvas(-1.2, -1.9, 1.2, 1.9, 12.0)
    return Solid.build(points[0], points[1], points[2], canvas, np.zeros(canvas.shape, np.float32))


def build_hat(head: Solid, pose: Pose, plan: Plan) -> Hat | None:
    """The hat of the plan in the picture's frame, None without one or where it lies outside the picture."""
    kind = plan.hat
    if kind == "none":
        return None
    rng = plan.stream(30)
    lowest, highest, rise, room = _SIZES[kind]
    line = float(rng.uniform(lowest, highest))
    top = line - float(rng.uniform(0.1, 0.3)) if kind == "headband" else head.top - rise * float(rng.uniform(0.6, 1.4))
    tilt = 0.0 if kind == "hood" else float(rng.normal(-0.16, 0.08))
    rotation = pose.rotation @ euler(0.0, tilt, float(rng.normal(0, 0.05)))
    move = (pose.rotation - rotation) @ (_CENTRE - PIVOT)
    offset = (pose.offset[0] + float(move[0]), pose.offset[1] + float(move[1]))
    own = Pose(rotation.astype(np.float32), offset, pose.distance, pose.scale, pose.size)
    solid = _profile(head, kind, top, line, room)
    half = float(max(solid.width.max(), solid.front.max(), solid.back.max()))
    corners = np.array([(x, y, z) for x in (-half, half) for y in (solid.top, solid.bottom) for z in (-half, half)],
                       np.float32)  # fmt: skip
    box = own.bounds(corners)
    if box[2] - box[0] < 4 or box[3] - box[1] < 4:
        return None
    surface = solid.trace(own, box, half + 0.1)
    colours = (np.clip(some_colour(rng, 0.5), 0.006, 0.8), np.clip(some_colour(rng, 0.3), 0.006, 0.8))
    return Hat(kind, line, float(np.tan(tilt)), room, own, surface, colours)


def _cloth(hat: Hat, plan: Plan, scale: float) -> Array:
    """Albedo, hxwx3: plain, ribbed, striped or printed round the hat."""
    rng, (x, y, z) = plan.stream(31), hat.surface.point
    angle = np.arctan2(x, z)
    first, second = hat.colours
    t = np.zeros_like(x)
    kind = rng.random()
    if hat.kind == "beanie" or kind < 0.25:
        t = 0.35 + 0.35 * np.sin(angle * np.float32(rng.uniform(30, 70)))
    elif kind < 0.45:
        t = smoothstep(-0.2, 0.2, np.sin(y * np.float32(rng.uniform(8, 40))))
    elif kind < 0.6:
        t = smoothstep(0.1, 0.3, fractal(rng, x.shape, (9, 9), 3))
    if hat.kind == "brim":
        t = smoothstep(0.02, 0.0, np.abs(y - hat.line + 0.12) - 0.1)
    shade_of = 1 + 0.12 * fractal(rng, x.shape, (max(3, scale / 4), max(3, scale / 4)), 3)
    return (first + (second - first) * t[..., None].astype(np.float32)) * shade_of[..., None]


def _opening(hat: Hat) -> Plane:
    """Where a hood is open, hxw 0..1: an oval before the face."""
    x, y, z = hat.surface.point
    gauge = np.square(x / np.float32(0.66)) + np.square((y - np.float32(0.25)) / np.float32(1.05))
    return smoothstep(1.06, 0.96, gauge) * smoothstep(-0.05, 0.08, z)


def put_lining(scene: Scene, hat: Hat | None) -> None:
    """The inside of a hood, behind head and hair."""
    if hat is not None and hat.kind == "hood":
        dark = np.broadcast_to(hat.colours[0] * np.float32(0.10), (*hat.surface.coverage.shape, 3))
        scene.put(dark, hat.surface.coverage, hat.surface.box)


def put_hat(scene: Scene, hat: Hat | None, person: Person, light: Light, plan: Plan) -> None:
    """The hat over everything so far, with its visor or brim and its shadow."""
    if hat is None:
        return
    rng, seen, pose = plan.stream(32), hat.surface, hat.pose
    x0, y0, x1, y1 = seen.box
    cover = seen.coverage * (1 - _opening(hat)) if hat.kind == "hood" else seen.coverage
    whole = np.zeros(scene.alpha.shape, np.float32)
    whole[y0:y1, x0:x1] = cover
    low = np.array(((1, 0, -0.06 * light.key_dir[0] * pose.scale), (0, 1, 0.09 * pose.scale)), np.float32)
    scene.dim(cv2.warpAffine(blur(whole, 0.05 * pose.scale + 0.4), low, whole.shape[::-1]) * np.float32(0.5))
    if hat.kind in ("cap", "brim"):
        _put_brim(scene, hat, person, light, rng)
    ones = np.ones_like(cover)
    irradiance, specular = shade(light, seen.normal, ones, ones, wrap=(0.25, 0.2, 0.18), gloss=10)
    gloss = np.float32(rng.choice((0.004, 0.02)))
    scene.put((irradiance * _cloth(hat, plan, pose.scale) + specular * gloss).astype(np.float32), cover, seen.box)


def _put_brim(scene: Scene, hat: Hat, person: Person, light: Light, rng: np.random.Generator) -> None:
    half = float(person.shape.cheek) + 0.03
    deep = 0.86 + hat.room
    angle = np.linspace(-1.25, 1.25, 24) if hat.kind == "cap" else np.linspace(0, 2 * np.pi, 48)
    if hat.kind == "cap":
        reach = float(rng.uniform(0.4, 0.65))
        back = float(rng.random() < 0.15)
        inner = np.stack((half * np.sin(angle), np.full(24, hat.line), deep * np.cos(angle)), -1)
        outer = inner[::-1] + np.stack((0 * angle, 0.10 + 0.12 * np.square(np.sin(angle[::-1])),
                                        reach * np.cos(angle[::-1]) ** 0.5), -1)  # fmt: skip
        ring = np.concatenate((inner, outer)) * np.array((1, 1, 1 - 2 * back))
    else:
        wide = float(rng.uniform(0.25, 0.75))
        ring = np.stack(((half + wide) * np.sin(angle), hat.line + 0.10 * np.cos(2 * angle),
                         (deep + wide) * np.cos(angle) - 0.05), -1)  # fmt: skip
    xy, _ = hat.pose.project(ring.astype(np.float32))
    mask = np.zeros(scene.alpha.shape, np.uint8)
    cv2.fillPoly(mask, [np.round((xy - 0.5) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    under = np.float32(0.55 if light.key_dir[1] > -0.2 else 0.9)
    put_blob(scene, mask, hat.colours[0] * under, light, 0.05 * hat.pose.scale + 1)
