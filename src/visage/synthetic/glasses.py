"""Glasses: frames projected from the head's frame, with tinted rims and a faint reflection in the lenses.

They sit in space in front of the face, not on it, so they slide over the eyes as the head turns.
"""

from __future__ import annotations

import cv2
import numpy as np

from visage.synthetic.light import Light
from visage.synthetic.noise import Array, Plane, blur, linear
from visage.synthetic.people import Person
from visage.synthetic.pose import Pose
from visage.synthetic.solid import Solid

_SHIFT = 4


def draw_glasses(person: Person, light: Light, head: Solid, pose: Pose, image: Array) -> Plane:
    """Draw onto the linear `image` (size x size x 3) and return the frames' coverage (size x size, 0..1; all 0
    without glasses)."""
    size = pose.size
    if person.glasses == "none":
        return np.zeros((size, size), np.float32)
    s = person.shape
    around = np.linspace(0, 2 * np.pi, 48, dtype=np.float32)
    power = 1.0 if person.glasses == "round" else 0.45
    wide, tall = (0.225, 0.205) if person.glasses == "round" else (0.245, 0.165)
    ring_x = np.sign(np.cos(around)) * np.abs(np.cos(around)) ** power * wide
    ring_y = np.sign(np.sin(around)) * np.abs(np.sin(around)) ** power * tall + 0.035
    face = float(head.front_z(0.0, 0.02)[0])
    frames, lenses = np.zeros((size, size), np.uint8), np.zeros((size, size), np.uint8)
    # A stroke is at least one pixel; below that opacity carries the width, or small pictures would wear thick frames.
    width = (0.030 if person.glasses_colour[0] < 100 else 0.018) * pose.scale
    stroke = max(1, round(width))

    def place(points: Array) -> Array:
        return np.round((pose.project(points)[0] - 0.5) * 2**_SHIFT).astype(np.int32)

    for side in (-1, 1):
        x = side * (s.eye_x + 0.005) + ring_x
        z = face + 0.10 - 0.35 * np.square(x)
        rim = place(np.stack((x, ring_y, z), -1).astype(np.float32))
        cv2.fillPoly(lenses, [rim], 255, cv2.LINE_AA, _SHIFT)
        cv2.polylines(frames, [rim], True, 255, stroke, cv2.LINE_AA, _SHIFT)
        hinge = np.array(
            ((side * (s.eye_x + wide), 0.0, face + 0.02), (side * s.cheek * 1.06, -0.01, 0.35)), np.float32
        )
        cv2.polylines(frames, [place(hinge)], False, 255, stroke, cv2.LINE_AA, _SHIFT)
    gap = s.eye_x + 0.005 - wide
    bridge = np.array(((-gap, -0.02, face + 0.09), (0, -0.055, face + 0.115), (gap, -0.02, face + 0.09)), np.float32)
    cv2.polylines(frames, [place(bridge)], False, 255, stroke, cv2.LINE_AA, _SHIFT)
    cover = frames.astype(np.float32) * np.float32(min(1.0, width) / 255)

    shadow = cv2.warpAffine(
        cover,
        np.array(((1, 0, -light.key_dir[0] * 0.1 * pose.scale), (0, 1, 0.06 * pose.scale)), np.float32),
        (size, size),
    )
    image *= (1 - 0.35 * blur(shadow, 0.02 * pose.scale + 0.3))[..., None]
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    streak = np.maximum(np.sin((axis[None, :] + 0.6 * axis[:, None]) * 14 + 3 * light.key_dir[0]), 0) ** 6
    image += (lenses.astype(np.float32) / 255 * (0.012 + 0.05 * streak))[..., None] * (
        np.asarray(light.sky, np.float32) + 0.2
    )
    lit = np.asarray(light.sky, np.float32) * 0.7 + np.asarray(light.key, np.float32) * 0.35
    image += (linear(person.glasses_colour) * lit + 0.01 - image) * cover[..., None]
    return cover
