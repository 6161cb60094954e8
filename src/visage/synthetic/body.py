"""Neck, shoulders and clothes: a second solid under the head, with the same tracer and light.

It turns with only a part of the head's yaw and roll, which is what lets a neck twist instead of a bust rotate.
"""

from __future__ import annotations

import cv2
import numpy as np

from visage.synthetic.head import Layer
from visage.synthetic.light import Light, shade
from visage.synthetic.noise import Array, Plane, blur, fractal, linear, mix, smoothstep, stream
from visage.synthetic.people import Person
from visage.synthetic.pose import Canvas, Pose
from visage.synthetic.sessions import Clothes
from visage.synthetic.skin import skin_colour
from visage.synthetic.solid import Solid

_COLLAR_DEPTH = {"crew": 1.62, "vee": 2.05, "shirt": 1.80, "turtleneck": 1.30, "scoop": 1.95, "jacket": 2.15}


def build_body(person: Person, clothes: Clothes, per_unit: float) -> Solid:
    """Neck and torso; the relief holds collarbones, neck cords and the folds of the cloth."""
    s = person.shape
    canvas = Canvas(-2.6, 0.5, 2.6, 4.2, per_unit)
    n, b = s.neck, s.shoulder
    width = [
        (0.3, n * 0.5), (0.75, n * 0.80), (1.02, n * 0.97), (1.25, n * 1.03), (1.42, n * 1.16), (1.55, n * 1.48),
        (1.67, 0.54 * b), (1.80, 0.76 * b),
        (2.0, 0.93 * b),
        (2.35, 1.03 * b), (3.2, 1.02 * b), (4.6, 0.98 * b),
    ]  # fmt: skip
    front = [
        (0.3, 0.30),
        (1.0, 0.30),
        (1.4, 0.33),
        (1.6, 0.40),
        (1.8, 0.52),
        (2.1, 0.66),
        (2.6, 0.80),
        (3.4, 0.86),
        (4.6, 0.86),
    ]
    back = [(0.3, 0.5), (1.2, 0.52), (1.6, 0.62), (2.1, 0.70), (3.0, 0.75), (4.6, 0.75)]
    x, y = canvas.xs, canvas.ys
    ax = np.abs(x)
    relief = (
        0.035
        * np.exp(-np.square((y - 1.80 + 0.10 * ax) / 0.045))
        * smoothstep(0.10, 0.22, ax)
        * smoothstep(1.3, 0.9, ax)
    )
    relief = relief + 0.035 * np.exp(-np.square((ax - 0.34 + 0.42 * (y - 1.2)) / 0.06)) * smoothstep(1.85, 1.6, y)
    relief -= 0.03 * np.exp(-np.square(x / 0.08) - np.square((y - 1.76) / 0.07))
    if person.sex == "male":
        relief += 0.05 * np.exp(-np.square(x / 0.07) - np.square((y - 1.36) / 0.09))
    rng = stream(clothes.seed, 21)
    folds = fractal(rng, canvas.shape, (4, 6), 3, 0.6) * 0.05 + fractal(rng, canvas.shape, (3, 14), 2) * 0.03
    worn = _worn(clothes, canvas, person)
    relief = relief * (1 - worn) + (folds + 0.035) * worn
    return Solid.build(width, front, back, canvas, relief.astype(np.float32))


def _worn(clothes: Clothes, canvas: Canvas, person: Person) -> Plane:
    """Where cloth covers the body's front, HxW 0..1."""
    x, y = np.abs(canvas.xs), canvas.ys
    deep, n = _COLLAR_DEPTH[clothes.neckline], person.shape.neck
    if clothes.neckline == "turtleneck":
        edge = deep + 0.05 * np.square(x)
    elif clothes.neckline in ("vee", "jacket", "shirt"):
        edge = deep - (deep - 1.50) * np.minimum(x / (n * 1.05), 1.3)
    else:
        wide = n * (1.15 if clothes.neckline == "crew" else 1.9)
        edge = deep - (deep - 1.52) * np.minimum(np.square(x / wide), 1.2)
    return smoothstep(-0.012, 0.012, y - edge) * np.ones_like(x)


