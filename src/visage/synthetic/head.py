"""The head in the picture: traced, lit and coloured skin with ears, ready to be composited.

Shadows that the face casts on itself (nose, brow, lip, chin) are marched over the height of its own front at about a
third of the resolution: they are soft anyway, and that makes them nearly free.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from visage.synthetic.eyes import paint_eyes
from visage.synthetic.face_shape import cavity, mouth_of
from visage.synthetic.light import Light, shade
from visage.synthetic.noise import Array, Plane, blur, smoothstep
from visage.synthetic.people import Person
from visage.synthetic.pose import Canvas, Pose
from visage.synthetic.sessions import View
from visage.synthetic.skin import paint_face, skin_colour
from visage.synthetic.solid import Solid


@dataclass(frozen=True)
class Layer:
    """A lit layer over `box`: linear `colour` (HxWx3, not premultiplied), `cover` (HxW 0..1), `depth` (camera z),
    `skin` (HxW 0..1 share that is skin), `receive` (HxW 0..1, how much of the colour the key light made: what a
    shadow may take away)."""

    box: tuple[int, int, int, int]
    colour: Array
    cover: Plane
    depth: Plane
    skin: Plane
    receive: Plane


def cast_shadow(solid: Solid, toward: Array, softness: float) -> tuple[Canvas, Plane]:
    """How much of the key reaches each point of the front (HxW, 1 lit): `toward` is the light's direction in the
    solid's frame."""
    full = solid.canvas
    canvas = Canvas(full.x0, full.y0, full.x1, full.y1, min(full.per_unit, 48.0))
    relief = cv2.resize(solid.relief, canvas.shape[::-1], interpolation=cv2.INTER_AREA)
    rows = np.interp(
        canvas.ys[:, 0], np.linspace(solid.top, solid.bottom, len(solid.width)), np.arange(len(solid.width))
    ).astype(int)
    w, f = solid.width[rows][:, None], solid.front[rows][:, None]
    height = f * np.sqrt(np.maximum(1 - np.square(canvas.xs / w), 0)) + relief
    blocked = np.zeros(canvas.shape, np.float32)
    x, y = np.broadcast_arrays(canvas.xs, canvas.ys)
    lateral = float(np.hypot(toward[0], toward[1])) + 1e-6
    for reach in np.geomspace(0.03, 0.55, 13):
        t = np.float32(reach / lateral)
        above = canvas.sample(height, x + toward[0] * t, y + toward[1] * t) - height - np.float32(toward[2] * t + 0.012)
        np.maximum(blocked, above / np.float32(softness * t + 0.02), out=blocked)
    return canvas, blur(1 - np.clip(blocked, 0, 0.88), 0.018 * canvas.per_unit + 0.4)


def _ears(person: Person, head: Solid, pose: Pose, light: Light, base: Layer) -> None:
    """Draw both ears into `base` where they are nearer than what is there: flattened ellipsoids with painted folds."""
    s = person.shape
    ear_y = 0.14
    for side in (-1, 1):
        attach = np.interp(ear_y, np.linspace(head.top, head.bottom, len(head.width)), head.width)
        centre = np.array((side * (attach + 0.035), ear_y, -0.13), np.float32)
        tilt = side * s.ear_out
        axes = np.array(
            ((np.cos(tilt), 0, np.sin(tilt)), (0.0, 1.0, 0.0), (-np.sin(tilt), 0, np.cos(tilt))), np.float32
        )
        radii = np.array((0.075, s.ear, 0.17), np.float32)
        corners = centre + np.array([(i, j, k) for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)], np.float32) * 0.36
        box = pose.bounds(corners)
        bx0, by0, bx1, by1 = base.box
        x0, y0, x1, y1 = max(box[0], bx0), max(box[1], by0), min(box[2], bx1), min(box[3], by1)
        if x1 - x0 < 2 or y1 - y0 < 2:
            continue
        a, b = pose.rays((x0, y0, x1, y1))
        rel = np.stack([a[i] - centre[i] for i in range(3)], -1) @ axes / radii
        ray = np.stack(b, -1) @ axes / radii
        qa = np.einsum("ijk,ijk->ij", ray, ray)
        qb = np.einsum("ijk,ijk->ij", rel, ray)
        qc = np.einsum("ijk,ijk->ij", rel, rel) - 1
        disc = qb * qb - qa * qc
        near = (-qb + np.sqrt(np.maximum(disc, 0))) / qa
        hit = rel + near[..., None] * ray
        normal = (hit / radii) @ axes.T @ pose.rotation.T
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-6
        rim = np.sqrt(np.square(hit[..., 1]) + np.square(hit[..., 2] + 0.05))
        lobe = smoothstep(0.45, 0.75, hit[..., 1])
        folds = (
            1
            - 0.50 * np.exp(-np.square((rim - 0.62) / 0.13)) * (1 - lobe)
            - 0.40 * np.exp(-np.square((rim - 0.12) / 0.22))
        )
        normal[..., 1] += 0.5 * np.sin(rim * 7) * hit[..., 1]
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True) + 1e-6
        irradiance, specular = shade(
            light, normal, np.clip(folds, 0.2, 1), np.clip(folds + 0.15, 0.2, 1), wrap=(0.45, 0.2, 0.12)
        )
        colour = irradiance * skin_colour(person) * np.array((1.03, 0.90, 0.88), np.float32) + specular * 0.03
        rows, cols = slice(y0 - by0, y1 - by0), slice(x0 - bx0, x1 - bx0)
        edge = np.clip(0.5 + disc / np.maximum(np.abs(qb) * 2, 0.3) * pose.scale * 0.25, 0, 1)
        front = (near > base.depth[rows, cols]) | (base.cover[rows, cols] < 0.5)
        alpha = (edge * front)[..., None]
        base.colour[rows, cols] += (colour - base.colour[rows, cols]) * alpha
        grown = front & (edge > 0.5)
        base.cover[rows, cols] = np.maximum(base.cover[rows, cols], edge)
        base.depth[rows, cols] = np.where(grown, near, base.depth[rows, cols])
        base.skin[rows, cols] = np.where(grown, 1, base.skin[rows, cols])
        base.receive[rows, cols] = np.where(grown, 0.5, base.receive[rows, cols])


