"""Backdrops of real rooms and streets: a base texture under a heap of things, as sharp as the person or not at all.

Half of all colours are those of hair and skin and some textures are hair's own (streaks, curls, fur), so that neither
colour nor fine detail alone gives hair away; a backdrop that were always smoother than hair would be the first thing
that a network learns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import cv2
import numpy as np

from visage.synthetic.background import draw_background
from visage.synthetic.light import Light
from visage.synthetic.noise import Array, fractal, linear, mix, smoothstep
from visage.synthetic.people import HAIR_COLOURS, SKIN_TONES
from visage.synthetic.sessions import Session, View
from visage.synthetic.wild_plan import Plan

Rng = np.random.Generator
_TONES = (*HAIR_COLOURS.values(), *SKIN_TONES)


def some_colour(rng: Rng, hairy: float = 0.4) -> Array:
    """Linear RGB (3,): a tone of hair or skin with probability `hairy`, else any colour."""
    if rng.random() < hairy:
        return linear(_TONES[int(rng.integers(len(_TONES)))]) * np.float32(np.exp(rng.normal(0, 0.25)))
    value, s = rng.uniform(8, 250), rng.beta(1.2, 1.8)
    wheel = np.clip(np.abs((rng.random() * 6 + np.array((0, 4, 2))) % 6 - 3) - 1, 0, 1)
    return linear(tuple(value * (1 - s * (1 - wheel))))


def streaks(rng: Rng, size: int, fine: float = 40.0) -> Array:
    """Wavy parallel streaks (size, size), mean 0 and unit range: combed hair, wood or cloth, by colour alone."""
    long = fractal(rng, (size, size), (rng.uniform(1, 4), fine), 3, 0.7)
    angle, centre = float(rng.uniform(0, 360)), (size / 2, size / 2)
    turn = cv2.getRotationMatrix2D(centre, angle, 1.45)
    bend = fractal(rng, (size, size), (3, 3), 2) * np.float32(size * rng.uniform(0, 0.18))
    axis = np.arange(size, dtype=np.float32)
    x, y = np.meshgrid(axis, axis)
    u = turn[0, 0] * x + turn[0, 1] * y + turn[0, 2] + bend
    v = turn[1, 0] * x + turn[1, 1] * y + turn[1, 2] + bend
    return cv2.remap(long, u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _plain(rng: Rng, size: int) -> Array:
    t = np.linspace(0, 1, size, dtype=np.float32)
    t = t[:, None] + 0 * t[None, :] if rng.random() < 0.5 else t[None, :] + 0 * t[:, None]
    first = some_colour(rng)
    second = first * np.float32(rng.uniform(0.5, 1.5)) if rng.random() < 0.6 else some_colour(rng)
    return mix(first, second, t) * (1 + 0.06 * fractal(rng, (size, size), (8, 8), 4))[..., None]


def _streaky(rng: Rng, size: int) -> Array:
    t = streaks(rng, size, float(rng.choice((14, 30, 60, 90))))
    colour = some_colour(rng, 0.75)
    image = colour * np.exp(rng.uniform(0.5, 1.5) * t)[..., None]
    if rng.random() < 0.5:  # bands of shine, as on hair
        image = image * (1 + 1.2 * smoothstep(0.2, 0.9, fractal(rng, (size, size), (4, 2), 2)))[..., None]
    return image


def _mottled(rng: Rng, size: int) -> Array:
    cells = float(np.exp(rng.uniform(np.log(4), np.log(60))))
    t = fractal(rng, (size, size), (cells, cells), 4, float(rng.uniform(0.5, 0.95)))
    return mix(some_colour(rng, 0.6), some_colour(rng, 0.5), smoothstep(-0.6, 0.6, t))


def _curtain(rng: Rng, size: int) -> Array:
    x = np.linspace(0, 1, size, dtype=np.float32)
    folds = fractal(rng, (size, size), (1, rng.uniform(8, 30)), 3)
    if rng.random() < 0.4:  # stripes of a flag or a wallpaper
        wave = np.sin(x[None, :] * rng.uniform(15, 90) + folds + x[:, None] * rng.uniform(-30, 30))
        return mix(some_colour(rng), some_colour(rng), smoothstep(-0.1, 0.1, wave)) * (1 + 0.4 * folds)[..., None]
    return some_colour(rng, 0.3) * np.exp(0.9 * folds)[..., None]


def _leaves(rng: Rng, size: int) -> Array:
    image = np.ascontiguousarray(_mottled(rng, size) * np.float32(0.4))
    greens = [linear((rng.uniform(30, 190), rng.uniform(60, 210), rng.uniform(20, 110))) for _ in range(5)]
    for _ in range(int(rng.integers(60, 240))):
        centre = tuple(int(v) for v in rng.uniform(0, size, 2))
        long = size * rng.uniform(0.008, 0.05)
        axes = (int(long) + 1, int(long * rng.uniform(0.25, 0.6)) + 1)
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 360)), 0, 360, greens[int(rng.integers(5))].tolist(), -1)
    return image


def _bricks(rng: Rng, size: int) -> Array:
    image = np.ascontiguousarray(np.broadcast_to(some_colour(rng, 0.2), (size, size, 3)), np.float32)
    tall, base = int(size * rng.uniform(0.03, 0.14)) + 2, some_colour(rng, 0.6)
    wide, gap = int(tall * rng.uniform(1, 3.5)) + 1, max(1, int(tall * rng.uniform(0.03, 0.15)))
    for row, y in enumerate(range(0, size, tall)):
        for x in range(-(row % 2) * wide // 2, size, wide):
            tone = base * np.float32(np.exp(rng.normal(0, 0.25)))
            cv2.rectangle(image, (x, y), (x + wide - gap - 1, y + tall - gap - 1), tone.tolist(), -1)
    return image * (1 + 0.2 * fractal(rng, (size, size), (30, 30), 3))[..., None]


def _books(rng: Rng, size: int) -> Array:
    image = np.ascontiguousarray(np.broadcast_to(some_colour(rng, 0.6) * np.float32(0.3), (size, size, 3)), np.float32)
    tall = int(size * rng.uniform(0.12, 0.3))
    for y in range(int(-rng.uniform(0, tall)), size, tall + 4):
        x = 0
        while x < size:
            width, top = int(size * rng.uniform(0.008, 0.04)) + 1, y + int(tall * rng.uniform(0, 0.35))
            cv2.rectangle(image, (x, top), (x + width, y + tall), some_colour(rng).tolist(), -1)
            x += width + int(rng.integers(1, 3))
    return image


def _blossom(rng: Rng, size: int) -> Array:
    """Twigs with clusters of petals before a sky or a wall: pale and finely textured, as grey curls are."""
    image = np.ascontiguousarray(_plain(rng, size) * np.float32(rng.uniform(0.5, 2.5)))
    for _ in range(int(rng.integers(0, 5))):
        _branch(rng, image, (some_colour(rng, 0.8) * np.float32(0.5)).tolist())
    colour = some_colour(rng, 0.2) if rng.random() < 0.5 else linear(tuple(rng.uniform(150, 250, 3)))
    for _ in range(int(rng.integers(4, 40))):
        _cluster(rng, image, colour)
    return image


_BASES: tuple[tuple[Callable[[Rng, int], Array], float], ...] = (
    (_plain, 0.18), (_streaky, 0.16), (_mottled, 0.14), (_curtain, 0.14), (_leaves, 0.10), (_bricks, 0.08),
    (_books, 0.08), (_blossom, 0.12),
)  # fmt: skip


def _things(rng: Rng, image: Array, count: int) -> None:
    """Boxes, discs, lines, letters, torsos, branches and clusters, each anywhere."""
    size = image.shape[0]
    for _ in range(count):
        colour = some_colour(rng).tolist()
        x, y = (int(v) for v in rng.uniform(-0.1, 1.0, 2) * size)
        w, h = (int(v) + 2 for v in np.exp(rng.uniform(np.log(0.02), np.log(0.5), 2)) * size)
        kind = rng.random()
        if kind < 0.30:
            cv2.rectangle(image, (x, y), (x + w, y + h), colour, -1)
        elif kind < 0.45:
            cv2.ellipse(image, (x, y), (w // 2 + 1, h // 2 + 1), float(rng.uniform(0, 180)), 0, 360, colour, -1)
        elif kind < 0.60:
            end = (x + int(rng.normal(0, size)), y + int(rng.normal(0, size)))
            cv2.line(image, (x, y), end, colour, int(rng.integers(1, 2 + size // 40)))
        elif kind < 0.72:
            text = "".join(chr(int(c)) for c in rng.integers(48, 91, int(rng.integers(2, 9))))
            ink = np.zeros((size, size), np.uint8)  # OpenCV 5 writes on bytes alone
            high = size * float(rng.uniform(0.001, 0.008))
            cv2.putText(ink, text, (x, y), int(rng.integers(0, 8)), high, 255, int(rng.integers(1, 3)))
            image[ink > 127] = colour
        elif kind < 0.80:
            _branch(rng, image, colour)
        elif kind < 0.86:
            _cluster(rng, image, np.asarray(colour, np.float32))
        else:
            poly = np.array((x, y)) + rng.normal(0, 0.15 * size, (int(rng.integers(3, 7)), 2))
            cv2.fillPoly(image, [poly.astype(np.int32)], colour)


def _branch(rng: Rng, image: Array, colour: list[float]) -> None:
    """A bundle of thin curved lines: twigs, cables or tassels, as thin and as dark as locks of hair."""
    size, count = image.shape[0], int(rng.integers(3, 40))
    k = np.linspace(0, 1, 12)
    start = rng.uniform(-0.1, 1.1, 2) + rng.normal(0, rng.uniform(0.01, 0.2), (count, 1, 2))
    angle = rng.uniform(0, 2 * np.pi) + rng.normal(0, rng.uniform(0.05, 0.6), (count, 1)) + rng.normal(0, 0.9) * k
    step = np.stack((np.cos(angle), np.sin(angle)), -1) * rng.uniform(0.1, 0.7) / 12
    path = ((start + np.cumsum(step, 1)) * size * 8).astype(np.int32)
    cv2.polylines(image, cast(list[Array], list(path)), False, colour, int(rng.integers(1, 3)), cv2.LINE_8, 3)


def _cluster(rng: Rng, image: Array, colour: Array) -> None:
    """Small blobs of about one linear colour (3,) heaped about a place: petals, lamps, berries or pebbles."""
    size = image.shape[0]
    centre, spread = rng.uniform(0, size, 2), size * rng.uniform(0.01, 0.09)
    small = size * rng.uniform(0.003, 0.014)
    for _ in range(int(rng.integers(10, 90))):
        x, y = (int(v) for v in rng.normal(centre, spread))
        axes = (int(small * rng.uniform(0.5, 1.5)) + 1, int(small * rng.uniform(0.4, 1)) + 1)
        tone = colour * np.float32(np.exp(rng.normal(0, 0.35))) * np.exp(rng.normal(0, 0.06, 3))
        cv2.ellipse(image, (x, y), axes, float(rng.uniform(0, 180)), 0, 360, tone.tolist(), -1)


def wild_background(session: Session, view: View, light: Light, plan: Plan, own: Array, size: int) -> Array:
    """Linear size x size x 3 float32; `own` is the linear colour (3,) of the person's hair, which camouflage takes."""
    rng = plan.stream(10)
    if not plan.has("busy") and not plan.has("camouflage"):
        image = draw_background(session, view, light, size)
    else:
        weights = np.array([w for _, w in _BASES])
        paint = _BASES[int(rng.choice(len(_BASES), p=weights / weights.sum()))][0]
        if plan.has("camouflage"):
            paint = (_streaky, _mottled, _plain)[int(rng.integers(3))]
        image = np.ascontiguousarray(paint(rng, size), np.float32)
        if plan.has("camouflage"):  # the person's own hair colour and brightness, texture kept
            target = own * np.asarray(light.key, np.float32).mean() * np.float32(rng.uniform(0.25, 1.1))
            image *= target / (image.mean((0, 1)) + 1e-4)
        if rng.random() < 0.65:
            _things(rng, image, int(rng.integers(2, 26)))
        blurred = float(rng.choice((0.0, 0.6, 1.5, 4.0, 9.0), p=(0.4, 0.2, 0.16, 0.14, 0.1))) * size / 256
        if blurred:
            image = cv2.GaussianBlur(image, (0, 0), blurred)
        level = 1.0 if plan.has("camouflage") else np.exp(rng.normal(0, 0.4))
        image *= np.float32(level * 0.8 / light.exposure)
    if plan.has("backlight"):
        glow = np.exp(-np.square(np.linspace(-1, 1, size) - rng.uniform(-0.8, 0.8)) / rng.uniform(0.1, 1.5))
        lift = np.float32(rng.uniform(0.0, 1.2)) * (0.4 + 0.5 * glow).astype(np.float32)
        image = image * np.float32(rng.uniform(1, 2)) + lift[None, :, None] * np.asarray(light.rim, np.float32) * 0.3
    if plan.has("murk"):
        image = image * np.float32(rng.uniform(0.02, 0.15)) + np.float32(0.002)
    return np.maximum(image, np.float32(0.001)).astype(np.float32)
