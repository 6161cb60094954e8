"""Albedo of the face: skin with its texture, lips and teeth, brows and beard, painted on the head's frontal canvas.

Blotches, pores, freckles and moles come from the person's stream, so they are the same in every session; only the
light on them changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from visage.synthetic.face_shape import Mouth
from visage.synthetic.noise import Array, Plane, blur, fractal, linear, mix, smoothstep, stream
from visage.synthetic.people import HAIR_COLOURS, SKIN_TONES, Person
from visage.synthetic.pose import Canvas
from visage.synthetic.sessions import View


@dataclass(frozen=True)
class Coat:
    """Paint of the face canvas: linear `albedo` (HxWx3), `gloss` (HxW specular strength), `bump` (HxW fine relief,
    units)."""

    albedo: Array
    gloss: Plane
    bump: Plane


def skin_colour(person: Person) -> Array:
    """Linear RGB of the person's bare skin."""
    skin = person.skin
    at = np.clip(skin.tone, 0, 1) * (len(SKIN_TONES) - 1)
    base = np.array([np.interp(at, range(len(SKIN_TONES)), [t[c] for t in SKIN_TONES]) for c in range(3)])
    tint = np.array(
        (1 + 0.03 * skin.redness, 1 + 0.012 * skin.undertone, 1 - 0.05 * skin.undertone - 0.04 * skin.redness)
    )
    return np.clip(linear(tuple(base)) * tint, 0.01, 0.9).astype(np.float32)


def strokes(canvas: Canvas, lines: Array, thickness: int = 1) -> Plane:
    """Coverage 0..1 (HxW) of (N, P, 2) polylines in units, anti-aliased at 1/16 pixel."""
    image = np.zeros(canvas.shape, np.uint8)
    cv2.polylines(
        image, list(np.round(canvas.pixels(lines) * 16).astype(np.int32)), False, 255, thickness, cv2.LINE_AA, 4
    )
    return image.astype(np.float32) / 255


def paint_face(person: Person, view: View, mouth: Mouth, canvas: Canvas) -> Coat:
    """Everything on the face but the eyes."""
    s, skin, rng = person.shape, person.skin, stream(person.seed, 12, person.person)
    x, y = canvas.xs, canvas.ys
    ax = np.abs(x)

    def spot(cx: float, cy: float, sx: float, sy: float) -> Plane:
        u = np.exp(-np.square((ax if cx else x) - cx) / (2 * sx * sx))
        return np.exp(-np.square(y - cy) / (2 * sy * sy)) * u

    colour = skin_colour(person)
    blotch = fractal(rng, canvas.shape, (5, 4), 4, 0.7)
    pores = fractal(rng, canvas.shape, (60, 44), 3, 0.8)
    albedo = np.empty((*canvas.shape, 3), np.float32)
    shade = 1 + np.float32(0.13 * skin.texture) * blotch + np.float32(0.11 * skin.texture) * pores
    albedo[:] = shade[..., None] * colour
    albedo[..., 1:] *= (1 - np.float32(0.05) * blotch - np.float32(0.04) * pores)[..., None]  # mottled by the blood
    blood = (0.35 + 0.5 * skin.redness) * (
        spot(0.40, 0.33, 0.15, 0.13) + 0.8 * spot(0, s.nose_y, 0.12, 0.09) + 0.4 * spot(0, s.chin_y - 0.1, 0.14, 0.1)
    )
    blood = np.clip(blood * (1 + 0.8 * blotch), 0, 1) * np.float32(1.0 - 0.5 * skin.tone)
    albedo *= 1 - blood[..., None] * np.array((0.02, 0.20, 0.18), np.float32)
    tired = (0.25 + 0.4 * max(skin.age - 30, 0) / 50) * (
        spot(s.eye_x * 0.92, 0.10, 0.10, 0.035) + 0.6 * spot(s.eye_x * 0.8, -0.08, 0.10, 0.05)
    )
    albedo *= 1 - tired[..., None] * np.array((0.18, 0.26, 0.22), np.float32)
    if skin.freckles > 0:
        dots = fractal(rng, canvas.shape, (46, 34), 2, 0.7)
        where = smoothstep(0.45, 0.9, dots) * (spot(0.30, 0.28, 0.24, 0.17) + 0.7 * spot(0, 0.28, 0.12, 0.16) + 0.15)
        albedo = mix(albedo, albedo * np.array((0.68, 0.50, 0.38), np.float32), np.clip(where * skin.freckles, 0, 1))
    for mx, my, radius in skin.moles:
        rows, cols = canvas.window(mx - 0.06, my - 0.06, mx + 0.06, my + 0.06)
        d = np.sqrt(np.square(x[:, cols] - mx) + np.square(y[rows] - my))
        albedo[rows, cols] *= 1 - 0.72 * smoothstep(radius * 1.5, radius * 0.7, d)[..., None]
    if skin.age > 50:
        stains = smoothstep(0.55, 0.8, fractal(rng, canvas.shape, (14, 11), 3)) * np.float32(
            0.02 * (skin.age - 50) * 0.5
        )
        albedo *= 1 - stains[..., None] * np.array((0.5, 0.7, 0.8), np.float32)
    gloss = (
        0.35 + 0.65 * (spot(0, -0.1, 0.2, 0.5) + spot(0, s.nose_y, 0.09, 0.09) + 0.6 * spot(0.38, 0.22, 0.14, 0.1))
    ) * (0.25 + 0.75 * skin.oil)
    gloss = (gloss * (1 + 0.35 * pores)).astype(np.float32)
    _nostrils(albedo, person, canvas)
    _paint_mouth(albedo, gloss, person, mouth, canvas, rng)
    _paint_beard(albedo, person, mouth, canvas, rng)
    _paint_brows(albedo, person, view, canvas, rng)
    return Coat(albedo, gloss, 0.0045 * skin.texture * pores)


