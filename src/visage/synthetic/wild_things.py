"""Hands, arms, scarves, objects and the rest of the body: what stands in front of people, or under their portraits.

All are outlines of thick strokes in the picture, shaded as rounded bodies; a hand is a palm and five fingers of two
strokes each, which at the size hands have in photographs is what can be seen of one.
"""

from __future__ import annotations

import cv2
import numpy as np

from visage.synthetic.light import Light
from visage.synthetic.noise import Array, fractal, linear
from visage.synthetic.people import Person
from visage.synthetic.pose import Pose
from visage.synthetic.sessions import Clothes
from visage.synthetic.skin import skin_colour
from visage.synthetic.wild_background import some_colour, streaks
from visage.synthetic.wild_plan import Plan
from visage.synthetic.wild_scene import Scene, put_blob


def _stroke(mask: Array, points: Array, width: float) -> None:
    """Draw a polyline of (N, 2) pixels, `width` pixels thick with round ends."""
    path = np.round((points - 0.5) * 16).astype(np.int32)
    cv2.polylines(mask, [path], False, 255, max(1, round(width)), cv2.LINE_AA, 4)


def _blank(scene: Scene) -> Array:
    return np.zeros(scene.alpha.shape, np.uint8)


def put_hand(
    scene: Scene, at: Array, towards: float, unit: float, person: Person, light: Light, rng: np.random.Generator
) -> None:
    """A hand whose palm is at `at` (pixels), fingers along the angle `towards` (radians); `unit` pixels are 10 cm."""
    skin = skin_colour(person) * np.float32(rng.uniform(0.85, 1.1))
    across = np.array((-np.sin(towards), np.cos(towards)))
    along = np.array((np.cos(towards), np.sin(towards)))
    mirror, curl = float(rng.choice((-1, 1))), float(rng.uniform(0.1, 1.0))
    fan = float(rng.uniform(0.02, 0.22))
    palm = _blank(scene)
    _stroke(palm, np.array([at - along * 0.32 * unit, at + along * 0.1 * unit]), 0.66 * unit)
    put_blob(scene, palm, skin, light, 0.2 * unit)
    for finger in range(4):
        if rng.random() < 0.12:  # folded away
            continue
        mask, side = _blank(scene), (finger - 1.5) * 0.19
        angle = towards + mirror * side * fan * 6
        direction = np.array((np.cos(angle), np.sin(angle)))
        base = at + along * 0.28 * unit + across * side * unit * mirror
        long = (0.78, 0.92, 0.88, 0.66)[finger] * (1 - 0.35 * curl)
        bend = angle + mirror * (0.5 * curl + 0.05 * rng.normal())
        knuckle = base + direction * long * 0.55 * unit
        tip = knuckle + np.array((np.cos(bend), np.sin(bend))) * long * 0.45 * unit
        _stroke(mask, np.array([base, knuckle, tip]), (0.19, 0.20, 0.19, 0.165)[finger] * unit)
        put_blob(scene, mask, skin, light, 0.09 * unit)
    thumb = _blank(scene)
    root = at - along * 0.15 * unit - across * 0.3 * unit * mirror
    lean = towards - mirror * float(rng.uniform(0.4, 1.1))
    middle = root + np.array((np.cos(lean), np.sin(lean))) * 0.35 * unit
    tip = middle + np.array((np.cos(towards), np.sin(towards))) * 0.3 * unit
    _stroke(thumb, np.array([root, middle, tip]), 0.22 * unit)
    put_blob(scene, thumb, skin, light, 0.1 * unit)


def _put_arm(scene: Scene, joints: Array, unit: float, albedo: Array, light: Light) -> None:
    mask = _blank(scene)
    for start, end, wide in zip(joints[:-1], joints[1:], (0.95, 0.72), strict=False):
        _stroke(mask, np.array([start, end]), wide * unit)
    put_blob(scene, mask, albedo, light, 0.35 * unit)