def draw_head(person: Person, view: View, light: Light, head: Solid, pose: Pose) -> Layer:
    """Trace and light the bare head (no hair on the scalp; brows and beard are skin here)."""
    canvas, mouth = head.canvas, mouth_of(person, view)
    coat = paint_face(person, view, mouth, canvas)
    opening, glint = paint_eyes(coat, person, view, light, canvas)
    toward = np.asarray(light.key_dir, np.float32) @ pose.rotation
    shadow_canvas, lit = cast_shadow(head, toward, light.softness * 6 + 0.15)

    reach = np.array(
        [(x, y, z) for x in (-1.05, 1.05) for y in (head.top, head.bottom) for z in (-0.8, 1.15)], np.float32
    )
    box = pose.bounds(reach)
    seen = head.trace(pose, box, 1.6)
    x, y, z = seen.point
    front = np.clip(z * 4 + 0.6, 0, 1)
    cover_map = np.dstack((cavity(head.relief, canvas.per_unit), opening, glint, coat.gloss))
    maps = canvas.sample(cover_map, x, y)
    albedo = canvas.sample(coat.albedo, x, y)
    slope = np.dstack(
        (
            cv2.Sobel(coat.bump, cv2.CV_32F, 1, 0, scale=canvas.per_unit / 8),
            cv2.Sobel(coat.bump, cv2.CV_32F, 0, 1, scale=canvas.per_unit / 8),
        )
    )
    tilt = canvas.sample(slope, x, y)
    normal = seen.normal.copy()
    normal[..., :2] -= tilt * np.clip(normal[..., 2:], 0, 1)
    normal /= np.sqrt(np.einsum("...i,...i->...", normal, normal))[..., None] + np.float32(1e-6)
    occlusion = 1 + (maps[..., 0] - 1) * front
    occlusion = occlusion * (1 - 0.45 * smoothstep(head.bottom - 0.16, head.bottom, y))
    shadow = 1 + (shadow_canvas.sample(lit, x, y) - 1) * front
    irradiance, specular = shade(light, normal, occlusion, shadow * (0.55 + 0.45 * occlusion))
    eye = maps[..., 1:2]
    mean = blur(irradiance, 0.05 * pose.scale)
    irradiance += (0.9 * mean - irradiance) * eye * np.float32(0.6)
    irradiance += (mean - irradiance) * np.array(
        (0.50, 0.30, 0.22), np.float32
    )  # light that has wandered under the skin
    key = np.asarray(light.key, np.float32)
    colour = irradiance * albedo + specular * (0.044 * maps[..., 3] * (1 - eye[..., 0]))[..., None]
    colour += maps[..., 2:3] * key * np.float32(0.9)
    # Grazing skin goes lighter (fuzz and oil): a Fresnel-like edge that ties the face to its surroundings.
    grazing = (1 - np.clip(normal[..., 2], 0, 1)) ** 4
    colour += grazing[..., None] * np.asarray(light.sky, np.float32) * np.float32(0.05)
    lamp = np.clip(normal @ np.asarray(light.key_dir, np.float32) + 0.2, 0, 1) * shadow
    ambient = float(np.mean(light.sky)) + 0.2
    receive = lamp * float(np.mean(light.key)) / (lamp * float(np.mean(light.key)) + ambient)
    layer = Layer(
        box,
        colour,
        seen.coverage.copy(),
        seen.depth.copy(),
        (1 - (eye[..., 0] > 0.5)).astype(np.float32),
        receive.astype(np.float32),
    )
    _ears(person, head, pose, light, layer)
    return layer