def _nostrils(albedo: Array, person: Person, canvas: Canvas) -> None:
    s = person.shape
    cx, cy = s.nose_width * 0.50, s.nose_y + 0.062
    rows, cols = canvas.window(-0.25, cy - 0.1, 0.25, cy + 0.1)
    x, y = np.abs(canvas.xs[:, cols]) - cx, canvas.ys[rows] - cy
    y = y - 0.35 * x
    hole = smoothstep(1.25, 0.5, np.sqrt(np.square(x / (0.25 * s.nose_width)) + np.square(y / 0.019)))
    albedo[rows, cols] *= 1 - hole[..., None] * np.array((0.66, 0.78, 0.80), np.float32)


def _paint_mouth(
    albedo: Array, gloss: Plane, person: Person, mouth: Mouth, canvas: Canvas, rng: np.random.Generator
) -> None:
    rows, cols = canvas.window(-mouth.half - 0.08, mouth.y - 0.25, mouth.half + 0.08, mouth.y + 0.4)
    x, y = canvas.xs[:, cols], canvas.ys[rows]
    t = x / np.float32(mouth.half)
    inside = smoothstep(1.03, 0.93, np.abs(t))
    t = np.clip(t, -1, 1)
    line, top, opening, bottom = mouth.line(t), mouth.top(t), mouth.opening(t), mouth.bottom(t)
    aa = np.float32(0.6 / canvas.per_unit + 0.006)
    lips = smoothstep(-1, 1, (y - top) / aa) * smoothstep(1, -1, (y - bottom) / aa) * inside
    natural = person.skin.lip_tint < 0.4
    tint = np.array((0.80, 0.50, 0.50) if natural else (0.78, 0.22, 0.27), np.float32)
    base = skin_colour(person)
    pink = base * tint + np.array((0.03, 0.0, 0.005), np.float32)
    crinkle = fractal(rng, lips.shape, (3, 34), 2)
    pink = pink * (1 + 0.10 * crinkle - 0.18 * (y < line))[..., None]
    strength = np.float32(0.75 if natural else 0.5 + 0.45 * person.skin.lip_tint)
    patch = mix(albedo[rows, cols], pink, lips * strength)
    cavity = (
        smoothstep(-1, 1, (y - line) / aa) * smoothstep(1, -1, (y - opening) / aa) * inside * (opening - line > 0.004)
    )
    teeth = (
        smoothstep(0, 2, (y - line) / aa)
        * smoothstep(1, -1, (y - line - 0.062) / aa)
        * smoothstep(0.95, 0.55, np.abs(t))
    )
    gaps = 1 - 0.35 * np.exp(-np.square(((np.abs(x) / 0.052 + 0.5) % 1 - 0.5) / 0.07))
    dark = np.array((0.055, 0.014, 0.012), np.float32)
    enamel = np.array((0.66, 0.60, 0.50), np.float32) * (gaps * (1 - 0.45 * t * t))[..., None]
    patch = mix(patch, mix(np.broadcast_to(dark, patch.shape), enamel, teeth), cavity)
    seam = np.exp(-np.square((y - line) / np.float32(0.010 + 0.3 / canvas.per_unit))) * inside
    albedo[rows, cols] = patch * (1 - 0.62 * seam * (1 - cavity))[..., None]
    gloss[rows, cols] = gloss[rows, cols] * (1 - lips) + lips * np.float32(0.9 + 1.2 * person.skin.lip_tint)


def hair_tint(person: Person) -> Array:
    """Linear RGB of brows and beard: the hair's colour, a little darker, grey later than the head's."""
    grey = np.float32(0.6 * person.hair.grey)
    name = person.hair.colour if person.hair.colour not in ("grey", "white", "pink brown") else "dark brown"
    return linear(HAIR_COLOURS[name]) * np.float32(0.6) * (1 - grey) + linear((122, 118, 114)) * grey