def put_things(
    scene: Scene, pose: Pose, person: Person, clothes: Clothes, light: Light, plan: Plan, below: Array
) -> None:
    """What the plan has in front: a scarf, a hand with or without its arm, an object. `below` is the point (pixels)
    that arms come from when not from an edge."""
    rng, unit, size = plan.stream(40), pose.scale, pose.size
    centre = pose.project(np.array((0.0, 0.0, 0.3), np.float32))[0]
    if plan.has("scarf"):
        _put_scarf(scene, pose, light, rng)
    sleeve = np.clip(linear(clothes.colours[0]), 0.01, 0.8) if rng.random() < 0.6 else skin_colour(person)
    if plan.has("hand") or plan.has("arm"):
        for _ in range(1 + int(rng.random() < 0.15)):
            around, far = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.25)
            at = centre + unit * far * np.array((np.cos(around), np.sin(around) - 0.1))
            source = below + np.array((rng.choice((-1, 1)) * rng.uniform(1.0, 2.4), rng.uniform(0, 1))) * unit
            towards = float(np.arctan2(*(at - source)[::-1]) + rng.normal(0, 0.35))
            wrist = at - 0.45 * unit * np.array((np.cos(towards), np.sin(towards)))
            joints = np.array((source, wrist))
            if plan.has("arm"):  # over the head or across the picture
                elbow = centre + unit * np.array((rng.choice((-1, 1)) * rng.uniform(1.0, 1.9), rng.uniform(-1.6, 0.6)))
                joints = np.array((source, elbow, wrist))
            _put_arm(scene, joints, unit, sleeve, light)
            put_hand(scene, at, towards, unit, person, light, rng)
    if plan.has("object"):
        _put_object(scene, centre, unit, person, light, rng, size)


def _put_scarf(scene: Scene, pose: Pose, light: Light, rng: np.random.Generator) -> None:
    """A scarf or a fur collar round the neck, half of them in hair's colours and streaked as hair is."""
    size, angle = pose.size, np.linspace(-1.9, 1.9, 24)
    ring = np.stack((0.78 * np.sin(angle), 1.42 + 0.12 * np.cos(angle), 0.62 * np.cos(angle) - 0.1), -1)
    xy, _ = pose.project(ring.astype(np.float32))
    mask = _blank(scene)
    _stroke(mask, xy, pose.scale * rng.uniform(0.35, 0.75))
    if rng.random() < 0.5:
        end = xy[12] + np.array((rng.normal(0, 0.3), rng.uniform(0.8, 2))) * pose.scale
        _stroke(mask, np.array([xy[12], end]), 0.4 * pose.scale)
    texture = streaks(rng, size, 50) if rng.random() < 0.6 else fractal(rng, (size, size), (40, 40), 3, 0.8)
    albedo = np.clip(some_colour(rng, 0.6), 0.006, 0.8) * np.exp(np.float32(0.8) * texture)[..., None]
    put_blob(scene, mask, albedo.astype(np.float32), light, 0.2 * pose.scale)