def _cloth(clothes: Clothes, canvas: Canvas, worn: Plane, person: Person) -> Array:
    rng = stream(clothes.seed, 22)
    x, y = canvas.xs, canvas.ys
    first, second = (np.clip(linear(c), 0.012, 0.8) for c in clothes.colours)
    weave = fractal(rng, canvas.shape, (160, 220), 2)
    pitch = float(rng.uniform(0.12, 0.4))
    if clothes.pattern == "stripes":
        t = smoothstep(-0.1, 0.1, np.sin((y if rng.random() < 0.6 else x) * np.float32(2 * np.pi / pitch)) + 0 * x * y)
    elif clothes.pattern == "check":
        t = 0.5 * (
            smoothstep(-0.2, 0.2, np.sin(x * (2 * np.pi / pitch)))
            + smoothstep(-0.2, 0.2, np.sin(y * (2 * np.pi / pitch)))
        )
    elif clothes.pattern == "print":
        t = smoothstep(0.25, 0.35, fractal(rng, canvas.shape, (9, 12), 2))
    elif clothes.pattern == "knit":
        t = 0.25 + 0.25 * np.sin(x * 75 + np.sin(y * 60) * 1.2)
    else:
        t = 0.06 * fractal(rng, canvas.shape, (5, 7), 3)
    cloth = mix(first, second, np.clip(t, 0, 1).astype(np.float32)) * (1 + 0.14 * weave)[..., None]
    if clothes.neckline in ("crew", "scoop", "turtleneck"):
        band = blur(worn, 0.05 * canvas.per_unit)
        cloth *= (1 - 0.25 * smoothstep(0.10, 0.0, np.abs(band - 0.72)))[..., None]
    if clothes.neckline in ("shirt", "jacket"):
        ax, n = np.abs(x), person.shape.neck
        flap = smoothstep(0.0, 0.02, y - 1.5) * smoothstep(
            0.30, 0.27, np.abs(ax - n * 0.62 - (1.95 - y) * 0.35) + 0.25 * (y - 1.5)
        )
        flap = flap * smoothstep(2.12, 2.08, y + 0.3 * ax)
        cloth = mix(
            cloth,
            cloth * 1.25 if clothes.neckline == "shirt" else np.broadcast_to(second * 0.9 + 0.02, cloth.shape),
            flap,
        )
        rim = np.abs(flap - blur(flap, 0.02 * canvas.per_unit))
        cloth *= (1 - 0.8 * np.clip(rim, 0, 0.6))[..., None]
    return cloth


def draw_body(person: Person, clothes: Clothes, light: Light, body: Solid, pose: Pose, above: Layer) -> Layer:
    """Trace and light neck and torso; `above` is the head, which shades the neck."""
    canvas = body.canvas
    size = pose.size
    worn = _worn(clothes, canvas, person)
    tone = fractal(stream(person.seed, 23, person.person), canvas.shape, (10, 14), 3)
    skin = (1 + 0.07 * tone)[..., None] * skin_colour(person) * np.array((0.98, 0.90, 0.87), np.float32)
    albedo = mix(skin, _cloth(clothes, canvas, worn, person), worn)
    seam = blur(worn, 0.05 * canvas.per_unit)
    albedo *= (1 - 0.55 * seam * (1 - worn))[..., None]

    reach = np.array([(x, y, z) for x in (-2.4, 2.4) for y in (0.4, 4.0) for z in (-0.6, 0.9)], np.float32)
    x0, y0, x1, y1 = pose.bounds(reach)
    box = (x0, y0, max(x1, x0 + 2), max(y1, y0 + 2))
    seen = body.trace(pose, box, 1.3, steps=13)
    x, y, _ = seen.point
    cloth = canvas.sample(worn, x, y)
    relief = canvas.sample(np.ascontiguousarray(blur(body.relief, 0.08 * canvas.per_unit) - body.relief), x, y)
    occlusion = np.clip(1 - 4 * relief, 0.4, 1.05)
    # The head stands over the neck: its blurred outline, moved away from the key, is the cast shadow; moved straight
    # down, the occlusion.
    outline = np.zeros((size, size), np.float32)
    hx0, hy0, hx1, hy1 = above.box
    outline[hy0:hy1, hx0:hx1] = above.cover
    lx, ly, lz = light.key_dir
    move = 0.42 * pose.scale / max(lz + 0.35, 0.35)
    shifted = np.array(((1, 0, -lx * move), (0, 1, -ly * move)), np.float32)
    cast = cv2.warpAffine(blur(outline, (0.05 + light.softness) * pose.scale), shifted, (size, size))
    near = cv2.warpAffine(
        blur(outline, 0.12 * pose.scale), np.array(((1, 0, 0), (0, 1, 0.10 * pose.scale)), np.float32), (size, size)
    )
    by, bx = slice(box[1], box[3]), slice(box[0], box[2])
    fade = smoothstep(2.6, 1.7, y)
    occlusion = occlusion * (1 - 0.80 * near[by, bx] * fade)
    shadow = 1 - 0.95 * cast[by, bx] * (0.35 + 0.65 * fade)
    irradiance, specular = shade(light, seen.normal, occlusion, shadow, wrap=(0.25, 0.16, 0.12), gloss=12)
    colour = irradiance * canvas.sample(albedo, x, y) + specular * (0.018 * (1 - cloth) + 0.006)[..., None]
    receive = np.clip(seen.normal @ np.asarray(light.key_dir, np.float32) + 0.2, 0, 1) * shadow * np.float32(0.7)
    depth = np.where(seen.coverage > 0.5, seen.depth, -9).astype(np.float32)
    return Layer(box, colour, seen.coverage, depth, 1 - cloth, receive)