def _paint_brows(albedo: Array, person: Person, view: View, canvas: Canvas, rng: np.random.Generator) -> None:
    s = person.shape
    count = int(60 + 1400 * s.brow_thick)
    u = np.sort(rng.random((2, count)), axis=1).astype(np.float32)
    across = rng.uniform(-1, 1, (2, count)).astype(np.float32)
    length = rng.uniform(0.030, 0.055, (2, count)).astype(np.float32)
    wild = rng.normal(0, 0.18, (2, count)).astype(np.float32)
    lines = []
    for row, side in enumerate((-1, 1)):
        t = u[row]
        x = s.eye_x - 0.52 * s.brow_length * 1.6 + t * s.brow_length * 1.72
        lift = s.brow_arch * (1 - np.square((t - 0.62) / 0.62)) - s.brow_slope * (0.5 - t) * 0.8 + 0.035 * view.brows
        thick = s.brow_thick * np.minimum(1.0, 1.5 * (1 - t) + 0.25) * (0.45 + 0.55 * np.minimum(t * 4, 1))
        y = s.brow_y + 0.02 - lift + across[row] * thick * 0.8
        angle = -1.25 + 1.35 * np.minimum(t * 1.5, 1) - 0.3 * across[row] + wild[row]
        k = np.linspace(0, 1, 4, dtype=np.float32)[None, :]
        bend = angle[:, None] + 0.35 * k
        px = x[:, None] + length[row][:, None] * k * np.cos(bend)
        py = y[:, None] + length[row][:, None] * k * np.sin(bend)
        lines.append(np.stack((px * side, py), -1))
    rows, cols = canvas.window(-0.75, s.brow_y - 0.25, 0.75, s.brow_y + 0.25)
    cover = strokes(canvas, np.concatenate(lines).astype(np.float32))[rows, cols]
    soft = blur(cover, 0.014 * canvas.per_unit + 0.3)
    alpha = np.clip(0.55 * soft + 0.55 * cover, 0, 1) * np.float32(0.86)
    albedo[rows, cols] = mix(albedo[rows, cols], np.broadcast_to(hair_tint(person), (*alpha.shape, 3)), alpha)


def _paint_beard(albedo: Array, person: Person, mouth: Mouth, canvas: Canvas, rng: np.random.Generator) -> None:
    if person.beard == "none":
        return
    s = person.shape
    x, y = canvas.xs, canvas.ys
    ax = np.abs(x)
    upper = smoothstep(s.nose_y + 0.10, s.nose_y + 0.15, y) * smoothstep(mouth.half + 0.10, mouth.half + 0.02, ax)
    upper = upper * smoothstep(mouth.y + 0.10, mouth.y + 0.02, y)
    edge = mouth.y + 0.02 - 0.55 * smoothstep(0.36, 0.62, ax) - 0.35 * smoothstep(0.55, 0.68, ax)
    jaw = smoothstep(-0.06, 0.06, y - edge) * smoothstep(0.20, 0.34, ax + 1.2 * np.maximum(y - mouth.y - 0.05, 0))
    chin = smoothstep(mouth.y + 0.13, mouth.y + 0.2, y) * smoothstep(0.34, 0.24, ax)
    chin = np.maximum(
        chin, smoothstep(0.05, 0.02, np.abs(ax - mouth.half - 0.04)) * smoothstep(mouth.y - 0.1, mouth.y, y)
    )
    where = {"moustache": upper, "goatee": np.maximum(upper, chin)}.get(
        person.beard, np.maximum(np.maximum(upper, jaw), chin)
    )
    t = np.clip(x / mouth.half, -1, 1)
    lips = (y > mouth.top(t) - 0.008) & (y < mouth.bottom(t) + 0.012) & (ax < mouth.half + 0.01)
    where = where * (1 - lips)
    stubble = person.beard == "stubble"
    count = 7000 if not stubble else 5000
    roots = np.stack((rng.uniform(-0.75, 0.75, count), rng.uniform(0.1, 1.2, count)), -1).astype(np.float32)
    chance, spread = rng.random(count), rng.normal(0, 0.35, count)
    px = np.clip(np.round(canvas.pixels(roots)).astype(int), 0, np.array(canvas.shape[::-1]) - 1)
    keep = chance < where[px[:, 1], px[:, 0]] * 0.95
    roots, angle = roots[keep], np.float32(np.pi / 2) - roots[keep, 0] * 0.9 + spread[keep]
    long = np.float32(0.018 if stubble else 0.055)
    k = np.linspace(0, 1, 3, dtype=np.float32)[None, :, None]
    step = np.stack((np.cos(angle), np.sin(angle)), -1)[:, None, :].astype(np.float32) * long
    cover = strokes(canvas, roots[:, None, :] + k * step)
    where = where * (0.3 + 0.7 * smoothstep(-0.15, 0.3, y))
    soft = blur(where, 0.04 * canvas.per_unit)
    alpha = (
        soft * np.float32(0.22) + cover * np.float32(0.30)
        if stubble
        else np.clip(0.62 * soft + 0.5 * cover, 0, 0.96) * soft**0.5
    )
    tint = hair_tint(person) * (1 + 0.5 * fractal(rng, canvas.shape, (70, 60), 2))[..., None]
    albedo[:] = mix(albedo, np.clip(tint, 0.003, 1), np.clip(alpha, 0, 1))
