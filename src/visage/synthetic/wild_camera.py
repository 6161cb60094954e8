"""From the scene to a file as phones and the web make them: veil, exposure, casts, mono, blur, rescaling, JPEG, bars.

Nothing moves a pixel: lens and file change colours only, so the labels stay those of the scene.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from visage.synthetic.camera import develop, record
from visage.synthetic.noise import Array, blur
from visage.synthetic.sessions import Session, View
from visage.synthetic.wild_plan import Plan

PADDING = (124, 116, 104)  # the mean with which letterboxing fills, sRGB


def bars_of(plan: Plan, size: int) -> tuple[slice, slice]:
    """(rows, columns) that the picture keeps: all, or the middle of a tall or wide one whose rest is bars."""
    whole = slice(0, size)
    if not plan.has("bars"):
        return whole, whole
    rng = plan.stream(50)
    kept = max(16, round(size * float(rng.uniform(0.42, 0.9))))
    first = (size - kept) // 2
    middle = slice(first, first + kept)
    return (whole, middle) if rng.random() < 0.8 else (middle, whole)


def take(image: Array, session: Session, view: View, plan: Plan, size: int) -> Array:
    """The linear working picture (HxWx3) to uint8 RGB of `size`."""
    rng = plan.stream(51)
    work = image.shape[0]
    if plan.has("backlight"):
        glare = blur(np.minimum(image, 2.5), 0.09 * work) * np.float32(rng.uniform(0.05, 0.35))
        image = image + glare
    if plan.has("cast"):
        image = image * np.exp(rng.normal(0, (0.28, 0.08, 0.35))).astype(np.float32)
    exposure = session.light.exposure * float(np.exp(rng.normal(0, 0.15)))
    if plan.has("backlight"):
        exposure *= float(rng.uniform(0.6, 1.6))
    if plan.has("over"):
        exposure *= float(rng.uniform(1.3, 2.3))
    if plan.has("under"):
        exposure *= float(rng.uniform(0.2, 0.55))
    if plan.has("murk"):
        exposure *= float(rng.uniform(0.35, 0.8))
    if plan.has("blur"):
        sigma = float(rng.uniform(0.6, 1.9)) * work / 256
        image = cv2.GaussianBlur(image, (0, 0), sigma) if rng.random() < 0.6 else _shaken(image, rng, 3 * sigma)
    picture = develop(image, session, replace(view, exposure=view.exposure * float(rng.uniform(0.9, 1.1))), exposure,
                      size)  # fmt: skip
    picture = _graded(picture, plan, rng)
    if plan.has("lowres"):
        less = max(24, round(size * float(rng.uniform(0.35, 0.75))))
        picture = cv2.resize(cv2.resize(picture, (less, less), interpolation=cv2.INTER_AREA), (size, size),
                             interpolation=cv2.INTER_CUBIC)  # fmt: skip
    if plan.has("sharp"):
        picture = picture + np.float32(rng.uniform(0.5, 1.6)) * (picture - cv2.GaussianBlur(picture, (0, 0), 1.0))
    noise = view.noise * float(rng.uniform(1.5, 4)) if plan.has("noise") else view.noise
    quality = int(rng.integers(-60, -30)) if plan.has("jpeg") else view.jpeg_quality
    pixels = record(np.clip(picture, 0, 1), session, replace(view, noise=noise, jpeg_quality=quality))
    if plan.has("mono"):
        pixels = np.repeat(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    if plan.has("bars"):
        rows, columns = bars_of(plan, size)
        framed = np.empty_like(pixels)
        framed[:] = PADDING if rng.random() < 0.8 else int(rng.choice((0, 255)))
        framed[rows, columns] = pixels[rows, columns]
        pixels = framed
    return pixels


def _shaken(image: Array, rng: np.random.Generator, length: float) -> Array:
    """Motion along a straight line of `length` pixels."""
    side = int(length) * 2 + 3
    kernel, angle = np.zeros((side, side), np.float32), rng.uniform(0, np.pi)
    middle, reach = np.full(2, side / 2 - 0.5), np.array((np.cos(angle), np.sin(angle))) * length / 2
    ends = [tuple(int(v) for v in np.round(middle + s * reach)) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def _graded(picture: Array, plan: Plan, rng: np.random.Generator) -> Array:
    """Contrast, saturation and lifted blacks in display values."""
    saturation = np.float32(np.exp(rng.normal(0, 0.25)))
    grey = picture.mean(-1, keepdims=True)
    picture = grey + (picture - grey) * saturation
    picture = np.clip(picture, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.14)))
    if plan.has("faded"):
        low, high = float(rng.uniform(0.08, 0.3)), float(rng.uniform(0.75, 1.0))
        tint = rng.normal(0, 0.03, 3).astype(np.float32)
        picture = np.float32(low) + tint + picture * np.float32(high - low)
    return picture.astype(np.float32)
