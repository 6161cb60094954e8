"""One near-infrared eye with its label: 400x640 picture, classes, pupil ellipses, attributes.

The label is geometry, not a threshold on the picture: the pupil's ellipse cut by the lids (OpenEDS's convention), so
glints, lashes and blur never move it; the whole ellipse is kept beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from visage.synthetic.nir_draw import paint_eyeball, skin
from visage.synthetic.nir_geometry import HEIGHT, WIDTH, Ellipse, Opening, iris_ellipse, opening, pupil_ellipse
from visage.synthetic.nir_hairs import paint_hairs
from visage.synthetic.nir_light import (
    cover_with_headset,
    lens_radius,
    light_up,
    paint_distractors,
    paint_glints,
    paint_shine,
    paint_streaks,
)
from visage.synthetic.nir_params import Frame, Subject
from visage.synthetic.nir_sensor import expose, tone
from visage.synthetic.noise import Array

RENDERER_VERSION = 1
BACKGROUND, SCLERA, IRIS, PUPIL = range(4)


@dataclass(frozen=True)
class Eye:
    """A picture and what is known about it.

    `image` and `label` are 400x640 uint8, `label` of classes 0 background, 1 sclera, 2 iris, 3 pupil. `pupil` is the
    whole ellipse, `visible` the (cx, cy, 2 sd of x, 2 sd of y) of the visible pupil in pixels, None where there is
    none. `attributes` are plain values.
    """

    image: Array
    label: Array
    pupil: Ellipse
    visible: tuple[float, float, float, float] | None
    attributes: dict[str, bool | int | float]


def render(subject: Subject, frame: Frame) -> Eye:
    """Draw one frame of one wearer; the same arguments give the same bytes in any process."""
    wearer = subject.wearer
    iris, pupil, lids = iris_ellipse(wearer, frame), pupil_ellipse(wearer, frame), opening(wearer, frame)
    rng = np.random.default_rng(frame.noise_seed)
    scene = skin(subject, lids, np.random.default_rng(subject.texture_seed))
    if not frame.blink:
        paint_eyeball(scene, subject, iris, pupil, lids)
    distractors = paint_distractors(scene, iris, subject.greys.pupil, rng)
    paint_hairs(scene, subject, frame, lids)
    light_up(scene, subject, rng)
    glints = paint_glints(scene, subject, frame, iris, lids, rng)
    paint_shine(scene, subject, lids, rng)
    burst = glints[0] if glints else (iris.cx + rng.normal(0, 60), iris.cy + rng.normal(0, 40))
    paint_streaks(scene, subject, frame, burst, rng)
    if subject.headset.radius:
        cover_with_headset(scene, subject, rng)
    image = expose(scene, subject.sensor, frame.exposure, frame.motion, rng)
    label = draw_label(subject, iris, pupil, lids)
    image, label = _frame_edge(image, label, subject.headset.border)
    visible = moments(label == PUPIL)
    area = np.pi * pupil.a * pupil.b
    attributes = {
        "blink": frame.blink, "side": subject.side, "glasses": subject.headset.glasses, "starburst": frame.starburst,
        "lens_edge": subject.headset.radius > 0, "glints": len(glints), "distractors": distractors,
        "occluded": round(float(np.clip(1 - np.count_nonzero(label == PUPIL) / area, 0, 1)), 4),
        "contrast": round(tone(subject.greys.iris, subject.sensor, frame.exposure)
                          - tone(subject.greys.pupil, subject.sensor, frame.exposure), 2),
        "motion": round(frame.motion[0], 2), "yaw": round(frame.yaw, 4), "pitch": round(frame.pitch, 4),
    }  # fmt: skip
    return Eye(image, label, pupil, visible, attributes)


def draw_label(subject: Subject, iris: Ellipse, pupil: Ellipse, lids: Opening) -> Array:
    """400x640 uint8 classes of what the lids (and the headset's lens) leave visible."""
    x, y = np.arange(WIDTH, dtype=np.float32)[None], np.arange(HEIGHT, dtype=np.float32)[:, None]
    label = lids.mask().astype(np.uint8)
    for ellipse in (iris, pupil):
        u, v = ellipse.radius(x, y)
        label += ((u * u + v * v < 1) & (label > 0)).astype(np.uint8)
    if subject.headset.radius:
        label[lens_radius(subject) > subject.headset.radius] = BACKGROUND
    return label


def moments(mask: Array) -> tuple[float, float, float, float] | None:
    """(cx, cy, 2 sd of x, 2 sd of y) in pixels of a bool mask HxW; None for an empty one.

    For an ellipse along the axes these are its centre and semi-axes.
    """
    m = cv2.moments(mask.astype(np.uint8), binaryImage=True)
    if m["m00"] == 0:
        return None
    spread = (2 * np.sqrt(m["mu20"] / m["m00"]), 2 * np.sqrt(m["mu02"] / m["m00"]))
    return m["m10"] / m["m00"], m["m01"] / m["m00"], float(spread[0]), float(spread[1])


def _frame_edge(image: Array, label: Array, width: int) -> tuple[Array, Array]:
    """A flat strip of `width` pixels on the right and below, as some cameras leave it."""
    if width:
        for part in (np.s_[:, WIDTH - width :], np.s_[HEIGHT - width :]):
            image[part] = 3 * width
            label[part] = BACKGROUND
    return image, label