def _put_object(
    scene: Scene, centre: Array, unit: float, person: Person, light: Light, rng: np.random.Generator, size: int
) -> None:
    """A phone, a cup, a microphone, a book or a twig before the head, often with the hand that holds it."""
    mask, kind = _blank(scene), int(rng.integers(5))
    at = centre + unit * np.array((rng.normal(0, 0.8), rng.uniform(-0.9, 1.6)))
    lean = float(rng.normal(0, 0.5))
    side = np.array((np.cos(lean), np.sin(lean)))
    up = np.array((side[1], -side[0]))
    if kind in (0, 3):  # phone, book
        w, h = (0.26, 0.52) if kind == 0 else (0.55, 0.42)
        corners = [at + unit * (i * w * side + j * h * up) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
        cv2.fillPoly(mask, [np.round(np.array(corners) * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    elif kind == 1:
        _stroke(mask, np.array([at, at + 0.6 * unit * up]), 0.75 * unit)
    elif kind == 2:
        _stroke(mask, np.array([at, at - 3 * unit * up]), 0.22 * unit)
        _stroke(mask, np.array([at, at + 0.15 * unit * up]), 0.5 * unit)
    else:
        path = at + np.cumsum(rng.normal(0, 0.35, (9, 2)) + 0.35 * side, 0) * unit
        _stroke(mask, path, rng.uniform(0.04, 0.14) * unit)
    albedo = np.clip(some_colour(rng, 0.5), 0.006, 0.85)
    put_blob(scene, mask, albedo, light, 0.12 * unit)
    if kind < 4 and rng.random() < 0.7:
        put_hand(scene, at - 0.5 * unit * up, float(np.arctan2(up[1], up[0])), unit, person, light, rng)


def put_figure(scene: Scene, pose: Pose, clothes: Clothes, person: Person, light: Light, plan: Plan) -> None:
    """Trunk, legs and arms of somebody who stands far enough away to show them; the portrait's body covers the top."""
    rng, unit = plan.stream(41), pose.scale
    wide = person.shape.shoulder

    def place(*points: tuple[float, float]) -> Array:
        flat = np.array([(x, y, 0.0) for x, y in points], np.float32)
        return pose.project(flat)[0]

    cloth = np.clip(linear(clothes.colours[0]), 0.01, 0.8)
    if clothes.pattern != "plain":
        cloth = 0.5 * cloth + 0.5 * np.clip(linear(clothes.colours[1]), 0.01, 0.8)
    trousers = cloth if rng.random() < 0.4 else np.clip(some_colour(rng, 0.5), 0.008, 0.6)
    legs = _blank(scene)
    for side in (-1, 1):
        _stroke(legs, place((side * 0.45, 6.2), (side * 0.5, 15.0)), 0.95 * unit)
    put_blob(scene, legs, trousers, light, 0.4 * unit)
    trunk = _blank(scene)
    right = ((0.97 * wide, 2.6), (0.62 * wide, 4.8), (0.70 * wide, 7.2))
    outline = place(*right, *((-x, y) for x, y in reversed(right)))
    cv2.fillPoly(trunk, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    put_blob(scene, trunk, cloth, light, 0.6 * unit)


def put_arms(scene: Scene, pose: Pose, clothes: Clothes, person: Person, light: Light, plan: Plan) -> None:
    """Arms of that figure in front of it: hanging, or crossed over the chest with both hands to be seen."""
    rng, unit, wide = plan.stream(42), pose.scale, person.shape.shoulder
    cloth = np.clip(linear(clothes.colours[0]), 0.01, 0.8) * np.float32(rng.uniform(0.85, 1.1))
    crossed = rng.random() < 0.4
    for side in (-1, 1):
        elbow = (side * 1.12 * wide, 4.9 if not crossed else 4.4)
        wrist = (-side * 0.45 * wide, 4.1 + 0.15 * side) if crossed else (side * 1.05 * wide, 7.0)
        flat = np.array([(side * 0.92 * wide, 2.35, 0.1), (*elbow, 0.1), (*wrist, 0.6)], np.float32)
        joints = pose.project(flat)[0]
        if (joints[1] > pose.size * 1.2).all():
            continue
        _put_arm(scene, joints, unit, cloth, light)
        along = joints[2] - joints[1]
        put_hand(scene, joints[2] + 0.1 * along / (np.linalg.norm(along) + 1e-6) * unit,
                 float(np.arctan2(along[1], along[0])), unit, person, light, rng)  # fmt: skip


def put_shirt(scene: Scene, pose: Pose, person: Person, light: Light, plan: Plan) -> None:
    """Shirt and tie in the opening of a jacket."""
    rng, unit, neck = plan.stream(43), pose.scale, person.shape.neck

    def place(*points: tuple[float, float, float]) -> Array:
        return pose.project(np.array(points, np.float32))[0]

    shirt, low = _blank(scene), float(rng.uniform(2.1, 3.2))
    outline = place((-0.9 * neck, 1.44, 0.40), (0.0, 1.66, 0.52), (0.9 * neck, 1.44, 0.40), (0.0, low, 0.8))
    cv2.fillPoly(shirt, [np.round(outline * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    put_blob(scene, shirt, linear(rng.uniform((185, 190, 200), 246).tolist()), light, 0.05 * unit + 0.5)
    if rng.random() < 0.7:
        tie = _blank(scene)
        colour = np.clip(some_colour(rng, 0.2), 0.01, 0.7)
        _stroke(tie, place((0, 1.72, 0.60), (0, 1.8, 0.66)), 0.22 * unit)
        _stroke(tie, place((0, 1.8, 0.66), (0, low + 0.1, 0.86)), 0.17 * unit)
        put_blob(scene, tie, colour, light, 0.06 * unit + 0.5)
